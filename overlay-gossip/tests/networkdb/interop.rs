//! With Docker's own code, on loopback addresses of our own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use overlay_gossip::tokio::Agent;
use overlay_gossip::{Config, Key, MemberState, NetworkId, NodeName, Phase, Profile, TableFormat};

use crate::peer::Docker;

const NET: &str = "netidaaaaaaaaaaaaaaaaaaaa";
const TABLE: &str = "endpoint_table";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_docker_and_ours_hold_the_same_tables() {
    let Some(mut docker) = Docker::start("d1", addr(1, 1), None) else { return skip() };
    let (a, b) = (ours("a", addr(1, 2), &[]).await, ours("b", addr(1, 3), &[]).await);
    let net = NetworkId::new(NET).unwrap();
    // 200 entries of Docker's from before we came, one withdrawn.
    docker.call(&format!("network {NET}"));
    docker.call(&format!("burst {NET} {TABLE} 200"));
    docker.call(&format!("delete {NET} {TABLE} p7"));
    a.join(vec![docker.addr]);
    eventually("a knows docker", 10, || state(&a, "d1") == Some(MemberState::Alive)).await;
    a.join_network(net.clone());
    let took = eventually("bulk sync at join", 10, || a.records(&net, TABLE).len() == 199).await;
    println!("199 entries of Docker's after {took:?}");
    let one = a.records(&net, TABLE).iter().find(|r| r.key == "p42").cloned().unwrap();
    assert_eq!((one.phase, one.owner.as_str(), &*one.value), (Phase::Ready, "d1", &b"value-42"[..]));
    assert_eq!(docker.call(&format!("peers {NET}")), "a d1");
    // The other way round: ours exist before Docker's node asks.
    b.join(vec![docker.addr]);
    eventually("all know all", 10, || {
        [&a, &b].iter().all(|x| up(x) == 3) && docker.call("members") == "a b d1"
    })
    .await;
    for i in 0..200 {
        b.publish(net.clone(), TABLE, &format!("q{i}"), Phase::Ready, format!("ours-{i}").into());
    }
    let took = eventually("ours at docker", 15, || docker.entries(NET, TABLE).len() == 399).await;
    println!("200 entries of ours at Docker's node after {took:?}");
    eventually("ours at ours", 15, || a.records(&net, TABLE).len() == 399).await;
    assert_eq!(docker.call(&format!("peers {NET}")), "a b d1");
    // Create, update, withdraw: both ways.
    docker.call(&format!("create {NET} {TABLE} from-docker 1"));
    eventually("created", 5, || value(&a, "from-docker").as_deref() == Some("1")).await;
    docker.call(&format!("update {NET} {TABLE} from-docker 2"));
    eventually("updated", 5, || [&a, &b].iter().all(|x| value(x, "from-docker").as_deref() == Some("2")))
        .await;
    docker.call(&format!("delete {NET} {TABLE} from-docker"));
    eventually("deleted", 5, || [&a, &b].iter().all(|x| value(x, "from-docker").is_none())).await;
    a.publish(net.clone(), TABLE, "from-a", Phase::Starting, "0".into());
    a.publish(net.clone(), TABLE, "from-a", Phase::Ready, "1".into());
    eventually("create seen", 5, || docker.seen().contains(&format!("create {TABLE} from-a 1"))).await;
    a.publish(net.clone(), TABLE, "from-a", Phase::Draining, "2".into());
    eventually("update seen", 5, || docker.seen().contains(&format!("update {TABLE} from-a 2"))).await;
    a.publish(net.clone(), TABLE, "from-a", Phase::Gone, "".into());
    eventually("delete seen", 5, || docker.seen().contains(&format!("delete {TABLE} from-a 2"))).await;
    assert!(!docker.seen().iter().any(|line| line.ends_with("from-a 0")));
    // Docker's node leaves the network, and comes again.
    docker.call(&format!("leave-network {NET}"));
    eventually("docker's are gone", 10, || [&a, &b].iter().all(|x| x.records(&net, TABLE).len() == 200))
        .await;
    docker.call(&format!("network {NET}"));
    eventually("docker has ours again", 10, || docker.entries(NET, TABLE).len() == 200).await;
    // One of ours leaves for good, the other is killed.
    b.leave().await;
    b.shutdown().await;
    eventually("b left", 10, || docker.call("members") == "a d1" && docker.entries(NET, TABLE).is_empty())
        .await;
    assert!(a.records(&net, TABLE).is_empty());
    let stats = a.stats();
    assert_eq!((stats.malformed, stats.undecryptable, stats.records_refused), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_or_leaves_is_missed_on_both_sides() {
    let key = Key::new([9; 16]).unwrap();
    let Some(mut d1) = Docker::start("d1", addr(2, 1), Some(&key)) else { return skip() };
    let Some(mut d2) = Docker::start("d2", addr(2, 2), Some(&key)) else { return skip() };
    let a = ours("a", addr(2, 3), std::slice::from_ref(&key)).await;
    let b = ours("b", addr(2, 4), &[key]).await;
    let net = NetworkId::new(NET).unwrap();
    // Docker's nodes join ours this time, and the network comes first.
    a.publish(net.clone(), TABLE, "ka", Phase::Ready, "a".into());
    b.publish(net.clone(), TABLE, "kb", Phase::Ready, "b".into());
    b.join(vec![a.local_addr()]);
    d1.call(&format!("join {}", a.local_addr()));
    d2.call(&format!("join {}", b.local_addr()));
    d1.call(&format!("network {NET}"));
    d2.call(&format!("network {NET}"));
    d1.call(&format!("create {NET} {TABLE} k1 1"));
    d2.call(&format!("create {NET} {TABLE} k2 2"));
    eventually("all have all", 20, || {
        [&a, &b].iter().all(|x| x.records(&net, TABLE).len() == 4)
            && [&mut d1, &mut d2]
                .iter_mut()
                .all(|d| d.entries(NET, TABLE) == ["k1=1", "k2=2", "ka=a", "kb=b"])
    })
    .await;
    // Goodbye of Docker's.
    d2.call("leave");
    d2.kill();
    eventually("d2 left", 10, || [&a, &b].iter().all(|x| x.records(&net, TABLE).len() == 3)).await;
    // Kills.
    b.shutdown().await;
    let took =
        eventually("b is missed", 25, || d1.entries(NET, TABLE) == ["k1=1", "ka=a"] && suspended(&a, "kb"))
            .await;
    println!("kill of ours seen by Docker's node after {took:?}");
    d1.kill();
    let took = eventually("d1 is missed", 25, || suspended(&a, "k1")).await;
    println!("kill of Docker's node seen after {took:?}");
    assert!(!suspended(&a, "ka"));
    assert_eq!((a.stats().malformed, a.stats().undecryptable), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_each_kind_agree_after_all_have_talked_at_once() {
    let (mut docker, mut ours_) = (Vec::new(), Vec::new());
    for i in 1..=3 {
        let Some(peer) = Docker::start(&format!("d{i}"), addr(4, i), None) else { return skip() };
        docker.push(peer);
        ours_.push(ours(&format!("a{i}"), addr(4, 10 + i), &[]).await);
    }
    let net = NetworkId::new(NET).unwrap();
    let seed = docker[0].addr;
    for (peer, agent) in docker.iter_mut().zip(&ours_) {
        if peer.addr != seed {
            peer.call(&format!("join {seed}"));
        }
        agent.join(vec![seed]);
        peer.call(&format!("network {NET}"));
        agent.join_network(net.clone());
    }
    eventually("all are peers", 15, || {
        ours_.iter().all(|a| a.peers(&net).len() == 6)
            && docker.iter_mut().all(|d| d.call(&format!("peers {NET}")) == "a1 a2 a3 d1 d2 d3")
    })
    .await;
    for k in 0..60 {
        for (i, (peer, agent)) in docker.iter_mut().zip(&ours_).enumerate() {
            agent.publish(net.clone(), TABLE, &format!("a{i}-{k}"), Phase::Ready, format!("{k}").into());
            peer.call(&format!("create {NET} {TABLE} d{i}-{k} {k}"));
            if k % 3 == 0 {
                agent.publish(net.clone(), TABLE, &format!("a{i}-{k}"), Phase::Gone, "".into());
                peer.call(&format!("delete {NET} {TABLE} d{i}-{k}"));
            }
        }
    }
    let took = eventually("agreement", 40, || {
        ours_.iter().all(|a| a.records(&net, TABLE).len() == 240)
            && docker.iter_mut().all(|d| d.entries(NET, TABLE).len() == 240)
    })
    .await;
    println!("240 entries of six nodes at all of them after {took:?}");
    assert!(ours_.iter().all(|a| a.stats().malformed == 0 && a.stats().records_refused == 0));
}

/// Docker's node forgets what a node had said that it holds for dead; it is told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stood_still_has_its_entries_again_on_both_sides() {
    let Some(mut docker) = Docker::start("d1", addr(3, 1), None) else { return skip() };
    // A thread of its own, so that it can stand still.
    let (send, receive) = std::sync::mpsc::channel();
    let (frozen, halt) = std::sync::mpsc::channel::<Duration>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            send.send(ours_as("a", addr(3, 2), &[], Profile::Fast).await).unwrap();
            tokio::spawn(async move {
                loop {
                    if let Ok(time) = halt.try_recv() {
                        std::thread::sleep(time);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            let _ = stopped.await;
        });
    });
    let a = receive.recv().unwrap();
    let net = NetworkId::new(NET).unwrap();
    docker.call(&format!("network {NET}"));
    docker.call(&format!("create {NET} {TABLE} k1 1"));
    a.join(vec![docker.addr]);
    a.publish(net.clone(), TABLE, "ka", Phase::Ready, "a".into());
    let both = ["k1=1", "ka=a"];
    eventually("both have both", 10, || docker.entries(NET, TABLE) == both && value(&a, "k1").is_some())
        .await;
    // Ours stands still, and comes back.
    frozen.send(Duration::from_secs(7)).unwrap();
    eventually("ours is forgotten", 15, || docker.entries(NET, TABLE) == ["k1=1"]).await;
    let took = eventually("ours is back", 20, || docker.entries(NET, TABLE) == both).await;
    println!("ours is back {took:?} after it was missed");
    // Docker's does.
    docker.signal("STOP");
    eventually("docker's is suspended", 15, || suspended(&a, "k1")).await;
    docker.signal("CONT");
    let took =
        eventually("both are back", 20, || docker.entries(NET, TABLE) == both && !suspended(&a, "k1")).await;
    println!("Docker's is back after {took:?}");
    drop(stop);
    thread.join().unwrap();
}

async fn ours(name: &str, addr: SocketAddr, keys: &[Key]) -> Agent {
    ours_as(name, addr, keys, Profile::Lan).await
}

async fn ours_as(name: &str, addr: SocketAddr, keys: &[Key], profile: Profile) -> Agent {
    let mut config = Config::new(NodeName::new(name).unwrap(), profile);
    config.table_format = TableFormat::NetworkDb;
    config.keys = keys.to_vec();
    Agent::bind(config, addr, addr).await.unwrap().0
}

fn value(agent: &Agent, key: &str) -> Option<String> {
    let records = agent.records(&NetworkId::new(NET).unwrap(), TABLE);
    records.iter().find(|r| r.key == key).map(|r| String::from_utf8_lossy(&r.value).into_owned())
}

fn suspended(agent: &Agent, key: &str) -> bool {
    let records = agent.records(&NetworkId::new(NET).unwrap(), TABLE);
    records.iter().any(|r| r.key == key && r.suspended)
}

fn state(agent: &Agent, name: &str) -> Option<MemberState> {
    agent.members().iter().find(|m| m.name.as_str() == name).map(|m| m.state)
}

fn up(agent: &Agent) -> usize {
    agent.members().iter().filter(|m| m.state == MemberState::Alive).count()
}

/// Addresses that other tests, and other runs of this one, do not use.
fn addr(test: u8, host: u8) -> SocketAddr {
    let run = u8::try_from(std::process::id() % 200).unwrap() + 20;
    SocketAddr::from(([127, 60 + test, run, host], 7946))
}

async fn eventually(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

fn skip() {
    println!("skipped: networkdb-peer not found");
}
