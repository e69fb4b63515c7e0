//! The visible process: starts the supervisor, and ends it, and everything below it, when it ends itself.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::geteuid;
use overlay_linux::process::PidFd;
use overlay_linux::userns::{Namespaces, unshare};

use super::args::Plan;
use super::error::BenchError;
use crate::{out, signals};

/// Measures, and leaves nothing behind.
///
/// # Errors
///
/// It could not be started.
pub(super) fn launch(plan: &Plan, json: bool) -> Result<ExitCode, BenchError> {
    let at = BenchError::system;
    plan.iperf3()?;
    if !geteuid().is_root() {
        return Err(BenchError::NotRoot);
    }
    let signals = signals::queued(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    let signals = signals.map_err(at("listen to signals"))?;
    unshare(Namespaces::PID).map_err(at("make a PID namespace"))?;
    let dir = directory()?;
    let done = supervise(plan, json, &dir, &signals);
    remove(&dir);
    done.map_err(at("watch the supervisor"))
}

fn supervise(plan: &Plan, json: bool, dir: &Path, signals: &SignalFd) -> io::Result<ExitCode> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("bench-run").arg("--dir").arg(dir).args(plan.words()).args(json.then_some("--json"));
    // A pipe that ends with this process, whatever ends it; and Ctrl-C is for this process alone.
    let mut child = command.stdin(Stdio::piped()).process_group(0).spawn()?;
    let lifeline = child.stdin.take();
    let interrupted = wait(&child, signals)?;
    if interrupted {
        out::note("\ninterrupted, cleaning up");
        child.kill()?; // the first process of a PID namespace takes all others with it
    }
    let status = child.wait()?;
    drop(lifeline);
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(_) | None if interrupted => Ok(ExitCode::from(130)),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// Waits for the child's end or a signal; says whether it was the signal.
fn wait(child: &Child, signals: &SignalFd) -> io::Result<bool> {
    let process = PidFd::open(child.id())?;
    loop {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(process.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            ready => drop(ready?),
        }
        let [signalled, ended] = fds.map(|fd| fd.any().unwrap_or(true));
        if signalled || ended {
            return Ok(signalled && !ended);
        }
    }
}

fn directory() -> Result<PathBuf, BenchError> {
    let template = std::env::temp_dir().join("swarm-bench.XXXXXX");
    let made = nix::unistd::mkdtemp(&template).map_err(io::Error::from);
    made.map_err(BenchError::system("make a directory; set TMPDIR to one that you can write to"))
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
