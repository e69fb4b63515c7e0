//! Where a task's program comes from and how it runs.
//!
//! ```text
//!   worker ── TaskRuntime ──▶ ProcessRuntime ── spawn ──▶ shim ── spawn ──▶ init ── exec ──▶ program
//!                              (this process)     own session    PID 1 of fresh PID, mount, UTS and
//!                                                 keeps the log   IPC namespaces, in the task's netns
//! ```
//!
//! The shim outlives the daemon: a restarted daemon finds the task by its directory, adopts it and misses neither a
//! log line nor the exit code. The seam for real container images is [`TaskRuntime`]: an OCI runtime implements the
//! same five verbs.

mod catalog;
mod files;
mod hello;
mod init;
mod log;
mod process;
mod shim;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use overlay_linux::netns::NetNs;
use serde::{Deserialize, Serialize};

pub use catalog::{Catalog, Program};
pub use log::{LogEntry, LogReader, Stream};
pub use process::ProcessRuntime;

/// What a task needs to start; written to the task's directory, so that it survives a restart of the daemon.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Launch {
    /// The task's id: names its directory.
    pub task: String,
    /// `helloworld.1.<id>`: what people see.
    pub name: String,
    /// The host name of the node, for programs that tell where they run.
    pub node: String,
    /// The image as the service names it; resolved by the [`Catalog`].
    pub image: String,
    /// Replaces the image's program.
    pub command: Vec<String>,
    /// Appended to the program's own arguments.
    pub args: Vec<String>,
    /// `KEY=value` each.
    pub env: Vec<String>,
    /// The task's host name; at most 64 bytes.
    pub hostname: String,
    /// `uid` or `uid:gid`, as numbers; empty: as the daemon.
    pub user: String,
    /// Working directory; `/` by default.
    pub dir: Option<String>,
    /// Lines for `/etc/hosts` after the standard ones.
    pub hosts: Vec<String>,
    /// The task's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// What was written for this task by the worker and must be read back after a restart.
    pub notes: BTreeMap<String, String>,
}

/// A task that runs, or ran, under a runtime.
#[derive(Clone, Debug)]
pub struct Running {
    /// The program's process id as the node sees it.
    pub pid: u32,
    /// 64 hex digits, as Docker's container ids look.
    pub container_id: String,
}

/// A task that was found running after a restart.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// What it was started with.
    pub launch: Launch,
    /// Its process.
    pub running: Running,
    /// Its network namespace.
    pub netns: Arc<NetNs>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it, as shells count.
    pub code: i32,
}

/// Why a task could not be prepared or started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum RuntimeError {
    /// The catalog does not know the image. The text is Docker's.
    #[error("No such image: {image}")]
    NoSuchImage { image: String },
    /// The program of a `host://` image is not there or cannot be executed.
    #[error("cannot run {program}: {reason}")]
    CannotRun { program: String, reason: String },
    /// The operating system refused.
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

/// Runs tasks. The worker calls `prepare`, `start`, `wait`, `stop`, `remove` in this order for each task.
pub trait TaskRuntime: std::fmt::Debug + Send + Sync + 'static {
    /// Checks that the task could start: its image is known and its program is there. Changes nothing.
    ///
    /// # Errors
    /// The reason becomes the task's `Err`; the task is rejected.
    fn prepare(&self, launch: &Launch) -> Result<(), RuntimeError>;

    /// Starts the program inside of `netns` and returns once it runs.
    fn start<'a>(
        &'a self,
        launch: &'a Launch,
        netns: &'a NetNs,
    ) -> BoxFuture<'a, Result<Running, RuntimeError>>;

    /// Resolves when the program ended, also for adopted tasks.
    fn wait<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Exit>;

    /// Asks the program to end with `signal`, then kills it after `grace`. Resolves when it ended.
    fn stop<'a>(&'a self, task: &'a str, signal: &'a str, grace: Duration) -> BoxFuture<'a, Exit>;

    /// How a task ended that ran before, also before this daemon was started; `None` if it never ran here or still runs.
    fn ended(&self, task: &str) -> Option<Exit>;

    /// Forgets an ended task and deletes its log.
    fn remove(&self, task: &str);

    /// Finds the tasks that an earlier daemon left running.
    fn adopt(&self) -> Vec<Adopted>;

    /// Reads the task's output from the beginning.
    ///
    /// # Errors
    /// The task has no log, or it cannot be read.
    fn logs(&self, task: &str) -> std::io::Result<LogReader>;
}

/// Runs the shim, the init or a built-in program if this process was started as one of them; call it first in `main`.
///
/// Returns when the process is none of them.
pub fn reenter() {
    let mut args = std::env::args_os().skip(1);
    let (Some(role), rest) = (args.next(), args.collect::<Vec<_>>()) else { return };
    let code = match role.to_str() {
        Some(shim::ROLE) => shim::main(&rest),
        Some(init::ROLE) => init::main(&rest),
        Some(hello::ROLE) => hello::main(&rest),
        _ => return,
    };
    std::process::exit(code);
}
