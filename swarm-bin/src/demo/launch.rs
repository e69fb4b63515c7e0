//! The visible process: becomes root if need be, starts the supervisor, and ends it when it ends itself.

use std::fs;
use std::io::{self, PipeWriter, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use overlay_linux::process::{PidFd, ProcessId};
use overlay_linux::userns::{self, Namespaces, unshare};
use serde_json::{Value, json};

use super::error::DemoError;
use super::plan::{MAX_NODES, Machine};
use super::processes::Processes;
use super::world::remove;
use crate::api::{items, number, text};
use crate::{out, signals};

/// Shows a whole swarm on this machine, as root or as an ordinary user, and leaves nothing behind
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "\
Each node has its own network, processes and host name, and the address 192.168.99.100 and up on the interface eth1.
The story: init, joins, networks, a service of two replicas on port 8080, requests from a client in a network of its own
through every node, a power cut (kill -9 of a whole node), and the figures beside Docker's.

Examples:
  swarm-bin demo                    the story; exit code 0 if every step held
  swarm-bin demo --nodes 5 --json   the figures as one JSON object on standard output
  swarm-bin demo --keep             leaves the swarm running and says how to get into it
  swarm-bin demo --keep --bare      three machines without a swarm: type `docker swarm init --advertise-addr eth1`")]
pub(crate) struct DemoArgs {
    /// How many nodes: the first is the manager
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=i64::from(MAX_NODES)))]
    nodes: u8,
    /// How many requests go through each node
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..))]
    requests: u16,
    /// Leaves everything running once the service is up, in the background; no power cut
    #[arg(long)]
    keep: bool,
    /// Starts the machines and their daemons only; with --keep, to type a tutorial's commands into
    #[arg(long, requires = "keep")]
    bare: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// When to give up
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

/// Ends a demo that was kept, and removes its directory
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// What `demo --keep` printed
    dir: PathBuf,
}

impl DemoArgs {
    /// Plays the demo, or leaves it running.
    ///
    /// # Errors
    ///
    /// It could not even be started.
    pub(crate) fn run(self) -> Result<ExitCode, DemoError> {
        let at = DemoError::system;
        // That nobody wants to see more.
        let signals = signals::queued(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        let signals = signals.map_err(at("listen to signals"))?;
        let as_user = own_processes()?;
        let dir = directory()?;
        let launched = self.launch(&dir, &signals, as_user);
        if !matches!(launched, Ok(Ended::Kept)) {
            remove(&dir);
        }
        match launched? {
            Ended::Kept | Ended::With(true) => Ok(ExitCode::SUCCESS),
            Ended::With(false) => Ok(ExitCode::FAILURE),
        }
    }

    fn launch(self, dir: &Path, signals: &SignalFd, as_user: bool) -> Result<Ended, DemoError> {
        let at = DemoError::system;
        let (watched, lifeline) = io::pipe().map_err(at("make a pipe"))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("demo-supervisor").arg("--dir").arg(dir);
        for (name, value) in [
            ("--nodes", self.nodes.into()),
            ("--requests", self.requests.into()),
            ("--timeout", self.timeout),
        ] {
            command.arg(name).arg(value.to_string());
        }
        command
            .args(self.keep.then_some("--keep"))
            .args(self.bare.then_some("--bare"))
            .stdin(watched)
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(at("start the supervisor"))?;
        drop(command); // and its end of the pipe
        let Some(stdout) = child.stdout.take() else { return Err(DemoError::NoResult) };
        let supervisor = PidFd::open(child.id()).map_err(at("watch the supervisor"))?;
        let watch = Watch { child, supervisor, stdout, lifeline: Some(lifeline), said: Vec::new() };
        let (mut child, said) = match watch.until_done(signals).map_err(at("watch the supervisor"))? {
            Done::Silent { child, said } if self.keep => (child, said),
            Done::Silent { mut child, said } => {
                let code = child.wait().map_err(at("wait for the supervisor"))?.code();
                if code == Some(0) && self.json {
                    out::line(said);
                }
                return code.map(|code| Ended::With(code == 0)).ok_or(DemoError::NoResult);
            }
            Done::Interrupted => return Ok(Ended::With(false)),
        };
        let Ok(kept) = serde_json::from_str::<Value>(&said) else {
            // It ended, and if it could, it said why.
            let code = child.wait().map_err(at("wait for the supervisor"))?.code();
            return code.map(|_| Ended::With(false)).ok_or(DemoError::NoResult);
        };
        self.report(dir, &child, &kept, as_user)?;
        Ok(Ended::Kept)
    }

    /// Prints what a kept demo is, with process numbers as the caller sees them.
    fn report(self, dir: &Path, supervisor: &Child, kept: &Value, as_user: bool) -> Result<(), DemoError> {
        let at = DemoError::system;
        let id = ProcessId::of(supervisor.id()).map_err(at("identify the supervisor"))?;
        fs::write(dir.join(ID_FILE), format!("{} {}\n", id.pid, id.start_time))
            .map_err(at("write its number"))?;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("swarm-bin"));
        let stop = format!("{} demo-stop {}", quoted(&program), quoted(dir));
        let processes = Processes::now();
        let kept = translated(kept, &stop, |inner| processes.outer(supervisor.id(), inner));
        if self.json {
            out::line(&kept);
        } else {
            out::line(told(&kept, as_user));
        }
        Ok(())
    }
}

impl StopArgs {
    /// Ends the supervisor, and with it everything.
    ///
    /// # Errors
    ///
    /// There is no such demo, or it is somebody else's.
    pub(crate) fn run(self) -> Result<(), DemoError> {
        let at = DemoError::system;
        let no_demo = || DemoError::NoDemo { dir: self.dir.display().to_string() };
        let text = fs::read_to_string(self.dir.join(ID_FILE)).map_err(|_| no_demo())?;
        let mut numbers = text.split_ascii_whitespace();
        let pid = numbers.next().and_then(|number| number.parse().ok()).ok_or_else(no_demo)?;
        let start_time = numbers.next().and_then(|number| number.parse().ok()).ok_or_else(no_demo)?;
        if let Some(process) = (ProcessId { pid, start_time }).open().map_err(at("look for the demo"))? {
            process.kill(Signal::SIGTERM).map_err(at("end the demo"))?;
            if !process.wait_ended(PATIENCE).map_err(at("wait for the demo's end"))? {
                process.kill(Signal::SIGKILL).map_err(at("end the demo"))?;
                process.wait_ended(PATIENCE).map_err(at("wait for the demo's end"))?;
            }
        }
        remove(&self.dir);
        out::note("the demo ended, nothing is left");
        Ok(())
    }
}

/// How the visible process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// The supervisor runs on.
    Kept,
    /// It ended; whether every step held.
    With(bool),
}

/// The supervisor, watched.
struct Watch {
    child: Child,
    supervisor: PidFd,
    stdout: ChildStdout,
    lifeline: Option<PipeWriter>,
    said: Vec<u8>,
}

enum Done {
    /// The supervisor closed its output; it may run on.
    Silent { child: Child, said: String },
    /// Somebody ended us, and so it.
    Interrupted,
}

impl Watch {
    /// Reads what the supervisor says to its end, unless a signal comes first.
    fn until_done(mut self, signals: &SignalFd) -> io::Result<Done> {
        let mut chunk = [0; 4096];
        loop {
            let (interrupted, readable) = {
                let mut fds = [
                    PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut fds, PollTimeout::NONE) {
                    Err(Errno::EINTR) => continue,
                    ready => drop(ready?),
                }
                let [first, second] = fds.map(|fd| fd.any().unwrap_or(true));
                (first, second)
            };
            if interrupted {
                return self.end().map(|()| Done::Interrupted);
            }
            if readable {
                match self.stdout.read(&mut chunk)? {
                    0 => {
                        let said = String::from_utf8_lossy(&self.said).trim_end().to_owned();
                        return Ok(Done::Silent { child: self.child, said });
                    }
                    n => self.said.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                }
            }
        }
    }

    /// Lets the supervisor clean up, and kills it if that takes too long.
    fn end(mut self) -> io::Result<()> {
        out::note("\ninterrupted, cleaning up");
        drop(self.lifeline.take());
        if !self.supervisor.wait_ended(PATIENCE)? {
            self.supervisor.kill(Signal::SIGKILL)?;
        }
        self.child.wait().map(drop)
    }
}

/// Makes the next child the first process of a PID namespace; returns whether a user namespace was needed for it.
fn own_processes() -> Result<bool, DemoError> {
    let denied = |error: &io::Error| error.raw_os_error() == Some(Errno::EPERM as i32);
    match unshare(Namespaces::PID) {
        Ok(()) => return Ok(false),
        Err(error) if denied(&error) => {} // an ordinary user, or root without rights in a container
        Err(source) => return Err(DemoError::System { action: "make a PID namespace", source }),
    }
    userns::enter_as_root()?;
    unshare(Namespaces::PID).map_err(DemoError::system("make a PID namespace in a user namespace"))?;
    Ok(true)
}

fn directory() -> Result<PathBuf, DemoError> {
    let at = DemoError::system;
    let template = std::env::temp_dir().join("swarm-demo.XXXXXX");
    let made = nix::unistd::mkdtemp(&template).map_err(io::Error::from);
    let dir = made.map_err(at("make a directory; set TMPDIR to one that you can write to"))?;
    let longest =
        Machine::nodes(&dir, MAX_NODES).into_iter().map(|node| node.socket().as_os_str().len()).max();
    if longest.unwrap_or_default() > MAX_SOCKET_PATH {
        remove(&dir);
        return Err(DemoError::LongPath { path: dir.display().to_string() });
    }
    Ok(dir)
}

/// The supervisor's answer with the caller's process numbers and the command that ends it all.
fn translated(kept: &Value, stop: &str, outer: impl Fn(u32) -> Option<u32>) -> Value {
    let outer = |value: &Value, pointer: &str| u32::try_from(number(value, pointer)).ok().and_then(&outer);
    let node = |node: &Value| {
        json!({
            "name": text(node, "/name"),
            "docker_host": text(node, "/docker_host"),
            "pid": outer(node, "/pid"),
            "daemon_pid": outer(node, "/daemon_pid"),
        })
    };
    json!({
        "nodes": items(kept, "/nodes").iter().map(node).collect::<Vec<_>>(),
        "client": {"pid": outer(kept, "/client/pid")},
        "stop": stop,
    })
}

/// The same for people.
fn told(kept: &Value, as_user: bool) -> String {
    let enter = if as_user { "nsenter --preserve-credentials -U" } else { "nsenter" };
    let mut lines = vec!["\nThe swarm runs in the background.".to_owned()];
    for node in items(kept, "/nodes") {
        lines.push(format!(
            "\n{}\n  export DOCKER_HOST={}\n  {enter} -t {} -n -m -u -p    # a shell there",
            text(node, "/name"),
            text(node, "/docker_host"),
            number(node, "/pid"),
        ));
    }
    let client = number(kept, "/client/pid");
    lines.push(format!(
        "\nclient\n  {enter} -t {client} -n -m -u -p    # a shell there; try: curl 192.168.99.100:8080\n\n\
         End it all:\n  {}",
        text(kept, "/stop")
    ));
    lines.join("\n")
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// In a kept demo's directory: the supervisor's number and start time.
const ID_FILE: &str = "supervisor";
/// How long the supervisor may take to clean up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest path of a unix socket, in bytes.
const MAX_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_demo_is_told_with_the_callers_numbers() {
        let kept = json!({
            "nodes": [{"name": "master", "docker_host": "unix:///t/master/docker.sock", "pid": 7, "daemon_pid": 9}],
            "client": {"pid": 8},
        });
        let kept = translated(&kept, "swarm-bin demo-stop /t", |inner| Some(inner + 500));
        assert_eq!(kept["nodes"][0]["pid"], 507);
        assert_eq!(kept["nodes"][0]["daemon_pid"], 509);
        assert_eq!((&kept["client"]["pid"], &kept["stop"]), (&json!(508), &json!("swarm-bin demo-stop /t")));
        let told = told(&kept, true);
        assert!(told.contains("export DOCKER_HOST=unix:///t/master/docker.sock"), "{told}");
        assert!(told.contains("nsenter --preserve-credentials -U -t 507 -n -m -u -p"), "{told}");
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/swarm-demo.x")), "/tmp/swarm-demo.x");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
