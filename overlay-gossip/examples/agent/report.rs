//! Events as lines of JSON.
#![expect(clippy::disallowed_methods, reason = "a program reads the clock")]

use std::time::SystemTime;

use overlay_gossip::serf::{QueryId, Tags};
use overlay_gossip::{DialFailure, Event, Member, NetworkId, NodeName, Record};
use serde_json::{Map, Value, json};

pub(crate) fn print(event: &Event) {
    line(fields(event));
}

pub(crate) fn print_members(members: &[Member]) {
    let members: Vec<Value> = members
        .iter()
        .map(|m| {
            let tags: Map<String, Value> =
                Tags::parse(&m.meta).iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            json!({
                "name": m.name.as_str(), "addr": m.addr.to_string(), "state": m.state.to_string(),
                "incarnation": m.incarnation, "tags": tags })
        })
        .collect();
    line(json!({ "event": "members", "members": members }));
}

pub(crate) fn print_query(id: QueryId) {
    line(json!({ "event": "query-sent", "query": id.to_string() }));
}

pub(crate) fn print_records(network: &NetworkId, table: &str, records: &[Record]) {
    let records: Vec<Value> = records
        .iter()
        .map(|r| {
            json!({
                "key": r.key, "owner": r.owner.as_str(), "phase": r.phase.to_string(), "version": r.version,
                "value": String::from_utf8_lossy(&r.value), "suspended": r.suspended })
        })
        .collect();
    line(json!({ "event": "records", "network": network.as_str(), "table": table, "records": records }));
}

#[allow(clippy::wildcard_enum_match_arm, reason = "what is not named here is printed as it is")]
fn fields(event: &Event) -> Value {
    match event {
        Event::MemberUp { name, addr } => {
            json!({ "event": "member-join", "name": name.as_str(), "addr": addr.to_string() })
        }
        Event::MemberUpdated { name, addr } => {
            json!({ "event": "member-update", "name": name.as_str(), "addr": addr.to_string() })
        }
        Event::AddrChanged { name, was, addr } => json!({
            "event": "addr-changed", "name": name.as_str(), "was": was.to_string(), "addr": addr.to_string() }),
        Event::MemberSuspect { name, by } => {
            json!({ "event": "suspect", "name": name.as_str(), "by": by.as_str() })
        }
        Event::MemberRefuted { name } => json!({ "event": "refuted", "name": name.as_str() }),
        Event::MemberDown { name, evidence } => {
            json!({ "event": "member-failed", "name": name.as_str(), "evidence": format!("{evidence:?}") })
        }
        Event::MemberLeft { name } => json!({ "event": "member-leave", "name": name.as_str() }),
        Event::UserEvent(event) => json!({
            "event": "user", "name": event.name, "payload": String::from_utf8_lossy(&event.payload),
            "ltime": event.ltime }),
        Event::Query(question) => json!({
            "event": "query", "name": question.name, "payload": String::from_utf8_lossy(&question.payload),
            "from": question.asker.as_ref().map(NodeName::as_str) }),
        Event::QueryAck { query, from } => {
            json!({ "event": "query-ack", "query": query.to_string(), "name": from.as_str() })
        }
        Event::QueryAnswer { query, from, payload } => json!({
            "event": "query-answer", "query": query.to_string(), "name": from.as_str(),
            "payload": String::from_utf8_lossy(payload) }),
        Event::QueryEnded { query, acks, answers } => json!({
            "event": "query-ended", "query": query.to_string(), "acks": acks, "answers": answers }),
        Event::KeysChanged { keys } => json!({ "event": "keys", "count": keys.len() }),
        Event::Joined { peer, members } => {
            json!({ "event": "joined", "peer": peer.to_string(), "members": members })
        }
        Event::JoinFailed { peer, failure } => {
            let why = match failure {
                DialFailure::Refused => "nobody listens there",
                DialFailure::TimedOut => "no answer in time",
                DialFailure::Broken => {
                    "unreachable, or closed without an answer: has it another key or label?"
                }
            };
            let failure = format!("{failure:?}");
            json!({ "event": "join-failed", "peer": peer.to_string(), "failure": failure, "why": why })
        }
        Event::Accused { by, incarnation } => {
            json!({ "event": "accused", "by": by.as_str(), "incarnation": incarnation })
        }
        Event::UdpBlocked { name } => json!({ "event": "udp-blocked", "name": name.as_str() }),
        Event::NameConflict { name, known, claimed } => json!({
            "event": "name-conflict", "name": name.as_str(), "known": known.to_string(),
            "claimed": claimed.to_string() }),
        Event::Left => json!({ "event": "left" }),
        other => json!({ "event": "other", "text": format!("{other:?}") }),
    }
}

fn line(mut fields: Value) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        fields.insert("t_ms".into(), now.into());
    }
    println!("{fields}");
}
