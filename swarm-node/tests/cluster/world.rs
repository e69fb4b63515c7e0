//! Machines in namespaces on one segment, all in this process: a runtime per node whose threads live in its namespace.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use overlay_linux::{
    conntrack::Conntrack,
    link::{Desired, Family, Link, LinkName, Netlink, Peer, Route, Scope},
    netns::NetNs,
};
use swarm_node::{InitRequest, JoinRequest, LogOptions, Node, NodeConfig};
use swarm_state::{Action, NetworkId, ServiceId, State, object::TaskState};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const CLIENT: &str = "192.168.99.10";
pub const CLIENT6: &str = "fd99::10";

/// One machine and its daemon.
pub struct Machine {
    pub node: Node,
    pub netns: Arc<NetNs>,
    pub addr: IpAddr,
    pub addr6: IpAddr,
    pub runtime: Option<Runtime>,
    pub dir: TempDir,
    name: String,
}

impl Machine {
    pub fn hostname(&self) -> &str {
        &self.name
    }
}

/// The segment, the machines and a client.
pub struct World {
    pub machines: Vec<Machine>,
    pub client: Arc<NetNs>,
    segment: Arc<NetNs>,
}

fn name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

impl World {
    pub fn new(machines: usize) -> Self {
        Self::with(machines, |_, _| {})
    }

    /// As [`new`](Self::new), but each machine is prepared before it is plugged in.
    pub fn with(machines: usize, prepare: impl Fn(usize, &NetNs)) -> Self {
        let segment = Arc::new(NetNs::create().unwrap());
        let client = Arc::new(NetNs::create().unwrap());
        let mut world = Self { machines: Vec::new(), client, segment };
        let all: Vec<Arc<NetNs>> = (0..machines).map(|_| Arc::new(NetNs::create().unwrap())).collect();
        all.iter().enumerate().for_each(|(i, netns)| prepare(i, netns));
        let mut desired = Desired::default();
        desired.links.insert(name("br"), Link::bridge());
        let mut plug = |port: String, netns: &Arc<NetNs>, (addr, addr6): (&str, &str)| {
            let nets = [format!("{addr}/24"), format!("{addr6}/64")];
            let [net, net6] = nets.map(|net| net.parse::<ipnet::IpNet>().unwrap());
            let peer = Peer::new(Arc::clone(netns), name("eth1")).with_address(net);
            let peer = if has_ipv6(netns) { peer.with_address(net6) } else { peer };
            desired.links.insert(name(&port), Link::veth(peer).with_master(name("br")));
        };
        plug("vc".into(), &world.client, (CLIENT, CLIENT6));
        for (i, netns) in all.iter().enumerate() {
            plug(format!("v{i}"), netns, (&format!("192.168.99.{}", 100 + i), &address6(i)));
        }
        let netlink = Netlink::open_in(&world.segment).unwrap();
        let report = netlink.converge(&Scope::links(["br", "v"]), &desired).unwrap();
        assert!(report.is_clean(), "{report}");
        for (i, netns) in all.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let addr = format!("192.168.99.{}", 100 + i).parse().unwrap();
            let hostname = if i == 0 { "master".to_owned() } else { format!("node{i:02}") };
            let (runtime, node) = boot(&netns, dir.path(), &hostname);
            let addr6 = address6(i).parse().unwrap();
            let runtime = Some(runtime);
            world.machines.push(Machine { node, netns, addr, addr6, runtime, dir, name: hostname });
        }
        world
    }

    /// The cable between the machines.
    pub fn segment(&self) -> &NetNs {
        &self.segment
    }

    pub fn run<T: Send + 'static>(
        &self,
        machine: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.machines[machine].runtime.as_ref().unwrap();
        runtime.block_on(async { runtime.spawn(work).await.unwrap() })
    }

    pub fn init(&self) {
        let node = self.machines[0].node.clone();
        let request = InitRequest { advertise_addr: "eth1".into(), ..InitRequest::default() };
        self.run(0, async move { node.init(request).await }).unwrap();
    }

    pub fn join(&self, machine: usize, as_manager: bool) {
        let tokens = self.read(0, |state| state.cluster().unwrap().tokens.clone());
        let token = if as_manager { tokens.manager } else { tokens.worker };
        let node = self.machines[machine].node.clone();
        let request =
            JoinRequest { remote_addrs: vec!["192.168.99.100:2377".into()], token, ..JoinRequest::default() };
        self.run(machine, async move { node.join(request).await }).unwrap();
    }

    /// The machine leaves its swarm.
    pub fn leave(&self, machine: usize) {
        let node = self.machines[machine].node.clone();
        self.run(machine, async move { node.leave(true).await }).unwrap();
    }

    /// Names of a machine's interfaces.
    pub fn links(&self, machine: usize) -> Vec<String> {
        let netlink = Netlink::open_in(&self.machines[machine].netns).unwrap();
        let mut names: Vec<String> =
            netlink.interfaces().unwrap().into_iter().map(|interface| interface.name.to_string()).collect();
        names.sort();
        names
    }

    /// What `nft` lists in a machine; empty where there is no `nft`.
    pub fn tables(&self, machine: usize) -> String {
        let list = || std::process::Command::new("nft").args(["list", "ruleset"]).output();
        let listed = self.machines[machine].netns.run(list).unwrap();
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// A value below `/proc/sys/net/ipv6/conf` in a machine.
    pub fn ipv6_setting(&self, machine: usize, what: &str) -> String {
        let path = format!("/proc/sys/net/ipv6/conf/{what}");
        let read = move || std::fs::read_to_string(path).unwrap();
        self.machines[machine].netns.run(read).unwrap().trim().to_owned()
    }

    /// What `ip -6` says in a machine; empty where there is no `ip`.
    pub fn ip6(&self, machine: usize, what: &str) -> String {
        let ask = || std::process::Command::new("ip").arg("-6").args(what.split(' ')).output();
        let said = self.machines[machine].netns.run(ask).unwrap();
        said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// The client sends packets for a network to a machine.
    pub fn route_from_client(&self, network: &str, via: IpAddr) {
        let mut desired = Desired::default();
        desired.links.insert(name("eth1"), Link::existing());
        desired.routes.insert(Route::via(network.parse().unwrap(), via));
        let report =
            Netlink::open_in(&self.client).unwrap().converge(&Scope::links(["none"]), &desired).unwrap();
        assert!(report.is_clean(), "{report}");
    }

    pub fn read<T>(&self, machine: usize, look: impl FnOnce(&State) -> T) -> T {
        self.machines[machine].node.read(look).unwrap()
    }

    pub fn propose(&self, machine: usize, action: Action) -> Result<(), String> {
        let node = self.machines[machine].node.clone();
        self.run(machine, async move { node.propose(action).await }).map(drop).map_err(|r| r.message)
    }

    pub fn network(&self, spec: serde_json::Value) -> NetworkId {
        let id = NetworkId::from_random(unique());
        let spec = Box::new(serde_json::from_value(spec).unwrap());
        self.propose(0, Action::CreateNetwork { id, spec }).unwrap();
        id
    }

    pub fn service(&self, spec: serde_json::Value) -> ServiceId {
        let id = ServiceId::from_random(unique());
        let spec = Box::new(serde_json::from_value(spec).unwrap());
        self.propose(0, Action::CreateService { id, spec }).unwrap();
        id
    }

    pub fn running(&self, machine: usize, service: ServiceId) -> usize {
        self.read(machine, |state| {
            let wanted = |task: &&swarm_state::object::Task| {
                task.status.state == TaskState::Running && task.desired_state == TaskState::Running
            };
            state.tasks_of(service).filter(wanted).count()
        })
    }

    /// Pulls the plug of a machine: its cable is gone, its tasks are killed, its daemon never says a word again.
    pub fn power_off(&mut self, machine: usize) {
        let netlink = Netlink::open_in(&self.segment).unwrap();
        netlink.delete_link(&name(&format!("v{machine}"))).unwrap();
        if let Some(runtime) = self.machines[machine].runtime.take() {
            runtime.shutdown_background();
        }
        self.kill_tasks(machine);
    }

    /// Ends the daemon as SIGTERM does; tasks and kernel state stay.
    pub fn stop_daemon(&mut self, machine: usize) {
        let node = self.machines[machine].node.clone();
        self.run(machine, async move { node.shutdown().await });
        self.crash_daemon(machine);
    }

    /// Ends the daemon without a goodbye; tasks and kernel state stay.
    pub fn crash_daemon(&mut self, machine: usize) {
        if let Some(runtime) = self.machines[machine].runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }

    /// Starts the daemon again with the same directory.
    pub fn restart_daemon(&mut self, machine: usize) {
        let it = &mut self.machines[machine];
        let (runtime, node) = boot(&it.netns, it.dir.path(), &it.name);
        (it.runtime, it.node) = (Some(runtime), node);
    }

    pub fn kill_tasks(&self, machine: usize) {
        for shim in self.shims(machine) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL);
        }
    }

    pub fn has_task(&self, machine: usize, task: swarm_state::TaskId) -> bool {
        self.machines[machine].dir.path().join("tasks").join(task.as_str()).exists()
    }

    /// Kills one task's shim, and with it its program.
    pub fn kill_task(&self, machine: usize, task: swarm_state::TaskId) {
        let dir = self.machines[machine].dir.path().join("tasks").join(task.as_str());
        let text = std::fs::read(dir.join("processes.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let pid = i32::try_from(value["shim"].as_i64().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    /// Process ids of the shims of a machine's tasks.
    pub fn shims(&self, machine: usize) -> Vec<i32> {
        let Ok(tasks) = std::fs::read_dir(self.machines[machine].dir.path().join("tasks")) else {
            return vec![];
        };
        let pid = |entry: std::fs::DirEntry| {
            let text = std::fs::read(entry.path().join("processes.json")).ok()?;
            let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
            value["shim"].as_i64().and_then(|pid| i32::try_from(pid).ok())
        };
        tasks.flatten().filter_map(pid).collect()
    }

    /// What a task has written: whether to stderr, and the line.
    pub fn logs(&self, machine: usize, task: swarm_state::TaskId) -> Vec<(bool, String)> {
        let node = self.machines[machine].node.clone();
        self.run(machine, async move {
            let options = LogOptions { stdout: true, stderr: true, ..LogOptions::default() };
            let mut lines = node.logs(vec![task], options).await.unwrap();
            let mut all = Vec::new();
            while let Some(line) = lines.recv().await {
                let stderr = line.stream == swarm_node::runtime::Stream::Stderr;
                all.push((stderr, String::from_utf8_lossy(&line.line).into_owned()));
            }
            all
        })
    }

    /// What is wrong with the addresses, as every manager that runs sees it.
    fn unsound(&self) -> Vec<String> {
        let audit = |machine: &Machine| {
            let findings = machine.node.read(State::audit).unwrap_or_default();
            findings.into_iter().map(|finding| format!("{}: {finding}", machine.name)).collect::<Vec<_>>()
        };
        self.machines.iter().filter(|machine| machine.runtime.is_some()).flat_map(audit).collect()
    }

    /// The namespaces of all running tasks.
    pub fn all_netns_of(&self, machine: usize, service: ServiceId) -> Vec<NetNs> {
        let pids: Vec<u32> = self.read(machine, |state| {
            let running = state.tasks_of(service).filter(|task| task.status.state == TaskState::Running);
            running.filter_map(|task| Some(task.status.container.as_ref()?.pid)).collect()
        });
        pids.into_iter().map(|pid| NetNs::of_process(pid).unwrap()).collect()
    }

    /// The namespace of a running task.
    pub fn netns_of(&self, machine: usize, service: ServiceId) -> NetNs {
        let pid = self.read(machine, |state| {
            let running = state.tasks_of(service).find(|task| task.status.state == TaskState::Running);
            running.and_then(|task| task.status.container.as_ref().map(|container| container.pid))
        });
        NetNs::of_process(pid.unwrap()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let unsound = if std::thread::panicking() { Vec::new() } else { self.unsound() };
        for machine in self.machines.iter().filter(|_| std::thread::panicking()) {
            println!("{}: data plane failures {:?}", machine.name, machine.node.data_plane_failures());
            println!("{}: {:?}", machine.name, machine.node.local());
            let _ = machine.node.read(|state| {
                for node in state.nodes().values() {
                    println!("{} {}: {:?}", node.id, node.description.hostname, node.status);
                }
            });
            for family in [Family::V4, Family::V6] {
                let tracked = Conntrack::open_in(&machine.netns).and_then(|table| table.entries(family));
                println!("{}: connections {tracked:?}", machine.name);
            }
            for tool in [&["nft", "list", "ruleset"][..], &["ip", "-d", "addr"], &["bridge", "fdb"]] {
                let run = || std::process::Command::new(tool[0]).args(&tool[1..]).output();
                if let Ok(Ok(output)) = machine.netns.run(run) {
                    println!("{tool:?}\n{}", String::from_utf8_lossy(&output.stdout));
                }
            }
        }
        for machine in 0..self.machines.len() {
            if let Some(runtime) = self.machines[machine].runtime.take() {
                runtime.shutdown_background();
            }
            self.kill_tasks(machine);
        }
        assert!(unsound.is_empty(), "after the scenario: {unsound:#?}");
    }
}

/// The second address of a machine: fd99::100, fd99::101, …
fn address6(machine: usize) -> String {
    format!("fd99::{:x}", 0x100 + machine)
}

fn has_ipv6(netns: &NetNs) -> bool {
    let disabled = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    netns.run(disabled).unwrap().is_ok_and(|value| value.trim() == "0")
}

fn boot(netns: &Arc<NetNs>, dir: &std::path::Path, hostname: &str) -> (Runtime, Node) {
    let home = Arc::clone(netns);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || setns(home.as_fd(), CloneFlags::CLONE_NEWNET).unwrap())
        .build()
        .unwrap();
    let config = NodeConfig { hostname: hostname.into(), ..NodeConfig::new(dir) };
    let node = runtime.block_on(async { runtime.spawn(Node::start(config)).await.unwrap() }).unwrap();
    (runtime, node)
}

pub fn unique() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// Waits until something holds; the time that it took.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// One request on a new connection: the answer's object.
pub fn get(from: &NetNs, to: SocketAddr) -> std::io::Result<serde_json::Value> {
    get_within(from, to, Duration::from_secs(5))
}

/// A client with one socket, hence one source port.
pub struct Datagrams(std::net::UdpSocket);

impl Datagrams {
    pub fn new(from: &NetNs, to: SocketAddr) -> Self {
        let socket = from.run(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.connect(to).unwrap();
            socket
        });
        Self(socket.unwrap())
    }

    pub fn ask(&self) -> Option<String> {
        self.0.send(b"?").ok()?;
        let mut buffer = [0; 200];
        let len = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }
}

/// Receives that many bytes; how many came.
pub fn fetch(from: &NetNs, to: SocketAddr, bytes: usize) -> std::io::Result<usize> {
    from.run(|| {
        let mut socket = std::net::TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(format!("GET /bytes/{bytes} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len()) + 4;
        Ok(answer.len() - head)
    })?
}

pub fn get_within(from: &NetNs, to: SocketAddr, limit: Duration) -> std::io::Result<serde_json::Value> {
    from.run(|| {
        let mut socket = std::net::TcpStream::connect_timeout(&to, limit)?;
        socket.set_read_timeout(Some(limit))?;
        socket.write_all(b"GET /json HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        serde_json::from_str(body).map_err(std::io::Error::other)
    })?
}
