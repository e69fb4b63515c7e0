//! What each fuzz target does with its bytes. `tests/fuzz.rs` of overlay-core includes this file, too.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use overlay_core::offload::{
    Checksums, Coalescer, MAX_HEADER_LEN, Offload, Pushed, SuperFrame, Verify, split as split_frame,
};
use overlay_core::rewrite::{Ends, clamp_mss, readdress, readdress_quoted};
use overlay_core::wire::{
    ArpPacket, EthernetFrame, EthernetHeader, FragmentationNeeded, IgmpMessage, Ipv4Header, Ipv4Packet,
    Ipv6Header, Ipv6Packet, Layout, MldMessage, NeighbourSolicitation, PacketTooBig, TcpSegment, UdpDatagram,
    VlanFrame, VxlanPacket,
};
use overlay_core::{Learning, Location, MacAddr, Network, PortId, Snooping, Verdict, Vni, Vtep};

/// Every parser; what can be read can be written, and is the same.
pub fn wire(data: &[u8]) {
    // As they lie in a frame, so that one input reaches all of them.
    for start in [0, EthernetHeader::LEN, 34, 54] {
        parse(data.get(start..).unwrap_or_default());
    }
}

fn parse(data: &[u8]) {
    if let Ok(packet) = VxlanPacket::parse(data) {
        let _ = EthernetFrame::parse(packet.frame);
    }
    if let Ok(frame) = EthernetFrame::parse(data) {
        let mut header = [0; EthernetHeader::LEN];
        frame.header.emit(&mut header);
        assert_eq!(header, data[..EthernetHeader::LEN]);
    }
    if let Ok(packet) = ArpPacket::parse(data) {
        let mut bytes = [0; ArpPacket::LEN];
        packet.emit(&mut bytes);
        assert_eq!(bytes, data[..ArpPacket::LEN]);
    }
    if let Ok(packet) = Ipv4Packet::parse(data) {
        assert_eq!(packet.payload.len(), usize::from(packet.header.payload_len));
        let _ = FragmentationNeeded::parse(&packet);
        let mut bytes = [0; Ipv4Header::LEN];
        packet.header.emit(&mut bytes);
        let again = [&bytes[..], packet.payload].concat();
        let again = Ipv4Packet::parse(&again).map(|packet| packet.header);
        assert!(again == Ok(packet.header) || packet.header.payload_len > Ipv4Header::MAX_PAYLOAD);
    }
    if let Ok(packet) = Ipv6Packet::parse(data) {
        let _ = (NeighbourSolicitation::parse(&packet), PacketTooBig::parse(&packet));
        let mut bytes = [0; Ipv6Header::LEN];
        packet.header.emit(&mut bytes);
        assert_eq!(bytes, data[..Ipv6Header::LEN]);
        let header = packet.header;
        if let Ok(MldMessage::Records(records)) =
            MldMessage::parse(header.source, header.destination, packet.payload)
        {
            assert!(records.count() <= data.len() / 20);
        }
    }
    if let Ok(IgmpMessage::Records(records)) = IgmpMessage::parse(data) {
        assert!(records.count() <= data.len() / 8);
    }
    let _ = (UdpDatagram::parse(data), VlanFrame::parse(data));
    if let Ok(segment) = TcpSegment::parse(data) {
        assert!(segment.options().count() <= 40);
    }
    if let Ok(layout) = Layout::parse(data) {
        let order = [layout.network, layout.transport, layout.payload, layout.end, data.len()];
        assert!(order.is_sorted(), "{layout:?}");
    }
}

/// Ten bytes of offload, then a frame.
pub fn split(data: &[u8]) {
    let Some((header, frame)) = data.split_first_chunk() else { return };
    let Ok(offload) = Offload::parse(header) else { return };
    for checksums in [Checksums::Fill, Checksums::Partial] {
        let Ok(segments) = split_frame(frame, offload, checksums) else { return };
        let mut parts = segments.clone();
        let mut headers = [0; MAX_HEADER_LEN];
        let mut ranges = Vec::new();
        while let Some(range) = parts.next_into(&mut headers) {
            let segment = [&headers[..segments.header_len()], &frame[range.clone()]].concat();
            let last = ranges.len() + 1 == segments.count();
            assert_eq!(segment.len(), if last { segments.last_len() } else { segments.segment_len() });
            if offload.segmentation.is_some() {
                Layout::parse(&segment).expect("a segment is a packet");
            }
            ranges.push(range);
        }
        assert_eq!(ranges.len(), segments.count());
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}

/// How it is verified, then frames, each behind its length in two bytes.
pub fn coalesce(data: &[u8]) {
    let Some((verify, mut rest)) = data.split_first() else { return };
    let verify = if verify & 1 == 0 { Verify::Inner } else { Verify::Outer };
    let mut coalescer = Coalescer::new(verify);
    let mut at = 1;
    while let Some(([a, b], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*a, *b])).min(behind.len());
        at += 2;
        if coalescer.push(0, at, &behind[..len]) == Pushed::Refused {
            check(coalescer.take().expect("who refuses has something"), data);
            assert_ne!(coalescer.push(0, at, &behind[..len]), Pushed::Refused);
        }
        at += len;
        rest = &behind[len..];
    }
    if let Some(collected) = coalescer.take() {
        check(collected, data);
    }
    assert!(coalescer.is_empty());
}

/// What was collected can be cut again, into the same payloads.
fn check(collected: SuperFrame<'_>, data: &[u8]) {
    let payloads: Vec<&[u8]> =
        collected.pieces.iter().map(|piece| &data[piece.offset..piece.offset + piece.len]).collect();
    let frame = [collected.headers, &payloads.concat()].concat();
    if collected.offload.segmentation.is_none() {
        assert_eq!(payloads.len(), 1);
        return;
    }
    let mut segments = split_frame(&frame, collected.offload, Checksums::Fill).expect("it was put together");
    assert_eq!(segments.count(), payloads.len());
    let mut headers = [0; MAX_HEADER_LEN];
    for payload in payloads {
        let range = segments.next_into(&mut headers).expect("one for each");
        assert_eq!(&frame[range], payload);
    }
}

/// Whether the checksum is unfinished, twelve bytes of new ends, then a frame.
pub fn rewrite(data: &[u8]) {
    let Some(([partial, a, b, c, d, e, f, g, h, i, j, k, l], frame)) = data.split_first_chunk::<13>() else {
        return;
    };
    let offload = if partial & 1 == 0 {
        Offload::NONE
    } else {
        let start = Layout::parse(frame).map_or(0, |layout| layout.transport);
        let checksum = u16::try_from(start).ok();
        let checksum = checksum.map(|start| overlay_core::offload::PartialChecksum { start, offset: 16 });
        Offload { checksum, ..Offload::NONE }
    };
    let ends = Ends {
        source_addr: (partial & 2 != 0).then(|| Ipv4Addr::new(*a, *b, *c, *d).into()),
        destination_addr: (partial & 4 != 0).then(|| Ipv4Addr::new(*e, *f, *g, *h).into()),
        source_port: (partial & 8 != 0).then(|| u16::from_be_bytes([*i, *j])),
        destination_port: (partial & 16 != 0).then(|| u16::from_be_bytes([*k, *l])),
    };
    let mut changed = frame.to_vec();
    match readdress(&mut changed, &ends, offload) {
        Ok(()) => drop(Layout::parse(&changed).expect("a packet stays one")),
        Err(_) => assert_eq!(changed, frame),
    }
    let mut changed = frame.to_vec();
    if readdress_quoted(&mut changed, &ends).is_err() {
        assert_eq!(changed, frame);
    }
    let mut changed = frame.to_vec();
    if !clamp_mss(&mut changed, u16::from_be_bytes([*a, *b]), offload) {
        assert_eq!(changed, frame);
    }
}

/// As a datagram of someone who has no key, and as a frame of someone who has.
#[cfg(feature = "seal")]
pub fn seal(data: &[u8]) {
    use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
    let keyed = |session| {
        let mut seal = Seal::new(Session::new(session));
        let key = SealKey::new(Algorithm::Aes128Gcm, &[7; 16]).expect("16 bytes");
        seal.install(vni(1), KeyId::new(1), key).expect("the first key");
        seal.activate(vni(1), KeyId::new(1)).expect("it was installed");
        seal
    };
    let (mut ours, mut theirs) = (keyed(1), keyed(2));
    let from = IpAddr::from([192, 0, 2, 1]);
    let mut datagram = data.to_vec();
    let opened = theirs.open(from, &mut datagram).is_ok();
    if opened {
        assert!(theirs.open(from, &mut data.to_vec()).is_err(), "once is enough");
    }

    let mut theirs = keyed(3);
    let mut sealed = [&[0; Seal::HEADER_LEN][..], data, &[0; Seal::TAG_LEN]].concat();
    if ours.seal(vni(1), &mut sealed).is_err() {
        return;
    }
    assert!(Seal::is_sealed(&sealed));
    let at = data.first().map_or(0, |byte| usize::from(*byte) % sealed.len());
    let mut damaged = sealed.clone();
    damaged[at] ^= 1;
    assert!(theirs.open(from, &mut damaged).is_err(), "byte {at}");
    let opened = theirs.open(from, &mut sealed).expect("nobody touched it");
    assert_eq!((opened.vni(), opened.frame()), (vni(1), data));
}

/// Inputs of a tunnel endpoint: what it is and how long, then its bytes.
pub fn vtep(data: &[u8]) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let mut vtep = endpoint();
    let (mut rest, mut now, mut inputs) = (data, *START, 0);
    while let Some(([kind, a, b], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*a, *b])).min(behind.len());
        let mut bytes = behind[..len].to_vec();
        rest = &behind[len..];
        inputs += 1;
        let host = IpAddr::from([192, 0, 2, kind >> 4]);
        let verdict = match kind & 7 {
            0..3 => vtep.handle_frame(now, PortId::new(u32::from(kind & 3)), Offload::NONE, &mut bytes),
            3 => {
                let (header, frame) = bytes.split_at_mut(len.min(Offload::LEN));
                let offload = header.first_chunk().and_then(|header| Offload::parse(header).ok());
                vtep.handle_frame(now, PortId::new(1), offload.unwrap_or_default(), frame)
            }
            _ => vtep.handle_datagram(now, host, &mut bytes),
        };
        look(&verdict);
        now += Duration::from_secs(u64::from(*kind >> 3));
        vtep.handle_timeout(now);
        while let Some(verdict) = vtep.poll_query(now) {
            look(&verdict);
        }
    }
    let occupancy = vtep.occupancy(vni(1)).expect("it was set");
    assert!(occupancy.learnt <= 8 && occupancy.groups <= 8 && occupancy.stations == 3);
    let stats = vtep.stats();
    let drops: u64 = stats.drops().map(|(_, count)| count).sum();
    assert_eq!(stats.delivered + stats.sent + stats.flooded + stats.answered + drops, inputs);
}

/// A network that has everything switched on, and small tables.
fn endpoint() -> Vtep {
    let mut vtep = Vtep::new();
    let [a, b, c] = [3, 4, 5].map(|last| Ipv4Addr::new(10, 0, 1, last));
    let network = Network {
        peers: [IpAddr::from([192, 0, 2, 3])].into(),
        stations: [
            (MacAddr::from_ipv4(a), Location::Port(PortId::new(1))),
            (MacAddr::from_ipv4(b), Location::Port(PortId::new(2))),
            (MacAddr::from_ipv4(c), Location::Endpoint(IpAddr::from([192, 0, 2, 2]))),
        ]
        .into(),
        neighbours: [(a.into(), MacAddr::from_ipv4(a)), (c.into(), MacAddr::from_ipv4(c))].into(),
        flood: true,
        mtu: Some(1280),
        learning: Some(Learning { max_entries: 8, ..Learning::default() }),
        snooping: Some(Snooping { max_groups: 8, ..Snooping::default() }),
        spoof_guard: [(PortId::new(1), [a.into()].into())].into(),
        ..Network::default()
    };
    vtep.set_network(vni(1), network).expect("a valid network");
    vtep
}

/// Reads everything that a verdict lends.
fn look(verdict: &Verdict<'_>) {
    let (ports, frame) = match verdict {
        Verdict::Deliver { ports, frame } => (ports.clone().count(), frame.len()),
        Verdict::Send { endpoints, frame, .. } => (endpoints.len(), frame.len()),
        Verdict::Flood { ports, endpoints, frame, .. } => {
            (ports.clone().count() + endpoints.len(), frame.len())
        }
        Verdict::Answer(reply) => (1, reply.frame().len()),
        Verdict::Drop(_) => return,
    };
    assert!(ports > 0 && frame >= EthernetHeader::LEN);
}

fn vni(id: u32) -> Vni {
    Vni::new(id).expect("24 bits")
}
