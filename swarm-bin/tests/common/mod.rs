//! Machines without a swarm, and the peers that a person would type into: `docker`, `curl`.
//!
//! Every command has a time limit, and a guard of its own ends the machines and removes their files, whatever becomes of
//! the test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;

/// Who runs everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum User {
    Root,
    /// A user without any privilege: whoever runs the tests or, under root, a number that no account is needed for.
    Ordinary,
}

impl User {
    /// Whoever runs the tests.
    pub fn this() -> Self {
        if nix::unistd::geteuid().is_root() { Self::Root } else { Self::Ordinary }
    }
}

/// Machines in the background; gone when dropped.
pub struct Machines {
    pub nodes: Vec<Machine>,
    pub client_pid: u32,
    /// What `demo --keep --json` printed.
    pub told: Value,
    seat: Seat,
}

pub struct Machine {
    pub name: String,
    pub docker_host: String,
    pub pid: u32,
    pub daemon_pid: u32,
    pub addr: String,
}

/// A user at a keyboard: a directory of their own, and a program that they may run. All that was started there ends with it.
pub struct Seat {
    pub user: User,
    pub home: PathBuf,
    pub program: PathBuf,
    guard: Child,
}

/// Requests from the client at an even pace, whether answers come or not.
pub struct Flow {
    child: Child,
    answers: File,
}

/// A request of a flow.
#[derive(Debug)]
pub struct Request {
    /// When it was sent, in milliseconds since 1970.
    pub at: u64,
    pub target: String,
    pub task: String,
    pub error: Option<String>,
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
    line: String,
}

/// Whole swarms run one after the other: they share the machine's cores.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether all these programs are there; says in one line which is not.
pub fn present(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        !found.is_ok_and(|output| output.status.success())
    });
    if let Some(missing) = missing {
        println!("skipped: {missing} not found");
    }
    missing.is_none()
}

impl Seat {
    /// `None`, with a line that says why, where that user cannot be had.
    pub fn take(user: User) -> Option<Self> {
        let root = nix::unistd::geteuid().is_root();
        match user {
            User::Root if !root => {
                println!("skipped: not root");
                return None;
            }
            User::Ordinary if root && !present(&["setpriv"]) => return None,
            User::Root | User::Ordinary => {}
        }
        let home = tempfile::Builder::new().prefix("swarm-e2e").tempdir_in("/tmp").unwrap().keep();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_swarm-bin"));
        if user == User::Ordinary && root {
            chown(&home, Some(ORDINARY), Some(ORDINARY)).unwrap();
            // The build directory may be closed to others.
            let copy = home.join("swarm-bin");
            fs::copy(&program, &copy).unwrap();
            program = copy;
        }
        // Waits for the end of its input, which comes with the end of this process at the latest.
        let guard = r#"
            trap '' INT TERM HUP
            cat > /dev/null
            for kept in "$1"/swarm-demo.*; do
                if [ -e "$kept/supervisor" ]; then "$2" demo-stop "$kept" || kill -9 $(cut -d ' ' -f 1 "$kept/supervisor"); fi
            done
            cd / && rm -rf "$1""#;
        let guard = command(user, "sh", &home)
            .args(["-c", guard, "guard"])
            .args([&home, &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Some(Self { user, home, program, guard })
    }

    pub fn command(&self, program: &str) -> Command {
        command(self.user, program, &self.home)
    }

    /// `swarm-bin …`, typed as in a shell without quotes.
    pub fn swarm_bin(&self, line: &str) -> Said {
        Said::of(self.command(self.program.to_str().unwrap()).args(line.split_whitespace()))
    }

    /// Starts a program in all namespaces of a machine, without waiting for it. It ends with the machine.
    pub fn start_inside(&self, pid: u32, args: &[&str]) -> Background {
        let [out, err] = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let mut command = self.enter(pid, ALL);
        command.args(args).stdin(Stdio::null()).process_group(0);
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Background { line: format!("{command:?}"), child, out, err }
    }

    /// A program in the network of a machine or the client.
    pub fn inside(&self, pid: u32, args: &[&str]) -> Said {
        Said::of(self.enter(pid, &["-n"]).args(args))
    }

    /// A program in all namespaces of a machine.
    pub fn inside_all(&self, pid: u32, args: &[&str]) -> Said {
        Said::of(self.enter(pid, ALL).args(args))
    }

    fn enter(&self, pid: u32, namespaces: &[&str]) -> Command {
        let mut enter = self.command("nsenter");
        enter.args(["-t", &pid.to_string()]).args(namespaces);
        if self.user == User::Ordinary {
            enter.args(["-U", "--preserve-credentials"]);
        }
        enter.arg("--");
        enter
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let begin = Instant::now();
        while begin.elapsed() < LIMIT && matches!(self.guard.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(20));
        }
        let clean = matches!(self.guard.try_wait(), Ok(Some(_))) && !self.home.exists();
        if !std::thread::panicking() {
            assert!(clean, "{} is left", self.home.display());
        }
    }
}

/// A command as that user; ordinary ones see nothing of this user's environment.
fn command(user: User, program: &str, home: &Path) -> Command {
    let mut command = if user == User::Ordinary && nix::unistd::geteuid().is_root() {
        let id = ORDINARY.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.env("HOME", home).env("TMPDIR", home).env_remove("DOCKER_HOST").current_dir(home);
    command
}

impl Machines {
    /// `None`, with a line that says why, where it cannot be done.
    pub fn start(user: User, nodes: usize) -> Option<Self> {
        let seat = Seat::take(user)?;
        let said = seat.swarm_bin(&format!("demo --bare --keep --json --nodes {nodes}"));
        if !said.ok && user == User::Ordinary && said.err.contains("user namespace") {
            println!("skipped: user namespaces are not allowed here: {}", said.err);
            return None;
        }
        Some(Self::of(seat, &said.must()))
    }

    /// The machines that `demo --keep --json` told of.
    pub fn of(seat: Seat, told: &str) -> Self {
        let told: Value = serde_json::from_str(told).expect("one JSON object");
        let number = |value: &Value| u32::try_from(value.as_u64().expect("a number")).unwrap();
        let machine = |(i, node): (usize, &Value)| Machine {
            name: node["name"].as_str().unwrap().to_owned(),
            docker_host: node["docker_host"].as_str().unwrap().to_owned(),
            pid: number(&node["pid"]),
            daemon_pid: number(&node["daemon_pid"]),
            addr: format!("192.168.99.{}", 100 + i),
        };
        let nodes = told["nodes"].as_array().unwrap().iter().enumerate().map(machine).collect();
        Self { nodes, client_pid: number(&told["client"]["pid"]), told, seat }
    }

    pub const fn seat(&self) -> &Seat {
        &self.seat
    }

    /// `docker …` on a machine, typed as in a shell without quotes.
    pub fn docker(&self, machine: usize, line: &str) -> Said {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.docker_args(machine, &args)
    }

    pub fn docker_args(&self, machine: usize, args: &[&str]) -> Said {
        let host = &self.nodes[machine].docker_host;
        Said::of(self.seat.command("docker").args(args).env("DOCKER_HOST", host))
    }

    /// The first machine founds a swarm, and the others join as `role`.
    pub fn swarm(&self, role: &str) {
        self.docker(0, "swarm init --advertise-addr eth1").must();
        let token = self.docker(0, &format!("swarm join-token -q {role}")).must();
        for machine in 1..self.nodes.len() {
            let join = format!("swarm join --token {} {}:2377", token.trim(), self.nodes[0].addr);
            self.docker(machine, &join).must();
        }
    }

    /// A program in the network of a machine or the client.
    pub fn inside(&self, pid: u32, args: &[&str]) -> Said {
        self.seat.inside(pid, args)
    }

    pub fn curl(&self, pid: u32, url: &str) -> Said {
        self.inside(pid, &["curl", "-s", "-S", "-m", "8", "-w", "\n", url])
    }

    /// Asks port 8080 of these machines in turn, every 20 ms, each request over a connection of its own.
    pub fn flow(&self, machines: &[usize]) -> Flow {
        let answers = tempfile::tempfile().unwrap();
        let mut command = self.seat.enter(self.client_pid, &["-n"]);
        command.arg(&self.seat.program).args(["demo-client", "--every", "20", "--timeout", "5000"]);
        for machine in machines {
            command.args(["--target", &format!("{}:8080", self.nodes[*machine].addr)]);
        }
        command.stdin(Stdio::piped()).stdout(answers.try_clone().unwrap()).process_group(0);
        Flow { child: command.spawn().unwrap(), answers }
    }

    /// The numbers of the processes that run the built-in image.
    pub fn hello_processes(&self) -> BTreeSet<u32> {
        let is_hello = |pid: &u32| {
            let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            args.split(|byte| *byte == 0).nth(1) == Some(b"task-hello")
        };
        self.processes().into_iter().filter(is_hello).collect()
    }

    /// Every process of the machines, of what started them, and of what this process started in them.
    pub fn processes(&self) -> BTreeSet<u32> {
        let parents = parents();
        let own = std::process::id();
        let mut tree: BTreeSet<u32> = parents.get(&self.nodes[0].pid).copied().into_iter().collect();
        loop {
            let of_ours = |parent: &u32| tree.contains(parent) || *parent == own;
            let more = parents.iter().filter(|(pid, parent)| of_ours(parent) && !tree.contains(pid));
            let more: Vec<u32> = more.map(|(pid, _)| *pid).collect();
            if more.is_empty() {
                break;
            }
            tree.extend(more);
        }
        let numbered_by = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        tree.retain(|pid| numbered_by(*pid).is_some_and(|by| Some(by) != numbered_by(own)));
        tree
    }
}

impl Drop for Machines {
    /// Whatever the test did, every manager's books are sound at its end.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for node in &self.nodes {
            let audit = self.seat.swarm_bin(&format!("-H {} ipam audit", node.docker_host));
            // Those that were killed or are no managers have no books.
            let none = ["cannot reach a daemon", "not a swarm manager", "broke"];
            assert!(audit.ok || none.iter().any(|why| audit.err.contains(why)), "{}: {audit:?}", node.name);
        }
    }
}

impl Flow {
    /// Ends it, and waits for the answers that are under way.
    pub fn end(mut self) -> Vec<Request> {
        drop(self.child.stdin.take());
        until("the flow ends", LIMIT, || self.child.try_wait().unwrap().is_some());
        let request = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let text = |key: &str| value[key].as_str().map(str::to_owned);
            Request {
                at: value["at"].as_u64().unwrap(),
                target: text("target").unwrap(),
                task: text("task").unwrap_or_default(),
                error: text("error"),
            }
        };
        let requests: Vec<Request> = content(&mut self.answers).lines().map(request).collect();
        assert!(!requests.is_empty());
        requests
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds since 1970.
pub fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// How many requests failed, and why, of those that were sent in this time.
pub fn failures(requests: &[Request], from: u64, to: u64) -> Vec<&Request> {
    let sent = |request: &&Request| (from..to).contains(&request.at);
    requests.iter().filter(sent).filter(|request| request.error.is_some()).collect()
}

/// The parent of every process.
fn parents() -> std::collections::BTreeMap<u32, u32> {
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    pids().filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The namespaces of these processes that this process is not in.
pub fn namespaces(of: &BTreeSet<u32>) -> BTreeSet<PathBuf> {
    let own = namespaces_of(std::process::id());
    of.iter().flat_map(|pid| namespaces_of(*pid)).filter(|namespace| !own.contains(namespace)).collect()
}

/// Every namespace that some process of this machine is in.
pub fn all_namespaces() -> BTreeSet<PathBuf> {
    namespaces(&pids().collect())
}

fn namespaces_of(pid: u32) -> BTreeSet<PathBuf> {
    let kinds = ["net", "mnt", "pid", "uts", "ipc", "user"];
    kinds.iter().filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()).collect()
}

/// Whether a process is there; one that waits to be buried is not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// `kill -9`, for a process of ours.
pub fn kill_9(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

/// `kill`, for a process of ours.
pub fn end(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGTERM).unwrap();
}

impl Said {
    /// Runs a command to its end, or ends it and all that it started with an error.
    pub fn of(command: &mut Command) -> Self {
        Self::within(LIMIT, command)
    }

    pub fn within(limit: Duration, command: &mut Command) -> Self {
        let [out, err] = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Background { line: format!("{command:?}"), child, out, err }.finished_within(limit)
    }

    /// Standard output of a command that must succeed.
    pub fn must(self) -> String {
        assert!(self.ok, "{}\n{}{}", self.line, self.out, self.err);
        self.out
    }

    /// The daemon's message to a command that must fail.
    pub fn refused(self) -> String {
        assert!(!self.ok, "must fail: {}\n{}", self.line, self.out);
        let text = self.err.trim();
        text.strip_prefix("Error response from daemon: ").unwrap_or(text).to_owned()
    }
}

/// A command that runs beside the test, as the first of its process group.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    out: File,
    err: File,
}

impl Background {
    /// What it said, once it has ended; an error if it does not end.
    pub fn finished(self) -> Said {
        self.finished_within(LIMIT)
    }

    fn finished_within(mut self, limit: Duration) -> Said {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if begin.elapsed() > limit {
                let _ = killpg(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGKILL);
                self.child.wait().unwrap();
                break None;
            }
            sleep(Duration::from_millis(2));
        };
        let ok = status.is_some_and(|status| status.success());
        let said = Said { ok, out: content(&mut self.out), err: content(&mut self.err), line: self.line };
        assert!(status.is_some(), "not within {limit:?}: {}\n{}{}", said.line, said.out, said.err);
        said
    }
}

fn content(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until something holds.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

/// How long anything may take that has no limit of its own.
const LIMIT: Duration = Duration::from_secs(45);
const ORDINARY: u32 = 61234;
/// All namespaces of a machine but the user namespace, for `nsenter`.
const ALL: &[&str] = &["-m", "-n", "-u", "-i", "-p"];
