//! Messages of Docker's NetworkDB that are well made and say anything.

use overlay_gossip::Vsn;
use overlay_gossip::wire::networkdb::{
    BulkSync, Change, Message, NetworkEntry, NetworkEvent, NodeEvent, PushPull, TableEvent,
};
use overlay_gossip::wire::{self, Alive};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// A datagram, or the request of a stream.
pub fn message(rng: &mut StdRng) -> Vec<u8> {
    if rng.random_bool(0.1) {
        return alive(rng);
    }
    if rng.random_bool(0.1) {
        let state = push_pull(rng);
        return super::exchange(&state);
    }
    [&[8], &*any(rng, 3)].concat()
}

/// A member, so that what it says counts.
fn alive(rng: &mut StdRng) -> Vec<u8> {
    let host = rng.random_range(0..16);
    wire::Message::Alive(Alive {
        incarnation: rng.random_range(0..3),
        node: node(rng),
        addr: &[127, 0, 0, host],
        port: 7946,
        meta: None,
        vsn: Some(Vsn::DOCKER),
    })
    .to_vec()
}

fn any(rng: &mut StdRng, depth: u8) -> Vec<u8> {
    match rng.random_range(0..if depth == 0 { 4 } else { 6 }) {
        0 => Message::Node(NodeEvent { joins: rng.random(), ltime: time(rng), node: node(rng) }).to_vec(),
        1 => {
            let (network, node) = (network(rng), node(rng));
            Message::Network(NetworkEvent { joins: rng.random_bool(0.7), ltime: time(rng), node, network })
                .to_vec()
        }
        2 => push_pull(rng),
        3 => entry(rng),
        4 => {
            let payload = several(rng, depth - 1);
            let networks = (0..rng.random_range(0..4)).map(|_| network(rng)).collect();
            let (unsolicited, ltime, node) = (rng.random(), time(rng), node(rng));
            Message::BulkSync(BulkSync { ltime, unsolicited, node, networks, payload: &payload }).to_vec()
        }
        _ => several(rng, depth - 1),
    }
}

fn several(rng: &mut StdRng, depth: u8) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = (0..rng.random_range(0..12)).map(|_| any(rng, depth)).collect();
    Message::Compound(parts.iter().map(Vec::as_slice).collect()).to_vec()
}

fn entry(rng: &mut StdRng) -> Vec<u8> {
    let value = vec![7; *[0, 1, 60, 3000].choose(rng).unwrap()];
    Message::Table(TableEvent {
        change: *[Change::Create, Change::Update, Change::Delete].choose(rng).unwrap(),
        ltime: time(rng),
        node: node(rng),
        network: network(rng),
        table: ["t", "endpoint_table", ""].choose(rng).unwrap(),
        key: ["k", "a", "b", "", "/"].choose(rng).unwrap(),
        value: &value,
        reap_after: *[0, 1, 1800, u32::MAX].choose(rng).unwrap(),
    })
    .to_vec()
}

fn push_pull(rng: &mut StdRng) -> Vec<u8> {
    let entry = |rng: &mut StdRng| NetworkEntry {
        network: network(rng),
        ltime: time(rng),
        node: node(rng),
        leaving: rng.random_bool(0.3),
    };
    let networks = (0..rng.random_range(0..20)).map(|_| entry(rng)).collect();
    Message::PushPull(PushPull { ltime: time(rng), networks, node: node(rng) }).to_vec()
}

fn node(rng: &mut StdRng) -> &'static str {
    ["me", "a", "b", "c", "d", "nobody", ""].choose(rng).unwrap()
}

fn network(rng: &mut StdRng) -> &'static str {
    ["net", "net", "net", "other", ""].choose(rng).unwrap()
}

fn time(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..12) {
        0 => u64::MAX,
        1 => 1 << 63,
        2 => (1 << 63) + rng.random_range(0..1 << 33),
        3 => 0,
        _ => rng.random_range(0..40),
    }
}
