//! Questions and answers between machines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use overlay_gossip::serf::{AnswerError, Options, Query, QueryError};
use overlay_gossip::{Config, Event, Input, Membership, Output, Profile};
use proptest::prelude::*;

use crate::cluster::{Cluster, addr, name};

#[test]
fn who_is_asked_answers_and_the_asker_hears_each_once() {
    let mut cluster = Cluster::new(&["web", "web", "db", "web"]);
    let mut query = Query::new("uptime", "in seconds");
    query.tags.insert("role".into(), "^web$".into());
    query.ack = true;
    let id = cluster.query(0, &query).unwrap();
    cluster.run(500);
    let asked: Vec<usize> = (0..4).filter(|i| !cluster.questions(*i).is_empty()).collect();
    assert_eq!(asked, [0, 1, 3], "all web nodes, the asker among them");
    for i in asked {
        let [question] = cluster.questions(i).try_into().unwrap();
        assert_eq!((&*question.name, &*question.payload), ("uptime", b"in seconds".as_slice()));
        assert_eq!(question.asker, Some(name(0)));
        cluster.answer(i, &question, "12").unwrap();
        cluster.answer(i, &question, "again").unwrap();
    }
    cluster.run(500);
    let (acks, answers) = cluster.heard(0);
    assert_eq!(acks, ["n0", "n1", "n3"]);
    assert_eq!(answers, ["n0 12", "n1 12", "n3 12"]);
    cluster.run(5000);
    let ended = Event::QueryEnded { query: id, acks: 3, answers: 3 };
    assert_eq!(cluster.events[0].iter().filter(|event| **event == ended).count(), 1);
    let question = cluster.questions(1).remove(0);
    assert_eq!(cluster.answer(1, &question, "late"), Err(AnswerError::Late));
    assert!((0..4).all(|i| cluster.nodes[i].stats().malformed == 0));
}

#[test]
fn only_named_nodes_are_asked_and_without_acknowledgements_none_come() {
    let mut cluster = Cluster::new(&["a", "b", "c"]);
    let query = Query { nodes: vec![name(2), name(7)], ..Query::new("who", "") };
    cluster.query(1, &query).unwrap();
    cluster.run(500);
    assert_eq!([0, 1, 2].map(|i| cluster.questions(i).len()), [0, 0, 1]);
    let question = cluster.questions(2).remove(0);
    cluster.answer(2, &question, "me").unwrap();
    cluster.run(100);
    assert_eq!(cluster.heard(1), (vec![], vec!["n2 me".to_owned()]));
}

#[test]
fn relayed_answers_arrive_when_the_direct_ones_are_lost() {
    let mut cluster = Cluster::new(&["x"; 6]);
    // Nothing but what carriers pass on may come back from the one that answers.
    cluster.cut = Some((5, 0));
    cluster.query(0, &Query { ack: true, ..Query::new("q", "") }).unwrap();
    cluster.run(1000);
    assert_eq!(cluster.heard(0).0.len(), 5);
    cluster.events.iter_mut().for_each(Vec::clear);
    cluster.query(0, &Query { relay: 3, ack: true, ..Query::new("q", "") }).unwrap();
    cluster.run(1000);
    let question = cluster.questions(5).remove(0);
    cluster.answer(5, &question, "by others").unwrap();
    cluster.run(500);
    let (acks, answers) = cluster.heard(0);
    assert_eq!(acks, ["n0", "n1", "n2", "n3", "n4", "n5"]);
    assert_eq!(answers, ["n5 by others"]);
}

#[test]
fn what_nobody_could_understand_is_not_asked() {
    let mut cluster = Cluster::new(&["x"]);
    let tagged = |expression: &str| {
        let tags = BTreeMap::from([("role".to_owned(), expression.to_owned())]);
        Query { tags, ..Query::new("q", "") }
    };
    assert!(matches!(cluster.query(0, &tagged("(")), Err(QueryError::Expression { .. })));
    assert!(matches!(cluster.query(0, &tagged("(x{999}){999}")), Err(QueryError::Expression { .. })));
    let long = Query::new("q", vec![0; 1000]);
    assert!(matches!(cluster.query(0, &long), Err(QueryError::TooLong { max: 1024, .. })));
    let many =
        Query { tags: (0..20).map(|i| (i.to_string(), String::new())).collect(), ..Query::new("q", "") };
    assert_eq!(cluster.query(0, &many), Err(QueryError::Filters { count: 20, max: 16 }));
    for _ in 0..64 {
        cluster.query(0, &Query::new("q", "")).unwrap();
    }
    assert_eq!(cluster.query(0, &Query::new("q", "")), Err(QueryError::Busy { running: 64 }));
    let question = cluster.questions(0).remove(0);
    assert!(matches!(cluster.answer(0, &question, &"x".repeat(1024)), Err(AnswerError::TooLong { .. })));
    cluster.run(5000);
    cluster.query(0, &Query::new("q", "")).unwrap();
}

#[test]
fn strangers_get_no_answers_and_nothing_passed_on() {
    let mut cluster = Cluster::new(&["x", "x"]);
    let stranger = b"\xa4\xc0\xa8\x01\x01";
    let mut query = b"\x08\x04\x86\xa4Addr".to_vec();
    query.extend_from_slice(stranger);
    query.extend_from_slice(b"\xa4Port\xcd\x1f\x0a\xa5LTime\x01\xa2ID\x05\xa5Flags\x01\xa4Name\xa1q");
    let mut relay = b"\x08\x09\x82\xa8DestAddr\x82\xa2IP".to_vec();
    relay.extend_from_slice(stranger);
    relay.extend_from_slice(b"\xa4Port\xcd\x1f\x0a\xa8DestName\xa1x\x05\x80");
    // A leave intent in the disguise of an answer.
    let mut intent = b"\x08\x09\x82\xa8DestAddr\x82\xa2IP\xa4\x7f\x00\x00\x02\xa4Port\xcd\x1f\x0a".to_vec();
    intent.extend_from_slice(b"\xa8DestName\xa1x\x00\x82\xa4Node\xa2n1\xa5LTime\x7f");
    for (payload, ignored, malformed) in [(query, 1, 0), (relay, 2, 0), (intent, 2, 1)] {
        let input = Input::Datagram { from: "192.168.1.1:7946".parse().unwrap(), payload: &payload };
        cluster.nodes[0].handle_input(cluster.now, input).unwrap();
        while let Some(output) = cluster.nodes[0].poll_output() {
            assert!(!matches!(output, Output::Transmit(_)), "{output:?}");
        }
        let stats = cluster.nodes[0].stats();
        assert_eq!((stats.ignored, stats.malformed), (ignored, malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn broken_questions_and_answers_do_no_harm(kind in 0usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut node = Membership::with_serf(Config::new(name(0), Profile::Fast), Options::default(), Instant::now(), 1);
        let now = Instant::now();
        // A query with filters by name and tag, a response, a relayed response, a leave that prunes.
        let messages: [&[u8]; 4] = [
            b"\x08\x04\x88\xa4Addr\xa4\x7f\0\0\x01\xa7Filters\x92\xaa\0\x91\xa2n0\0\0\0\0\0\xb0\x01\x82\xa4Expr\xa3a.b\xa3Tag\xa1t\xa5Flags\x03\xa2ID\x05\xa5LTime\x01\xa4Name\xae_serf_conflict\xa7Timeout\xce\x3b\x9a\xca\0\xa7Payload\xa1x",
            b"\x08\x05\x85\xa5Flags\x01\xa4From\xa1b\xa2ID\x05\xa5LTime\x01\xa7Payload\xc0",
            b"\x08\x09\x82\xa8DestAddr\x83\xa2IP\xa4\x7f\0\0\x01\xa4Port\xcd\x1f\x0a\xa4Zone\xa0\xa8DestName\xa1x\x05\x80",
            b"\x08\x00\x83\xa5LTime\x7f\xa4Node\xa2n1\xa5Prune\xc3",
        ];
        let mut message = messages[kind].to_vec();
        let at = at.index(message.len());
        message[at] = byte;
        message.truncate(1 + cut.index(message.len()));
        let input = Input::Datagram { from: addr(1), payload: &message };
        let _ = node.handle_input(now, input);
        node.handle_timeout(now + Duration::from_secs(10));
        prop_assert!(std::iter::from_fn(|| node.poll_output()).count() < 10);
    }
}
