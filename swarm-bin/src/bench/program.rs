//! Other programs, and copies of this one, run inside of a namespace and ended with whoever holds them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use overlay_linux::netns::NetNs;

use super::error::BenchError;

/// A program of somebody else, and the package of Debian that has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

pub(super) const IP: Program = Program { name: "ip", package: "iproute2" };
pub(super) const BRIDGE: Program = Program { name: "bridge", package: "iproute2" };
pub(super) const ETHTOOL: Program = Program { name: "ethtool", package: "ethtool" };
pub(super) const IPERF3: Program = Program { name: "iperf3", package: "iperf3" };
pub(super) const NEBULA: Program = Program { name: "nebula", package: "nebula" };
pub(super) const NEBULA_CERT: Program = Program { name: "nebula-cert", package: "nebula" };
pub(super) const FASTD: Program = Program { name: "fastd", package: "fastd" };
pub(super) const WIREGUARD_GO: Program = Program { name: "wireguard-go", package: "wireguard-go" };
pub(super) const WG: Program = Program { name: "wg", package: "wireguard-tools" };
pub(super) const TINCD: Program = Program { name: "tincd", package: "tinc" };

impl Program {
    /// Where it is installed.
    ///
    /// # Errors
    ///
    /// [`BenchError::Absent`].
    pub(super) fn find(self) -> Result<PathBuf, BenchError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A shell of root does not always look where such programs are.
        let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let mut dirs = std::env::split_paths(&path).chain(usual);
        dirs.find_map(|dir| Some(dir.join(self.name)).filter(|file| file.is_file())).ok_or_else(|| {
            BenchError::Absent { what: self.name.to_owned(), remedy: format!("apt install {}", self.package) }
        })
    }

    /// A command that runs it.
    ///
    /// # Errors
    ///
    /// [`BenchError::Absent`].
    pub(super) fn command(self) -> Result<Command, BenchError> {
        self.find().map(Command::new)
    }

    /// Runs it in a namespace with these arguments to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// It is absent, or it failed.
    pub(super) fn run(self, netns: &NetNs, args: &[&str]) -> Result<String, BenchError> {
        let mut command = self.command()?;
        command.args(args);
        finish(netns, command, "")
    }
}

/// A command that runs this program.
pub(super) fn ourselves() -> Command {
    Command::new("/proc/self/exe")
}

/// Runs a command in a namespace to its end, with `input` to read, and returns what it printed.
///
/// # Errors
///
/// It did not start, or failed; then the error carries what it said.
pub(super) fn finish(netns: &NetNs, mut command: Command, input: &str) -> Result<String, BenchError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = described(&command);
    let mut child = spawn(netns, command)?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes()); // whoever does not read says why
    }
    let output = child.wait_with_output().map_err(BenchError::system("wait for a program"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    Err(BenchError::program(name, format!("{}: {}", output.status, said.trim())))
}

/// A child that ends with its holder.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts a program in a namespace that runs until it is dropped; what it says goes to the file `log`.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub(super) fn start(netns: &NetNs, mut command: Command, log: &Path) -> Result<Self, BenchError> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(BenchError::system("write a log"))?;
        let copy = file.try_clone().map_err(BenchError::system("write a log"))?;
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        let name = described(&command);
        Ok(Self { child: spawn(netns, command)?, name })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// It ended, which such a program must not.
    pub(super) fn check(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(BenchError::program(self.name.clone(), status)),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that tells one line at a time, and ends with its holder.
#[derive(Debug)]
pub(super) struct Talking {
    running: Running,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talking {
    /// Starts a program in a namespace. Its errors go where ours go, or to `log`.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub(super) fn start(netns: &NetNs, mut command: Command, log: Option<&Path>) -> Result<Self, BenchError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(log) = log {
            let file = File::options().create(true).append(true).open(log);
            command.stderr(file.map_err(BenchError::system("write a log"))?);
        }
        let name = described(&command);
        let mut child = spawn(netns, command)?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let all = BufReader::new(stdout).lines().map_while(Result::ok);
                all.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
            });
        }
        Ok(Self { stdin: child.stdin.take(), running: Running { name, child }, lines })
    }

    /// The next line.
    ///
    /// # Errors
    ///
    /// It took too long, or ended without one.
    pub(super) fn line(&mut self, patience: Duration) -> Result<String, BenchError> {
        let name = || self.running.name.clone();
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                Err(BenchError::Slow { what: name(), seconds: patience.as_secs() })
            }
            Err(RecvTimeoutError::Disconnected) => {
                let name = name();
                let status = self.running.child.wait().map_err(BenchError::system("wait for a program"))?;
                Err(BenchError::program(name, status))
            }
        }
    }

    /// All lines up to its end.
    ///
    /// # Errors
    ///
    /// It took too long from one line to the next.
    pub(super) fn rest(&mut self, patience: Duration) -> Result<String, BenchError> {
        self.stdin = None;
        let mut text = String::new();
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => text.extend([line.as_str(), "\n"]),
                Err(RecvTimeoutError::Disconnected) => return Ok(text),
                Err(RecvTimeoutError::Timeout) => {
                    let what = self.running.name.clone();
                    return Err(BenchError::Slow { what, seconds: patience.as_secs() });
                }
            }
        }
    }
}

fn spawn(netns: &NetNs, mut command: Command) -> Result<Child, BenchError> {
    let name = described(&command);
    let spawned = netns.run(|| command.spawn()).map_err(BenchError::system("enter a namespace"))?;
    spawned.map_err(|error| BenchError::program(name, error))
}

/// The program and its first argument.
fn described(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let program = if program == "exe" { "swarm-bin".into() } else { program };
    let args = command.get_args().take(2).map(|arg| arg.to_string_lossy());
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}
