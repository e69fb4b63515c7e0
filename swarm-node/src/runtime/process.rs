//! The default runtime: a task is a process of this host in namespaces of its own; nothing needs to be installed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use overlay_linux::netns::NetNs;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Adopted, Catalog, Exit, Launch, LogReader, Running, RuntimeError, TaskRuntime,
    files::{TaskDir, is_same},
    shim::{self, Report},
};

/// Runs tasks as processes under a shim, each in its directory below `<data dir>/tasks`.
#[derive(Debug)]
pub struct ProcessRuntime {
    root: PathBuf,
    ended: Mutex<BTreeMap<String, watch::Receiver<Option<Exit>>>>,
}

/// How often a task that is not our child is looked at.
const POLL: Duration = Duration::from_millis(100);
/// A shim that says nothing for this long is given up; it has only to make namespaces and execute.
const START_TIMEOUT: Duration = Duration::from_secs(10);

impl ProcessRuntime {
    /// A runtime that keeps its tasks below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, ended: Mutex::new(BTreeMap::new()) }
    }

    fn dir(&self, task: &str) -> TaskDir {
        TaskDir::new(self.root.join(task))
    }

    /// Follows a task until its exit is on disk; `child` is the shim if it is ours.
    fn follow(&self, task: &str, child: Option<tokio::process::Child>) {
        let (tell, ended) = watch::channel(None);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned(), ended);
        let dir = self.dir(task);
        tokio::spawn(async move {
            if let Some(mut child) = child {
                let _ = child.wait().await;
            }
            let exit = loop {
                if let Some(exit) = dir.exit() {
                    break exit;
                }
                let alive = dir.processes().is_ok_and(|p| is_same(p.shim, p.shim_started));
                if !alive {
                    // With another user the program does not die with its shim by itself.
                    if let Ok(processes) = dir.processes()
                        && is_same(processes.init, processes.init_started)
                    {
                        let _ = kill(pid(processes.init), Signal::SIGKILL);
                    }
                    break dir.exit().unwrap_or(Exit { code: 137 }); // the shim was killed, and its program with it
                }
                sleep(POLL).await;
            };
            let _ = tell.send(Some(exit));
        });
    }

    fn watch(&self, task: &str) -> Option<watch::Receiver<Option<Exit>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    fn signal(&self, task: &str, signal: Signal) {
        let Ok(processes) = self.dir(task).processes() else { return };
        if is_same(processes.init, processes.init_started) {
            let _ = kill(pid(processes.init), signal);
        }
    }

    async fn launch(&self, launch: &Launch, netns: &NetNs) -> Result<Running, RuntimeError> {
        let system = |what| move |source| RuntimeError::System { what, source };
        let dir = self.dir(&launch.task);
        let _ = dir.remove(); // of an earlier attempt
        dir.create(launch).map_err(system("task directory"))?;
        let inherited = netns.as_fd().try_clone_to_owned().map_err(system("network namespace"))?;
        let diary = fs::File::create(dir.path().join("shim.log")).map_err(system("shim log"))?;
        let mut child = Command::new("/proc/self/exe")
            .arg(shim::ROLE)
            .arg(dir.path())
            .stdin(Stdio::from(inherited))
            .stdout(Stdio::piped())
            .stderr(diary)
            .process_group(0)
            .spawn()
            .map_err(system("shim"))?;
        let silent = || io::Error::other("the shim ended without a word");
        let Some(stdout) = child.stdout.take() else { return Err(system("shim")(silent())) };
        let mut line = String::new();
        let read = timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await;
        let said = match read {
            Ok(Ok(_)) => serde_json::from_str(&line).map_err(|_| system("shim")(silent()))?,
            Ok(Err(error)) => return Err(system("shim")(error)),
            Err(_) => {
                let _ = child.start_kill();
                return Err(system("shim")(io::ErrorKind::TimedOut.into()));
            }
        };
        match said {
            Report::Started { init } => {
                self.follow(&launch.task, Some(child));
                Ok(Running { pid: init, container_id: container_id(&launch.task) })
            }
            Report::Failed { reason } => {
                let _ = child.wait().await;
                Err(RuntimeError::CannotRun { program: launch.image.clone(), reason })
            }
        }
    }

    async fn exit_of(&self, task: &str) -> Exit {
        let Some(mut ended) = self.watch(task) else {
            return self.dir(task).exit().unwrap_or(Exit { code: 137 });
        };
        let exit = ended.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        exit.unwrap_or(Exit { code: 137 })
    }
}

impl TaskRuntime for ProcessRuntime {
    fn prepare(&self, launch: &Launch) -> Result<(), RuntimeError> {
        Catalog.resolve(launch).map(drop)
    }

    fn start<'a>(
        &'a self,
        launch: &'a Launch,
        netns: &'a NetNs,
    ) -> BoxFuture<'a, Result<Running, RuntimeError>> {
        self.launch(launch, netns).boxed()
    }

    fn wait<'a>(&'a self, task: &'a str) -> BoxFuture<'a, Exit> {
        self.exit_of(task).boxed()
    }

    fn stop<'a>(&'a self, task: &'a str, signal: &'a str, grace: Duration) -> BoxFuture<'a, Exit> {
        async move {
            self.signal(task, parse_signal(signal));
            if let Ok(exit) = timeout(grace, self.exit_of(task)).await {
                return exit;
            }
            self.signal(task, Signal::SIGKILL);
            self.exit_of(task).await
        }
        .boxed()
    }

    fn ended(&self, task: &str) -> Option<Exit> {
        self.dir(task).exit()
    }

    fn remove(&self, task: &str) {
        self.signal(task, Signal::SIGKILL);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        let _ = self.dir(task).remove();
    }

    fn adopt(&self) -> Vec<Adopted> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut adopted = Vec::new();
        for entry in entries.flatten() {
            let dir = TaskDir::new(entry.path());
            let (Ok(launch), Ok(processes)) = (dir.launch(), dir.processes()) else { continue };
            if !is_same(processes.shim, processes.shim_started) || dir.exit().is_some() {
                continue;
            }
            let Ok(netns) = NetNs::of_process(processes.shim) else { continue };
            self.follow(&launch.task, None);
            let running = Running { pid: processes.init, container_id: container_id(&launch.task) };
            adopted.push(Adopted { launch, running, netns: Arc::new(netns) });
        }
        adopted
    }

    fn logs(&self, task: &str) -> io::Result<LogReader> {
        LogReader::open(&self.dir(task).log())
    }
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// `SIGTERM`, `TERM` or a number; anything else is SIGTERM.
fn parse_signal(name: &str) -> Signal {
    let upper = name.trim().to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    let number = upper.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    number.or_else(|| full.parse().ok()).unwrap_or(Signal::SIGTERM)
}

/// The id that stands for a container in the API: stable for a task, 64 hex digits.
fn container_id(task: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, task.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_understood_in_all_their_spellings() {
        assert_eq!(parse_signal("SIGINT"), Signal::SIGINT);
        assert_eq!(parse_signal("quit"), Signal::SIGQUIT);
        assert_eq!(parse_signal("9"), Signal::SIGKILL);
        assert_eq!(parse_signal(""), Signal::SIGTERM);
    }
}
