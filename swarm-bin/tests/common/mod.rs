//! Machines without a swarm, and the peers that a person would type into: `docker`, `curl`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Who runs everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum User {
    Root,
    /// A user without any privilege, made up here: no account is needed for a number.
    Ordinary,
}

const ORDINARY: &str = "61234";

/// Machines in the background; gone when dropped.
pub struct Machines {
    pub nodes: Vec<Machine>,
    pub client_pid: u32,
    user: User,
    stop: String,
    home: PathBuf,
}

pub struct Machine {
    pub name: String,
    pub docker_host: String,
    pub pid: u32,
    pub addr: String,
}

/// Whether a program is there; says so in one line if not.
pub fn present(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {program} not found");
    }
    found
}

/// A command as that user; ordinary ones see nothing of this user's environment.
pub fn command(user: User, program: &str, home: &Path) -> Command {
    let mut command = match user {
        User::Root => Command::new(program),
        User::Ordinary => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups", "--", program]);
            command
        }
    };
    command.env("HOME", home).env("TMPDIR", home).env_remove("DOCKER_HOST");
    command
}

impl Machines {
    /// `None`, with a line that says why, where it cannot be done.
    pub fn start(user: User, nodes: usize) -> Option<Self> {
        use std::os::unix::fs::{PermissionsExt, chown};
        let root = nix::unistd::geteuid().is_root();
        if user == User::Ordinary && (!root || !present("setpriv")) {
            println!("skipped: an ordinary user can be tried only by root with setpriv");
            return None;
        }
        let home = tempfile::Builder::new().prefix("swarm-e2e").tempdir_in("/tmp").unwrap().keep();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_swarm-bin"));
        if user == User::Ordinary {
            let id = ORDINARY.parse().unwrap();
            chown(&home, Some(id), Some(id)).unwrap();
            // The build directory may be closed to others.
            let copy = home.join("swarm-bin");
            std::fs::copy(&program, &copy).unwrap();
            program = copy;
        }
        let mut demo = command(user, program.to_str().unwrap(), &home);
        let output = demo
            .args(["demo", "--bare", "--keep", "--json", "--nodes", &nodes.to_string()])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && stderr.contains("user namespace") {
            println!("skipped: user namespaces are not allowed here: {stderr}");
            return None;
        }
        assert!(output.status.success(), "{stderr}");
        let machines: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let machine = |(i, node): (usize, &Value)| Machine {
            name: node["name"].as_str().unwrap().to_owned(),
            docker_host: node["docker_host"].as_str().unwrap().to_owned(),
            pid: number(&node["pid"]),
            addr: format!("192.168.99.{}", 100 + i),
        };
        Some(Self {
            nodes: machines["nodes"].as_array().unwrap().iter().enumerate().map(machine).collect(),
            client_pid: number(&machines["client"]["pid"]),
            user,
            stop: machines["stop"].as_str().unwrap().to_owned(),
            home,
        })
    }

    /// `docker …` on a machine, typed as in a shell without quotes.
    pub fn docker(&self, machine: usize, line: &str) -> Said {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.docker_args(machine, &args)
    }

    pub fn docker_args(&self, machine: usize, args: &[&str]) -> Said {
        let host = &self.nodes[machine].docker_host;
        Said::of(command(self.user, "docker", &self.home).args(args).env("DOCKER_HOST", host))
    }

    /// A program in the network of a machine or the client.
    pub fn inside(&self, pid: u32, args: &[&str]) -> Said {
        let pid = pid.to_string();
        let mut enter = vec!["-t", pid.as_str(), "-n"];
        if self.user == User::Ordinary {
            enter.extend(["-U", "--preserve-credentials"]);
        }
        Said::of(command(self.user, "nsenter", &self.home).args(enter).arg("--").args(args))
    }

    pub fn curl(&self, pid: u32, url: &str) -> Said {
        self.inside(pid, &["curl", "-s", "-S", "-m", "8", "-w", "\n", url])
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let _ = command(self.user, "sh", &self.home).args(["-c", &self.stop]).output();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
    line: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { ok: status.success(), out: text(stdout), err: text(stderr), line }
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

/// Waits until something holds.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}
