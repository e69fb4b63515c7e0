//! The first process of a machine: makes the namespaces usable, runs the daemon, buries orphans.
//!
//! Its end is the machine's end: the kernel ends every process of the PID namespace with it. It restarts nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use overlay_linux::link::{LinkName, Netlink};
use overlay_linux::mount;

use super::error::DemoError;
use super::plan::Machine;
use crate::{out, signals};

/// Runs a machine of the demo inside of namespaces that were made for it (internal)
///
/// Standard input carries one byte when the cable is plugged in; without it the machine does not start.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// The host name
    #[arg(long)]
    hostname: String,
    /// Where the daemon keeps its socket, log and data; without it there is none
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl NodeArgs {
    /// What the supervisor types.
    pub(super) fn of(machine: &Machine) -> Vec<OsString> {
        let mut args: Vec<OsString> =
            vec!["demo-node".into(), "--hostname".into(), machine.name.clone().into()];
        if machine.has_daemon {
            args.extend(["--dir".into(), machine.dir.clone().into()]);
        }
        args
    }

    /// Runs until SIGTERM.
    ///
    /// # Errors
    ///
    /// The namespaces cannot be made usable, or the daemon does not start.
    pub(crate) fn run(self) -> Result<ExitCode, DemoError> {
        let at = DemoError::system;
        let signals = signals::queued(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
        let signals = signals.map_err(at("listen to signals"))?;
        self.furnish()?;
        // Nothing starts before the cable is there, and nothing without a supervisor.
        if io::stdin().lock().read_exact(&mut [0]).is_err() {
            return Err(DemoError::Interrupted);
        }
        let daemon = self.dir.as_deref().map(|dir| self.start_daemon(dir)).transpose();
        let daemon = daemon.map_err(at("start the daemon"))?;
        keep(&signals, daemon).map_err(at("wait for children"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn furnish(&self) -> Result<(), DemoError> {
        let at = DemoError::system;
        mount::make_private().map_err(at("make mounts private"))?;
        mount::proc(Path::new("/proc")).map_err(at("mount /proc"))?;
        mount::set_hostname(&self.hostname).map_err(at("set the host name"))?;
        let loopback = LinkName::new("lo").map_err(io::Error::other).map_err(at("name the loopback"))?;
        Netlink::open().map_err(at("talk to the kernel about links"))?.set_up(&loopback)?;
        Ok(())
    }

    fn start_daemon(&self, dir: &Path) -> io::Result<Pid> {
        let log = File::options().create(true).append(true).open(dir.join("daemon.log"))?;
        let mut host = OsString::from("unix://");
        host.push(dir.join("docker.sock"));
        let child = Command::new("/proc/self/exe")
            .args(["daemon", "--hostname", &self.hostname, "--data-dir"])
            .arg(dir.join("data"))
            .arg("--host")
            .arg(host)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?))
    }
}

/// Buries whoever ended. SIGTERM is passed on to the daemon, and its end is then the end.
fn keep(signals: &SignalFd, daemon: Option<Pid>) -> io::Result<()> {
    let mut running = daemon;
    let mut ending = false;
    loop {
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            ready => drop(ready?),
        }
        while let Some(signal) = signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            ending |= number == Signal::SIGTERM as i32 || number == Signal::SIGINT as i32;
        }
        while let Some((pid, how)) = bury()? {
            if Some(pid) == running {
                running = None;
                out::note(format_args!("the daemon ended: {how}"));
            }
        }
        match running {
            Some(pid) if ending => kill(pid, Signal::SIGTERM)?,
            None if ending => return Ok(()),
            _ => {}
        }
    }
}

/// Buries one child that ended, if there is one.
fn bury() -> io::Result<Option<(Pid, String)>> {
    match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Ok(Some((pid, format!("code {code}")))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Ok(Some((pid, signal.to_string()))),
        Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
