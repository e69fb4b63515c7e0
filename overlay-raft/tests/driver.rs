//! The tokio driver, on real disks and real time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]
#![allow(clippy::disallowed_methods, reason = "latencies are measured")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_raft::tokio::{Config, ProposeError, Raft, Start, StartError, start};
use overlay_raft::{MemberId, Refusal, RestoreError, Role, StateMachine};

#[tokio::test]
async fn a_bootstrapped_member_leads_and_commits_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let (raft, _out) = start(config(1, dir.path()), bootstrap(), Journal::default()).unwrap();
    raft.status().wait_for(|status| status.role == Role::Leader).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    let applied = raft.propose(b"a".to_vec()).await.unwrap();
    assert_eq!(applied.reply, b"1:a");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let status = raft.status().borrow().clone();
    assert_eq!(status.members, BTreeMap::from([(id(1), b"one".to_vec())]));
    assert_eq!(raft.read_barrier().await.unwrap(), applied.index);
    raft.stop().await;
    assert_eq!(raft.propose(b"b".to_vec()).await, Err(ProposeError::Stopped));
}

#[tokio::test]
async fn concurrent_proposals_share_fsyncs_and_keep_their_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (raft, _out) = start(config(1, dir.path()), bootstrap(), Journal::default()).unwrap();
    let mut tasks = Vec::new();
    for n in 0..500u32 {
        let raft = raft.clone();
        tasks.push(tokio::spawn(async move { (n, raft.propose(n.to_string().into_bytes()).await.unwrap()) }));
    }
    for task in tasks {
        let (n, applied) = task.await.unwrap();
        assert!(applied.reply.ends_with(format!(":{n}").as_bytes()));
    }
    assert_eq!(raft.with(|journal| journal.lines.len()), 500);
    let too_large = raft.propose(vec![0; 4 << 20]).await;
    assert!(matches!(too_large, Err(ProposeError::TooLarge { .. })));
}

#[tokio::test]
async fn a_restart_keeps_the_state_and_leads_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { snapshot_every: 7, keep_entries: 2, ..config(1, dir.path()) };
    let (raft, _out) = start(config.clone(), bootstrap(), Journal::default()).unwrap();
    for n in 0..20 {
        raft.propose(vec![b'a' + n]).await.unwrap();
    }
    assert!(raft.stats().snapshots_taken >= 2);
    raft.stop().await;
    let again = start(config.clone(), bootstrap(), Journal::default());
    assert!(matches!(again, Err(StartError::NotEmpty { .. })));
    drop(again);
    let begun = Instant::now();
    let (raft, _out) = start(config, Start::Resume, Journal::default()).unwrap();
    let applied = raft.propose(b"z".to_vec()).await;
    let applied = match applied {
        Err(ProposeError::NotLeader { .. }) => panic!("a member without others leads at once"),
        other => other.unwrap(),
    };
    assert_eq!(applied.reply, b"21:z");
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
    raft.stop().await;
}

#[tokio::test]
async fn three_members_survive_their_leader() {
    let net = Net::new(3).await;
    for n in 0..10 {
        net.at(1).propose(vec![b'a' + n]).await.unwrap();
    }
    net.kill(1);
    let leader = net.leader_among(&[2, 3]).await;
    let reply = net.at(leader).propose(b"after".to_vec()).await.unwrap().reply;
    assert_eq!(reply, b"11:after");
    let other = if leader == 2 { 3 } else { 2 };
    let index = net.at(other).read_barrier().await.unwrap();
    net.at(other).applied(index).await;
    assert_eq!(net.at(other).with(|journal| journal.lines.len()), 11);
    assert!(net.at(leader).status().borrow().reachable[&id(other)]);
    let refused = net.at(other).propose(b"no".to_vec()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(id(leader)) }));
}

#[tokio::test]
async fn a_late_member_catches_up_from_a_snapshot() {
    let net = Net::new(1).await;
    for n in 0..60u8 {
        net.at(1).propose(vec![b'0' + n % 10]).await.unwrap();
    }
    assert!(net.at(1).stats().snapshots_taken >= 1);
    let begun = Instant::now();
    let index = net.add(2).await;
    net.at(2).applied(index).await;
    assert_eq!(
        net.at(2).with(|journal| journal.lines.clone()),
        net.at(1).with(|journal| journal.lines.clone())
    );
    assert_eq!(net.at(2).with(|journal| journal.members.len()), 2);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_removed_member_knows_it_and_stays_out() {
    let net = Net::new(3).await;
    net.at(1).remove_member(id(3)).await.unwrap();
    net.at(3).status().wait_for(|status| status.role == Role::Removed).await.unwrap();
    assert_eq!(net.at(1).status().borrow().members.len(), 2);
    let again = net.at(1).add_member(id(3), vec![]).await;
    assert_eq!(again, Err(ProposeError::Refused(Refusal::Removed { id: id(3) })));
    net.kill(2);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Alone of two, nobody leads any more.
    assert!(matches!(net.at(1).propose(b"x".to_vec()).await, Err(ProposeError::NotLeader { .. })));
}

#[tokio::test]
async fn leadership_is_handed_over_without_an_election_timeout() {
    let net = Net::new(3).await;
    let begun = Instant::now();
    net.at(1).transfer_leadership(id(2)).await;
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    net.at(2).status().wait_for(|status| status.role == Role::Leader).await.unwrap();
    net.at(2).propose(b"x".to_vec()).await.unwrap();
    net.at(2).remove_member(id(1)).await.unwrap();
    net.at(2).propose(b"y".to_vec()).await.unwrap();
}

#[tokio::test]
async fn garbage_is_counted_and_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (raft, _out) = start(config(1, dir.path()), bootstrap(), Journal::default()).unwrap();
    let mut random = 1u64;
    for len in 0..500usize {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 56) as u8
            })
            .collect();
        raft.receive(bytes.into());
    }
    raft.propose(b"still here".to_vec()).await.unwrap();
    assert_eq!(raft.stats().malformed, 500);
}

/// Remembers every command, and answers with its number.
#[derive(Default)]
struct Journal {
    lines: Vec<String>,
    members: BTreeMap<MemberId, Vec<u8>>,
}

impl StateMachine for Journal {
    fn apply(&mut self, _index: u64, command: &[u8]) -> Vec<u8> {
        self.lines.push(String::from_utf8_lossy(command).into_owned());
        format!("{}:{}", self.lines.len(), String::from_utf8_lossy(command)).into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.lines.join("\n").into_bytes()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let text = std::str::from_utf8(snapshot).map_err(|_| RestoreError::new("not text"))?;
        self.lines = text.lines().map(str::to_owned).collect();
        Ok(())
    }

    fn members_changed(&mut self, _index: u64, members: &BTreeMap<MemberId, Vec<u8>>) {
        self.members = members.clone();
    }
}

/// Members in one process; a killed one neither sends nor receives.
struct Net {
    dir: tempfile::TempDir,
    members: Arc<Mutex<BTreeMap<u64, Raft<Journal>>>>,
}

impl Net {
    async fn new(size: u64) -> Self {
        let net = Self { dir: tempfile::tempdir().unwrap(), members: Arc::default() };
        net.start(1, bootstrap());
        net.at(1).status().wait_for(|status| status.role == Role::Leader).await.unwrap();
        for n in 2..=size {
            let index = net.add(n).await;
            net.at(n).applied(index).await;
        }
        net
    }

    fn start(&self, n: u64, how: Start) {
        let config =
            Config { snapshot_every: 20, keep_entries: 3, ..config(n, &self.dir.path().join(n.to_string())) };
        let (raft, mut out) = start(config, how, Journal::default()).unwrap();
        self.members.lock().unwrap().insert(n, raft);
        let members = Arc::clone(&self.members);
        tokio::spawn(async move {
            while let Some(outgoing) = out.recv().await {
                let members = members.lock().unwrap();
                if !members.contains_key(&n) {
                    return;
                }
                let message: Bytes = outgoing.message;
                if let Some(to) = members.get(&outgoing.to.get()) {
                    to.receive(message);
                }
            }
        });
    }

    async fn add(&self, n: u64) -> u64 {
        self.start(n, Start::Join);
        self.at(1).add_member(id(n), n.to_string().into_bytes()).await.unwrap()
    }

    fn kill(&self, n: u64) {
        self.members.lock().unwrap().remove(&n);
    }

    fn at(&self, n: u64) -> Raft<Journal> {
        self.members.lock().unwrap()[&n].clone()
    }

    async fn leader_among(&self, candidates: &[u64]) -> u64 {
        for _ in 0..500 {
            for n in candidates {
                if self.at(*n).status().borrow().role == Role::Leader {
                    return *n;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader within 5 s");
    }
}

/// Four times faster than the default, to keep the tests short.
fn config(n: u64, dir: &Path) -> Config {
    Config { tick: Duration::from_millis(25), ..Config::new(id(n), dir) }
}

fn bootstrap() -> Start {
    Start::Bootstrap { context: b"one".to_vec() }
}

fn id(n: u64) -> MemberId {
    MemberId::new(n).unwrap()
}
