//! Carries the log's messages to the other managers: one connection per peer, newest address, nothing kept for the dead.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use overlay_raft::{MemberId, tokio::Outgoing};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, error::TrySendError},
    task::JoinSet,
    time::sleep,
};

use super::{Manager, machine::MemberContext};
use crate::{credentials::parse_addr, rpc::messages::Hello};

/// Messages that wait for a slow peer; more are dropped, the protocol sends them again.
const QUEUE: usize = 4096;
/// Pause after a failed connection.
const RETRY: Duration = Duration::from_millis(150);

/// Addresses of members that the log does not tell yet: a joining manager must answer the leader before it has any entry.
#[derive(Debug, Default)]
pub(crate) struct AddressBook(Mutex<BTreeMap<MemberId, String>>);

impl AddressBook {
    pub(crate) fn learn(&self, members: impl IntoIterator<Item = (MemberId, String)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(members);
    }

    fn get(&self, member: MemberId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&member).cloned()
    }
}

/// Runs until the log ends.
pub(crate) async fn run(manager: Arc<Manager>, mut outgoing: UnboundedReceiver<Outgoing>) {
    let mut peers: BTreeMap<MemberId, mpsc::Sender<Bytes>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(Outgoing { to, message }) = outgoing.recv().await {
        let peer = peers.entry(to).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            tasks.spawn(talk(Arc::clone(&manager), to, queue));
            sender
        });
        if let Err(TrySendError::Closed(_)) = peer.try_send(message) {
            peers.remove(&to);
        }
    }
}

async fn talk(manager: Arc<Manager>, to: MemberId, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(first) = queue.recv().await {
        let Some(addr) = address(&manager, to).as_deref().and_then(parse_addr) else { continue };
        let dialled = manager.credentials().dial(addr, &Hello::Raft).await;
        if let Ok(mut connection) = dialled {
            let mut next = Some(first);
            while let Some(message) = next {
                if connection.send_bytes(message).await.is_err() {
                    break;
                }
                next = queue.recv().await;
            }
        }
        manager.raft.report_unreachable(to);
        while queue.try_recv().is_ok() {} // old messages help nobody
        sleep(RETRY).await;
    }
}

fn address(manager: &Manager, member: MemberId) -> Option<String> {
    let known =
        manager.raft.status().borrow().members.get(&member).and_then(|c| MemberContext::from_bytes(c));
    known.map(|context| context.addr).or_else(|| manager.book.get(member))
}
