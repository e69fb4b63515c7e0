//! Messages that nobody sends by mistake.

use std::time::Instant;

use overlay_gossip::serf::{Options, Query};
use overlay_gossip::{Config, Event, MemberState, Membership, Profile, TableFormat, Vsn};

use crate::cluster::{Cluster, addr, name};

/// Times that leave few or none.
const LATE: [u64; 4] = [(1 << 63) - 1, 1 << 63, (1 << 63) + (1 << 32), u64::MAX];

#[test]
fn no_claim_about_time_ends_events_queries_or_intents() {
    for time in LATE {
        let mut cluster = Cluster::new(&["x"; 3]);
        let time = time.to_be_bytes();
        let ltime = [b"\xa5LTime\xcf".as_slice(), &time].concat();
        for message in [
            [b"\x08\x03\x83\xa4Name\xa1e\xa7Payload\xa1x".as_slice(), &ltime].concat(),
            [b"\x08\x04\x83\xa4Name\xa1q\xa2ID\x05".as_slice(), &ltime].concat(),
            [b"\x08\x00\x82\xa4Node\xa2n1".as_slice(), &ltime].concat(),
            [b"\x08\x01\x82\xa4Node\xa2n7".as_slice(), &ltime].concat(),
        ] {
            cluster.hear(2, &message);
        }
        cluster.run(2000);
        cluster.events.iter_mut().for_each(Vec::clear);
        for i in 0..100 {
            let payload = [i];
            cluster.nodes[0].send_event(cluster.now, "after", &payload, false).unwrap();
            cluster.run(20);
        }
        cluster.query(0, &Query { ack: true, ..Query::new("q", "") }).unwrap();
        cluster.run(2000);
        let heard = |event: &&Event| matches!(event, Event::UserEvent(event) if event.name == "after");
        let events: Vec<usize> = cluster.events.iter().map(|e| e.iter().filter(heard).count()).collect();
        assert_eq!(events, [100; 3], "{time:x?}");
        assert_eq!(cluster.heard(0).0, ["n0", "n1", "n2"], "{time:x?}");
        // n1 did not say that it was about to leave: when it is gone, it has failed.
        cluster.kill(1);
        cluster.run(20_000);
        assert_eq!(cluster.state(0, 1), MemberState::Dead, "{time:x?}");
    }
}

#[test]
fn a_question_is_heard_once_however_many_others_there_are() {
    let mut cluster = Cluster::new(&["x"]);
    let question = |name: &[u8; 1], id: u16, ltime: u8| {
        let addr = b"\xa4Addr\xa4\x7f\0\0\x01\xa4Port\xcd\x1f\x0a";
        let (id, ltime) = (id.to_be_bytes(), [ltime]);
        [b"\x08\x04\x85\xa4Name\xa1", &name[..], addr, b"\xa2ID\xcd", &id, b"\xa5LTime\xcc", &ltime].concat()
    };
    cluster.hear(0, &question(b"a", 7, 200));
    for id in 0..5000 {
        cluster.hear(0, &question(b"b", id, 210));
    }
    for _ in 0..20 {
        cluster.hear(0, &question(b"a", 7, 200));
        cluster.hear(0, &question(b"b", 8, 210));
        cluster.hear(0, &question(b"c", 9, 205));
    }
    let questions = cluster.questions(0);
    let count = |name: &str, id: &str| {
        questions
            .iter()
            .filter(|q| q.name == name && format!("{q:?}").contains(&format!("id: {id} ")))
            .count()
    };
    assert_eq!((count("a", "7"), count("b", "8")), (1, 1));
    assert!(count("c", "9") <= 1);
    // The next one is heard again.
    cluster.hear(0, &question(b"d", 7, 211));
    assert_eq!(cluster.questions(0).last().unwrap().name, "d");
}

#[test]
fn a_node_of_dockers_format_does_not_speak_serf() {
    let mut config = Config::new(name(0), Profile::Fast);
    config.advertise = addr(0);
    config.table_format = TableFormat::NetworkDb;
    let mut node = Membership::with_serf(config, Options::default(), Instant::now(), 1);
    let me = node.members().next().unwrap();
    assert_eq!((me.vsn, me.meta.len()), (Vsn::DOCKER, 0));
    assert!(node.send_event(Instant::now(), "e", b"", false).is_err());
}
