//! With real serf agents, on loopback addresses of our own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

mod coming;
mod keys;
mod peer;
mod queries;
mod relay;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use overlay_gossip::serf::{Options, Tags};
use overlay_gossip::tokio::Agent;
use overlay_gossip::{Config, Event, Key, MemberState, NetworkId, NodeName, Phase, Profile};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::peer::{Serf, net};
use crate::relay::Relay;

#[test]
fn real_serf_agents_and_ours_are_one_cluster_and_ask_each_other() {
    side_by_side(a_real_agent_and_ours_are_one_cluster(), queries::both_ask_and_answer());
}

async fn a_real_agent_and_ours_are_one_cluster() {
    let Some(mut serf) = Serf::start(&ip(77, 1), "real", &["-tag", "role=db"]) else { return skip() };
    let (a, mut events) = ours("a", 77, 2, &[]).await;
    let (b, _b_events) = ours("b", 77, 3, &[]).await;
    let (c, _c_events) = ours("c", 77, 4, &[]).await;
    // We join serf; serf joins us.
    a.join(vec![serf.addr]);
    c.join(vec![serf.addr]);
    eventually("a knows serf", 15, || state(&a, "real") == Some(MemberState::Alive)).await;
    eventually("serf joins b", 15, || serf.call(&["join", &addr(77, 3).to_string()]).contains("Success"))
        .await;
    eventually("all see all", 15, || {
        state(&b, "a") == Some(MemberState::Alive)
            && state(&a, "b") == Some(MemberState::Alive)
            && ["a", "b", "c"].iter().all(|name| serf.status(name) == "alive")
    })
    .await;
    // Tags, both ways, and as they change.
    assert!(serf.member("a").contains("kind=a"), "{}", serf.member("a"));
    assert_eq!(tags(&b, "real").get("role"), Some("db"));
    let mut mine = Tags::new();
    mine.insert("kind", "changed").unwrap();
    a.set_tags(&mine);
    serf.call(&["tags", "-set", "role=web"]);
    eventually("tags change at serf", 5, || serf.member("a").contains("kind=changed")).await;
    eventually("tags change at ours", 5, || tags(&b, "real").get("role") == Some("web")).await;
    // User events, both ways; each is seen once.
    serf.call(&["event", "-coalesce=false", "deploy", "from serf"]);
    b.send_event("hello", "from ours".into(), false).unwrap();
    let mut seen = Vec::new();
    eventually("events at ours", 5, || {
        while let Ok(event) = events.try_recv() {
            if let Event::UserEvent(event) = event {
                seen.push((event.name, event.payload));
            }
        }
        seen.len() >= 2
    })
    .await;
    eventually("event at serf", 5, || serf.log().contains("user-event: hello")).await;
    // Questions are acknowledged.
    let acks = serf.call(&["query", "-timeout=1s", "uptime"]);
    assert!(acks.contains("Ack from 'a'") && acks.contains("Ack from 'b'"), "{acks}");
    // Tables work among ours in the company of others.
    let network = NetworkId::new("net").unwrap();
    a.publish(network.clone(), "t", "k", Phase::Ready, "v".into());
    b.join_network(network.clone());
    eventually("record", 5, || b.records(&network, "t").len() == 1).await;
    while let Ok(event) = events.try_recv() {
        if let Event::UserEvent(event) = event {
            seen.push((event.name, event.payload));
        }
    }
    seen.sort();
    assert_eq!(seen, [("deploy".into(), "from serf".into()), ("hello".into(), "from ours".into())]);
    assert_eq!((a.stats().malformed, b.stats().malformed), (0, 0));
    // Goodbyes and deaths.
    b.leave().await;
    b.shutdown().await;
    c.shutdown().await;
    eventually("b left for serf", 10, || serf.status("b") == "left").await;
    let start = Instant::now();
    eventually("c failed for serf and a", 25, || {
        serf.status("c") == "failed" && state(&a, "c") == Some(MemberState::Dead)
    })
    .await;
    println!("kill -9 of ours seen by both after {:?}", start.elapsed());
    assert_eq!(serf.complaints(), Vec::<String>::new());
    serf.kill();
    let start = Instant::now();
    eventually("serf is dead", 25, || state(&a, "real") == Some(MemberState::Dead)).await;
    println!("kill -9 of serf seen after {:?}", start.elapsed());
}

/// Ten of each kind; each is reached through a relay that loses every tenth datagram.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_cluster_of_twenty_lives_while_every_tenth_datagram_is_lost() {
    const EACH: u8 = 10;
    const WATCH: Duration = Duration::from_secs(15);
    let real: Vec<SocketAddr> = (1..=2 * EACH).map(|i| addr(79, i)).collect();
    let shown: Vec<SocketAddr> = (1..=2 * EACH).map(|i| addr(80, i)).collect();
    let relay = Relay::start(&real, &shown, 10).await;
    let join = format!("-retry-join={}", shown[usize::from(EACH)]);
    let mut agents = Vec::new();
    for i in EACH + 1..=2 * EACH {
        let (config, options) = config(&format!("ours{i}"), &[]);
        let at = usize::from(i) - 1;
        let (agent, events) = Agent::bind_serf(config, options, real[at], shown[at]).await.unwrap();
        agent.join(vec![shown[usize::from(EACH)]]);
        agents.push((agent, events));
    }
    let mut serfs = Vec::new();
    for i in 1..=EACH {
        let advertise = format!("-advertise={}", ip(80, i));
        let args = [&*advertise, &*join, "-retry-interval=1s"];
        let Some(serf) = Serf::start(&ip(79, i), &format!("real{i}"), &args) else { return skip() };
        serfs.push(serf);
    }
    let all = usize::from(2 * EACH);
    let start = Instant::now();
    eventually("ours see all", 30, || agents.iter().all(|(agent, _)| agent.stats().members_up == all)).await;
    println!("20 members known to all of ours after {:?}", start.elapsed());
    agents[0].0.send_event("lossy", "x".into(), false).unwrap();
    tokio::time::sleep(WATCH).await;
    for (agent, events) in &mut agents {
        assert_eq!(agent.stats().malformed, 0);
        let mut heard = 0;
        while let Ok(event) = events.try_recv() {
            match event {
                Event::MemberDown { name, evidence } => panic!("{name} is alive: {evidence:?}"),
                Event::UserEvent(_) => heard += 1,
                _ => {}
            }
        }
        assert_eq!((agent.stats().members_up, heard), (all, 1), "{}", agent.name());
    }
    for serf in &serfs {
        assert_eq!(serf.complaints(), Vec::<String>::new());
        let log = serf.log();
        assert!(!log.contains("EventMemberFailed"), "{log}");
        assert_eq!(log.matches("user-event: lossy").count(), 1, "{log}");
    }
    let members = serfs[0].call(&["members"]);
    assert_eq!(
        members.lines().filter(|l| l.split_whitespace().nth(2) == Some("alive")).count(),
        all,
        "{members}"
    );
    let (passed, lost) = relay.counts();
    println!("{passed} datagrams passed, {lost} lost");
    assert!(lost * 20 > passed, "the relay was in the way");
}

/// Two scenarios at once, since both wait most of the time. Each has a runtime of its own: commands of serf's block.
fn side_by_side(a: impl Future<Output = ()> + Send + 'static, b: impl Future<Output = ()> + Send + 'static) {
    let run = |scenario: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        std::thread::spawn(move || runtime.block_on(scenario))
    };
    for scenario in [run(Box::pin(a)), run(Box::pin(b))] {
        if let Err(panic) = scenario.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A member of ours on the `i`th address of a network.
async fn ours(name: &str, network: u8, i: u8, keys: &[Key]) -> (Agent, UnboundedReceiver<Event>) {
    let (config, options) = config(name, keys);
    Agent::bind_serf(config, options, addr(network, i), addr(network, i)).await.unwrap()
}

fn config(name: &str, keys: &[Key]) -> (Config, Options) {
    let config = Config {
        keys: keys.to_vec(),
        compress: true,
        ..Config::new(NodeName::new(name).unwrap(), Profile::Lan)
    };
    let mut tags = Tags::new();
    tags.insert("kind", name).unwrap();
    (config, Options { tags, ..Options::default() })
}

fn ip(network: u8, i: u8) -> String {
    format!("127.{network}.{}.{i}", net())
}

fn addr(network: u8, i: u8) -> SocketAddr {
    format!("{}:7946", ip(network, i)).parse().unwrap()
}

fn state(agent: &Agent, name: &str) -> Option<MemberState> {
    agent.members().iter().find(|m| m.name.as_str() == name).map(|m| m.state)
}

fn tags(agent: &Agent, name: &str) -> Tags {
    let members = agent.members();
    members.iter().find(|m| m.name.as_str() == name).map(|m| Tags::parse(&m.meta)).unwrap_or_default()
}

async fn eventually(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn skip() {
    println!("skipped: serf not found");
}
