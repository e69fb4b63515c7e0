//! Network namespaces, held by a file descriptor.
//!
//! A namespace lives as long as a process is in it, a file descriptor points to it, or it is bind mounted somewhere.
//! [`NetNs`] is such a descriptor: dropping the last one removes the namespace with all its links.

use std::fmt;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::link::{LinkName, Netlink};

/// A network namespace, kept alive by an open file descriptor.
///
/// Two of them are equal if they are the same namespace, however they were opened.
///
/// ```no_run
/// use overlay_linux::netns::NetNs;
///
/// let task = NetNs::create()?;
/// let listener = task.run(|| std::net::TcpListener::bind("127.0.0.1:80"))??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct NetNs {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

impl NetNs {
    /// Makes a fresh namespace with the loopback interface up.
    ///
    /// It is made on a thread of its own, so the caller stays where it is; no process is forked.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN` in the current user namespace (see [`crate::userns::enter_as_root`]); `ENOSPC` at
    /// the limit `user.max_net_namespaces`.
    pub fn create() -> io::Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let made = Self::current()?;
            let loopback = LinkName::new("lo").map_err(io::Error::other)?;
            Netlink::open()?.set_up(&loopback).map_err(io::Error::other)?;
            Ok(made)
        })?
    }

    /// Opens the namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// Those of opening `/proc/thread-self/ns/net`.
    pub fn current() -> io::Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Opens the namespace that is pinned at `path`, such as `/run/netns/blue` or `/proc/1/ns/net`.
    ///
    /// # Errors
    ///
    /// Those of opening the file; `InvalidInput` if the file is there but is no namespace.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let opened = Self { device: metadata.dev(), inode: metadata.ino(), fd: file.into() };
        if !is_network_namespace(&opened.fd) {
            let why = format!("{} is not a network namespace", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(opened)
    }

    /// Opens the namespace of the process `pid`.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such process; `PermissionDenied` if it belongs to somebody else.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Gives the namespace a name in the file system (bind mount), so that it outlives this process.
    ///
    /// The file is created if need be. [`unpin`](Self::unpin) takes the name away.
    ///
    /// # Errors
    ///
    /// Those of creating the file and of `mount(2)`.
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        File::options().create(true).append(true).open(path)?;
        mount(Some(&self.proc_path()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    }

    /// Takes away the name given by [`pin`](Self::pin) and removes its file.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if nothing is mounted there; else those of removing the file.
    pub fn unpin(path: &Path) -> io::Result<()> {
        umount2(path, MntFlags::MNT_DETACH)?;
        fs::remove_file(path)
    }

    /// Runs `work` on a thread of its own inside of this namespace and waits for it.
    ///
    /// Sockets opened by `work` stay in this namespace wherever they are used later. A panic of `work` goes on in the
    /// caller.
    ///
    /// # Errors
    ///
    /// Those of starting a thread and of `setns(2)`; then `work` did not run.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> io::Result<R> {
        on_own_thread(|| {
            setns(&self.fd, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?
    }

    /// The number that the kernel shows for this namespace, as in `net:[4026531840]`.
    #[must_use]
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Tells whether both are the same namespace.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }

    /// A second descriptor of the same namespace.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, device: self.device, inode: self.inode })
    }

    fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<NetNs> for OwnedFd {
    fn from(netns: NetNs) -> Self {
        netns.fd
    }
}

impl PartialEq for NetNs {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl Eq for NetNs {}

impl Hash for NetNs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.device, self.inode).hash(state);
    }
}

impl fmt::Debug for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

/// Runs `work` on a thread that ends afterwards, because a thread that changed its namespace must not be used again.
fn on_own_thread<R: Send>(work: impl FnOnce() -> R + Send) -> io::Result<R> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn is_network_namespace(fd: &OwnedFd) -> bool {
    // SAFETY: the request takes no argument, so nothing of ours is read or written.
    let sort = unsafe { namespace_type(fd.as_raw_fd()) };
    sort == Ok(nix::libc::CLONE_NEWNET)
}

nix::ioctl_none!(
    /// `NS_GET_NSTYPE` of `ioctl_ns(2)`.
    namespace_type,
    0xb7,
    0x3
);
