//! The tokio driver on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use overlay_gossip::serf::Options;
use overlay_gossip::tokio::Agent;
use overlay_gossip::{Config, Event, Evidence, Key, MemberState, NetworkId, NodeName, Phase, Profile};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedReceiver;

async fn agent(name: &str, keys: &[Key]) -> (Agent, UnboundedReceiver<Event>) {
    let mut config = Config::new(NodeName::new(name).unwrap(), Profile::Fast);
    config.keys = keys.to_vec();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Agent::bind(config, any, any).await.unwrap()
}

async fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

fn up(agent: &Agent) -> usize {
    agent.members().iter().filter(|m| m.state == MemberState::Alive).count()
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn three_agents_meet_share_records_and_part() {
    let keys = [Key::new([7; 32]).unwrap()];
    let (a, mut events) = agent("a", &keys).await;
    let (b, _) = agent("b", &keys).await;
    let (c, _) = agent("c", &keys).await;
    let all = [&a, &b, &c];
    b.join(vec![a.local_addr()]);
    c.join(vec![a.local_addr()]);
    eventually("all up", SOON, || all.iter().all(|x| up(x) == 3)).await;

    let network = NetworkId::new("net").unwrap();
    all.iter().for_each(|x| x.join_network(network.clone()));
    eventually("all attached", SOON, || all.iter().all(|x| x.peers(&network).len() == 3)).await;
    let mut changed = b.changed();
    changed.mark_unchanged();
    a.publish(network.clone(), "t", "k", Phase::Ready, "v".into());
    let took = eventually("record", SOON, || all.iter().all(|x| x.records(&network, "t").len() == 1)).await;
    println!("record at all after {took:?}");
    assert!(changed.has_changed().unwrap());
    for i in 0..2000 {
        a.publish(network.clone(), "burst", &format!("k{i}"), Phase::Ready, vec![1; 60].into());
    }
    let took =
        eventually("burst", SOON, || all.iter().all(|x| x.records(&network, "burst").len() == 2000)).await;
    println!("2000 records at all after {took:?}");

    c.leave().await;
    eventually("c left", SOON, || {
        a.members().iter().any(|m| m.name.as_str() == "c" && m.state == MemberState::Left)
    })
    .await;
    c.shutdown().await;
    let start = Instant::now();
    b.shutdown().await;
    eventually("b dead", SOON, || {
        a.members().iter().any(|m| m.name.as_str() == "b" && m.state == MemberState::Dead)
    })
    .await;
    println!("a closed agent is dead after {:?}", start.elapsed());
    let mut refused = false;
    while let Ok(event) = events.try_recv() {
        refused |= matches!(event, Event::MemberDown { evidence: Evidence::Refused { .. }, .. });
    }
    assert!(refused, "the host refused, which is evidence");
    assert!(a.records(&network, "t").iter().all(|r| !r.suspended));
}

#[tokio::test]
async fn a_restarted_agent_on_the_same_address_is_back_at_once() {
    let (a, _events) = agent("a", &[]).await;
    let (b, _) = agent("b", &[]).await;
    let network = NetworkId::new("net").unwrap();
    let addr = b.local_addr();
    b.join(vec![a.local_addr()]);
    a.join_network(network.clone());
    b.publish(network.clone(), "t", "k", Phase::Draining, "old".into());
    eventually("old record", SOON, || a.records(&network, "t").len() == 1).await;
    let old = a.records(&network, "t")[0].version;
    b.shutdown().await;
    let config = Config::new(NodeName::new("b").unwrap(), Profile::Fast);
    let (b, _) = Agent::bind(config, addr, addr).await.unwrap();
    b.join(vec![a.local_addr()]);
    b.publish(network.clone(), "t", "k", Phase::Starting, "new".into());
    eventually("new record", SOON, || {
        a.records(&network, "t").iter().any(|r| r.value == "new" && r.version > old && !r.suspended)
    })
    .await;
    eventually("both up", SOON, || up(&a) == 2 && up(&b) == 2).await;
}

#[tokio::test]
async fn garbage_is_counted_and_changes_nothing() {
    let (a, _events) = agent("a", &[]).await;
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..200u8 {
        let garbage: Vec<u8> = (0..i).map(|j| j.wrapping_mul(31) ^ i).collect();
        udp.send_to(&garbage, a.local_addr()).unwrap();
    }
    for i in 0..150u8 {
        if let Ok(mut tcp) = tokio::net::TcpStream::connect(a.local_addr()).await {
            let _ = tcp.write_all(&[i, 0xff, 0x83, i, 1, 2, 3]).await;
        }
    }
    eventually("counted", SOON, || {
        let stats = a.stats();
        stats.datagrams_in >= 100 && stats.malformed + stats.ignored > 50
    })
    .await;
    let (b, _) = agent("b", &[]).await;
    b.join(vec![a.local_addr()]);
    eventually("still there", SOON, || up(&a) == 2 && up(&b) == 2).await;
}

#[tokio::test]
async fn strangers_without_the_key_stay_outside_until_keys_are_changed() {
    let (old, new) = (Key::new([1; 16]).unwrap(), Key::new([2; 16]).unwrap());
    let (a, _) = agent("a", std::slice::from_ref(&old)).await;
    let (b, _) = agent("b", std::slice::from_ref(&new)).await;
    b.join(vec![a.local_addr()]);
    eventually("refused", SOON, || a.stats().undecryptable > 0).await;
    assert_eq!((up(&a), up(&b)), (1, 1));
    a.set_keys(vec![new, old]);
    eventually("let in", SOON, || up(&a) == 2 && up(&b) == 2).await;
}

#[tokio::test]
async fn a_dropped_agent_frees_its_port() {
    let (a, _) = agent("a", &[]).await;
    let addr = a.local_addr();
    drop(a);
    let start = Instant::now();
    loop {
        let config = Config::new(NodeName::new("a").unwrap(), Profile::Fast);
        if Agent::bind(config, addr, addr).await.is_ok() {
            break;
        }
        assert!(start.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A key is installed everywhere, then used everywhere, then the old one is retired, while all of them talk.
#[tokio::test]
async fn nothing_is_lost_while_keys_rotate_under_load() {
    let key = |n: u8| Key::new([n; 32]).unwrap();
    let (mut agents, mut events) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c", "d"] {
        let mut config = Config::new(NodeName::new(name).unwrap(), Profile::Fast);
        config.keys = vec![key(0)];
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (agent, received) = Agent::bind_serf(config, Options::default(), any, any).await.unwrap();
        agents.push(agent);
        events.push(received);
    }
    let seed = agents[0].local_addr();
    agents.iter().skip(1).for_each(|agent| agent.join(vec![seed]));
    eventually("all up", SOON, || agents.iter().all(|agent| up(agent) == 4)).await;
    let network = NetworkId::new("net").unwrap();
    agents.iter().for_each(|agent| agent.join_network(network.clone()));
    let mut sent = 0;
    for round in 0..3 {
        let (old, new) = (key(round), key(round + 1));
        for keys in [vec![old.clone(), new.clone()], vec![new.clone(), old], vec![new]] {
            for agent in &agents {
                // Between two nodes' steps, all of them talk.
                for (i, talker) in agents.iter().enumerate() {
                    talker.publish(network.clone(), "t", &format!("k{sent}-{i}"), Phase::Ready, "v".into());
                    talker.send_event("tick", format!("{sent}-{i}").into(), false).unwrap();
                }
                sent += 1;
                tokio::time::sleep(Duration::from_millis(15)).await;
                agent.set_keys(keys.clone());
            }
            // What was sealed before this step has arrived.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    eventually("all records", SOON, || agents.iter().all(|a| a.records(&network, "t").len() == sent * 4))
        .await;
    let mut heard = vec![0; agents.len()];
    let (start, wanted) = (Instant::now(), sent * 4);
    while heard.iter().any(|count| *count < wanted) {
        assert!(start.elapsed() < SOON, "events heard: {heard:?} of {wanted}");
        for (received, heard) in events.iter_mut().zip(&mut heard) {
            while let Ok(event) = received.try_recv() {
                assert!(
                    !matches!(event, Event::MemberDown { .. } | Event::MemberSuspect { .. }),
                    "{event:?}"
                );
                *heard += usize::from(matches!(event, Event::UserEvent(_)));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for agent in &agents {
        let stats = agent.stats();
        assert_eq!(
            (stats.undecryptable, stats.malformed, stats.probes_failed),
            (0, 0, 0),
            "{}",
            agent.name()
        );
    }
    println!("{wanted} records and events at all 4, three rotations, nothing lost");
}
