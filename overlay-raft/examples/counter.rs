//! Three members in one process agree on a counter, and go on when the leader dies.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use overlay_raft::tokio::{Config, Raft, Start, start};
use overlay_raft::{MemberId, RestoreError, Role, StateMachine};

#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    fn apply(&mut self, _index: u64, command: &[u8]) -> Vec<u8> {
        self.0 += command.first().copied().map_or(0, u64::from);
        self.0.to_be_bytes().to_vec()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let bytes = snapshot.try_into().map_err(|_| RestoreError::new("not 8 bytes"))?;
        self.0 = u64::from_be_bytes(bytes);
        Ok(())
    }
}

type Members = Arc<Mutex<BTreeMap<MemberId, Raft<Counter>>>>;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("overlay-raft-counter-{}", std::process::id()));
    let members = Members::default();
    let mut rafts = Vec::new();
    for n in 1..=3 {
        let id = MemberId::new(n)?;
        let how = if n == 1 { Start::Bootstrap { context: b"first".to_vec() } } else { Start::Join };
        let (raft, mut outgoing) = start(Config::new(id, dir.join(n.to_string())), how, Counter::default())?;
        lock(&members).insert(id, raft.clone());
        let network = Arc::clone(&members); // yours would be TCP
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if let Some(to) = lock(&network).get(&message.to) {
                    to.receive(message.message);
                }
            }
        });
        rafts.push(raft);
    }
    let [first, second, third] = rafts.as_slice() else { return Ok(()) };
    first.status().wait_for(|status| status.role == Role::Leader).await?;
    for raft in [second, third] {
        let id = raft.status().borrow().id;
        let index = first.add_member(id, format!("member {id}").into_bytes()).await?;
        raft.applied(index).await;
    }
    let applied = first.propose(vec![5]).await?;
    println!("added 5 at index {}", applied.index);

    first.stop().await;
    println!("the leader is gone");
    let mut status = second.status();
    let leader = status.wait_for(|s| s.leader.is_some_and(|id| id.get() != 1)).await?.leader;
    let raft = lock(&members).get(&leader.ok_or("no leader")?).cloned().ok_or("no such member")?;
    raft.status().wait_for(|status| status.role == Role::Leader).await?;
    raft.propose(vec![2]).await?;
    println!("member {} leads and counts {}", raft.status().borrow().id, raft.with(|counter| counter.0));
    second.stop().await;
    third.stop().await;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn lock(members: &Members) -> std::sync::MutexGuard<'_, BTreeMap<MemberId, Raft<Counter>>> {
    members.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
