//! PID 1 of a task's namespaces: mounts what the program should see, then becomes the program.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::sethostname,
};

use super::{
    catalog::{Catalog, Program},
    files::TaskDir,
};

/// First argument of an init's process.
pub(super) const ROLE: &str = "task-init";

/// `task-init <task directory>`; standard input is the pipe that carries the reason of a failure to the shim and closes
/// by itself when the program is executed.
pub(super) fn main(args: &[OsString]) -> i32 {
    let Some(dir) = args.first() else { return 2 };
    let Ok(tell) = io::stdin().as_fd().try_clone_to_owned() else { return 2 }; // close-on-exec
    let Err(error) = become_the_program(&TaskDir::new(dir));
    let _ = File::from(tell).write_all(error.to_string().as_bytes());
    127
}

fn become_the_program(dir: &TaskDir) -> Result<Infallible, io::Error> {
    prctl::set_pdeathsig(Signal::SIGKILL)?; // no program without a shim
    SigSet::empty().thread_set_mask()?; // whatever the daemon blocks, its tasks hear signals
    let launch = dir.launch()?;
    let program = Catalog.resolve(&launch).map_err(|error| io::Error::other(error.to_string()))?;
    sethostname(&launch.hostname)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&Path>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // Refused where the outer /proc is masked (some containers): the program then sees the host's process list.
    let _ = mount(Some("proc"), "/proc", Some("proc"), plain, none);
    for name in ["resolv.conf", "hosts", "hostname"] {
        let target = Path::new("/etc").join(name);
        if target.exists() {
            mount(Some(&dir.path().join(name)), &target, none, MsFlags::MS_BIND, none)
                .map_err(|error| io::Error::other(format!("bind {}: {error}", target.display())))?;
        }
    }
    let mut command = command(&program, &launch);
    if !launch.user.is_empty() {
        let (uid, gid) = ids(&launch.user)
            .ok_or_else(|| io::Error::other(format!("user {:?}: uid or uid:gid, as numbers", launch.user)))?;
        command.uid(uid).gid(gid);
    }
    let error = command.exec();
    Err(io::Error::other(format!("cannot run {}: {error}", program.path)))
}

/// `1000` is user and group.
fn ids(user: &str) -> Option<(u32, u32)> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

fn command(program: &Program, launch: &super::Launch) -> Command {
    let mut command = Command::new(&program.path);
    command.args(&program.args).env_clear().stdin(Stdio::null());
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOSTNAME", &launch.hostname).env("HOME", "/");
    for pair in &launch.env {
        if let Some((key, value)) = pair.split_once('=') {
            command.env(key, value);
        }
    }
    command.current_dir(launch.dir.as_deref().unwrap_or("/"));
    command
}
