//! Processes by identity. A number is used again by the kernel; a number with a start time, or a descriptor, is not.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

pub use nix::sys::signal::Signal;

/// A process for all time: its number and when it started, in ticks since boot.
///
/// Both can be written to a file and used after a restart of this program; after a reboot they mean nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
}

/// A descriptor of a process; it names that process even after its end.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(Signal),
}

impl ProcessId {
    /// The identity of the process that has this number now.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none; `InvalidData` if `/proc` shows something odd.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let start_time = start_time(&stat).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {stat:?}"))
        })?;
        Ok(Self { pid, start_time })
    }

    /// A descriptor of it; `None` if it is gone, or another one has its number.
    ///
    /// # Errors
    ///
    /// Those of `pidfd_open(2)` and of reading `/proc`.
    pub fn open(self) -> io::Result<Option<PidFd>> {
        // The descriptor comes first: what is checked afterwards is the process that it names.
        let fd = match PidFd::open(self.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            fd => fd?,
        };
        match Self::of(self.pid) {
            Ok(now) => Ok((now == self).then_some(fd)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to it, never to another process. Returns whether it was still there.
    ///
    /// # Errors
    ///
    /// `EPERM` if it belongs to somebody else.
    pub fn kill(self, signal: Signal) -> io::Result<bool> {
        self.open()?.map_or(Ok(false), |fd| fd.kill(signal))
    }

    /// Whether it runs; a zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.open().ok().flatten().is_some_and(|fd| !fd.has_ended().unwrap_or(true))
    }
}

impl PidFd {
    /// A descriptor of the process that has this number now. Sure to be the right one only for one's own child.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is none; `EMFILE` if no descriptor is left.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| Errno::ESRCH)?;
        // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sends a signal. Returns whether the process was still there.
    ///
    /// # Errors
    ///
    /// `EPERM` if it belongs to somebody else.
    pub fn kill(&self, signal: Signal) -> io::Result<bool> {
        use std::os::fd::AsRawFd;
        let (fd, signal) = (self.fd.as_raw_fd(), signal as libc::c_int);
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) with a null `info` touches no memory of ours.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the process ends, at most `timeout` (up to 24 days). Returns whether it ended. Any process will do.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`.
    pub fn wait_ended(&self, timeout: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Whether the process ended.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait_ended(Duration::ZERO)
    }

    /// Buries the process, which must be a child of this one. Blocks until it ends.
    ///
    /// # Errors
    ///
    /// `ECHILD` if it is no child of this process, or was buried already.
    pub fn reap(&self) -> io::Result<Exit> {
        loop {
            match waitid(Id::PIDFd(self.fd.as_fd()), WaitPidFlag::WEXITED) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The calling process gets `signal` when the thread that made it ends; `None`: it does not.
///
/// The parent may have ended before: compare [`std::os::unix::process::parent_id`] afterwards.
///
/// # Errors
///
/// None that is known.
pub fn parent_death_signal(signal: impl Into<Option<Signal>>) -> io::Result<()> {
    Ok(prctl::set_pdeathsig(signal)?)
}

/// Orphans below this process become its children, not those of process 1: it can bury them.
///
/// # Errors
///
/// None that is known.
pub fn set_child_subreaper(on: bool) -> io::Result<()> {
    Ok(prctl::set_child_subreaper(on)?)
}

/// The 22nd field; the second is a name in parentheses that may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::start_time;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_confuse() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c)) {}", fields.join(" "));
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("7 (a"), None);
    }
}
