//! With a real serf agent, on loopback addresses of our own.
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
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use overlay_gossip::tokio::Agent;
use overlay_gossip::{Config, Key, MemberState, NetworkId, NodeName, Phase, Profile, Vsn};

struct Serf {
    child: Child,
    rpc: String,
    addr: SocketAddr,
}

impl Serf {
    fn start(ip: &str, name: &str, key: Option<&str>) -> Option<Self> {
        let rpc = format!("{ip}:7373");
        let mut command = Command::new("serf");
        command.args(["agent", &format!("-node={name}"), &format!("-bind={ip}:7946")]);
        command.args([&format!("-rpc-addr={rpc}"), "-log-level=err"]);
        if let Some(key) = key {
            command.arg(format!("-encrypt={key}"));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { child, rpc, addr: format!("{ip}:7946").parse().unwrap() })
    }

    fn call(&self, args: &[&str]) -> String {
        let output = Command::new("serf")
            .arg(args[0])
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(&args[1..])
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// What `serf members` says about a node.
    fn status(&self, name: &str) -> String {
        let members = self.call(&["members"]);
        let line = members.lines().find(|l| l.split_whitespace().next() == Some(name));
        line.and_then(|l| l.split_whitespace().nth(2)).unwrap_or("absent").to_owned()
    }
}

impl Drop for Serf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(name: &str) -> Config {
    Config { vsn: Vsn::SERF, ..Config::new(NodeName::new(name).unwrap(), Profile::Lan) }
}

async fn eventually(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn state(agent: &Agent, name: &str) -> Option<MemberState> {
    agent.members().iter().find(|m| m.name.as_str() == name).map(|m| m.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_serf_agent_and_ours_are_one_cluster() {
    let net = std::process::id() % 200 + 20;
    let Some(mut serf) = Serf::start(&format!("127.77.{net}.1"), "real", None) else {
        println!("skipped: serf not found");
        return;
    };
    let bind = |i| format!("127.77.{net}.{i}:7946").parse::<SocketAddr>().unwrap();
    let (a, _a_events) = Agent::bind(config("a"), bind(2), bind(2)).await.unwrap();
    let (b, _b_events) = Agent::bind(config("b"), bind(3), bind(3)).await.unwrap();
    // We join serf; serf joins us.
    a.join(vec![serf.addr]);
    eventually("a knows serf", 15, || state(&a, "real") == Some(MemberState::Alive)).await;
    eventually("serf joins b", 15, || serf.call(&["join", &bind(3).to_string()]).contains("Success")).await;
    eventually("all see all", 15, || {
        state(&b, "a") == Some(MemberState::Alive)
            && state(&a, "b") == Some(MemberState::Alive)
            && serf.status("a") == "alive"
            && serf.status("b") == "alive"
    })
    .await;
    // Tables work among ours in the company of others.
    let network = NetworkId::new("net").unwrap();
    a.publish(network.clone(), "t", "k", Phase::Ready, "v".into());
    b.join_network(network.clone());
    eventually("record", 5, || b.records(&network, "t").len() == 1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((serf.status("a"), serf.status("b")), ("alive".into(), "alive".into()));
    assert_eq!((a.stats().malformed, b.stats().malformed), (0, 0));
    // Serf leaves: we know. (Without its own leave message serf shows our goodbye as `left` or `failed`.)
    b.leave().await;
    b.shutdown().await;
    eventually("b is out for serf", 10, || ["left", "failed"].contains(&serf.status("b").as_str())).await;
    serf.child.kill().unwrap();
    let start = Instant::now();
    eventually("serf is dead", 20, || state(&a, "real") == Some(MemberState::Dead)).await;
    println!("kill -9 of serf seen after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_and_compressed_serf_agent_comes_and_goes() {
    let net = std::process::id() % 200 + 20;
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let Some(serf) = Serf::start(&format!("127.78.{net}.1"), "real", Some(key)) else {
        println!("skipped: serf not found");
        return;
    };
    let bind = format!("127.78.{net}.2:7946").parse::<SocketAddr>().unwrap();
    let mut config = config("a");
    config.keys = vec![Key::new((0..32).collect::<Vec<u8>>()).unwrap()];
    config.compress = true;
    let (a, _events) = Agent::bind(config, bind, bind).await.unwrap();
    a.join(vec![serf.addr]);
    eventually("both see both", 15, || {
        state(&a, "real") == Some(MemberState::Alive) && serf.status("a") == "alive"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let stats = a.stats();
    assert_eq!((stats.malformed, stats.undecryptable, stats.probes_failed), (0, 0, 0));
    serf.call(&["leave"]);
    eventually("serf left", 15, || state(&a, "real") == Some(MemberState::Left)).await;
}
