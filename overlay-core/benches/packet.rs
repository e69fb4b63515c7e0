//! Nanoseconds per packet: `cargo bench -p overlay-core`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may panic")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{hint::black_box, net::IpAddr, time::Instant};

use overlay_core::offload::Offload;
use overlay_core::wire::{
    Checksum, EtherType, EthernetFrame, EthernetHeader, Ipv4Header, Ipv4Packet, VxlanPacket,
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
}

fn measure(what: &str, mut step: impl FnMut()) {
    const STEPS: u32 = 200_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        (0..STEPS).for_each(|_| step());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS));
    }
    println!("{best:8.1} ns  {what}");
}

fn frame(source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut bytes = vec![0; EthernetHeader::LEN + Ipv4Header::LEN + 64];
    let (ethernet, rest) = bytes.split_first_chunk_mut().unwrap();
    EthernetHeader { destination, source, ethertype: EtherType::IPV4 }.emit(ethernet);
    let header = Ipv4Header {
        traffic_class: 0,
        payload_len: 64,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 6,
        source: [10, 0, 1, 3].into(),
        destination: [10, 0, 1, 4].into(),
    };
    header.emit(rest.first_chunk_mut().unwrap());
    bytes
}

fn mac(index: u16) -> MacAddr {
    let [a, b] = index.to_be_bytes();
    MacAddr::new([2, 0, 0, 0, a, b])
}
