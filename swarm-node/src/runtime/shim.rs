//! The shim: parent of a task's program. It makes the namespaces, keeps the output, and writes down how the program
//! ended. One thread, one loop; it outlives the daemon.
//!
//! Its standard input is the task's network namespace, its standard output a pipe to the daemon that carries one line.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns, unshare},
};
use serde::{Deserialize, Serialize};

use super::{
    Exit,
    files::{Processes, TaskDir, start_time},
    init,
    log::{LogWriter, MAX_LINE, Stream},
};

/// First argument of a shim's process.
pub(super) const ROLE: &str = "task-shim";

/// The one line that the daemon reads.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Report {
    /// The program runs.
    Started { init: u32 },
    /// It could not be started.
    Failed { reason: String },
}

/// `task-shim <task directory>`; never returns to the caller's program.
pub(super) fn main(args: &[OsString]) -> i32 {
    let Some(dir) = args.first() else { return 2 };
    let dir = TaskDir::new(dir);
    match start(&dir) {
        Ok((child, log)) => {
            report(&Report::Started { init: child.id() });
            keep(&dir, child, log)
        }
        Err(error) => {
            let _ = dir.save_exit(Exit { code: 127 });
            report(&Report::Failed { reason: error.to_string() });
            127
        }
    }
}

fn start(dir: &TaskDir) -> io::Result<(Child, LogWriter)> {
    let log = LogWriter::open(dir.log())?;
    let _ = nix::unistd::setsid(); // fails only if we lead a group already, which serves as well
    setns(io::stdin().as_fd(), CloneFlags::CLONE_NEWNET)?;
    // Not the mounts: the shim goes on to look at the node's /proc.
    unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID)?;
    let (said, tell) = io::pipe()?;
    let mut child = Command::new("/proc/self/exe")
        .arg(init::ROLE)
        .arg(dir.path())
        .stdin(Stdio::from(OwnedFd::from(tell)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let processes = Processes {
        shim: std::process::id(),
        shim_started: start_time(std::process::id()).unwrap_or_default(),
        init: child.id(),
        init_started: start_time(child.id()).unwrap_or_default(),
    };
    dir.save_processes(processes)?;
    let mut failure = String::new();
    File::from(OwnedFd::from(said)).take(4096).read_to_string(&mut failure)?; // ends when the program is executed
    if failure.is_empty() {
        return Ok((child, log));
    }
    child.wait()?;
    Err(io::Error::other(failure))
}

fn report(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    let _ = io::stdout().write_all(&line);
    let _ = io::stdout().flush();
}

/// Copies both streams into the log until the program ended. No thread: a process whose children live in another PID
/// namespace cannot make any.
fn keep(dir: &TaskDir, mut child: Child, mut log: LogWriter) -> i32 {
    let out = child.stdout.take().map(OwnedFd::from).map(|fd| Pipe::new(fd, Stream::Stdout));
    let err = child.stderr.take().map(OwnedFd::from).map(|fd| Pipe::new(fd, Stream::Stderr));
    let mut pipes: Vec<Pipe> = out.into_iter().chain(err).collect();
    while !pipes.is_empty() {
        let ready: Vec<bool> = {
            let mut fds: Vec<_> =
                pipes.iter().map(|pipe| PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN)).collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => fds.iter().map(|fd| fd.any().unwrap_or(true)).collect(),
                Err(nix::Error::EINTR) => continue,
                Err(_) => break,
            }
        };
        let mut ready = ready.into_iter();
        pipes.retain_mut(|pipe| !ready.next().unwrap_or(true) || pipe.pump(&mut log));
    }
    let code = child.wait().map_or(255, code_of);
    let _ = dir.save_exit(Exit { code });
    0
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// One stream of the program and its unfinished line.
#[derive(Debug)]
struct Pipe {
    file: File,
    stream: Stream,
    line: Vec<u8>,
}

impl Pipe {
    fn new(fd: OwnedFd, stream: Stream) -> Self {
        Self { file: File::from(fd), stream, line: Vec::new() }
    }

    /// Reads once and writes the finished lines; false at the end of the stream.
    fn pump(&mut self, log: &mut LogWriter) -> bool {
        let mut chunk = [0; 8192];
        let n = match self.file.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => 0,
        };
        if n == 0 {
            if !self.line.is_empty() {
                let _ = log.append(now_ns(), self.stream, &self.line);
            }
            return false;
        }
        for piece in chunk.get(..n).unwrap_or_default().split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= MAX_LINE {
                let _ = log.append(now_ns(), self.stream, &self.line); // a full disk must not stop the program
                self.line.clear();
            }
        }
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "the shim stamps the lines of a live program")]
fn now_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
