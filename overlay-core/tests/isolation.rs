//! No frame of one network ever reaches another, whatever both are called and whoever lives in them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    unreachable_pub,
    reason = "tests"
)]

#[path = "vtep/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use overlay_core::offload::Offload;
use overlay_core::wire::{ArpOperation, EtherType, VxlanHeader};
use overlay_core::{Discard, Encap, Learning, Location, MacAddr, Network, NetworkError, PortId, Snooping};
use overlay_core::{Verdict, Vni, Vtep};
use proptest::prelude::*;
use world::{
    A, A6, B, C, C6, arp, at, datagram, framed, group_mac, igmp, ipv4, mac, mld, port, to_group, udp,
};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
const GUEST: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x77]);
const STRANGER: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x78]);

/// Pairs of VNIs that differ in one bit, in all bits, or by one.
fn pairs() -> impl Iterator<Item = [Vni; 2]> {
    let base = 0x1001u32;
    let flips = (0..24).map(move |bit| [base, base ^ 1 << bit]);
    let others = [[0, 0x00ff_ffff], [1, 2], [0, 1], [0x00ff_fffe, 0x00ff_ffff], [0x100, 0x1_0000]];
    flips.chain(others).map(|pair| pair.map(|vni| Vni::new(vni).unwrap()))
}

/// What can be switched on in one network: flooding, learning, snooping, sealing.
fn options() -> impl Iterator<Item = [bool; 4]> {
    (0u8..16).map(|bits| [0, 1, 2, 3].map(|bit| bits >> bit & 1 == 1))
}

#[test]
fn networks_that_differ_in_one_bit_never_meet() {
    let (everything, everything_sealed) = ([true, true, true, false], [true; 4]);
    for (index, vnis) in pairs().enumerate() {
        // Every combination of options once, the ones that forward most for every pair.
        let ours = options().filter(|ours| index == 0 || *ours == everything || *ours == everything_sealed);
        for [first, second] in ours.flat_map(|ours| [[ours, everything], [ours, everything_sealed]]) {
            let mut pair = Pair::new(vnis, [first, second]);
            // Twice: what the first round taught must not leak in the second.
            for seconds in [0, 20] {
                pair.every_frame(seconds);
                pair.every_datagram(seconds);
            }
        }
    }
}

/// Two networks with the same stations and addresses on one endpoint; ports and hosts tell them apart.
struct Pair {
    vtep: Vtep,
    sides: [Side; 2],
    #[cfg(feature = "seal")]
    seals: [overlay_core::seal::Seal; 2],
}

struct Side {
    vni: Vni,
    sealed: bool,
    ports: BTreeSet<PortId>,
    hosts: BTreeSet<IpAddr>,
}

impl Pair {
    fn new(vnis: [Vni; 2], options: [[bool; 4]; 2]) -> Self {
        let mut vtep = Vtep::new();
        let sides = [0u8, 1].map(|index| {
            let vni = vnis[usize::from(index)];
            let [flood, learning, snooping, sealed] = options[usize::from(index)];
            let first = u32::from(index) * 10 + 1;
            let hosts = [1u8, 2].map(|host| IpAddr::from([192, 0, 2, index * 100 + host]));
            let network = Network {
                peers: hosts.into(),
                stations: [
                    (mac(A), Location::Port(port(first))),
                    (mac(B), Location::Port(port(first + 1))),
                    (mac(C), Location::Endpoint(hosts[0])),
                ]
                .into(),
                neighbours: [(A.into(), mac(A)), (C.into(), mac(C))].into(),
                flood,
                learning: learning.then(Learning::default),
                snooping: snooping.then(Snooping::default),
                sealed,
                mtu: Some(1400),
                ..Network::default()
            };
            vtep.set_network(vni, network).unwrap();
            Side { vni, sealed, ports: [port(first), port(first + 1)].into(), hosts: hosts.into() }
        });
        Self {
            vtep,
            #[cfg(feature = "seal")]
            seals: [seal(&sides, 1), seal(&sides, 2)],
            sides,
        }
    }

    fn every_frame(&mut self, seconds: u64) {
        for side in 0..2 {
            for from in self.sides[side].ports.clone() {
                for source in [mac(A), mac(B), mac(C), GUEST] {
                    for mut bytes in every_kind(source) {
                        let verdict = self.vtep.handle_frame(at(seconds), from, Offload::NONE, &mut bytes);
                        check(&self.sides[side], Some(from), verdict);
                    }
                }
            }
            self.questions(seconds);
        }
    }

    fn every_datagram(&mut self, seconds: u64) {
        let hosts: Vec<IpAddr> = self.sides.iter().flat_map(|side| side.hosts.clone()).collect();
        for side in 0..2 {
            for from in &hosts {
                for source in [mac(A), mac(C), GUEST] {
                    for bytes in every_kind(source) {
                        self.receive(side, at(seconds), *from, &bytes);
                    }
                }
            }
            self.questions(seconds);
        }
    }

    /// The datagram as that network's hosts would send it, and as they would not.
    fn receive(&mut self, index: usize, now: Instant, from: IpAddr, frame: &[u8]) {
        let side = &self.sides[index];
        let mut plain = datagram(side.vni, frame);
        let verdict = self.vtep.handle_datagram(now, from, &mut plain);
        if side.sealed {
            assert!(matches!(verdict, Verdict::Drop(Discard::Unsealed)));
        } else {
            assert!(side.hosts.contains(&from) || matches!(verdict, Verdict::Drop(Discard::ForeignSource)));
            check(side, None, verdict);
        }
        #[cfg(feature = "seal")]
        {
            use overlay_core::seal::Seal;
            let [ours, theirs] = &mut self.seals;
            let mut sealed = [&[0; Seal::HEADER_LEN][..], frame, &[0; Seal::TAG_LEN]].concat();
            ours.seal(side.vni, &mut sealed).unwrap();
            let opened = theirs.open(from, &mut sealed).unwrap();
            let verdict = self.vtep.handle_opened(now, from, opened);
            if side.sealed {
                check(side, None, verdict);
            } else {
                assert!(matches!(verdict, Verdict::Drop(Discard::NotSealed)));
            }
        }
    }

    fn questions(&mut self, seconds: u64) {
        self.vtep.handle_timeout(at(seconds));
        while let Some(verdict) = self.vtep.poll_query(at(seconds)) {
            let Verdict::Flood { encap, .. } = &verdict else { panic!("{verdict:?}") };
            let vni = vni_of(*encap);
            let side = self.sides.iter().find(|side| side.vni == vni).unwrap();
            check(side, None, verdict);
        }
    }
}

/// What goes out stays among the ports and hosts of its network, under its VNI, sealed if it must be.
fn check(side: &Side, from: Option<PortId>, verdict: Verdict<'_>) {
    let (encap, ports, endpoints) = match verdict {
        Verdict::Deliver { ports, .. } => (None, ports.collect(), vec![]),
        Verdict::Send { encap, endpoints, .. } => (Some(encap), vec![], endpoints.to_vec()),
        Verdict::Flood { ports, encap, endpoints, .. } => (Some(encap), ports.collect(), endpoints.to_vec()),
        Verdict::Answer(_) => {
            assert!(from.is_some(), "nobody but a port is answered");
            return;
        }
        Verdict::Drop(_) => return,
    };
    assert!(ports.iter().all(|port| side.ports.contains(port) && Some(*port) != from), "{ports:?}");
    assert!(endpoints.iter().all(|host| side.hosts.contains(host)), "{endpoints:?}");
    let wanted =
        if side.sealed { Encap::Sealed(side.vni) } else { Encap::Plain(VxlanHeader { vni: side.vni }) };
    assert!(encap.is_none_or(|encap| encap == wanted), "{encap:?}");
}

/// Unicast to everyone, known or not, broadcasts, groups, reports, questions, and a packet that is too big.
fn every_kind(source: MacAddr) -> Vec<Vec<u8>> {
    let packet = ipv4(A, C, 17, 64, &udp(b"data"));
    let too_big = ipv4(A, C, 17, 64, &udp(&[0; 1400]));
    let mut kinds: Vec<Vec<u8>> = [mac(A), mac(B), mac(C), GUEST, STRANGER, MacAddr::BROADCAST]
        .into_iter()
        .flat_map(|to| [&packet, &too_big].map(|packet| framed(source, to, EtherType::IPV4, packet)))
        .collect();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    kinds.extend([
        to_group(source, A.into(), GROUP.into(), b"data"),
        to_group(source, A6.into(), GROUP6.into(), b"data"),
        framed(source, group_mac(GROUP.into()), EtherType::new(0x88b5), b"neither IP nor ARP"),
        igmp(source, A, 0x16, GROUP),
        igmp(source, A, 0x11, Ipv4Addr::UNSPECIFIED),
        mld(source, link_local, 131, GROUP6),
        arp(ArpOperation::Request, (A, source), C),
        arp(ArpOperation::Request, (A, source), Ipv4Addr::new(10, 0, 1, 99)),
        world::solicitation(source, A6, C6),
    ]);
    kinds
}

fn vni_of(encap: Encap) -> Vni {
    match encap {
        Encap::Plain(header) => header.vni,
        Encap::Sealed(vni) => vni,
    }
}

#[cfg(feature = "seal")]
fn seal(sides: &[Side; 2], session: u64) -> overlay_core::seal::Seal {
    use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
    let mut seal = Seal::new(Session::new(session));
    for side in sides {
        let key = SealKey::new(Algorithm::ChaCha20Poly1305, &[7; 32]).unwrap();
        seal.set_keys(side.vni, KeyId::new(1), &[(KeyId::new(1), key)].into()).unwrap();
    }
    seal
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Set { vni: usize, flood: bool, learning: bool, sealed: bool, ports: usize },
    Remove { vni: usize },
    Frame { port: u32, source: usize, destination: usize },
    Datagram { vni: usize, from: usize, source: usize, destination: usize },
    Forget { host: usize },
    Wait { seconds: u64 },
}

const VNIS: [u32; 4] = [0x1001, 0x1000, 0x1_1001, 0x80_1001];
const MACS: [MacAddr; 6] = [
    MacAddr::new([2, 0, 0, 0, 0, 1]),
    MacAddr::new([2, 0, 0, 0, 0, 2]),
    MacAddr::new([2, 0, 0, 0, 0, 3]),
    MacAddr::new([2, 0, 0, 0, 0, 4]),
    MacAddr::new([2, 0, 0, 0, 0, 5]),
    MacAddr::BROADCAST,
];

fn step() -> impl Strategy<Value = Step> {
    let switches = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    prop_oneof![
        2 => (0usize..4, switches, 0usize..6).prop_map(|(vni, (flood, learning, sealed), ports)| {
            Step::Set { vni, flood, learning, sealed, ports }
        }),
        1 => (0usize..4).prop_map(|vni| Step::Remove { vni }),
        10 => (0u32..10, 0usize..5, 0usize..6)
            .prop_map(|(port, source, destination)| Step::Frame { port, source, destination }),
        10 => (0usize..4, 0usize..4, 0usize..5, 0usize..6).prop_map(|(vni, from, source, destination)| {
            Step::Datagram { vni, from, source, destination }
        }),
        1 => (0usize..4).prop_map(|host| Step::Forget { host }),
        1 => (0u64..200).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// The same decisions, made by looking through lists.
#[derive(Default)]
struct Model {
    networks: BTreeMap<Vni, Network>,
    /// Network, station, host, last heard.
    learnt: Vec<(Vni, MacAddr, IpAddr, Instant)>,
}

/// What a verdict comes to.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Goes { under: Option<Encap>, ports: BTreeSet<PortId>, hosts: BTreeSet<IpAddr> },
    Nowhere(Discard),
}

impl Model {
    fn set(&mut self, vni: Vni, network: Network) -> Result<(), NetworkError> {
        for port in ports(&network) {
            if let Some((other, _)) =
                self.networks.iter().find(|(it, net)| **it != vni && ports(net).contains(&port))
            {
                return Err(NetworkError::PortTaken { port, vni: *other });
            }
        }
        let stays = |(of, station, host, _): &(Vni, MacAddr, IpAddr, Instant)| {
            *of != vni
                || network.learning.is_some()
                    && !network.stations.contains_key(station)
                    && hosts(&network).contains(host)
        };
        self.learnt.retain(stays);
        self.networks.insert(vni, network);
        Ok(())
    }

    fn remove(&mut self, vni: Vni) {
        self.networks.remove(&vni);
        self.learnt.retain(|(of, ..)| *of != vni);
    }

    fn find(&self, vni: Vni, now: Instant, station: MacAddr) -> Option<Location> {
        let told = self.networks[&vni].stations.get(&station).copied();
        let heard = self.learnt.iter().find(|(of, it, _, heard)| {
            (*of, *it) == (vni, station) && now < *heard + Duration::from_secs(300)
        });
        told.or(heard.map(|(_, _, host, _)| Location::Endpoint(*host)))
    }

    fn frame(&self, now: Instant, from: PortId, source: MacAddr, destination: MacAddr) -> Outcome {
        let Some((vni, network)) = self.networks.iter().find(|(_, net)| ports(net).contains(&from)) else {
            return Outcome::Nowhere(Discard::UnknownPort);
        };
        if network.stations.get(&source) != Some(&Location::Port(from)) {
            return Outcome::Nowhere(Discard::Spoofed);
        }
        let vni = *vni;
        let under = Some(if network.sealed { Encap::Sealed(vni) } else { Encap::Plain(VxlanHeader { vni }) });
        let goes = |under, ports, hosts| Outcome::Goes { under, ports, hosts };
        if destination.is_multicast() {
            let (mut ports, hosts) = (ports(network), hosts(network));
            ports.remove(&from);
            return if network.flood && !(ports.is_empty() && hosts.is_empty()) {
                goes(under, ports, hosts)
            } else {
                Outcome::Nowhere(Discard::Group)
            };
        }
        match self.find(vni, now, destination) {
            Some(Location::Port(to)) if to == from => Outcome::Nowhere(Discard::Hairpin),
            Some(Location::Port(to)) => goes(None, [to].into(), [].into()),
            Some(Location::Endpoint(to)) => goes(under, [].into(), [to].into()),
            None if network.flood && network.learning.is_some() && !hosts(network).is_empty() => {
                goes(under, [].into(), hosts(network))
            }
            None => Outcome::Nowhere(Discard::UnknownStation),
        }
    }

    fn datagram(
        &mut self,
        now: Instant,
        vni: Vni,
        from: IpAddr,
        source: MacAddr,
        destination: MacAddr,
    ) -> Outcome {
        let Some(network) = self.networks.get(&vni) else { return Outcome::Nowhere(Discard::UnknownNetwork) };
        if network.sealed {
            return Outcome::Nowhere(Discard::Unsealed);
        }
        if !hosts(network).contains(&from) {
            return Outcome::Nowhere(Discard::ForeignSource);
        }
        match network.stations.get(&source) {
            Some(Location::Port(_)) => return Outcome::Nowhere(Discard::Spoofed),
            None if network.learning.is_some() => {
                self.learnt.retain(|(of, station, ..)| (*of, *station) != (vni, source));
                self.learnt.push((vni, source, from, now));
            }
            Some(Location::Endpoint(_)) | None => {}
        }
        let goes = |ports| Outcome::Goes { under: None, ports, hosts: [].into() };
        let all = ports(network);
        if destination.is_multicast() {
            let reaches = network.flood && !all.is_empty();
            return if reaches { goes(all) } else { Outcome::Nowhere(Discard::Group) };
        }
        match self.find(vni, now, destination) {
            Some(Location::Port(to)) => goes([to].into()),
            Some(Location::Endpoint(_)) => Outcome::Nowhere(Discard::Hairpin),
            None => Outcome::Nowhere(Discard::UnknownStation),
        }
    }
}

proptest! {
    #[test]
    fn random_histories_agree_with_a_naive_model(steps in prop::collection::vec(step(), 1..120)) {
        let (mut vtep, mut model, mut now) = (Vtep::new(), Model::default(), at(0));
        for step in steps {
            match step {
                Step::Set { vni, flood, learning, sealed, ports } => {
                    let network = network_of(vni, ports, [flood, learning, sealed]);
                    let vni = world::vni(VNIS[vni]);
                    prop_assert_eq!(vtep.set_network(vni, network.clone()), model.set(vni, network));
                }
                Step::Remove { vni } => {
                    vtep.remove_network(world::vni(VNIS[vni]));
                    model.remove(world::vni(VNIS[vni]));
                }
                Step::Frame { port: from, source, destination } => {
                    let (source, destination) = (MACS[source], MACS[destination]);
                    let mut bytes = world::frame(source, destination, b"no IP");
                    let expected = model.frame(now, port(from), source, destination);
                    let verdict = vtep.handle_frame(now, port(from), Offload::NONE, &mut bytes);
                    prop_assert_eq!(outcome(verdict), expected);
                }
                Step::Datagram { vni, from, source, destination } => {
                    let (vni, from) = (world::vni(VNIS[vni]), host(from));
                    let bytes = world::frame(MACS[source], MACS[destination], b"no IP");
                    let mut bytes = datagram(vni, &bytes);
                    let verdict = vtep.handle_datagram(now, from, &mut bytes);
                    let expected = model.datagram(now, vni, from, MACS[source], MACS[destination]);
                    prop_assert_eq!(outcome(verdict), expected);
                }
                Step::Forget { host: index } => {
                    vtep.forget_endpoint(host(index));
                    model.learnt.retain(|(_, _, of, _)| *of != host(index));
                }
                Step::Wait { seconds } => {
                    now += Duration::from_secs(seconds);
                    if seconds % 2 == 0 {
                        vtep.handle_timeout(now);
                    }
                }
            }
        }
    }
}

/// Stations 0 and 1 on ports of their own or, now and then, on those of another network; 2 and 3 on other hosts.
fn network_of(vni: usize, ports: usize, [flood, learning, sealed]: [bool; 3]) -> Network {
    let first = if ports == 5 { 0 } else { vni as u32 * 2 };
    let mut network =
        Network { flood, sealed, learning: learning.then(Learning::default), ..Network::default() };
    network.peers.insert(host(vni));
    network.stations.insert(MACS[2], Location::Endpoint(host((vni + 1) % 4)));
    for (mac, id) in MACS.iter().zip(first..).take(ports.min(2)) {
        network.stations.insert(*mac, Location::Port(port(id)));
    }
    network
}

fn outcome(verdict: Verdict<'_>) -> Outcome {
    match verdict {
        Verdict::Deliver { ports, .. } => {
            Outcome::Goes { under: None, ports: ports.collect(), hosts: [].into() }
        }
        Verdict::Send { encap, endpoints, .. } => {
            Outcome::Goes { under: Some(encap), ports: [].into(), hosts: endpoints.iter().copied().collect() }
        }
        Verdict::Flood { ports, encap, endpoints, .. } => Outcome::Goes {
            under: Some(encap),
            ports: ports.collect(),
            hosts: endpoints.iter().copied().collect(),
        },
        Verdict::Answer(reply) => panic!("{reply:?}"),
        Verdict::Drop(reason) => Outcome::Nowhere(reason),
    }
}

fn ports(network: &Network) -> BTreeSet<PortId> {
    let port = |location: &Location| if let Location::Port(port) = location { Some(*port) } else { None };
    network.stations.values().filter_map(port).collect()
}

fn hosts(network: &Network) -> BTreeSet<IpAddr> {
    let host = |location: &Location| if let Location::Endpoint(host) = location { Some(*host) } else { None };
    network.peers.iter().copied().chain(network.stations.values().filter_map(host)).collect()
}

fn host(index: usize) -> IpAddr {
    [198, 51, 100, index as u8 + 1].into()
}
