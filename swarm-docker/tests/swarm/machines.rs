//! Machines in namespaces on one segment, and the `docker` command at each of them.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use overlay_linux::link::{Desired, Link, LinkName, Netlink, Peer, Scope};
use overlay_linux::netns::NetNs;
use swarm_node::{Node, NodeConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A machine with a daemon.
pub struct Machine {
    socket: PathBuf,
    runtime: Option<Runtime>,
    dir: TempDir,
    /// Lives as long as somebody has it; so do the cables.
    _segment: Arc<NetNs>,
}

/// What a command printed.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// master, node01, node02.
pub fn three() -> [Machine; 3] {
    let segment = Arc::new(NetNs::create().unwrap());
    let all = ["master", "node01", "node02"].map(|name| (name, Arc::new(NetNs::create().unwrap())));
    let name = |text: &str| LinkName::new(text).unwrap();
    let mut desired = Desired::default();
    desired.links.insert(name("br"), Link::bridge());
    for (number, (_, netns)) in all.iter().enumerate() {
        let net: ipnet::IpNet = format!("192.168.99.{}/24", 100 + number).parse().unwrap();
        let peer = Peer::new(Arc::clone(netns), name("eth1")).with_address(net);
        desired.links.insert(name(&format!("v{number}")), Link::veth(peer).with_master(name("br")));
    }
    let netlink = Netlink::open_in(&segment).unwrap();
    let report = netlink.converge(&Scope::links(["br", "v"]), &desired).unwrap();
    assert!(report.is_clean(), "{report}");
    all.map(|(hostname, netns)| Machine::boot(netns, hostname, Arc::clone(&segment)))
}

impl Machine {
    fn boot(netns: Arc<NetNs>, hostname: &str, segment: Arc<NetNs>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap())
            .build()
            .unwrap();
        let config = NodeConfig { hostname: hostname.into(), ..NodeConfig::new(dir.path().join("data")) };
        let path = socket.clone();
        let started = runtime.spawn(async move {
            let node = Node::start(config).await.unwrap();
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            tokio::spawn(swarm_docker::serve(node, listener, std::future::pending()));
        });
        runtime.block_on(started).unwrap();
        Self { socket, runtime: Some(runtime), dir, _segment: segment }
    }

    /// Runs `docker`; the line is split at spaces, and a tilde is one.
    pub fn run(&self, line: &str) -> Ran {
        self.run_with(line, "")
    }

    /// Runs `docker` with something on its standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Ran {
        let mut command = Command::new("timeout");
        command.args(["30", "docker", "-H"]).arg(format!("unix://{}", self.socket.display()));
        command
            .args(line.split(' ').map(|word| word.replace('~', " ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env_remove("DOCKER_API_VERSION");
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs `docker`, which must succeed; what it printed.
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.out
    }

    /// Runs `docker`, which must fail with what a daemon said.
    pub fn refused(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_ne!(ran.code, 0, "{ran:#?}");
        let prefix = "Error response from daemon: ";
        let said = ran.err.lines().find_map(|line| line.strip_prefix(prefix));
        said.unwrap_or_else(|| panic!("{ran:#?}")).to_owned()
    }

    /// Asks the socket directly: status and body.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = UnixStream::connect(&self.socket).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Runs `docker` until it prints this.
    pub fn until(&self, line: &str, wanted: &str) {
        let start = Instant::now();
        loop {
            let out = self.ok(line);
            if out == wanted {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{line}: {out}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    /// Pulls the plug: the daemon never says a word again, its tasks are killed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let Ok(tasks) = std::fs::read_dir(self.dir.path().join("data/tasks")) else { return };
        for task in tasks.flatten() {
            let Ok(text) = std::fs::read(task.path().join("processes.json")) else { continue };
            let processes: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            let shim = processes["shim"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            if let Some(shim) = shim.filter(|pid| *pid > 1) {
                let _ = kill(Pid::from_raw(shim), Signal::SIGKILL); // it takes the task with it
            }
        }
    }
}
