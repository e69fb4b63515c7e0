//! The leader's side of a worker's session: the worker reports, the leader answers with the complete assignment whenever it
//! differs from the last one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use overlay_raft::Role;
use swarm_state::{Action, Assignment, NodeId, assignment};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Manager,
    wire::{SessionDown, SessionUp, WireLine},
};
use crate::{
    clock,
    rpc::{Connection, FrameReader, FrameWriter},
    worker::routes,
};

/// Period of heartbeats in both directions. 500 ms, a tenth of Docker's.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(500);
/// A session without a word for this long is over.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// Shortest pause between two reports of a node's routes; honest ones are further apart.
const REPORTS: Duration = Duration::from_secs(1);
/// Changes that come together are sent together.
const GATHER: Duration = Duration::from_millis(5);

/// The nodes that report to this manager.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<BTreeMap<NodeId, Session>>,
    requests: AtomicU64,
    /// What nodes have said to have forgotten. Marks only grow.
    forgotten: Mutex<BTreeMap<NodeId, u64>>,
}

/// One node's session, or what is known since it ended.
#[derive(Debug)]
struct Session {
    serial: u64,
    heard: Instant,
    pausing: bool,
    /// `None` after the connection broke.
    commands: Option<mpsc::UnboundedSender<SessionDown>>,
    logs: BTreeMap<u64, mpsc::Sender<(Vec<WireLine>, bool)>>,
}

/// When a node was heard last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence {
    pub(super) heard: Instant,
    pub(super) connected: bool,
    /// It said that it will be back.
    pub(super) pausing: bool,
}

impl Sessions {
    fn with<R>(&self, look: impl FnOnce(&mut BTreeMap<NodeId, Session>) -> R) -> R {
        look(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self, node: NodeId) -> (u64, mpsc::UnboundedReceiver<SessionDown>) {
        let serial = self.requests.fetch_add(1, Ordering::Relaxed);
        let (commands, receiver) = mpsc::unbounded_channel();
        let session = Session {
            serial,
            heard: clock::instant(),
            pausing: false,
            commands: Some(commands),
            logs: BTreeMap::new(),
        };
        self.with(|open| open.insert(node, session));
        (serial, receiver)
    }

    fn close(&self, node: NodeId, serial: u64) {
        self.with(|open| {
            if let Some(session) = open.get_mut(&node).filter(|session| session.serial == serial) {
                session.commands = None;
                session.logs.clear();
            }
        });
    }

    fn heard(&self, node: NodeId, serial: u64) {
        self.with(|open| {
            if let Some(session) = open.get_mut(&node).filter(|session| session.serial == serial) {
                session.heard = clock::instant();
            }
        });
    }

    fn pausing(&self, node: NodeId, serial: u64) {
        self.with(|open| {
            if let Some(session) = open.get_mut(&node).filter(|session| session.serial == serial) {
                session.pausing = true;
            }
        });
    }

    fn forgets(&self, node: NodeId, mark: u64) {
        let mut all = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(node).or_default();
        *known = mark.max(*known);
    }

    /// Up to which mark nodes have said to have forgotten earlier holders of addresses.
    pub(super) fn forgotten<R>(&self, look: impl FnOnce(&BTreeMap<NodeId, u64>) -> R) -> R {
        look(&self.forgotten.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn presence(&self, node: NodeId) -> Option<Presence> {
        self.with(|open| {
            let session = open.get(&node)?;
            let connected = session.commands.is_some();
            Some(Presence { heard: session.heard, connected, pausing: session.pausing })
        })
    }

    /// Asks a node for lines; they arrive at the receiver until it is dropped.
    pub(super) fn ask_logs(
        &self,
        node: NodeId,
        ask: impl FnOnce(u64) -> SessionDown,
    ) -> Option<mpsc::Receiver<(Vec<WireLine>, bool)>> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.with(|open| {
            let session = open.get_mut(&node)?;
            session.commands.as_ref()?.send(ask(request)).ok()?;
            let (sender, receiver) = mpsc::channel(4096);
            session.logs.insert(request, sender);
            Some(receiver)
        })
    }

    /// Requests of a node whose reader is gone; they are forgotten here.
    fn abandoned(&self, node: NodeId) -> Vec<u64> {
        self.with(|open| {
            let Some(session) = open.get_mut(&node) else { return Vec::new() };
            let gone = session.logs.iter().filter(|(_, sender)| sender.is_closed());
            let gone: Vec<u64> = gone.map(|(request, _)| *request).collect();
            session.logs.retain(|_, sender| !sender.is_closed());
            gone
        })
    }

    /// Hands lines to whoever asked; tells the node to stop if nobody wants them any more.
    fn deliver(&self, node: NodeId, request: u64, lines: Vec<WireLine>, done: bool) {
        let sender = self.with(|open| open.get(&node)?.logs.get(&request).cloned());
        // A reader that does not keep up loses its stream; waiting for it would make the node look dead.
        let gone = sender.is_none_or(|sender| sender.try_send((lines, done)).is_err());
        if gone || done {
            self.with(|open| {
                let Some(session) = open.get_mut(&node) else { return };
                session.logs.remove(&request);
                if let (true, Some(commands)) = (gone && !done, &session.commands) {
                    let _ = commands.send(SessionDown::StopLogs { request });
                }
            });
        }
    }
}

/// Serves one session until the node or the leadership goes.
pub(super) async fn serve(manager: Arc<Manager>, mut connection: Connection, node: NodeId) {
    if !manager.is_leader() {
        let leader = manager.leader().map(|leader| leader.addr);
        let _ = connection.send(&SessionDown::Redirect { leader }).await;
        return;
    }
    let Ok(SessionUp::Register { description, addr, data_path_addr, routes: nets }) =
        connection.recv(SILENCE).await
    else {
        return;
    };
    if manager.read(|state| state.was_removed(node) || state.node(node).is_none()) {
        let _ = connection.send(&SessionDown::Removed).await;
        return;
    }
    let (serial, commands) = manager.sessions.open(node);
    let register = Action::RegisterNode { id: node, description, addr, data_path_addr };
    if manager.propose(register).await.is_ok() {
        if let Some(nets) = nets {
            report(&manager, node, nets).await; // before the node takes part
        }
        let (reader, writer) = connection.split();
        tokio::select! {
            () = listen(&manager, reader, (node, serial)) => {}
            () = tell(&manager, writer, node, commands) => {}
        }
    }
    manager.sessions.close(node, serial);
}

async fn listen(manager: &Manager, mut reader: FrameReader, (node, serial): (NodeId, u64)) {
    let mut reported = clock::instant();
    while let Ok(message) = reader.recv::<SessionUp>(SILENCE).await {
        manager.sessions.heard(node, serial);
        match message {
            SessionUp::Heartbeat | SessionUp::Register { .. } => {}
            SessionUp::Routes(nets) => {
                sleep(REPORTS.saturating_sub(clock::instant().duration_since(reported))).await;
                reported = clock::instant();
                report(manager, node, nets).await;
            }
            SessionUp::Forgotten { mark } => manager.sessions.forgets(node, mark),
            SessionUp::Pausing => manager.sessions.pausing(node, serial),
            SessionUp::Statuses(updates) => {
                // If it cannot be written down, the session ends and the worker reports again.
                if manager.propose(Action::UpdateTaskStatuses { node, updates }).await.is_err() {
                    return;
                }
            }
            SessionUp::Logs { request, lines, done } => {
                manager.sessions.deliver(node, request, lines, done);
            }
        }
    }
}

/// Writes down what a node's host reaches. A refusal is no reason to do without the node.
async fn report(manager: &Manager, node: NodeId, nets: Vec<IpNet>) {
    if nets.len() > routes::MOST {
        crate::notice(&format!("node {node} reports {} routes, which are not heeded", nets.len()));
        return; // nor do they get into the log
    }
    if manager.read(|state| state.routes(node) != nets)
        && let Err(rejection) = manager.propose(Action::ReportRoutes { node, nets }).await
    {
        crate::notice(&format!("the routes of node {node} are not heeded: {}", rejection.message));
    }
}

async fn tell(
    manager: &Manager,
    mut writer: FrameWriter,
    node: NodeId,
    mut commands: mpsc::UnboundedReceiver<SessionDown>,
) {
    let mut status = manager.raft.status();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent: Option<Assignment> = None;
    let mut patient = false;
    loop {
        if status.borrow_and_update().role != Role::Leader {
            let leader = manager.leader().map(|leader| leader.addr);
            let _ = writer.send(&SessionDown::Redirect { leader }).await;
            return;
        }
        let Some(next) = manager.read(|state| assignment(state, node)) else {
            let _ = writer.send(&SessionDown::Removed).await;
            return;
        };
        let down = next.peers.iter().any(|peer| peer.id == node && peer.down);
        if down && sent.is_some() {
            return; // it was silent for too long; when it registers again it is ready again
        }
        // What rests changes often and is not urgent: it travels with the heartbeat.
        let waits = |sent: &Assignment| *sent == next || (patient && sent.is_same_work(&next));
        if !sent.as_ref().is_some_and(waits) {
            if writer.send(&SessionDown::Assignment(Box::new(next.clone()))).await.is_err() {
                return;
            }
            sent = Some(next);
        }
        patient = true;
        let message = tokio::select! {
            changed = changed(&mut status) => if changed { continue } else { return },
            _ = heartbeat.tick() => {
                patient = false;
                for request in manager.sessions.abandoned(node) {
                    if writer.send(&SessionDown::StopLogs { request }).await.is_err() {
                        return;
                    }
                }
                SessionDown::Heartbeat
            }
            Some(command) = commands.recv() => command,
        };
        if writer.send(&message).await.is_err() {
            return;
        }
    }
}

async fn changed(status: &mut watch::Receiver<overlay_raft::Status>) -> bool {
    let changed = status.changed().await.is_ok();
    sleep(GATHER).await;
    changed
}
