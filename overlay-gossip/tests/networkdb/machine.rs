//! One node of ours, and what Docker's nodes tell it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_gossip::wire::networkdb::{
    BulkSync, Change, Message, NetworkEvent, NodeEvent, PushPull, TableEvent,
};
use overlay_gossip::wire::{self, Alive};
use overlay_gossip::*;
use proptest::prelude::*;

pub const NET: &str = "netidaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_deletion_that_is_not_newer_is_not_believed() {
    let (live, dead) = (entry("d1", "k", 5, Some("v")), entry("d1", "k", 5, None));
    for order in [[&live, &dead], [&dead, &live]] {
        let mut node = Node::with_peers();
        order.into_iter().for_each(|event| node.hear(event));
        assert_eq!(node.rows(), ["k of d1: v"]);
    }
    let mut node = Node::with_peers();
    node.hear(&live);
    node.hear(&entry("d1", "k", 6, None));
    node.hear(&live);
    assert_eq!(node.rows(), [""; 0]);
}

#[test]
fn entries_that_came_before_their_owner_are_asked_for_again() {
    let mut node = Node::new();
    node.join();
    node.hear(&entry("d1", "k", 5, Some("v")));
    assert_eq!(node.rows(), [""; 0]);
    node.said();
    node.hear(&attach("d1", true, 1));
    node.run(Duration::from_millis(100));
    let asked = node.said().into_iter().any(|(to, message)| {
        to == addr("d1") && matches!(parse(&message), Message::BulkSync(sync) if sync.unsolicited)
    });
    assert!(asked);
}

#[test]
fn what_is_made_up_about_this_node_is_corrected_in_a_newer_time() {
    let mut node = Node::with_peers();
    node.publish("mine", Phase::Ready, "v");
    node.run(Duration::from_millis(900));
    node.said();
    // A deletion of its own time, and one of a later one; an entry of an earlier life.
    let version = node.record("mine").version;
    for (time, lie) in [(version, None), (version + 7, None), (version + 20, Some("forged"))] {
        node.hear(&entry("us", "mine", time, lie));
        let mine = node.record("mine");
        assert_eq!((&*mine.value, mine.owner.as_str()), (&b"v"[..], "us"));
        assert!(mine.version > time);
    }
    node.hear(&entry("us", "ghost", 3, Some("of an earlier life")));
    node.run(Duration::from_millis(300));
    let told: Vec<String> = node.told();
    assert!(told.iter().any(|line| line == "delete ghost of us: of an earlier life"), "{told:?}");
    assert!(told.iter().any(|line| line == "update mine of us: v"), "{told:?}");
    // Another node withdraws what is not its own.
    let version = node.record("mine").version;
    node.hear(&entry("d1", "mine", version + 9, None));
    assert!(node.record("mine").version > version + 9);
    // It left the network, or the cluster, they say; and it is in one that it never heard of.
    for message in [
        Message::Node(NodeEvent { joins: false, ltime: 50, node: "us" }).to_vec(),
        attach("us", false, 60),
        Message::Network(NetworkEvent { joins: true, ltime: 70, node: "us", network: "other" }).to_vec(),
    ] {
        node.hear(&message);
    }
    node.run(Duration::from_millis(300));
    let said = node.said();
    let newer = |least: u64, wanted: (bool, &str)| {
        said.iter().any(|(_, message)| match parse(message) {
            Message::Node(e) => wanted == (e.joins, "") && e.node == "us" && e.ltime > least,
            Message::Network(e) => wanted == (e.joins, e.network) && e.node == "us" && e.ltime > least,
            _ => false,
        })
    };
    assert!(newer(50, (true, "")) && newer(60, (true, NET)) && newer(70, (false, "other")));
    // Once is enough.
    node.run(Duration::from_secs(3));
    node.said();
    node.hear(&Message::Node(NodeEvent { joins: false, ltime: 50, node: "us" }).to_vec());
    node.hear(&attach("us", false, 60));
    node.run(Duration::from_secs(3));
    assert_eq!(node.said().len(), 0);
}

#[test]
fn no_deletion_is_made_up_for_others() {
    let mut node = Node::with_peers();
    node.publish("mine", Phase::Ready, "v");
    node.hear(&entry("d1", "k1", 5, Some("1")));
    node.hear(&entry("d2", "k2", 6, Some("2")));
    node.hear(&attach("d1", false, 90));
    assert_eq!(node.rows(), ["k2 of d2: 2", "mine of us: v"]);
    let network = NetworkId::new(NET).unwrap();
    node.machine.leave_network(node.now, &network);
    node.run(Duration::from_secs(1));
    node.said();
    // Back: it tells the end of its own entry, which others may have missed, and nothing about those of others.
    node.join();
    node.run(Duration::from_secs(1));
    let mut told = node.told();
    told.sort();
    told.dedup();
    assert_eq!(told, ["delete mine of us: v"]);
    assert_eq!(node.rows(), [""; 0]);
}

#[test]
fn a_bulk_sync_is_answered_with_what_its_entries_depend_on() {
    let mut node = Node::with_peers();
    node.publish("mine", Phase::Ready, "v");
    node.publish("secret", Phase::Starting, "not yet");
    node.hear(&entry("d2", "k2", 6, Some("2")));
    node.run(Duration::from_secs(2));
    node.said();
    let question = bulk("d1", true, &[]);
    node.hear(&question);
    let said = node.said();
    let [(to, answer)] = &said[..] else { panic!("one answer, not {}", said.len()) };
    let Message::BulkSync(sync) = parse(answer) else { panic!("a bulk sync") };
    assert_eq!((*to, sync.unsolicited, &sync.networks[..]), (addr("d1"), false, &[NET][..]));
    let Message::Compound(parts) = parse(sync.payload) else { panic!("a compound") };
    let parts: Vec<String> = parts.into_iter().map(line).collect();
    assert_eq!(parts, ["join us", "join d1", "join d2", "create k2 of d2: 2", "create mine of us: v"]);
    // Again and again: not at once, and strangers never.
    for _ in 0..50 {
        node.hear(&question);
    }
    node.hear(&bulk("stranger", true, &[]));
    assert_eq!(node.said().len(), 0);
    node.run(Duration::from_secs(1));
    assert_eq!(node.said().iter().filter(|(_, m)| matches!(parse(m), Message::BulkSync(_))).count(), 1);
}

#[test]
fn a_large_entry_goes_by_stream() {
    let mut node = Node::with_peers();
    node.run(Duration::from_secs(1));
    node.said();
    node.publish("large", Phase::Ready, &"x".repeat(5000));
    node.run(Duration::from_secs(1));
    let said = node.said();
    assert!(["d1", "d2"].iter().all(|peer| said.iter().any(|(to, m)| *to == addr(peer) && m.len() > 5000)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever order events come in, and how often: the tables are the same.
    #[test]
    fn the_order_of_events_does_not_matter(
        events in proptest::collection::vec((0usize..2, 0usize..3, 1u64..9, any::<bool>()), 1..24),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 48),
    ) {
        let event = |&(owner, key, ltime, live): &(usize, usize, u64, bool)| {
            let value = format!("{owner}-{key}-{ltime}");
            entry(["d1", "d2"][owner], ["x", "y", "z"][key], ltime, live.then_some(&value))
        };
        let (mut a, mut b) = (Node::with_peers(), Node::with_peers());
        events.iter().for_each(|e| a.hear(&event(e)));
        order.iter().for_each(|i| b.hear(&event(i.get(&events))));
        events.iter().rev().for_each(|e| b.hear(&event(e)));
        prop_assert_eq!(a.rows(), b.rows());
    }

    #[test]
    fn no_message_makes_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 1u8..7,
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut node = Node::with_peers();
        node.hear(&[&[8, kind, 18, u8::try_from(bytes.len().min(127)).unwrap()], &*bytes].concat());
        let state = PushPull { ltime: 9, networks: Vec::new(), node: "d1" };
        for mut message in [
            entry("d1", "k", 5, Some("v")),
            entry("us", "k", u64::MAX, None),
            attach("d2", true, u64::MAX),
            bulk("d1", true, &[entry("d2", "k", 5, None)]),
            Message::PushPull(state).to_vec(),
        ] {
            node.hear(&message);
            let i = at.index(message.len());
            message[i] = byte;
            node.hear(&message);
        }
        node.run(Duration::from_secs(40));
        node.publish("k", Phase::Ready, "v");
        node.run(Duration::from_secs(1));
    }
}

/// A node, which Docker's nodes d1 and d2 may talk to.
pub struct Node {
    pub machine: Membership,
    pub now: Instant,
}

impl Node {
    pub fn new() -> Self {
        let mut config = Config::new(NodeName::new("us").unwrap(), Profile::Lan);
        config.table_format = TableFormat::NetworkDb;
        config.probe_interval = Duration::from_secs(3600); // nobody answers here
        let now = Instant::now();
        let mut node = Self { machine: Membership::new(config, now, 1), now };
        ["d1", "d2"].into_iter().for_each(|name| node.meet(name));
        node
    }

    /// Another node of Docker's appears.
    pub fn meet(&mut self, name: &str) {
        let from = addr(name);
        let std::net::IpAddr::V4(ip) = from.ip() else { panic!() };
        let alive = wire::Message::Alive(Alive {
            incarnation: 1,
            node: name,
            addr: &ip.octets(),
            port: from.port(),
            meta: None,
            vsn: Some(Vsn::DOCKER),
        });
        self.machine.handle_input(self.now, Input::Datagram { from, payload: &alive.to_vec() }).unwrap();
    }

    /// How many bytes it says in a full exchange.
    pub fn state(&mut self) -> usize {
        let question = wire::PushPull { join: false, nodes: Vec::new(), user: &[] }.to_vec();
        let input = Input::Request { id: StreamId(1), from: addr("d1"), payload: &question };
        self.machine.handle_input(self.now, input).unwrap();
        let outputs = std::iter::from_fn(|| self.machine.poll_output());
        let replies = outputs.filter_map(|output| match output {
            Output::Action(Action::Reply { payload, .. }) => Some(payload.len()),
            _ => None,
        });
        replies.sum()
    }

    /// All three are in the network.
    pub fn with_peers() -> Self {
        let mut node = Self::new();
        node.join();
        node.hear(&attach("d1", true, 1));
        node.hear(&attach("d2", true, 2));
        node.run(Duration::from_secs(1));
        for peer in ["d1", "d2"] {
            node.hear(&bulk(peer, false, &[]));
        }
        node.said();
        node
    }

    pub fn join(&mut self) {
        self.machine.join_network(self.now, &NetworkId::new(NET).unwrap());
    }

    pub fn publish(&mut self, key: &str, phase: Phase, value: &str) {
        let network = NetworkId::new(NET).unwrap();
        let value = Bytes::copy_from_slice(value.as_bytes());
        let _ = self.machine.publish(self.now, Publish { network: &network, table: "t", key }, phase, value);
    }

    pub fn hear(&mut self, message: &[u8]) {
        let payload = [&[8], message].concat();
        let _ = self.machine.handle_input(self.now, Input::Datagram { from: addr("d1"), payload: &payload });
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at) + Duration::from_micros(10);
            self.machine.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub fn record(&self, key: &str) -> Record {
        let records = self.machine.records(&NetworkId::new(NET).unwrap(), "t");
        records.into_iter().find(|record| record.key == key).unwrap()
    }

    pub fn rows(&self) -> Vec<String> {
        let records = self.machine.records(&NetworkId::new(NET).unwrap(), "t").into_iter();
        records.map(|r| format!("{} of {}: {}", r.key, r.owner, String::from_utf8_lossy(&r.value))).collect()
    }

    /// NetworkDB's messages that left, and where to.
    pub fn said(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let (envelope, mut said) = (wire::Envelope::default(), Vec::new());
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Transmit(Transmit { to, payload }) => {
                    let mut decoder = wire::Decoder::default();
                    for message in decoder.datagram(&envelope, &payload).unwrap() {
                        if let wire::Message::User(body) = wire::Message::parse(message.unwrap()).unwrap() {
                            said.push((to, body.to_vec()));
                        }
                    }
                }
                Output::Action(Action::Dial { to, payload, .. }) => {
                    let plain = envelope.unwrap_stream(&payload, true, 1 << 24).unwrap();
                    if let wire::StreamMessage::User(body) = wire::StreamMessage::parse(&plain, 1000).unwrap()
                    {
                        said.push((to, body.to_vec()));
                    }
                }
                Output::Action(Action::Reply { .. }) | Output::Event(_) => {}
            }
        }
        said
    }

    /// The entries in what it said.
    pub fn told(&mut self) -> Vec<String> {
        fn entries(message: &[u8], told: &mut Vec<String>) {
            match parse(message) {
                Message::Table(_) => told.push(line(message)),
                Message::Compound(parts) => parts.into_iter().for_each(|part| entries(part, told)),
                Message::BulkSync(sync) => entries(sync.payload, told),
                _ => {}
            }
        }
        let mut told = Vec::new();
        self.said().iter().for_each(|(_, message)| entries(message, &mut told));
        told
    }
}

pub fn parse(message: &[u8]) -> Message<'_> {
    Message::parse(message).unwrap()
}

pub fn line(message: &[u8]) -> String {
    match parse(message) {
        Message::Network(e) => format!("{} {}", if e.joins { "join" } else { "leave" }, e.node),
        Message::Table(e) => {
            let change = format!("{:?}", e.change).to_lowercase();
            format!("{change} {} of {}: {}", e.key, e.node, String::from_utf8_lossy(e.value))
        }
        other => format!("{other:?}"),
    }
}

pub fn entry(node: &str, key: &str, ltime: u64, value: Option<&str>) -> Vec<u8> {
    let change = if value.is_some() { Change::Create } else { Change::Delete };
    let (value, reap_after) = (value.unwrap_or_default().as_bytes(), if value.is_some() { 0 } else { 1800 });
    Message::Table(TableEvent { change, ltime, node, network: NET, table: "t", key, value, reap_after })
        .to_vec()
}

pub fn attach(node: &str, joins: bool, ltime: u64) -> Vec<u8> {
    Message::Network(NetworkEvent { joins, ltime, node, network: NET }).to_vec()
}

pub fn bulk(node: &str, unsolicited: bool, events: &[Vec<u8>]) -> Vec<u8> {
    let payload = Message::Compound(events.iter().map(Vec::as_slice).collect()).to_vec();
    Message::BulkSync(BulkSync { ltime: 3, unsolicited, node, networks: vec![NET], payload: &payload })
        .to_vec()
}

pub fn addr(name: &str) -> SocketAddr {
    format!("10.0.0.{}:7946", &name[1..]).parse().unwrap()
}
