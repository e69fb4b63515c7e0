//! The output of tasks, fetched from the nodes where they ran.

use std::{collections::BTreeMap, sync::Arc};

use swarm_state::{NodeId, TaskId};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Manager,
    wire::{ControlReply, ControlRequest, SessionDown, WireLine, WireLogOptions},
};
use crate::rpc::{Connection, messages::Hello};

/// What is wanted of which tasks.
pub(super) type Wanted = (Vec<TaskId>, WireLogOptions);

/// A day: how long a followed log may be silent.
const FOLLOW: std::time::Duration = std::time::Duration::from_secs(86_400);

impl Manager {
    /// Lines of these tasks from all nodes, as they come; through the leader if this manager is a follower.
    pub(crate) fn logs(
        self: &Arc<Self>,
        tasks: Vec<TaskId>,
        options: WireLogOptions,
    ) -> mpsc::Receiver<WireLine> {
        let (sender, receiver) = mpsc::channel(256);
        let manager = Arc::clone(self);
        tokio::spawn(async move {
            if manager.is_leader() {
                collect(&manager, (tasks, options), &sender).await;
            } else {
                let _ = through_leader(&manager, (tasks, options), &sender).await;
            }
        });
        receiver
    }
}

async fn collect(manager: &Arc<Manager>, (tasks, options): Wanted, sender: &mpsc::Sender<WireLine>) {
    let mut by_node: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
    manager.read(|state| {
        for id in tasks {
            if let Some(node) = state.task(id).and_then(|task| task.node_id) {
                by_node.entry(node).or_default().push(id);
            }
        }
    });
    let mut nodes = JoinSet::new();
    for (node, tasks) in by_node {
        let ask = |request| SessionDown::Logs { request, tasks, options };
        let Some(mut lines) = manager.sessions.ask_logs(node, ask) else { continue }; // the node is away
        let sender = sender.clone();
        nodes.spawn(async move {
            while let Some((lines, done)) = lines.recv().await {
                for line in lines {
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
                if done {
                    return;
                }
            }
        });
    }
    tokio::select! {
        () = async { while nodes.join_next().await.is_some() {} } => {}
        () = sender.closed() => {}
    }
}

async fn through_leader(
    manager: &Manager,
    (tasks, options): Wanted,
    sender: &mpsc::Sender<WireLine>,
) -> Option<()> {
    let addr = crate::credentials::parse_addr(&manager.leader()?.addr)?;
    let mut connection = manager.credentials().dial(addr, &Hello::Control).await.ok()?;
    connection.send(&ControlRequest::Logs { tasks, options }).await.ok()?;
    loop {
        let reply = tokio::select! {
            reply = connection.recv::<ControlReply>(FOLLOW) => reply.ok()?,
            () = sender.closed() => return None,
        };
        let ControlReply::Lines { lines, done } = reply else { return None };
        for line in lines {
            sender.send(line).await.ok()?;
        }
        if done {
            return Some(());
        }
    }
}

/// Serves a follower that asks for lines.
pub(super) async fn stream_to_peer(manager: &Arc<Manager>, mut connection: Connection, wanted: Wanted) {
    let (sender, mut lines) = mpsc::channel(256);
    let collecting = Arc::clone(manager);
    let collector = tokio::spawn(async move { collect(&collecting, wanted, &sender).await });
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            received = lines.recv_many(&mut batch, 128) => received,
            // The other side says nothing more; when it hangs up, this ends.
            _ = connection.recv_bytes(FOLLOW) => 0,
        };
        if received == 0 {
            break;
        }
        let reply = ControlReply::Lines { lines: std::mem::take(&mut batch), done: false };
        if connection.send(&reply).await.is_err() {
            collector.abort();
            return;
        }
    }
    collector.abort();
    let _ = connection.send(&ControlReply::Lines { lines: Vec::new(), done: true }).await;
}
