//! A task's directory: one file per fact, each replaced atomically.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Exit, Launch};

/// `<data dir>/tasks/<task id>`.
#[derive(Clone, Debug)]
pub(super) struct TaskDir(PathBuf);

/// Which processes belong to a task; start times make the ids unmistakable after a wrap-around.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Processes {
    pub(super) shim: u32,
    pub(super) shim_started: u64,
    pub(super) init: u32,
    pub(super) init_started: u64,
}

impl TaskDir {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn create(&self, launch: &Launch) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        write(&self.0.join("resolv.conf"), launch.resolv_conf.as_bytes())?;
        write(&self.0.join("hostname"), format!("{}\n", launch.hostname).as_bytes())?;
        let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for line in &launch.hosts {
            hosts.push_str(line);
            hosts.push('\n');
        }
        write(&self.0.join("hosts"), hosts.as_bytes())?;
        self.save("launch.json", launch)
    }

    pub(super) fn launch(&self) -> io::Result<Launch> {
        self.load("launch.json")
    }

    pub(super) fn processes(&self) -> io::Result<Processes> {
        self.load("processes.json")
    }

    pub(super) fn save_processes(&self, processes: Processes) -> io::Result<()> {
        self.save("processes.json", &processes)
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.load("exit.json").ok()
    }

    pub(super) fn save_exit(&self, exit: Exit) -> io::Result<()> {
        self.save("exit.json", &exit)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.0)
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        write(&self.0.join(name), &serde_json::to_vec(value).map_err(io::Error::other)?)
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> io::Result<T> {
        serde_json::from_slice(&fs::read(self.0.join(name))?).map_err(io::Error::other)
    }
}

/// When the process `pid` started, in clock ticks since boot; `None` if it is gone or a zombie.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok() // field 22 of proc(5), counted from the state
}

/// Whether `pid` is still the process that started at `started`.
pub(super) fn is_same(pid: u32, started: u64) -> bool {
    start_time(pid) == Some(started)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes)?;
    fs::rename(draft, path)
}
