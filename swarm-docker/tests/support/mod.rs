//! A cluster without machines, recorded answers, and requests without a socket.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use swarm_node::{Node, NodeConfig};
use swarm_state::object::{Cluster, ContainerStatus, JoinTokens, RootCa, Task, TaskState, TaskStatus};
use swarm_state::spec::{NodeDescription, NodeRole, Platform, ResourceLimits, ServiceSpec, SwarmSpec};
use swarm_state::{
    Action, ClusterId, NetworkId, NewNode, NodeId, Reply, ServiceId, State, TaskId, TaskStatusUpdate,
    Timestamp, assignment, reconcile,
};

/// A node that is in no swarm, and its API.
pub struct Daemon {
    pub node: Node,
    pub router: Router,
    pub dir: tempfile::TempDir,
}

impl Daemon {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(NodeConfig::new(dir.path())).await.unwrap();
        Self { router: swarm_docker::router(node.clone()), node, dir }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, json: &str) -> Answer {
        self.send("POST", path, Some(json)).await
    }

    pub async fn send(&self, method: &str, path: &str, json: Option<&str>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = match json {
            Some(json) => {
                request.header("Content-Type", "application/json").body(Body::from(json.to_owned()))
            }
            None => request.body(Body::empty()),
        };
        self.ask(request.unwrap()).await
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_else(|| panic!("no message: {}", self.text)).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The body of the last answer to a path that begins so, in a recorded command.
pub fn recorded(name: &str, path: &str) -> Value {
    let file = format!("{}/tests/transcripts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let transcript: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let exchanges = transcript["exchanges"].as_array().unwrap();
    let fits = |exchange: &&Value| {
        let asked = exchange["request"]["path"].as_str().unwrap();
        asked.strip_prefix("/v1.41").is_some_and(|asked| asked.starts_with(path))
    };
    exchanges.iter().rfind(fits).unwrap_or_else(|| panic!("{path} in {name}"))["response"]["body"].clone()
}

/// One state, one clock, and workers that do what they are told.
pub struct World {
    pub state: State,
    pub now: Timestamp,
    pub nodes: Vec<NodeId>,
    index: u64,
    drawn: u128,
}

impl World {
    /// The cluster of the recordings: master, node01, node02.
    pub fn recorded() -> Self {
        let mut world = Self {
            state: State::new(),
            now: Timestamp::from_millis(1_790_000_000_000),
            nodes: Vec::new(),
            index: 0,
            drawn: 0,
        };
        for (number, hostname) in [(0, "master"), (1, "node01"), (2, "node02")] {
            world.add_node(number, hostname);
        }
        world
    }

    fn add_node(&mut self, number: u8, hostname: &str) {
        let id = NodeId::from_random(self.bits());
        let (hostname, addr) = (hostname.to_owned(), [192, 168, 99, 100 + number].into());
        let role = if number == 0 { NodeRole::Manager } else { NodeRole::Worker };
        let node = NewNode { id, role, availability: Default::default(), hostname, addr: Some(addr) };
        if number == 0 {
            let ingress = NetworkId::from_random(self.bits());
            let cluster = Box::new(cluster(ClusterId::from_random(self.bits())));
            self.ok(Action::InitCluster { cluster, node: node.clone(), ingress });
            self.ok(Action::SetManager { node: id, raft_id: 1, addr: format!("{addr}:2377") });
        } else {
            self.ok(Action::JoinNode { node: node.clone() });
        }
        let resources =
            ResourceLimits { nano_cpus: 2_000_000_000, memory_bytes: 25_276_514_304, ..Default::default() };
        let platform =
            Platform { architecture: "x86_64".to_owned(), os: "linux".to_owned(), ..Default::default() };
        let description =
            NodeDescription { hostname: node.hostname, resources, platform, ..Default::default() };
        self.ok(Action::RegisterNode { id, description: Box::new(description), addr, data_path_addr: None });
        self.nodes.push(id);
    }

    pub fn bits(&mut self) -> [u8; 16] {
        self.drawn += 1;
        (self.drawn << 96 | self.drawn).to_be_bytes()
    }

    pub fn ok(&mut self, action: Action) -> Reply {
        self.index += 1;
        let reply = self.state.apply(self.index, &action.at(self.now).with_random(|| KEY_BYTES));
        reply.unwrap_or_else(|rejection| panic!("{rejection}"))
    }

    pub fn create_service(&mut self, spec: Value) -> ServiceId {
        let id = ServiceId::from_random(self.bits());
        self.ok(Action::CreateService { id, spec: Box::new(serde_json::from_value(spec).unwrap()) });
        id
    }

    pub fn create_network(&mut self, spec: Value) -> NetworkId {
        let id = NetworkId::from_random(self.bits());
        self.ok(Action::CreateNetwork { id, spec: Box::new(serde_json::from_value(spec).unwrap()) });
        id
    }

    pub fn update_service(&mut self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        let service = self.state.service(id).unwrap();
        let (version, mut spec) = (service.meta.version, Box::new(service.spec.clone()));
        change(&mut spec);
        self.ok(Action::UpdateService { id, version, spec, rollback: false });
    }

    /// Jumps from deadline to deadline until `duration` has passed.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        loop {
            self.settle();
            match reconcile::next_deadline(&self.state, self.now) {
                Some(deadline) if deadline <= end => self.now = deadline,
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..500 {
            let mut drawn = self.drawn;
            let mut ids = || {
                drawn += 1;
                TaskId::from_random((drawn << 96 | drawn).to_be_bytes())
            };
            let ops = reconcile::plan(&self.state, self.now, &mut ids);
            self.drawn = drawn;
            let planned = !ops.is_empty();
            if planned {
                self.ok(Action::Plan { ops });
            }
            if !self.work() && !planned {
                return;
            }
        }
        panic!("no rest");
    }

    fn work(&mut self) -> bool {
        let mut moved = false;
        for node in self.nodes.clone() {
            let tasks = assignment(&self.state, node).unwrap().tasks;
            let updates: Vec<_> = tasks.iter().filter_map(|assigned| self.step(&assigned.task)).collect();
            if !updates.is_empty() {
                moved = true;
                self.ok(Action::UpdateTaskStatuses { node, updates });
            }
        }
        moved
    }

    fn step(&self, task: &Task) -> Option<TaskStatusUpdate> {
        use TaskState::*;
        let state = match (task.status.state, task.desired_state) {
            (state, Shutdown | Remove) if state <= Running => Shutdown,
            (Assigned, _) => Accepted,
            (Accepted, _) => Preparing,
            (Preparing, _) => Ready,
            (Ready, Running) => Starting,
            (Starting, _) => Running,
            _ => return None,
        };
        let container = Some(ContainerStatus { id: "c".repeat(64), pid: 1, exit_code: 0 });
        let message = if state == Running { "started" } else { state.as_str() }.to_owned();
        let status = TaskStatus { timestamp: self.now, state, message, container, ..Default::default() };
        Some(TaskStatusUpdate { task: task.id, status })
    }
}

fn cluster(id: ClusterId) -> Cluster {
    let swarm = recorded("swarm_init", "/swarm");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Cluster {
        id,
        meta: Default::default(),
        spec: SwarmSpec::default(),
        root_ca: RootCa { certificate: text(&swarm["TLSInfo"]["TrustRoot"]), key: String::new() },
        tokens: JoinTokens {
            worker: text(&swarm["JoinTokens"]["Worker"]),
            manager: text(&swarm["JoinTokens"]["Manager"]),
        },
        default_pools: Vec::new(),
        subnet_size: 24,
        data_path_port: 4789,
        gossip_keys: Vec::new(),
    }
}

/// What keys of networks are made of.
pub const KEY_BYTES: [u8; 32] = [0xab; 32];
