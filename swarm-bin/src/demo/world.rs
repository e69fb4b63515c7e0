//! The machines as they run: processes, namespaces, the wire.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use overlay_linux::netns::NetNs;
use overlay_linux::userns::{Namespaces, unshare};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::client::Outcome;
use super::error::DemoError;
use super::node::NodeArgs;
use super::plan::Machine;
use super::processes::{Process, Processes};
use super::segment::Segment;

/// The machines and the wire between them. Dropping it ends them all.
#[derive(Debug)]
pub(super) struct World {
    segment: Segment,
    /// The nodes, the first one is to found the swarm.
    pub(super) nodes: Vec<Running>,
    /// Where requests come from.
    pub(super) client: Running,
}

/// A machine that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Who it is.
    pub(super) machine: Machine,
    first: Child,
}

impl World {
    /// Starts `count` nodes and the client below `dir`. Their daemons may not answer yet.
    ///
    /// # Errors
    ///
    /// The kernel refused namespaces, links or processes.
    pub(super) fn start(dir: &Path, count: u8) -> Result<Self, DemoError> {
        let mut running = Vec::new();
        for machine in Machine::nodes(dir, count).into_iter().chain([Machine::client(dir)]) {
            running.push(Running::start(machine)?);
        }
        let mut wired = Vec::new();
        for one in &running {
            let netns = NetNs::of_process(one.pid()).map_err(DemoError::system("open a node's network"))?;
            wired.push((one.machine.clone(), Arc::new(netns)));
        }
        let segment = Segment::build(&wired)?;
        drop(wired); // or else the network of a killed node would live on
        for one in &mut running {
            one.go().map_err(DemoError::system("start a node"))?;
        }
        let Some(client) = running.pop() else {
            return Err(DemoError::Segment { report: "there is no client".to_owned() });
        };
        Ok(Self { segment, nodes: running, client })
    }

    /// Cuts a node's power: kill -9 of its first process, which takes every process and the whole network of the node
    /// with it, and its cable is dead at once.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub(super) fn cut(&mut self, name: &str) -> Result<(), DemoError> {
        for node in &mut self.nodes {
            if node.machine.name == name {
                node.first.kill().map_err(DemoError::system("kill a node"))?;
                self.segment.unplug(name)?;
                node.first.wait().map_err(DemoError::system("wait for a killed node"))?;
            }
        }
        Ok(())
    }

    /// Starts this program as a client in the client's network, with these arguments.
    ///
    /// # Errors
    ///
    /// The namespace or the process could not be made.
    pub(super) fn ask(&self, args: &[String]) -> Result<Asking, DemoError> {
        let at = DemoError::system;
        let netns = NetNs::of_process(self.client.pid()).map_err(at("open the client's network"))?;
        let spawned = netns.run(|| {
            Command::new("/proc/self/exe")
                .arg("demo-client")
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        });
        let child = spawned.and_then(|child| child).map_err(at("start a client"))?;
        Ok(Asking { child })
    }
}

/// Requests on their way.
#[derive(Debug)]
pub(super) struct Asking {
    child: Child,
}

impl Asking {
    /// Ends an open loop and returns what became of all requests.
    ///
    /// # Errors
    ///
    /// The client's output could not be read.
    pub(super) async fn outcomes(mut self) -> Result<Vec<Outcome>, DemoError> {
        let at = DemoError::system;
        drop(self.child.stdin.take());
        let mut outcomes = Vec::new();
        if let Some(stdout) = self.child.stdout.take() {
            let stdout = tokio::process::ChildStdout::from_std(stdout).map_err(at("read from a client"))?;
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await.map_err(at("read from a client"))? {
                outcomes.extend(serde_json::from_str::<Outcome>(&line));
            }
        }
        self.child.wait().map_err(at("wait for a client"))?; // its output ended, so it has
        Ok(outcomes)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(machine: Machine) -> Result<Self, DemoError> {
        fs::create_dir_all(&machine.dir).map_err(DemoError::system("make a node's directory"))?;
        let first = spawn(&machine).map_err(DemoError::system("make a node's namespaces"))?;
        Ok(Self { machine, first })
    }

    /// The number of its first process, as the supervisor sees it.
    pub(super) fn pid(&self) -> u32 {
        self.first.id()
    }

    /// Its daemon, as the supervisor sees it.
    pub(super) fn daemon(&self, processes: &Processes) -> Option<Process> {
        processes.tree(self.pid()).into_iter().find(|process| process.role == "daemon").cloned()
    }

    /// Whether it runs.
    pub(super) fn is_up(&mut self) -> bool {
        matches!(self.first.try_wait(), Ok(None))
    }

    /// Tells it that the cable is plugged in.
    fn go(&mut self) -> io::Result<()> {
        self.first.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// Starts a machine's first process in fresh namespaces, from a thread that nobody needs afterwards.
fn spawn(machine: &Machine) -> io::Result<Child> {
    thread::scope(|scope| {
        let spawner = scope.spawn(|| {
            let own = Namespaces::NETWORK | Namespaces::MOUNT | Namespaces::HOSTNAME | Namespaces::PID;
            unshare(own | Namespaces::IPC)?;
            let log = fs::File::options().create(true).append(true).open(machine.log())?;
            Command::new("/proc/self/exe")
                .args(NodeArgs::of(machine))
                .stdin(Stdio::piped())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
        });
        spawner.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes namespaces failed")))
    })
}

/// The last lines of what a machine's daemon printed.
pub(super) fn tail(machine: &Machine) -> String {
    let log = fs::read(machine.log()).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines = log.lines().collect::<Vec<_>>();
    lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
}

/// Removes a directory that processes may still be writing to as they die.
pub(super) fn remove(dir: &Path) {
    for _ in 0..20 {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => thread::sleep(Duration::from_millis(50)),
            _ => return,
        }
    }
}

const TAIL: usize = 20;
