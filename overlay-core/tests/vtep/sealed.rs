use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
use overlay_core::{Discard, Encap, Location, Network, Verdict, Vtep};

use crate::world::*;

#[test]
fn what_one_host_seals_another_opens_and_delivers() {
    let (mut here, mut there) = (vtep_with(sealed()), Vtep::new());
    let stations = [(mac(A), Location::Endpoint(SILENT)), (mac(C), Location::Port(port(9)))].into();
    there.set_network(vni(1), Network { stations, ..sealed() }).unwrap();
    let (mut ours, mut theirs) = (seal(1), seal(2));

    let bytes = frame(mac(A), mac(C), b"secret");
    let Verdict::Send { encap, frame, .. } = send(&mut here, port(1), &bytes) else { panic!() };
    assert_eq!(encap, Encap::Sealed(vni(1)));
    let mut datagram = [&[0; Seal::HEADER_LEN][..], frame, &[0; Seal::TAG_LEN]].concat();
    ours.seal(vni(1), &mut datagram).unwrap();
    let unopened = there.handle_datagram(at(0), SILENT, datagram.clone().leak());
    assert_eq!(dropped(unopened), Some(Discard::Sealed));

    let opened = theirs.open(SILENT, &mut datagram).unwrap();
    assert_eq!(delivered(there.handle_opened(at(0), SILENT, opened)), Some((vec![port(9)], bytes)));
}

#[test]
fn a_sealed_network_takes_no_plain_datagram() {
    let mut vtep = vtep_with(sealed());
    let plain = receive_at(&mut vtep, at(0), THERE, &frame(mac(C), mac(A), b"forged"));
    assert_eq!(dropped(plain), Some(Discard::Unsealed));
}

#[test]
fn a_plain_network_takes_no_sealed_datagram() {
    let mut vtep = vtep_with(network());
    let bytes = frame(mac(C), mac(A), b"of another time");
    let mut datagram = [&[0; Seal::HEADER_LEN][..], &bytes, &[0; Seal::TAG_LEN]].concat();
    seal(1).seal(vni(1), &mut datagram).unwrap();
    let mut other = seal(2);
    let opened = other.open(THERE, &mut datagram).unwrap();
    assert_eq!(dropped(vtep.handle_opened(at(0), THERE, opened)), Some(Discard::NotSealed));
}

#[test]
fn an_opened_datagram_is_judged_like_a_plain_one() {
    let mut vtep = vtep_with(sealed());
    let mut ours = seal(1);
    for (station, reason) in [(mac(B), Some(Discard::Spoofed)), (mac(C), None)] {
        let bytes = frame(station, mac(A), b"");
        let mut datagram = [&[0; Seal::HEADER_LEN][..], &bytes, &[0; Seal::TAG_LEN]].concat();
        ours.seal(vni(1), &mut datagram).unwrap();
        let mut theirs = seal(2);
        let opened = theirs.open(THERE, &mut datagram).unwrap();
        assert_eq!(dropped(vtep.handle_opened(at(0), THERE, opened)), reason);
    }
}

fn sealed() -> Network {
    Network { sealed: true, ..network() }
}

fn seal(session: u64) -> Seal {
    let mut seal = Seal::new(Session::new(session));
    let key = SealKey::new(Algorithm::Aes128Gcm, &[7; 16]).unwrap();
    seal.set_keys(vni(1), KeyId::new(1), &[(KeyId::new(1), key)].into()).unwrap();
    seal
}
