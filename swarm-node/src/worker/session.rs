//! The worker's side of its session: find the leader, register, report, obey.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use swarm_state::{TaskId, TaskStatusUpdate, object::TaskStatus};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Worker, lock, logs::LogDesk, routes};
use crate::{
    credentials::parse_addr,
    describe,
    manager::{
        session::{HEARTBEAT, SILENCE},
        wire::{SessionDown, SessionUp},
    },
    rpc::{Connection, FrameReader, FrameWriter, messages::Hello},
};

/// Pause between rounds in which no manager took us.
const RETRY: Duration = Duration::from_millis(200);

/// Runs until the node leaves.
pub(super) async fn run(worker: Arc<Worker>) {
    let mut hint: Option<String> = None;
    let mut turn = 0;
    loop {
        let managers = candidates(&worker);
        let next = match hint.take() {
            Some(leader) => Some(leader),
            None => {
                sleep(if turn % managers.len().max(1) == 0 && turn > 0 { RETRY } else { Duration::ZERO })
                    .await;
                managers.get(turn % managers.len().max(1)).cloned()
            }
        };
        turn += 1;
        let Some(addr) = next.as_deref().and_then(parse_addr) else {
            sleep(RETRY).await;
            continue;
        };
        let credentials = worker.credentials();
        let end = tokio::select! {
            end = async {
                match credentials.dial(addr, &Hello::Session).await {
                    Ok(connection) => converse(&worker, connection).await,
                    Err(_) => End::Lost,
                }
            } => end,
            () = dies(&worker, addr.ip()) => End::Lost,
        };
        hint = match end {
            End::Redirected(leader) => leader.filter(|leader| Some(leader) != next.as_ref()),
            End::Lost => None,
            End::Removed => {
                worker.removed.send_replace(true);
                return;
            }
        };
        if hint.is_none() {
            sleep(RETRY).await;
        }
    }
}

/// The managers, without those that the gossip calls dead as long as others are left.
fn candidates(worker: &Worker) -> Vec<String> {
    let all = lock(&worker.managers).clone();
    let dead = |addr: &&String| parse_addr(addr).is_some_and(|addr| is_dead(worker, addr.ip()));
    let alive: Vec<String> = all.iter().filter(|addr| !dead(addr)).cloned().collect();
    if alive.is_empty() { all } else { alive }
}

fn is_dead(worker: &Worker, addr: IpAddr) -> bool {
    let Some(agent) = worker.gossip.get() else { return false };
    let members = agent.members();
    let mut there = members.iter().filter(|member| member.addr.ip() == addr).peekable();
    there.peek().is_some() && there.all(|member| !member.state.is_up())
}

/// Returns when the gossip calls the manager dead; its connection would be silent for longer.
async fn dies(worker: &Worker, addr: IpAddr) {
    let Some(agent) = worker.gossip.get() else { return std::future::pending().await };
    let mut changed = agent.changed();
    if is_dead(worker, addr) {
        return std::future::pending().await; // tried all the same: there is no other, or the gossip is behind
    }
    while !is_dead(worker, addr) {
        if changed.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Why a session ended.
enum End {
    Lost,
    Redirected(Option<String>),
    Removed,
}

async fn converse(worker: &Arc<Worker>, mut connection: Connection) -> End {
    let description = Box::new(describe::node(&worker.post.config));
    routes::look(worker).await;
    let routes = worker.routes.borrow().clone();
    let register = SessionUp::Register {
        description,
        addr: worker.post.addr,
        data_path_addr: Some(worker.post.data_path_addr),
        routes: routes.clone(),
    };
    if connection.send(&register).await.is_err() {
        return End::Lost;
    }
    let (reader, writer) = connection.split();
    let (answers, outbox) = mpsc::channel(64);
    tokio::select! {
        end = listen(worker, reader, answers) => end,
        () = tell(worker, writer, (outbox, routes)) => End::Lost,
    }
}

async fn listen(worker: &Arc<Worker>, mut reader: FrameReader, answers: mpsc::Sender<SessionUp>) -> End {
    let mut desk = LogDesk::new(Arc::clone(worker), answers);
    loop {
        match reader.recv::<SessionDown>(SILENCE).await {
            Ok(SessionDown::Assignment(assignment)) => worker.assign(*assignment),
            Ok(SessionDown::Heartbeat) => {}
            Ok(SessionDown::Redirect { leader }) => return End::Redirected(leader),
            Ok(SessionDown::Removed) => return End::Removed,
            Ok(SessionDown::Logs { request, tasks, options }) => desk.open(request, tasks, options),
            Ok(SessionDown::StopLogs { request }) => desk.close(request),
            Err(_) => return End::Lost,
        }
    }
}

async fn tell(
    worker: &Worker,
    mut writer: FrameWriter,
    (mut outbox, mut known): (mpsc::Receiver<SessionUp>, Option<Vec<IpNet>>),
) {
    let mut statuses = worker.statuses.subscribe();
    let mut routes = worker.routes.subscribe();
    let mut forgotten = worker.forgotten.subscribe();
    forgotten.mark_changed(); // another manager may not have heard of it
    let mut told: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = statuses.borrow_and_update().clone();
        let changed = now.iter().filter(|(task, status)| told.get(task) != Some(status));
        let updates: Vec<TaskStatusUpdate> =
            changed.map(|(task, status)| TaskStatusUpdate { task: *task, status: status.clone() }).collect();
        told = now;
        if !updates.is_empty() && writer.send(&SessionUp::Statuses(updates)).await.is_err() {
            return;
        }
        let message = tokio::select! {
            changed = statuses.changed() => if changed.is_ok() { continue } else { return },
            () = worker.pausing.notified() => {
                let _ = writer.send(&SessionUp::Pausing).await;
                worker.paused.notify_one();
                return;
            }
            _ = heartbeat.tick() => SessionUp::Heartbeat,
            Some(answer) = outbox.recv() => answer,
            Ok(()) = routes.changed() => {
                let seen = routes.borrow_and_update().clone();
                match seen {
                    Some(nets) if known.as_ref() != Some(&nets) => {
                        known = Some(nets.clone());
                        SessionUp::Routes(nets)
                    }
                    Some(_) | None => continue,
                }
            }
            Ok(()) = forgotten.changed() => match *forgotten.borrow_and_update() {
                0 => continue,
                mark => SessionUp::Forgotten { mark },
            },
        };
        if writer.send(&message).await.is_err() {
            return;
        }
    }
}
