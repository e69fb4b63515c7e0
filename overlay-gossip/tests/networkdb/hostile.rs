//! Messages that nobody sends by mistake.

use std::time::Duration;

use overlay_gossip::wire::networkdb::{BulkSync, Message, NetworkEvent, NodeEvent};
use overlay_gossip::*;

use crate::machine::{NET, Node, attach, entry, parse};

/// A compound of nothing.
const EMPTY: &[u8] = b"\x08\x05";
/// Times that leave few or none.
const LATE: [u64; 5] = [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + (1 << 32), u64::MAX];

#[test]
fn a_made_up_goodbye_at_the_end_of_all_times_can_be_objected_to() {
    for time in LATE {
        let lies = |node| {
            [Message::Node(NodeEvent { joins: false, ltime: time, node }).to_vec(), attach(node, false, time)]
        };
        let (mut accused, mut witness) = (Node::with_peers(), Node::with_peers());
        lies("us").iter().for_each(|lie| accused.hear(lie));
        lies("d1").iter().for_each(|lie| witness.hear(lie));
        accused.run(Duration::from_secs(1));
        for (_, message) in accused.said() {
            match parse(&message) {
                Message::Node(event) if event.node == "us" => {
                    witness.hear(&Message::Node(NodeEvent { node: "d1", ..event }).to_vec());
                }
                Message::Network(event) if event.node == "us" => {
                    witness.hear(&Message::Network(NetworkEvent { node: "d1", ..event }).to_vec());
                }
                _ => {}
            }
        }
        assert!(peers(&witness).contains(&"d1".to_owned()), "{time}: {:?}", peers(&witness));
    }
}

#[test]
fn an_entry_that_was_overwritten_at_the_end_of_all_times_can_be_written_again() {
    for time in LATE {
        let (mut owner, mut witness) = (Node::with_peers(), Node::with_peers());
        owner.publish("k", Phase::Ready, "genuine");
        owner.hear(&entry("us", "k", time, Some("forged")));
        witness.hear(&entry("d1", "k", time, Some("forged")));
        let version = owner.record("k").version;
        witness.hear(&entry("d1", "k", version, Some("genuine")));
        assert_eq!(witness.rows(), ["k of d1: genuine"], "{time}");
    }
}

#[test]
fn one_datagram_in_the_names_of_many_does_not_make_a_node_send_its_tables_to_all_of_them() {
    let mut node = Node::with_peers();
    let names: Vec<String> = (3..103).map(|i| format!("d{i}")).collect();
    names.iter().for_each(|name| node.meet(name));
    names.iter().for_each(|name| node.hear(&attach(name, true, 3)));
    node.publish("k", Phase::Ready, "v");
    node.run(Duration::from_secs(3));
    node.said();
    let answers = |node: &mut Node| {
        node.said().iter().filter(|(_, message)| matches!(parse(message), Message::BulkSync(_))).count()
    };
    let questions: Vec<Vec<u8>> = names.iter().map(|name| question(name)).collect();
    let all = Message::Compound(questions.iter().map(Vec::as_slice).collect()).to_vec();
    node.hear(&all);
    let first = answers(&mut node);
    node.run(Duration::from_millis(190));
    let soon = answers(&mut node);
    assert!(first + soon <= 24, "{first} at once, {soon} after it");
    // All of them get one in the end.
    node.run(Duration::from_secs(3));
    assert_eq!(first + soon + answers(&mut node), 100);
}

#[test]
fn networks_that_are_made_up_do_not_fill_what_nodes_tell_each_other() {
    let mut node = Node::with_peers();
    for i in 0..60_000 {
        let network = format!("{i:0>200}");
        for name in ["us", "d1"] {
            let event = NetworkEvent { joins: true, ltime: 100 + i, node: name, network: &network };
            node.hear(&Message::Network(event).to_vec());
        }
        if i % 1000 == 0 {
            node.said();
        }
    }
    let state = node.state();
    assert!(state < 6 << 20, "a full exchange takes {state} bytes, and nobody reads more than 8 MiB");
    assert!(peers(&node).contains(&"d1".to_owned()));
}

fn peers(node: &Node) -> Vec<String> {
    let peers = node.machine.peers(&NetworkId::new(NET).unwrap());
    peers.iter().map(ToString::to_string).collect()
}

/// Asks for everything, in somebody's name.
fn question(node: &str) -> Vec<u8> {
    Message::BulkSync(BulkSync { ltime: 3, unsolicited: true, node, networks: vec![NET], payload: EMPTY })
        .to_vec()
}
