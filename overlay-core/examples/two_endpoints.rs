//! Two tunnel endpoints on this machine's loopback: a question is answered, and a frame travels over UDP.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, net::SocketAddr};

use overlay_core::tokio::{Endpoint, Port};
use overlay_core::wire::{ArpOperation, ArpPacket, EtherType, EthernetFrame, EthernetHeader};
use overlay_core::{Location, MacAddr, Network, PortId, Vni};
use tokio::net::UdpSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (web, db) = ([10, 0, 1, 3].into(), [10, 0, 1, 4].into());
    let (web_mac, db_mac) = (MacAddr::from_ipv4(web), MacAddr::from_ipv4(db));

    // Any free port: hosts of their own would use VXLAN's, 4789.
    let first = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?;
    let second = SocketAddr::new([127, 0, 0, 2].into(), first.port());
    let here = Endpoint::bind(first, first.port()).await?;
    let there = Endpoint::bind(second, first.port()).await?;

    let network = |web_at, db_at| Network {
        stations: [(web_mac, web_at), (db_mac, db_at)].into(),
        neighbours: [(web.into(), web_mac), (db.into(), db_mac)].into(),
        ..Network::default()
    };
    let (mut web_port, mut db_port) =
        (here.attach(PortId::new(1)).await?, there.attach(PortId::new(1)).await?);
    let (vni, at_port) = (Vni::new(4097)?, Location::Port(PortId::new(1)));
    here.set_network(vni, network(at_port, Location::Endpoint(second.ip()))).await?;
    there.set_network(vni, network(Location::Endpoint(first.ip()), at_port)).await?;

    let question = ArpPacket {
        operation: ArpOperation::Request,
        sender_mac: web_mac,
        sender_ip: web,
        target_mac: MacAddr::ZERO,
        target_ip: db,
    };
    let mut bytes = [0; ArpPacket::LEN];
    question.emit(&mut bytes);
    let header =
        EthernetHeader { destination: MacAddr::BROADCAST, source: web_mac, ethertype: EtherType::ARP };
    let answer = ask(&mut web_port, header, &bytes).await?;
    let answer = ArpPacket::parse(EthernetFrame::parse(&answer)?.payload)?;
    println!("who has {db}? {} has it", answer.sender_mac);

    let header =
        EthernetHeader { destination: answer.sender_mac, source: web_mac, ethertype: EtherType::IPV4 };
    web_port.send(frame(header, b"a payload")).await;
    let arrived = db_port.receive().await.ok_or("closed")?;
    let arrived = EthernetFrame::parse(&arrived)?;
    println!("{} received {:?}", arrived.header.destination, String::from_utf8_lossy(arrived.payload));
    println!("sent {}, delivered {}", here.stats().await?.sent, there.stats().await?.delivered);
    Ok(())
}

async fn ask(port: &mut Port, header: EthernetHeader, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
    port.send(frame(header, payload)).await;
    port.receive().await.ok_or("closed")
}

fn frame(header: EthernetHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; EthernetHeader::LEN];
    header.emit(&mut bytes);
    [&bytes[..], payload].concat()
}
