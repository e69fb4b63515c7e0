//! Questions that serf asks ours, and ours serf.

use std::collections::BTreeMap;
use std::time::Duration;

use overlay_gossip::serf::Query;
use overlay_gossip::tokio::Agent;
use overlay_gossip::{Event, MemberState, NodeName};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::peer::Serf;
use crate::{addr, eventually, ip, ours, skip, state};

pub(crate) async fn both_ask_and_answer() {
    let handler = "-event-handler=query:uptime=echo answer of $SERF_SELF_NAME to $(cat)";
    let Some(real) = Serf::start(&ip(83, 1), "real", &["-tag", "role=db", handler]) else { return skip() };
    let Some(other) = Serf::start(&ip(83, 2), "other", &["-tag", "role=web", handler]) else { return skip() };
    let (a, a_events) = ours("a", 83, 3, &[]).await;
    let (b, b_events) = ours("b", 83, 4, &[]).await;
    a.join(vec![real.addr]);
    b.join(vec![real.addr]);
    eventually("other joins", 15, || other.call(&["join", &addr(83, 3).to_string()]).contains("Success"))
        .await;
    eventually("all see all", 15, || {
        let names = ["a", "b", "real", "other"];
        let known = |agent| names.iter().all(|name| state(agent, name) == Some(MemberState::Alive));
        let shown = |serf: &Serf| names.iter().all(|name| serf.status(name) == "alive");
        known(&a) && known(&b) && shown(&real) && shown(&other)
    })
    .await;
    tokio::spawn(answer(a.clone(), a_events));
    let (heard, mut b_heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(pass_on(b.clone(), b_events, heard));

    // serf asks ours.
    let ask = |args: &[&str]| {
        let said = real.call(&[&["query", "-timeout=500ms"], args, &["uptime", "x"]].concat());
        let lines = said.lines().filter(|l| l.contains("Ack from") || l.contains("Response from"));
        let mut lines: Vec<String> = lines.map(|l| l.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    let of =
        |name: &str| [format!("Ack from '{name}'"), format!("Response from '{name}': answer of {name} to x")];
    let some = |names: &[&str]| {
        let mut lines: Vec<String> = names.iter().flat_map(|name| of(name)).collect();
        lines.sort();
        lines
    };
    assert_eq!(ask(&[]), some(&["a", "b", "real", "other"]));
    assert_eq!(ask(&["-tag", "kind=^[ab]$"]), some(&["a", "b"]));
    assert_eq!(ask(&["-tag", "kind=b|c", "-relay-factor=2"]), some(&["b"]));
    assert_eq!(ask(&["-node", "a", "-node", "other"]), some(&["a", "other"]));
    assert_eq!(ask(&["-node", "a", "-tag", "kind=b"]), some(&[]));
    let said = real.call(&["reachability"]);
    assert!(said.contains("Successfully contacted all live nodes"), "{said}");

    // Ours asks serf.
    let tags = BTreeMap::from([("role".to_owned(), "^(d|w)[[:alpha:]]+$".to_owned())]);
    let timeout = Some(Duration::from_millis(500));
    let query = Query { tags, ack: true, relay: 2, timeout, ..Query::new("uptime", "y") };
    let said = collect(&b, &mut b_heard, query).await;
    let expected =
        ["ack of other", "ack of real", "other: answer of other to y", "real: answer of real to y"];
    assert_eq!(said, expected);
    let query = Query { nodes: vec![NodeName::new("a").unwrap()], timeout, ..Query::new("uptime", "z") };
    assert_eq!(collect(&b, &mut b_heard, query).await, ["a: answer of a to z"]);
    let query = Query { timeout, ack: true, ..Query::new("_serf_ping", "") };
    let said = collect(&b, &mut b_heard, query).await;
    assert_eq!(said, ["ack of a", "ack of b", "ack of other", "ack of real"]);

    // A name is claimed twice: serf asks around, and whoever came second gives up.
    let Some(mut second) = Serf::start(&ip(83, 5), "a", &[&format!("-join={}", addr(83, 1))]) else { return };
    eventually("the second a gives up", 15, || second.has_ended()).await;
    let log = second.log();
    assert!(log.contains("minority in name conflict resolution, quitting [0 / 3]"), "{log}");
    assert!(!log.contains("Failed to decode") && !log.contains("Invalid conflict"), "{log}");
    eventually("the first a stays", 5, || {
        state(&b, "a") == Some(MemberState::Alive) && real.status("a") == "alive"
    })
    .await;
    for serf in [&real, &other] {
        assert_eq!(serf.complaints(), Vec::<String>::new());
        assert!(!serf.log().contains("query reply ID mismatch"));
    }
    assert_eq!((a.stats().malformed, b.stats().malformed), (0, 0));
}

/// Answers whatever is asked.
async fn answer(agent: Agent, mut events: UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        answer_one(&agent, event);
    }
}

/// Answers, and passes on what is said to questions.
async fn pass_on(
    agent: Agent,
    mut events: UnboundedReceiver<Event>,
    heard: tokio::sync::mpsc::UnboundedSender<Event>,
) {
    while let Some(event) = events.recv().await {
        if matches!(event, Event::QueryAck { .. } | Event::QueryAnswer { .. } | Event::QueryEnded { .. }) {
            heard.send(event).unwrap();
        } else {
            answer_one(&agent, event);
        }
    }
}

fn answer_one(agent: &Agent, event: Event) {
    if let Event::Query(question) = event {
        let to = String::from_utf8(question.payload.to_vec()).unwrap();
        let answer = format!("answer of {} to {to}\n", agent.name());
        agent.answer_query(question, answer.into());
    }
}

/// What is said to a question, until its time is over.
async fn collect(agent: &Agent, heard: &mut UnboundedReceiver<Event>, query: Query) -> Vec<String> {
    let id = agent.query(query).await.unwrap();
    let mut said = Vec::new();
    loop {
        match timeout(Duration::from_secs(5), heard.recv()).await.unwrap().unwrap() {
            Event::QueryAck { query, from } => {
                assert_eq!(query, id);
                said.push(format!("ack of {from}"));
            }
            Event::QueryAnswer { query, from, payload } => {
                assert_eq!(query, id);
                said.push(format!("{from}: {}", String::from_utf8_lossy(&payload).trim()));
            }
            Event::QueryEnded { query, acks, answers } => {
                assert_eq!((query, acks + answers), (id, said.len()));
                said.sort();
                return said;
            }
            _ => {}
        }
    }
}
