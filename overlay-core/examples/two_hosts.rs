//! Two hosts in memory: one asks for a neighbour and sends it a frame through the tunnel, a third is turned away.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example prints, and reads the clock")]

use std::{error::Error, net::IpAddr, time::Instant};

use overlay_core::{
    Encap, Location, MacAddr, Network, PortId, Verdict, Vni, Vtep,
    offload::Offload,
    wire::{ArpOperation, ArpPacket, EtherType, EthernetHeader},
};

fn main() -> Result<(), Box<dyn Error>> {
    let hosts: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    let (web, db) = ([10, 0, 1, 3].into(), [10, 0, 1, 4].into());
    let (web_mac, db_mac) = (MacAddr::from_ipv4(web), MacAddr::from_ipv4(db));
    let port = PortId::new(1);
    let now = Instant::now();
    let vni = Vni::new(4097)?;

    let network = |web_at, db_at| Network {
        stations: [(web_mac, web_at), (db_mac, db_at)].into(),
        neighbours: [(web.into(), web_mac), (db.into(), db_mac)].into(),
        ..Network::default()
    };
    let [first, second] = hosts;
    let (mut here, mut there) = (Vtep::new(), Vtep::new());
    here.set_network(vni, network(Location::Port(port), Location::Endpoint(second)))?;
    there.set_network(vni, network(Location::Endpoint(first), Location::Port(port)))?;

    let mut question = [0; EthernetHeader::LEN + ArpPacket::LEN];
    let (header, packet) = question.split_first_chunk_mut().ok_or("room for a header")?;
    EthernetHeader { destination: MacAddr::BROADCAST, source: web_mac, ethertype: EtherType::ARP }
        .emit(header);
    let arp = ArpPacket {
        operation: ArpOperation::Request,
        sender_mac: web_mac,
        sender_ip: web,
        target_mac: MacAddr::ZERO,
        target_ip: db,
    };
    arp.emit(packet.first_chunk_mut().ok_or("room for a packet")?);
    if let Verdict::Answer(reply) = here.handle_frame(now, port, Offload::NONE, &mut question) {
        println!("who has {db}? answered on the spot with {} bytes", reply.frame().len());
    }

    let mut frame = vec![0; EthernetHeader::LEN];
    EthernetHeader { destination: db_mac, source: web_mac, ethertype: EtherType::IPV4 }
        .emit(frame.first_chunk_mut().ok_or("room for a header")?);
    frame.extend_from_slice(b"a packet");
    let verdict = here.handle_frame(now, port, Offload::NONE, &mut frame);
    let Verdict::Send { encap: Encap::Plain(header), source_port, endpoints, frame } = verdict else {
        return Err("the frame was not sent".into());
    };
    println!("a frame for {db_mac} goes to {endpoints:?} as VNI {}, from UDP port {source_port}", header.vni);

    let mut datagram = [&header.to_bytes()[..], frame].concat();
    if let Verdict::Deliver { ports, frame } = there.handle_datagram(now, first, &mut datagram) {
        println!("there it is delivered to port {:?}: {} bytes", ports.collect::<Vec<_>>(), frame.len());
    }
    if let Verdict::Drop(reason) = there.handle_datagram(now, [203, 0, 113, 9].into(), &mut datagram) {
        println!("the same datagram from a stranger is dropped: {reason}");
    }
    Ok(())
}
