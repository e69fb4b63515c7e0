//! A worker: does what the managers assign, tells the others in the tables, and programs the kernel from both.

mod endpoints;
mod forget;
mod logs;
pub(crate) mod routes;
mod runner;
mod session;
mod unmet;
mod view;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use overlay_core::seal::Session;
use overlay_gossip::{NodeName, Profile, tokio::Agent};
use overlay_linux::netns::NetNs;
use swarm_state::{Assignment, TaskId, object::TaskStatus};
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver, watch},
    task::JoinSet,
};

use crate::{
    clock,
    config::NodeConfig,
    credentials::Credentials,
    dataplane::{self, Plane, scene::GatewayBridge},
    dns, proxy,
    runtime::{ProcessRuntime, TaskRuntime},
};
use endpoints::Tables;
pub(crate) use view::host_ports;

/// What a worker starts with.
pub(crate) struct Post {
    pub(crate) config: NodeConfig,
    pub(crate) credentials: Credentials,
    /// The address that others reach.
    pub(crate) addr: IpAddr,
    /// Where tunnels end; usually the same.
    pub(crate) data_path_addr: IpAddr,
    /// `address:port` of managers to begin with.
    pub(crate) managers: Vec<String>,
    pub(crate) on_gossip: Box<dyn Fn(Agent) + Send + Sync>,
}

/// A task's place in this node's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) netns: Arc<NetNs>,
    pub(crate) gateway_addr: Ipv4Addr,
}

/// The running worker.
pub(crate) struct Worker {
    pub(crate) post: Post,
    pub(crate) runtime: Arc<dyn TaskRuntime>,
    pub(crate) assignment: watch::Sender<Option<Arc<Assignment>>>,
    pub(crate) gossip: OnceLock<Agent>,
    /// What the tables say, as of the last change.
    pub(crate) tables: watch::Sender<Arc<Tables>>,
    /// How tasks are, until the managers have forgotten them.
    pub(crate) statuses: watch::Sender<BTreeMap<TaskId, TaskStatus>>,
    /// What this host reaches without the swarm; `None` before the first look.
    pub(crate) routes: watch::Sender<Option<Vec<IpNet>>>,
    /// The mark up to which nothing here shows an address that was given back.
    pub(crate) forgotten: watch::Sender<u64>,
    pub(crate) removed: watch::Sender<bool>,
    /// Whether this kernel can make VXLAN devices.
    pub(crate) kernel_vxlan: bool,
    /// This run of the daemon: greater than every earlier one in this directory.
    pub(crate) session: Session,
    /// The user-space plane while a network needs it.
    pub(crate) user_plane: dataplane::Running,
    managers: Mutex<Vec<String>>,
    credentials: Mutex<Credentials>,
    attached: Mutex<BTreeMap<TaskId, Attached>>,
    last_gateway_addr: Mutex<Option<Ipv4Addr>>,
    plane: OnceLock<Plane>,
    plane_changed: Arc<Notify>,
    /// The manager should be told that the daemon will be back; and: it was told.
    pausing: Notify,
    paused: Notify,
    /// Whether the assignment and the tables are complete enough to program the kernel from them.
    settled: watch::Sender<bool>,
    background: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("addr", &self.post.addr).finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts with what an earlier daemon left: its assignment, its tasks, its kernel state.
    pub(crate) fn start(post: Post) -> Arc<Self> {
        let runtime = post.config.runtime.clone().unwrap_or_else(|| {
            Arc::new(ProcessRuntime::new(post.config.data_dir.join("tasks"))) as Arc<dyn TaskRuntime>
        });
        let saved = std::fs::read(assignment_file(&post.config));
        let saved: Option<Assignment> = saved.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // What another membership left is not ours.
        let me = post.credentials.identity.subject().node_id;
        let saved = saved.filter(|saved| saved.node == me);
        let mut managers = post.managers.clone();
        managers.extend(saved.iter().flat_map(|saved| saved.managers.iter().map(|(_, addr)| addr.clone())));
        let fresh = saved.is_none();
        let user_plane = dataplane::Running::default();
        let worker = Arc::new(Self {
            kernel_vxlan: dataplane::kernel_has_vxlan(),
            session: next_session(&post.config),
            user_plane: user_plane.clone(),
            runtime,
            assignment: watch::channel(saved.map(Arc::new)).0,
            gossip: OnceLock::new(),
            tables: watch::channel(Arc::default()).0,
            statuses: watch::channel(BTreeMap::new()).0,
            routes: watch::channel(None).0,
            forgotten: watch::channel(0).0,
            removed: watch::channel(false).0,
            managers: Mutex::new(managers),
            credentials: Mutex::new(post.credentials.clone()),
            attached: Mutex::default(),
            last_gateway_addr: Mutex::default(),
            plane: OnceLock::new(),
            plane_changed: Arc::new(Notify::new()),
            pausing: Notify::new(),
            paused: Notify::new(),
            settled: watch::channel(fresh).0,
            background: Mutex::default(),
            post,
        });
        let adopted = runner::adopt(&worker);
        let looking = Arc::downgrade(&worker);
        let scene = move || match looking.upgrade() {
            Some(worker) => view::scene(&worker),
            None => Err("the worker has ended".to_owned()),
        };
        let audit = worker.post.config.audit_interval;
        let wake = (Arc::clone(&worker.plane_changed), worker.settled.subscribe());
        let _ = worker.plane.set(Plane::start(scene, wake, user_plane, audit));
        worker.spawn(follow_assignment(Arc::clone(&worker)));
        worker.spawn(runner::run(Arc::clone(&worker), adopted));
        worker.spawn(proxy::run(Arc::clone(&worker)));
        worker.spawn(routes::watch(Arc::clone(&worker)));
        worker.spawn(forget::run(Arc::clone(&worker)));
        worker.spawn(session::run(Arc::clone(&worker)));
        worker
    }

    pub(crate) fn plane(&self) -> &Plane {
        self.plane.get().expect("set before `start` returns")
    }

    pub(crate) fn attached(&self) -> BTreeMap<TaskId, Attached> {
        lock(&self.attached).clone()
    }

    /// Gives a task an address on the gateway bridge.
    pub(crate) fn attach(&self, task: TaskId, netns: Arc<NetNs>) -> Option<Attached> {
        let mut attached = lock(&self.attached);
        let taken = attached.values().map(|attached| attached.gateway_addr).collect();
        let mut last = lock(&self.last_gateway_addr);
        let gateway_addr = GatewayBridge::default().next_free(&taken, *last)?;
        *last = Some(gateway_addr);
        let place = Attached { netns, gateway_addr };
        attached.insert(task, place.clone());
        Some(place)
    }

    /// Takes over the address of a task that was running before this daemon.
    pub(crate) fn adopt(&self, task: TaskId, place: Attached) {
        *lock(&self.last_gateway_addr) = Some(place.gateway_addr);
        lock(&self.attached).insert(task, place);
    }

    pub(crate) fn detach(&self, task: TaskId) {
        lock(&self.attached).remove(&task);
        self.plane_changed.notify_one();
    }

    pub(crate) fn report(&self, task: TaskId, status: TaskStatus) {
        self.statuses.send_modify(|statuses| {
            statuses.insert(task, status);
        });
    }

    /// A new assignment; kept on disk, so that the node goes on without managers after a restart.
    pub(crate) fn assign(&self, assignment: Assignment) {
        let file = assignment_file(&self.post.config);
        if let Ok(bytes) = serde_json::to_vec(&assignment) {
            let draft = file.with_extension("draft");
            let _ = std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, &file));
        }
        *lock(&self.managers) = assignment.managers.iter().map(|(_, addr)| addr.clone()).collect();
        self.assignment.send_replace(Some(Arc::new(assignment)));
    }

    /// `address:port` of the managers, as far as known.
    pub(crate) fn known_managers(&self) -> Vec<String> {
        lock(&self.managers).clone()
    }

    pub(crate) fn credentials(&self) -> Credentials {
        lock(&self.credentials).clone()
    }

    pub(crate) fn set_credentials(&self, credentials: Credentials) {
        *lock(&self.credentials) = credentials;
    }

    /// Ends the daemon's part. Tasks, their namespaces and the kernel's tables stay.
    pub(crate) async fn stop(&self) {
        self.pausing.notify_one();
        let _ = tokio::time::timeout(FAREWELL, self.paused.notified()).await;
        lock(&self.background).abort_all();
        self.plane().stop();
        self.user_plane.stop();
        if let Some(agent) = self.gossip.get() {
            agent.shutdown().await;
        }
    }

    /// Ends the daemon's part, the tasks and everything in the kernel that is ours.
    pub(crate) async fn remove(&self) {
        lock(&self.background).abort_all();
        self.plane().stop();
        self.user_plane.stop();
        if let Some(agent) = self.gossip.get() {
            agent.leave().await;
            agent.shutdown().await;
        }
        let tasks: Vec<TaskId> = lock(&self.attached).keys().copied().collect();
        let grace = Duration::from_secs(2);
        let stops = tasks.iter().map(|task| self.runtime.stop(task.as_str(), "SIGTERM", grace));
        futures_util::future::join_all(stops).await;
        for task in &tasks {
            self.runtime.remove(task.as_str());
        }
        lock(&self.attached).clear();
        let _ = tokio::task::spawn_blocking(dataplane::remove_everything).await;
        let _ = std::fs::remove_file(assignment_file(&self.post.config));
        let _ = std::fs::remove_dir_all(self.post.config.data_dir.join("tasks"));
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.background).spawn(task);
    }
}

fn assignment_file(config: &NodeConfig) -> PathBuf {
    config.data_dir.join("assignment.json")
}

/// A session for this run that no other run had, also if the clock was set back.
fn next_session(config: &NodeConfig) -> Session {
    let file = config.data_dir.join("session");
    let last = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let since_1970 = Duration::from_nanos(u64::try_from(clock::now().as_nanos()).unwrap_or(0));
    let fresh = Session::at(since_1970, u32::from_ne_bytes(clock::random()));
    let session = last.map_or(fresh, |last| fresh.newer_than(Session::new(last)));
    if let Err(error) = std::fs::write(&file, session.get().to_string()) {
        crate::notice(&format!("{}: {error}; sealed networks rely on the clock instead", file.display()));
    }
    session
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the gossip and the tables' readers in step with the assignment.
async fn follow_assignment(worker: Arc<Worker>) {
    let mut assignments = worker.assignment.subscribe();
    let Ok(first) = assignments.wait_for(Option::is_some).await.map(|a| a.clone()) else { return };
    let Some(first) = first else { return };
    let agent = loop {
        match start_gossip(&worker, &first).await {
            Ok(agent) => break agent,
            Err(error) => {
                crate::notice(&format!(
                    "gossip on port {}: {error}; trying again",
                    worker.post.config.gossip_port
                ));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    let mut changed = agent.changed();
    let mut joined = std::collections::BTreeSet::new();
    loop {
        let Some(assignment) = assignments.borrow_and_update().clone() else { return };
        changed.mark_unchanged();
        view::follow(&agent, &assignment, &mut joined);
        let tables = Arc::new(endpoints::read(&agent, &assignment));
        worker.tables.send_replace(tables);
        worker.plane_changed.notify_one();
        tokio::select! {
            gone = assignments.changed() => if gone.is_err() { return },
            gone = changed.changed() => if gone.is_err() { return },
        }
        tokio::time::sleep(Duration::from_millis(2)).await; // changes that come together
    }
}

async fn start_gossip(worker: &Worker, assignment: &Assignment) -> std::io::Result<Agent> {
    let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
    let name = NodeName::new(assignment.node.as_str()).map_err(|error| invalid(error.to_string()))?;
    let mut config = overlay_gossip::Config::new(name, Profile::Fast);
    config.boot = clock::now().as_millis();
    config.keys = view::keys(assignment);
    let port = worker.post.config.gossip_port;
    let any: IpAddr = if worker.post.addr.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let advertise = SocketAddr::new(worker.post.addr, port);
    let (agent, mut events) = Agent::bind(config, SocketAddr::new(any, port), advertise).await?;
    let _ = worker.gossip.set(agent.clone());
    (worker.post.on_gossip)(agent.clone());
    let settled = worker.settled.clone();
    let alone = assignment.peers.iter().all(|peer| peer.down || peer.id == assignment.node);
    worker.spawn(async move {
        if !alone {
            let _ = tokio::time::timeout(LONELY, joined(&mut events)).await;
        }
        tokio::time::sleep(EXCHANGE).await;
        settled.send_replace(true);
        while events.recv().await.is_some() {}
    });
    Ok(agent)
}

async fn joined(events: &mut UnboundedReceiver<overlay_gossip::Event>) {
    while let Some(event) = events.recv().await {
        if matches!(event, overlay_gossip::Event::Joined { .. }) {
            return;
        }
    }
}

/// Time to tell the manager that the daemon will be back.
const FAREWELL: Duration = Duration::from_millis(300);

/// Time to find a peer before the tables are taken as they are.
const LONELY: Duration = Duration::from_secs(3);
/// Time in which a peer that was found sends its tables, and adopted tasks are told of.
const EXCHANGE: Duration = Duration::from_millis(300);

/// The name servers of the host, for names that are not ours.
pub(crate) fn upstreams(config: &NodeConfig) -> Vec<IpAddr> {
    config.upstream_dns.clone().unwrap_or_else(dns::host_resolvers)
}
