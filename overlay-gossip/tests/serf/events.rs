//! Events, told to all.

use overlay_gossip::Event;

use super::cluster::Cluster;

/// With as many nodes as these, memberlist sends each message eight times: one in thirty misses somebody, who would wait
/// for a full exchange. These nodes have none.
#[test]
fn every_event_reaches_every_node_soon() {
    let mut cluster = Cluster::new(&["web"; 98]);
    for i in 0..60 {
        let now = cluster.now;
        cluster.nodes[i].send_event(now, "deploy", i.to_string().as_bytes(), false).unwrap();
    }
    cluster.run(3000);
    for (i, events) in cluster.events.iter().enumerate() {
        let heard = events.iter().filter(|event| matches!(event, Event::UserEvent(_))).count();
        assert_eq!(heard, 60, "at n{i}");
    }
}
