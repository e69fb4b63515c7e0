//! A rewritten frame is the one that the new ends would have sent.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

mod frames;

use std::net::IpAddr;

use frames::{Frame, Sum, Transport, addresses, frame};
use overlay_core::offload::Offload;
use overlay_core::rewrite::{Ends, RewriteError, clamp_mss, readdress, readdress_quoted};
use overlay_core::wire::{Checksum, IpVersion, Layout, TcpFlags, TcpSegment, protocol};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_rewritten_frame_is_one_emitted_with_the_new_ends(
        before in frame(0usize..200), ends in addresses(), ports: (u16, u16), which in 0u8..16, sum in 0u8..3,
    ) {
        let checksum = [Sum::Full, Sum::Partial, Sum::Zero][usize::from(sum)];
        prop_assume!(checksum != Sum::Zero || !before.is_tcp());
        let before = Frame { checksum, ..before };
        let (change, after) = changed(&before, ends, ports, which);
        let offload = offload(&before);
        let mut bytes = before.bytes();
        match readdress(&mut bytes, &change, offload) {
            Ok(()) => prop_assert_eq!(&bytes, &after.bytes()),
            Err(error) => {
                let is_family = matches!(error, RewriteError::Family { .. });
                prop_assert!(is_family && ends.0.is_ipv4() != before.source.is_ipv4());
                prop_assert_eq!(bytes, before.bytes());
                return Ok(());
            }
        }
        let back = Ends {
            source_addr: change.source_addr.map(|_| before.source),
            source_port: change.source_port.map(|_| before.ports.0),
            destination_addr: change.destination_addr.map(|_| before.destination),
            destination_port: change.destination_port.map(|_| before.ports.1),
        };
        prop_assert_eq!(readdress(&mut bytes, &back, offload), Ok(()));
        prop_assert_eq!(bytes, before.bytes());
    }

    #[test]
    fn a_quoted_packet_is_one_emitted_with_the_new_ends(
        before in frame(0usize..60), ends in addresses(), ports: (u16, u16), which in 0u8..16, words in 4usize..40,
    ) {
        prop_assume!(ends.0.is_ipv4() == before.source.is_ipv4());
        let (change, after) = changed(&before, ends, ports, which);
        let mut bytes = icmp_error(&before, words * 2);
        prop_assert_eq!(readdress_quoted(&mut bytes, &change), Ok(()));
        prop_assert_eq!(bytes, icmp_error(&after, words * 2));
    }

    #[test]
    fn a_clamped_size_is_one_that_was_announced(
        before in frame(0usize..60), mss: u16, clamp: u16, padding in 0usize..5, partial: bool, syn: bool,
    ) {
        prop_assume!(before.is_tcp());
        let checksum = if partial { Sum::Partial } else { Sum::Full };
        let announcing = |size: u16| {
            // Padding in front moves the option onto every kind of byte.
            let mut options = [&vec![1; padding][..], &[2, 4], &size.to_be_bytes(), &[4, 2]].concat();
            options.resize(options.len().next_multiple_of(4), 0);
            let Transport::Tcp { sequence, acknowledgement, window, .. } = before.transport else { panic!() };
            let flags = if syn { TcpFlags::SYN } else { TcpFlags::ACK };
            let transport = Transport::Tcp { sequence, acknowledgement, flags, window, options };
            Frame { transport, checksum, ..before.clone() }
        };
        let frame = announcing(mss);
        let mut bytes = frame.bytes();
        let lowered = clamp_mss(&mut bytes, clamp, offload(&frame));
        prop_assert_eq!(lowered, syn && clamp < mss);
        prop_assert_eq!(bytes, announcing(if lowered { clamp } else { mss }).bytes());
    }

    #[test]
    fn damaged_frames_never_panic(
        before in frame(0usize..60), quoting: bool, ends in addresses(), cutoff in 0usize..300,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = if quoting { icmp_error(&before, 64) } else { before.bytes() };
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cutoff);
        let (change, _) = changed(&before, ends, (1, 2), 15);
        let original = bytes.clone();
        if readdress(&mut bytes, &change, Offload::NONE).is_err() {
            prop_assert_eq!(&bytes, &original);
        }
        bytes.clone_from(&original);
        if readdress_quoted(&mut bytes, &change).is_err() {
            prop_assert_eq!(&bytes, &original);
        }
        let _ = clamp_mss(&mut bytes, 500, Offload::NONE);
    }
}

#[test]
fn sctp_and_unknown_protocols_are_left_alone() {
    for other in [protocol::SCTP, 33] {
        let mut bytes = with_protocol(&datagram(), other);
        let before = bytes.clone();
        let refused = readdress(&mut bytes, &Ends::to("10.0.0.9:53".parse().unwrap()), Offload::NONE);
        assert_eq!(refused, Err(RewriteError::Protocol { protocol: other }));
        assert_eq!(bytes, before);
    }
}

#[test]
fn icmp_and_later_fragments_have_no_ports() {
    let ends = Ends::to("10.0.0.9:53".parse().unwrap());
    let mut ping = with_protocol(&datagram(), protocol::ICMP);
    let refused = readdress(&mut ping, &ends, Offload::NONE);
    assert_eq!(refused, Err(RewriteError::NoPorts { protocol: protocol::ICMP }));
    let address_only = Ends { destination_port: None, ..ends };
    assert_eq!(readdress(&mut ping, &address_only, Offload::NONE), Ok(()));
    assert_eq!(ping[30..34], [10, 0, 0, 9]);
    assert!(Layout::parse(&ping).is_ok(), "the checksum of the IP header fits");

    let mut later = Frame { fragment_offset: 5, ..datagram() }.bytes();
    let payload = later[34..].to_vec();
    let refused = readdress(&mut later, &ends, Offload::NONE);
    assert_eq!(refused, Err(RewriteError::NoPorts { protocol: protocol::UDP }));
    assert_eq!(readdress(&mut later, &address_only, Offload::NONE), Ok(()));
    assert_eq!(later[34..], payload, "there is no checksum in it");
}

#[test]
fn an_address_of_the_other_family_is_refused() {
    let addr: IpAddr = "fd00::9".parse().unwrap();
    let ends = Ends { source_addr: Some(addr), ..Ends::default() };
    let refused = readdress(&mut datagram().bytes(), &ends, Offload::NONE);
    assert_eq!(refused, Err(RewriteError::Family { addr, version: IpVersion::V4 }));
}

#[test]
fn only_errors_quote() {
    let refused = |bytes: &mut [u8]| readdress_quoted(bytes, &Ends::default()).unwrap_err();
    assert_eq!(refused(&mut datagram().bytes()), RewriteError::Protocol { protocol: protocol::UDP });
    let mut ping = with_protocol(&datagram(), protocol::ICMP);
    ping[34] = 8;
    assert_eq!(refused(&mut ping), RewriteError::NoQuote { kind: 8 });
    ping[34] = 3;
    assert_eq!(refused(&mut ping), RewriteError::Quote, "the quoted bytes are no packet");
}

#[test]
fn ends_of_the_way_back_are_exchanged() {
    let [there, here] = ["10.0.0.7:80", "10.0.0.9:4000"].map(|end| end.parse().unwrap());
    assert_eq!(Ends::to(there).reversed(), Ends::from(there));
    assert_ne!(Ends::to(there), Ends::to(here));
}

#[test]
fn a_size_is_found_where_other_options_are_damaged_or_missing() {
    let mut syn = tcp_options(&[3, 3, 7, 1, 2, 4, 0x05, 0xb4]);
    assert!(clamp_mss(&mut syn, 1410, Offload::NONE));
    assert_eq!(TcpSegment::parse(&syn[34..]).unwrap().maximum_segment_size(), Some(1410));
    for options in [&[0, 4, 0x05, 0xb4][..], &[8, 0, 2, 4], &[1, 2, 4, 0x05], &[2, 3, 0x05, 0]] {
        assert!(!clamp_mss(&mut tcp_options(options), 100, Offload::NONE), "{options:?}");
    }
}

/// The chosen new ends, and the frame that they would have sent.
fn changed(before: &Frame, ends: (IpAddr, IpAddr), ports: (u16, u16), which: u8) -> (Ends, Frame) {
    let chosen = |bit: u8| which & 1 << bit != 0;
    let change = Ends {
        source_addr: chosen(0).then_some(ends.0),
        destination_addr: chosen(1).then_some(ends.1),
        source_port: chosen(2).then_some(ports.0),
        destination_port: chosen(3).then_some(ports.1),
    };
    if which & 3 != 0 && ends.0.is_ipv4() != before.source.is_ipv4() {
        return (change, before.clone());
    }
    let after = Frame {
        source: change.source_addr.unwrap_or(before.source),
        destination: change.destination_addr.unwrap_or(before.destination),
        ports: (
            change.source_port.unwrap_or(before.ports.0),
            change.destination_port.unwrap_or(before.ports.1),
        ),
        ..before.clone()
    };
    (change, after)
}

fn offload(frame: &Frame) -> Offload {
    let checksum = (frame.checksum == Sum::Partial).then(|| frame.partial());
    Offload { checksum, segmentation: None }
}

/// A router's error about a packet: "time exceeded", from an address of its own.
fn icmp_error(about: &Frame, quoted: usize) -> Vec<u8> {
    let packet = about.bytes()[about.network()..].to_vec();
    let ip_len = about.transport() - about.network();
    let quote = &packet[..packet.len().min(ip_len + quoted)];
    let is_v4 = about.source.is_ipv4();
    let (kind, protocol) = if is_v4 { (11, protocol::ICMP) } else { (3, protocol::ICMPV6) };
    let mut message = [&[kind, 0, 0, 0, 0, 0, 0, 0], quote].concat();
    let (source, destination): (IpAddr, IpAddr) = if is_v4 {
        ([192, 0, 2, 1].into(), [10, 0, 0, 2].into())
    } else {
        ("2001:db8::1".parse().unwrap(), "fd00::2".parse().unwrap())
    };
    let sum = Checksum::new().add_bytes(&message);
    let pseudo = Checksum::new().add_pseudo_header(source, destination, protocol, message.len() as u16);
    let sum = if is_v4 { sum } else { sum.add_sum(pseudo) };
    message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    // The carrier is built as a datagram, then told what it really is.
    let carrier = Frame {
        vlan: None,
        source,
        destination,
        transport: Transport::Udp,
        payload: message[8..].to_vec(),
        ..about.clone()
    };
    let mut bytes = with_protocol(&carrier, protocol);
    bytes[carrier.transport()..].copy_from_slice(&message);
    bytes
}

fn with_protocol(frame: &Frame, protocol: u8) -> Vec<u8> {
    let mut bytes = frame.bytes();
    let network = frame.network();
    if frame.source.is_ipv4() {
        bytes[network + 9] = protocol;
        bytes[network + 10..network + 12].fill(0);
        let sum = Checksum::new().add_bytes(&bytes[network..network + 20]).finish();
        bytes[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        bytes[network + 6] = protocol;
    }
    bytes
}

fn tcp_options(options: &[u8]) -> Vec<u8> {
    let flags = TcpFlags::SYN;
    let transport =
        Transport::Tcp { sequence: 1, acknowledgement: 0, flags, window: 100, options: options.to_vec() };
    Frame { transport, ..datagram() }.bytes()
}

fn datagram() -> Frame {
    Frame {
        vlan: None,
        source: [10, 0, 0, 2].into(),
        destination: [10, 0, 0, 3].into(),
        class: 0,
        hops: 64,
        identification: 1,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ports: (40000, 53),
        transport: Transport::Udp,
        checksum: Sum::Full,
        payload: vec![0xa5; 40],
    }
}
