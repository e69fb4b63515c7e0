//! A cluster without machines: one state, one clock, and workers that do what they are told.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::time::Duration;

use swarm_state::object::{Cluster, ContainerStatus, Task, TaskState, TaskStatus};
use swarm_state::spec::{IpamConfig, NodeDescription, NodeRole, NodeState, ResourceLimits, ServiceSpec};
use swarm_state::{
    Action, ClusterId, Command, NetworkId, NewNode, NodeId, NodeStatusUpdate, Rejection, Reply, ServiceId,
    State, TaskId, TaskStatusUpdate, Timestamp, assignment, reconcile,
};

#[derive(Clone)]
pub struct World {
    pub state: State,
    pub now: Timestamp,
    pub log: Vec<(u64, Command)>,
    pub nodes: Vec<NodeId>,
    drawn: u128,
    /// Not founded yet.
    cluster: Option<Box<Cluster>>,
}

impl World {
    /// A cluster of so many nodes; the first one is its manager.
    pub fn new(nodes: u8) -> Self {
        Self::with(nodes, |_| {})
    }

    /// The same with settings of its own.
    pub fn with(nodes: u8, found: impl FnOnce(&mut Cluster)) -> Self {
        let mut world = Self::nothing();
        let mut cluster = Box::new(Cluster::new(ClusterId::from_random(world.bits())));
        found(&mut cluster);
        world.cluster = Some(cluster);
        for number in 0..nodes {
            world.add_node(number);
        }
        world
    }

    fn nothing() -> Self {
        Self {
            state: State::new(),
            now: Timestamp::from_millis(1_790_000_000_000),
            log: Vec::new(),
            nodes: Vec::new(),
            drawn: 0,
            cluster: None,
        }
    }

    pub fn add_node(&mut self, number: u8) -> NodeId {
        let id = NodeId::from_random(self.bits());
        let (hostname, addr) = (format!("n{}", number + 1), [192, 168, 99, 100 + number].into());
        let role = if number == 0 { NodeRole::Manager } else { NodeRole::Worker };
        let node = NewNode { id, role, availability: Default::default(), hostname, addr: Some(addr) };
        if let Some(cluster) = self.cluster.take() {
            let ingress = NetworkId::from_random(self.bits());
            self.ok(Action::InitCluster { cluster, node: node.clone(), ingress });
            self.ok(Action::SetManager { node: id, raft_id: 1, addr: format!("{addr}:2377") });
        } else {
            self.ok(Action::JoinNode { node: node.clone() });
        }
        let resources =
            ResourceLimits { nano_cpus: 2_000_000_000, memory_bytes: 4 << 30, ..Default::default() };
        let description =
            Box::new(NodeDescription { hostname: node.hostname, resources, ..Default::default() });
        self.ok(Action::RegisterNode { id, description, addr, data_path_addr: None });
        self.nodes.push(id);
        id
    }

    pub fn bits(&mut self) -> [u8; 16] {
        self.drawn += 1;
        (self.drawn << 96 | self.drawn).to_be_bytes()
    }

    pub fn apply(&mut self, action: Action) -> Result<Reply, Rejection> {
        let index = u64::try_from(self.log.len()).unwrap() + 1;
        let command = action.at(self.now).with_random(|| {
            let bits = self.bits();
            [bits, bits].concat().try_into().unwrap()
        });
        let command = Command::from_json(&command.to_json()).unwrap();
        self.log.push((index, command.clone()));
        let reply = self.state.apply(index, &command);
        assert_eq!(self.state.audit(), Vec::<String>::new(), "entry {index}");
        reply
    }

    pub fn ok(&mut self, action: Action) -> Reply {
        self.apply(action).unwrap_or_else(|rejection| panic!("{rejection}"))
    }

    pub fn refused(&mut self, action: Action) -> String {
        self.apply(action).unwrap_err().message
    }

    pub fn create_service(&mut self, json: &str) -> ServiceId {
        let id = ServiceId::from_random(self.bits());
        self.ok(Action::CreateService { id, spec: Box::new(serde_json::from_str(json).unwrap()) });
        id
    }

    pub fn create_network(&mut self, json: &str) -> NetworkId {
        let id = NetworkId::from_random(self.bits());
        self.ok(Action::CreateNetwork { id, spec: Box::new(serde_json::from_str(json).unwrap()) });
        id
    }

    pub fn update_service(&mut self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        let service = self.state.service(id).unwrap();
        let (version, mut spec) = (service.meta.version, Box::new(service.spec.clone()));
        change(&mut spec);
        self.ok(Action::UpdateService { id, version, spec, rollback: false });
    }

    pub fn set_node(&mut self, id: NodeId, state: NodeState) {
        let message = String::new();
        self.ok(Action::SetNodeStatus { nodes: vec![NodeStatusUpdate { id, state, message }] });
    }

    /// Plans until nothing is left to plan; returns the rounds it took.
    pub fn plan(&mut self) -> usize {
        for round in 0..50 {
            let mut drawn = self.drawn;
            let mut ids = || {
                drawn += 1;
                TaskId::from_random((drawn << 96 | drawn).to_be_bytes())
            };
            let ops = reconcile::plan(&self.state, self.now, &mut ids);
            self.drawn = drawn;
            if ops.is_empty() {
                return round;
            }
            self.ok(Action::Plan { ops });
        }
        panic!("no fixpoint");
    }

    /// Lets each node that is there report one step per task.
    pub fn work(&mut self) -> bool {
        let mut moved = false;
        for node in self.nodes.clone() {
            if self.state.node(node).is_none_or(|node| node.status.state != NodeState::Ready) {
                continue;
            }
            let tasks = assignment(&self.state, node).unwrap().tasks;
            let steps = tasks.iter().filter_map(|assigned| self.step(&assigned.task));
            let updates: Vec<TaskStatusUpdate> = steps.collect();
            if !updates.is_empty() {
                moved = true;
                self.ok(Action::UpdateTaskStatuses { node, updates });
            }
        }
        moved
    }

    /// Plans and works until nothing moves. Time stands still.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let planned = self.plan() > 0;
            if !self.work() && !planned {
                return;
            }
        }
        panic!("no rest");
    }

    /// Settles, and jumps from deadline to deadline until `duration` has passed.
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

    /// Every node that is ready acknowledges what its assignment asks for; tells how many did.
    pub fn acknowledge(&mut self) -> usize {
        let ready = self.nodes.clone();
        self.acknowledge_by(&ready)
    }

    pub fn acknowledge_by(&mut self, nodes: &[NodeId]) -> usize {
        let mark = |node: &NodeId| Some((*node, assignment(&self.state, *node)?.mark));
        let sent = nodes.iter().filter_map(mark).collect();
        let acks = self.state.useful_acks(&sent);
        let count = acks.len();
        if count > 0 {
            self.ok(Action::AckAddresses { acks });
        }
        count
    }

    pub fn grow(&mut self, id: NetworkId, subnet: &str) -> Result<Reply, Rejection> {
        let subnet = IpamConfig { subnet: subnet.to_owned(), ..IpamConfig::default() };
        self.apply(Action::GrowNetwork { id, subnet: Box::new(subnet) })
    }

    pub fn create_network_or(&mut self, json: &str) -> Result<NetworkId, Rejection> {
        let id = NetworkId::from_random(self.bits());
        let spec = Box::new(serde_json::from_str(json).unwrap());
        self.apply(Action::CreateNetwork { id, spec }).map(|_| id)
    }

    pub fn scale(&mut self, id: ServiceId, replicas: u64) {
        let mode = serde_json::json!({"Replicated": {"Replicas": replicas}});
        self.update_service(id, |spec| spec.mode = serde_json::from_value(mode).unwrap());
    }

    pub fn subnet(&self, network: NetworkId) -> String {
        self.state.network(network).unwrap().subnets[0].net.to_string()
    }

    /// Changes the image of the state.
    pub fn edit(&mut self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut image = serde_json::from_slice(&self.state.to_json()).unwrap();
        change(&mut image);
        self.state = State::from_json(&serde_json::to_vec(&image).unwrap()).unwrap();
    }

    pub fn report(&mut self, task: TaskId, state: TaskState) {
        let node = self.state.task(task).unwrap().node_id.unwrap();
        let status =
            TaskStatus { timestamp: self.now, state, message: state.to_string(), ..Default::default() };
        self.ok(Action::UpdateTaskStatuses { node, updates: vec![TaskStatusUpdate { task, status }] });
    }

    /// The tasks that run and should, by slot.
    pub fn running(&self, service: ServiceId) -> Vec<&Task> {
        let runs = |task: &&Task| task.status.state == TaskState::Running && task.is_wanted();
        let mut tasks: Vec<&Task> = self.state.tasks_of(service).filter(runs).collect();
        tasks.sort_by_key(|task| (task.slot, task.node_id));
        tasks
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
        let status = TaskStatus {
            timestamp: self.now,
            state,
            message: state.to_string(),
            container,
            ..Default::default()
        };
        Some(TaskStatusUpdate { task: task.id, status })
    }
}

/// A service of the blog posts: so many replicas, a published port if it is not 0, networks.
pub fn web(name: &str, replicas: u64, port: u16, networks: &[&str]) -> String {
    let targets: Vec<_> = networks.iter().map(|target| serde_json::json!({ "Target": target })).collect();
    let published = serde_json::json!({"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": port});
    let ports = if port == 0 { vec![] } else { vec![published] };
    serde_json::json!({
        "Name": name,
        "TaskTemplate": {"ContainerSpec": {"Image": "hello"}, "Networks": targets},
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {"Mode": "vip", "Ports": ports},
    })
    .to_string()
}
