//! Leaving the namespaces of the parent, and becoming root without being root.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::{getegid, geteuid};

/// A set of namespaces to leave. Combine with `|`.
///
/// ```
/// use overlay_linux::userns::Namespaces;
///
/// let task = Namespaces::MOUNT | Namespaces::HOSTNAME | Namespaces::IPC | Namespaces::PID;
/// # let _ = task;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Namespaces(CloneFlags);

impl Namespaces {
    /// Mounts.
    pub const MOUNT: Self = Self(CloneFlags::CLONE_NEWNS);
    /// Process numbers. Takes effect for children: the next one is number 1.
    pub const PID: Self = Self(CloneFlags::CLONE_NEWPID);
    /// Host and domain name.
    pub const HOSTNAME: Self = Self(CloneFlags::CLONE_NEWUTS);
    /// System V and POSIX message queues, semaphores, shared memory.
    pub const IPC: Self = Self(CloneFlags::CLONE_NEWIPC);
    /// Interfaces, routes, firewall, ports.
    pub const NETWORK: Self = Self(CloneFlags::CLONE_NEWNET);
    /// The root of the control groups that are visible.
    pub const CGROUP: Self = Self(CloneFlags::CLONE_NEWCGROUP);
}

impl std::ops::BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Moves the calling thread into fresh namespaces.
///
/// Other threads of the process stay, but for mounts shared through `CLONE_FS`: do it before there are others.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN` in the user namespace; `ENOSPC` at a limit `user.max_*_namespaces`.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    Ok(nix::sched::unshare(namespaces.0)?)
}

/// Makes the process root (user and group 0, all capabilities) of a fresh user namespace.
///
/// Outside it stays the user that it is. Files of that user show up as those of root, all others as those of `nobody`.
/// The process must have one thread: call it first thing in `main`, before a runtime is started.
///
/// # Errors
///
/// [`UserNsError`] says why it is not allowed and what to do about it. The process is unchanged, unless it is
/// [`UserNsError::Map`].
pub fn enter_as_root() -> Result<(), UserNsError> {
    let (user, group) = (geteuid(), getegid());
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER).map_err(why)?;
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum UserNsError {
    /// Debian's switch is off. `sysctl kernel.unprivileged_userns_clone=1` turns it on.
    #[error("user namespaces are switched off: set kernel.unprivileged_userns_clone=1, or run as root")]
    SwitchedOff,
    /// AppArmor (Ubuntu 23.10 and later) forbids them to programs without a profile.
    #[error(
        "AppArmor forbids user namespaces to this program: set \
         kernel.apparmor_restrict_unprivileged_userns=0, add a profile with `userns,`, or run as root"
    )]
    AppArmor,
    /// No more are allowed; 0 is how some distributions switch them off.
    #[error(
        "no more user namespaces are allowed (user.max_user_namespaces is {limit}): raise it, or run as root"
    )]
    Limit { limit: u64 },
    /// The process has more than one thread, or shares its root directory.
    #[error("a process with several threads cannot enter a user namespace: do it before starting threads")]
    Threads,
    /// Something else forbids it, such as a container's seccomp filter or being in a chroot.
    #[error("user namespaces are forbidden here ({}): a container or a chroot may be the reason; run as root", errno.desc())]
    Forbidden { errno: Errno },
    /// The namespace was entered, but the process is nobody in it. Not recoverable.
    #[error("{path}: {source}")]
    Map { path: &'static str, source: io::Error },
}

fn why(errno: Errno) -> UserNsError {
    let denied = errno == Errno::EPERM || errno == Errno::EACCES;
    if errno == Errno::EINVAL {
        UserNsError::Threads
    } else if errno == Errno::ENOSPC || errno == Errno::EUSERS {
        UserNsError::Limit { limit: number("user/max_user_namespaces").unwrap_or(0) }
    } else if denied && number("kernel/unprivileged_userns_clone") == Some(0) {
        UserNsError::SwitchedOff
    } else if denied && apparmor_restricts() {
        UserNsError::AppArmor
    } else {
        UserNsError::Forbidden { errno }
    }
}

fn write(path: &'static str, line: String) -> Result<(), UserNsError> {
    fs::write(path, line).map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
        // There the namespace is made, but without the right to anything inside.
        Some(Errno::EPERM | Errno::EACCES) if apparmor_restricts() => UserNsError::AppArmor,
        _ => UserNsError::Map { path, source },
    })
}

fn apparmor_restricts() -> bool {
    number("kernel/apparmor_restrict_unprivileged_userns") == Some(1)
}

fn number(sysctl: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{sysctl}")).ok()?.trim().parse().ok()
}
