//! Tracked connections of real packets, in fresh network namespaces.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use overlay_linux::conntrack::{Conntrack, ConntrackError, Entry};
use overlay_linux::link::{Desired, Family, Link, Netlink};
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{BaseChain, Chain, Field, Hook, NatTo, Nft, Rule, Ruleset, Stmt, TableKey};

#[test]
fn a_datagram_socket_follows_the_rules_once_its_entry_is_forgotten() {
    let Some((netns, conntrack)) = world("a_datagram_socket") else { return };
    let mut nft = Nft::open_in(&netns).unwrap();
    let (one, two) = (Receiver::new(&netns, "127.0.0.1:0"), Receiver::new(&netns, "127.0.0.1:0"));
    nft.sync(&lead_to(one.at())).unwrap();

    let client = client(&netns, VIP);
    client.send(b"first").unwrap();
    assert_eq!(one.next(), "first");
    // A connection that no rule translates stays out of it.
    let bystander = self::client(&netns, &two.at().to_string());
    bystander.send(b"direct").unwrap();
    assert_eq!(two.next(), "direct");

    let entries = conntrack.entries(Family::V4).unwrap();
    let entry = find(&entries, &client).unwrap();
    assert_eq!((entry.protocol, entry.original.destination_port), (17, 7000));
    assert_eq!(SocketAddr::new(entry.original.destination, 7000), VIP.parse().unwrap());
    assert_eq!(entry.translated_destination(), Some(one.at()));
    assert_ne!(entry.status & Field::DNAT, 0);
    assert_eq!(entry.reply.destination_port, client.local_addr().unwrap().port());
    assert_eq!(find(&entries, &bystander).unwrap().translated_destination(), None);
    assert!(conntrack.entries(Family::V6).unwrap().is_empty());

    // The rules lead elsewhere, the entry does not.
    nft.sync(&lead_to(two.at())).unwrap();
    client.send(b"second").unwrap();
    assert_eq!(one.next(), "second");

    let stale = |entry: &Entry| entry.translated_destination() == Some(one.at());
    assert_eq!(conntrack.forget(stale).unwrap(), 1);
    assert_eq!(conntrack.forget(stale).unwrap(), 0);
    client.send(b"third").unwrap();
    assert_eq!(two.next(), "third");
    assert!(one.is_quiet());

    // The new entry is of the same client, with the same id if it got the old one's memory; it is another nevertheless.
    assert!(!conntrack.delete(&entry).unwrap());
    let entries = conntrack.entries(Family::V4).unwrap();
    let anew = find(&entries, &client).unwrap();
    assert_eq!((anew.original, anew.translated_destination()), (entry.original, Some(two.at())));
    assert!(!conntrack.delete(&Entry { id: !anew.id, ..anew }).unwrap());
    assert!(conntrack.delete(&anew).unwrap());
    assert!(!conntrack.delete(&anew).unwrap());
    let entries = conntrack.entries(Family::V4).unwrap();
    assert_eq!((entries.len(), find(&entries, &bystander).is_some()), (1, true), "{entries:?}");
}

#[test]
fn many_entries_are_forgotten_while_they_are_listed() {
    let Some((netns, conntrack)) = world("many_entries") else { return };
    let mut nft = Nft::open_in(&netns).unwrap();
    let one = Receiver::new(&netns, "127.0.0.1:0");
    nft.sync(&lead_to(one.at())).unwrap();
    let clients = netns.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    // Each port of the virtual address is a connection of its own: more than one message of the kernel can list.
    let vip: SocketAddr = VIP.parse().unwrap();
    for port in 1..=MANY {
        clients.send_to(b"?", (vip.ip(), port)).unwrap();
    }
    let odd = |entry: &Entry| entry.original.destination_port % 2 == 1;
    assert_eq!(ports(&conntrack).len(), usize::from(MANY));
    assert_eq!(conntrack.forget(odd).unwrap(), usize::from(MANY / 2));
    assert_eq!(ports(&conntrack), (1..=MANY).filter(|port| port % 2 == 0).collect());

    // A predicate that panics leaves a list half read; the next call does not mind.
    let panicking = || conntrack.forget(|_| panic!("on purpose"));
    let torn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking));
    assert!(torn.is_err());
    assert_eq!(conntrack.forget(|_| true).unwrap(), usize::from(MANY / 2));
    assert_eq!(ports(&conntrack), BTreeSet::new());
}

#[test]
fn echoes_and_ipv6_are_entries_too() {
    let Some((netns, conntrack)) = world("echoes_and_ipv6") else { return };
    Nft::open_in(&netns).unwrap().sync(&track()).unwrap();
    common::ping(&netns, IpAddr::from([127, 0, 0, 1]), 8);
    let six = Receiver::new(&netns, "[::1]:0");
    let client = client(&netns, &six.at().to_string());
    client.send(b"six").unwrap();
    assert_eq!(six.next(), "six");

    let echoes = conntrack.entries(Family::V4).unwrap();
    let [echo] = echoes.as_slice() else { panic!("{echoes:?}") };
    assert_eq!((echo.protocol, echo.original.destination_port), (1, 8 << 8), "an echo request");
    assert_eq!(echo.translated_destination(), None);
    let of_six = conntrack.entries(Family::V6).unwrap();
    let six_datagrams = find(&of_six, &client).unwrap();
    let to = six_datagrams.original;
    assert_eq!(SocketAddr::new(to.destination, to.destination_port), six.at());

    assert!(conntrack.delete(echo).unwrap());
    assert_eq!(conntrack.forget(|entry| *entry == six_datagrams).unwrap(), 1);
    assert!(!conntrack.delete(&six_datagrams).unwrap());
}

/// A fresh namespace that has the virtual address, and a handle; or a line that says what is missing.
fn world(test: &str) -> Option<(Arc<NetNs>, Conntrack)> {
    let netns = common::netns(test)?;
    let mut desired = Desired::default();
    let vip = SocketAddr::ip(&VIP.parse().unwrap());
    let lo = Link::existing().with_address(ipnet::IpNet::from(vip));
    desired.links.insert(common::name("lo"), lo);
    desired.sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    common::converge(&Netlink::open_in(&netns).unwrap(), &desired);
    let conntrack = Conntrack::open_in(&netns).and_then(|opened| opened.entries(Family::V4).map(|_| opened));
    match conntrack {
        Ok(conntrack) => Some((netns, conntrack)),
        Err(ConntrackError::Unsupported { source }) => {
            println!("skipped: {test} (no connection tracking: {source})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Every datagram to the virtual address goes there.
fn lead_to(backend: SocketAddr) -> Ruleset {
    let vip = SocketAddr::ip(&VIP.parse().unwrap());
    let IpAddr::V4(vip) = vip else { unreachable!("an IPv4 address") };
    let rule = Rule::new()
        .when(Field::IpDestination, vip)
        .when(Field::L4Protocol, 17_u8)
        .then(Stmt::DestinationNat(NatTo::socket(backend)));
    let mut ruleset = Ruleset::default();
    let chain = Chain::base(BaseChain::nat(Hook::Output, -100)).rule(rule);
    ruleset.table(TableKey::ip("vip")).chain("out", chain);
    ruleset
}

/// Makes the kernel track both families.
fn track() -> Ruleset {
    let rule = || Rule::new().when_any(Field::CtState, Field::NEW).then(Stmt::Counter);
    let mut ruleset = Ruleset::default();
    let chain = || Chain::base(BaseChain::filter(Hook::Output, 0)).rule(rule());
    ruleset.table(TableKey::ip("watch")).chain("out", chain());
    ruleset.table(TableKey::ip6("watch")).chain("out", chain());
    ruleset
}

/// A backend.
struct Receiver(UdpSocket);

impl Receiver {
    fn new(netns: &NetNs, at: &str) -> Self {
        let socket = netns.run(|| UdpSocket::bind(at).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    fn at(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn next(&self) -> String {
        let mut buffer = [0; 16];
        let len = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer.iter().copied().take(len).collect()).unwrap()
    }

    fn is_quiet(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let received = self.0.recv(&mut [0; 16]);
        received.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn client(netns: &NetNs, to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = netns.run(|| UdpSocket::bind(from).unwrap()).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// The entry of this socket's connection.
fn find(entries: &[Entry], client: &UdpSocket) -> Option<Entry> {
    let from = client.local_addr().unwrap();
    entries
        .iter()
        .find(|entry| SocketAddr::new(entry.original.source, entry.original.source_port) == from)
        .copied()
}

/// The ports of the virtual address that are tracked.
fn ports(conntrack: &Conntrack) -> BTreeSet<u16> {
    let entries = conntrack.entries(Family::V4).unwrap();
    entries.iter().map(|entry| entry.original.destination_port).collect()
}

const VIP: &str = "10.99.0.1:7000";
const MANY: u16 = 2000;
