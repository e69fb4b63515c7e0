//! Nanoseconds per packet: `cargo bench -p overlay-core`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark prints and may panic"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{hint::black_box, net::IpAddr, time::Instant};

use overlay_core::offload::{
    Checksums, Coalescer, MAX_HEADER_LEN, Offload, PartialChecksum, SegmentKind, Segmentation, Verify, split,
};
use overlay_core::wire::{
    Checksum, EtherType, EthernetFrame, EthernetHeader, Ipv4Header, Ipv4Packet, Layout, TcpFlags, TcpHeader,
    UdpHeader, VxlanHeader, VxlanPacket, protocol,
};
use overlay_core::{Location, MacAddr, Network, PortId, Vni, Vtep};

fn main() {
    let (ours, theirs) = (mac(0), mac(1));
    let there: IpAddr = [192, 0, 2, 1].into();
    let vni = Vni::new(4097).unwrap();
    let stations = (1..10_000).map(|index| (mac(index), Location::Endpoint(there)));
    let stations = stations.chain([(ours, Location::Port(PortId::new(1)))]).collect();
    let mut vtep = Vtep::new();
    vtep.set_network(vni, Network { stations, ..Network::default() }).unwrap();

    let mut sent = frame(ours, theirs);
    let mut received = [&[8, 0, 0, 0, 0, 0x10, 1, 0][..], &frame(theirs, ours)].concat();

    let now = Instant::now();
    measure("parse VXLAN, Ethernet, IPv4", || {
        let packet = VxlanPacket::parse(black_box(&received)).unwrap();
        let frame = EthernetFrame::parse(packet.frame).unwrap();
        black_box(Ipv4Packet::parse(frame.payload).unwrap());
    });
    measure("frame from a port, 10000 stations", || {
        let _ = black_box(vtep.handle_frame(now, PortId::new(1), Offload::NONE, black_box(&mut sent)));
    });
    measure("datagram from a host, 10000 stations", || {
        let _ = black_box(vtep.handle_datagram(now, there, black_box(&mut received)));
    });
    let payload = vec![0x5a; 1400];
    measure("checksum of 1400 bytes", || {
        black_box(Checksum::new().add_bytes(black_box(&payload)).finish());
    });
    let outer = encapsulated(&stream(100));
    measure("parse of outer and inner headers", || {
        let datagram = Layout::parse(black_box(&outer)).unwrap();
        let packet = VxlanPacket::parse(&outer[datagram.payload..datagram.end]).unwrap();
        let frame = Layout::parse(packet.frame).unwrap();
        black_box((packet.header, frame.transport, frame.payload, frame.end));
    });
    super_frames();
}

/// A stream's super-frame into segments and back.
fn super_frames() {
    let whole = stream(62_000 - 40);
    let segmentation = Segmentation { kind: SegmentKind::Tcp4, size: 1410, header_len: 54, ecn: false };
    let checksum = Some(PartialChecksum { start: 34, offset: 16 });
    let offload = Offload { checksum, segmentation: Some(segmentation) };
    let mut headers = [0; MAX_HEADER_LEN];
    for (what, checksums) in
        [("split of 62 kB, checksums filled", Checksums::Fill), ("split of 62 kB", Checksums::Partial)]
    {
        measure(what, || {
            let mut segments = split(black_box(&whole), offload, checksums).unwrap();
            while let Some(range) = segments.next_into(&mut headers) {
                black_box((&headers, range));
            }
        });
    }
    let mut segments = split(&whole, offload, Checksums::Fill).unwrap();
    let mut frames = Vec::new();
    while let Some(range) = segments.next_into(&mut headers) {
        frames.push([&headers[..segments.header_len()], &whole[range]].concat());
    }
    for (what, verify) in
        [("coalesce of 62 kB, checksums verified", Verify::Inner), ("coalesce of 62 kB", Verify::Outer)]
    {
        let mut coalescer = Coalescer::new(verify);
        measure(what, || {
            for (buffer, frame) in (0..).zip(&frames) {
                let _ = coalescer.push(buffer, 0, black_box(frame));
            }
            let together = coalescer.take().unwrap();
            assert_eq!(black_box(together.pieces).len(), frames.len());
        });
    }
}

fn measure(what: &str, mut step: impl FnMut()) {
    const STEPS: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        (0..STEPS).for_each(|_| step());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS));
    }
    println!("{best:8.1} ns  {what}");
}

fn frame(source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut bytes = packet(protocol::TCP, &[0; 64]);
    EthernetHeader { destination, source, ethertype: EtherType::IPV4 }.emit(bytes.first_chunk_mut().unwrap());
    bytes
}

/// A frame of TCP with `len` bytes of payload.
fn stream(len: u16) -> Vec<u8> {
    let mut segment = [0; TcpHeader::LEN];
    let header = TcpHeader {
        source_port: 40_000,
        destination_port: 80,
        sequence: 1,
        acknowledgement: 1,
        flags: TcpFlags::ACK,
        window: 500,
        checksum: 0,
        urgent: 0,
        options_len: 0,
    };
    header.emit(&mut segment);
    let payload = vec![0xa5; len.into()];
    packet(protocol::TCP, &[&segment[..], &payload].concat())
}

/// The datagram that carries a frame to another host, in a frame of its own.
fn encapsulated(frame: &[u8]) -> Vec<u8> {
    let mut udp = [0; UdpHeader::LEN];
    let payload_len = u16::try_from(VxlanHeader::LEN + frame.len()).unwrap();
    UdpHeader { source_port: 50_000, destination_port: 4789, payload_len, checksum: 0 }.emit(&mut udp);
    let vxlan = VxlanHeader { vni: Vni::new(4097).unwrap() }.to_bytes();
    packet(protocol::UDP, &[&udp[..], &vxlan, frame].concat())
}

fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; EthernetHeader::LEN + Ipv4Header::LEN];
    let (ethernet, ip) = bytes.split_first_chunk_mut().unwrap();
    EthernetHeader { destination: mac(1), source: mac(2), ethertype: EtherType::IPV4 }.emit(ethernet);
    let header = Ipv4Header {
        traffic_class: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        source: [10, 0, 1, 3].into(),
        destination: [10, 0, 1, 4].into(),
    };
    header.emit(ip.first_chunk_mut().unwrap());
    [&bytes[..], payload].concat()
}

fn mac(index: u16) -> MacAddr {
    let [a, b] = index.to_be_bytes();
    MacAddr::new([2, 0, 0, 0, a, b])
}
