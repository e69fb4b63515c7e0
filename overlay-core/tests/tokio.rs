//! Endpoints with real sockets, on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_arguments,
    unreachable_pub,
    reason = "tests"
)]

#[path = "vtep/world.rs"]
mod world;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use overlay_core::tokio::{Endpoint, EndpointError};
use overlay_core::wire::{ArpOperation, EtherType};
use overlay_core::{Discard, Location, MacAddr, Network, NetworkError};
use tokio::time::{sleep, timeout};
use world::{A, B, C, arp, framed, ipv4, mac, port, udp, vni};

#[tokio::test]
async fn a_question_is_answered_and_a_frame_arrives() {
    let [(here, first), (there, second)] = endpoints().await;
    here.set_network(vni(1), network(Location::Port(port(1)), Location::Endpoint(second))).await.unwrap();
    there.set_network(vni(1), network(Location::Endpoint(first), Location::Port(port(1)))).await.unwrap();
    let (mut a, mut c) = (here.attach(port(1)).await.unwrap(), there.attach(port(1)).await.unwrap());

    assert!(a.send(arp(ArpOperation::Request, (A, mac(A)), C)).await);
    let answer = timeout(SOON, a.receive()).await.unwrap().unwrap();
    assert_eq!(answer[6..12], mac(C).octets());

    let frame = framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(b"hello")));
    assert!(a.send(frame.clone()).await);
    assert_eq!(timeout(SOON, c.receive()).await.unwrap(), Some(frame));
    assert_eq!((here.stats().await.unwrap().sent, there.stats().await.unwrap().delivered), (1, 1));
}

#[tokio::test]
async fn a_broadcast_reaches_ports_and_hosts() {
    let [(here, first), (there, second)] = endpoints().await;
    let flooding = |network: Network| Network { flood: true, ..network };
    let mut ours = flooding(network(Location::Port(port(1)), Location::Endpoint(second)));
    ours.stations.insert(mac(B), Location::Port(port(2)));
    here.set_network(vni(1), ours).await.unwrap();
    there
        .set_network(vni(1), flooding(network(Location::Endpoint(first), Location::Port(port(1)))))
        .await
        .unwrap();
    let (a, mut b, mut c) = (
        here.attach(port(1)).await.unwrap(),
        here.attach(port(2)).await.unwrap(),
        there.attach(port(1)).await.unwrap(),
    );
    let frame = framed(mac(A), MacAddr::BROADCAST, EtherType::new(0x88b5), b"everyone");
    assert!(a.send(frame.clone()).await);
    for other in [&mut b, &mut c] {
        assert_eq!(timeout(SOON, other.receive()).await.unwrap().as_ref(), Some(&frame));
    }
}

#[cfg(feature = "seal")]
#[tokio::test]
async fn a_sealed_network_needs_its_key() {
    use overlay_core::seal::{Algorithm, KeyId, SealKey};
    let keys = |byte| [(KeyId::new(1), SealKey::new(Algorithm::Aes256Gcm, &[byte; 32]).unwrap())].into();
    let [(here, first), (there, second)] = endpoints().await;
    let sealed = |network: Network| Network { sealed: true, ..network };
    here.set_network(vni(1), sealed(network(Location::Port(port(1)), Location::Endpoint(second))))
        .await
        .unwrap();
    there
        .set_network(vni(1), sealed(network(Location::Endpoint(first), Location::Port(port(1)))))
        .await
        .unwrap();
    let (a, mut c) = (here.attach(port(1)).await.unwrap(), there.attach(port(1)).await.unwrap());
    let frame = framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(b"secret")));

    assert!(a.send(frame.clone()).await, "without a key nothing leaves the host");
    here.set_keys(vni(1), KeyId::new(1), keys(7)).await.unwrap();
    there.set_keys(vni(1), KeyId::new(1), keys(8)).await.unwrap();
    assert!(a.send(frame.clone()).await, "with another key nothing arrives");
    assert!(timeout(Duration::from_millis(200), c.receive()).await.is_err());
    there.set_keys(vni(1), KeyId::new(1), keys(7)).await.unwrap();
    assert!(a.send(frame.clone()).await);
    assert_eq!(timeout(SOON, c.receive()).await.unwrap(), Some(frame));
}

#[tokio::test]
async fn strangers_and_refusals_are_told() {
    let [(here, first), (_, second)] = endpoints().await;
    here.set_network(vni(1), network(Location::Port(port(1)), Location::Endpoint(second))).await.unwrap();
    let taken = here.set_network(vni(2), network(Location::Port(port(1)), Location::Endpoint(second))).await;
    let reason = NetworkError::PortTaken { port: port(1), vni: vni(1) };
    assert_eq!(taken, Err(EndpointError::Network(reason)));

    let stranger = tokio::net::UdpSocket::bind("127.0.0.3:0").await.unwrap();
    let bytes = world::datagram(vni(1), &framed(mac(C), mac(A), EtherType::IPV4, b""));
    stranger.send_to(&bytes, here.local_addr()).await.unwrap();
    let mut waits = 0;
    while here.stats().await.unwrap().dropped(Discard::ForeignSource) == 0 {
        assert!(waits < 500, "the datagram from 127.0.0.3 to {first} got lost");
        waits += 1;
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_closed_says_so() {
    let [(here, _), _] = endpoints().await;
    let mut a = here.attach(port(1)).await.unwrap();
    let addr = here.local_addr();
    here.shutdown().await;
    assert_eq!(here.stats().await.unwrap_err(), EndpointError::Closed { addr });
    assert_eq!(a.receive().await, None);
    assert!(!a.send(vec![]).await);
    std::net::UdpSocket::bind(addr).expect("the port is free again");
}

const SOON: Duration = Duration::from_secs(10);

/// Two endpoints on one UDP port of two addresses.
async fn endpoints() -> [(Endpoint, IpAddr); 2] {
    let [first, second] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
    for _ in 0..20 {
        let free = std::net::UdpSocket::bind((first, 0)).unwrap().local_addr().unwrap().port();
        let here = Endpoint::bind(SocketAddr::new(first, free), free).await;
        let there = Endpoint::bind(SocketAddr::new(second, free), free).await;
        if let (Ok(here), Ok(there)) = (here, there) {
            return [(here, first), (there, second)];
        }
    }
    panic!("no UDP port is free on two addresses");
}

fn network(a: Location, c: Location) -> Network {
    Network {
        stations: [(mac(A), a), (mac(C), c)].into(),
        neighbours: [(A.into(), mac(A)), (C.into(), mac(C))].into(),
        ..Network::default()
    }
}
