//! What random trouble once found in the tables, in the fewest steps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "one reading of the clock is the origin of virtual time")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_gossip::{
    Action, Config, Input, Membership, NetworkId, NodeName, Output, Phase, Profile, Publish, StreamId,
};

/// An owner withdraws its record and leaves the network. A node that has not heard of it, because nothing goes between
/// it and the owner, still passes the record on (here: the datagram arrives once more). Nobody must take it.
#[test]
fn a_withdrawn_record_of_an_owner_that_left_stays_withdrawn() {
    let mut world = Pair::new();
    let network = NetworkId::new("net").unwrap();
    let now = world.now;
    world.nodes.iter_mut().for_each(|node| node.join_network(now, &network));
    world.run(3000);
    world.heard.clear();
    let key = Publish { network: &network, table: "t", key: "k" };
    world.nodes[0].publish(world.now, key, Phase::Ready, Bytes::from_static(b"v")).unwrap();
    world.run(20);
    let ready = world.heard.clone();
    assert_eq!(world.nodes[1].records(&network, "t").len(), 1);
    world.nodes[0].publish(world.now, key, Phase::Gone, Bytes::new()).unwrap();
    world.run(1000);
    world.nodes[0].leave_network(world.now, &network);
    world.run(1000);
    assert_eq!(world.nodes[1].records(&network, "t"), []);
    for payload in ready {
        let from = addr(0);
        world.nodes[1].handle_input(world.now, Input::Datagram { from, payload: &payload }).unwrap();
    }
    let at_once = world.nodes[1].records(&network, "t");
    world.run(60_000);
    let later = world.nodes[1].records(&network, "t");
    assert!(at_once.is_empty() && later.is_empty(), "at once: {at_once:?}; a minute later: {later:?}");
}

/// Owner and observer.
struct Pair {
    nodes: Vec<Membership>,
    now: Instant,
    /// Datagrams from the owner.
    heard: Vec<Bytes>,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let node = |i: u8| {
            let mut config = Config::new(NodeName::new(format!("n{i}")).unwrap(), Profile::Fast);
            (config.advertise, config.boot) = (addr(i), 1000);
            Membership::new(config, now, u64::from(i))
        };
        let mut pair = Self { nodes: vec![node(0), node(1)], now, heard: Vec::new() };
        pair.nodes[1].join(now, addr(0));
        pair.run(1000);
        pair
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            self.nodes.iter_mut().for_each(|node| node.handle_timeout(self.now));
            while self.pass_on(0) | self.pass_on(1) {}
        }
    }

    fn pass_on(&mut self, from: u8) -> bool {
        let (me, other) = (usize::from(from), usize::from(1 - from));
        match self.nodes[me].poll_output() {
            None => return false,
            Some(Output::Transmit(transmit)) => {
                let input = Input::Datagram { from: addr(from), payload: &transmit.payload };
                self.nodes[other].handle_input(self.now, input).unwrap();
                if from == 0 {
                    self.heard.push(transmit.payload);
                }
            }
            Some(Output::Action(Action::Dial { id, payload, .. })) => {
                let input = Input::Request { id: StreamId(id_of(me)), from: addr(from), payload: &payload };
                self.nodes[other].handle_input(self.now, input).unwrap();
                let mut answer = Bytes::new();
                while let Some(output) = self.nodes[other].poll_output() {
                    if let Output::Action(Action::Reply { payload, .. }) = output {
                        answer = payload;
                    }
                }
                let _ = self.nodes[me].handle_input(self.now, Input::Replied { id, payload: &answer });
            }
            Some(Output::Action(Action::Reply { .. }) | Output::Event(_)) => {}
        }
        true
    }
}

fn addr(i: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, i + 1], 7946))
}

fn id_of(me: usize) -> u64 {
    u64::try_from(me).unwrap()
}
