//! The file systems and the host name of a task. All of it needs a mount namespace of one's own.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Stops mounts from spreading to and from the parent namespace. First thing to do in a new one.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn make_private() -> io::Result<()> {
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Mounts a `/proc` of the current process namespace over `path`.
///
/// # Errors
///
/// Those of `mount(2)`; `EPERM` also if the present `/proc` has parts masked, as in some containers.
pub fn proc(path: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("proc"), path, Some("proc"), flags, None::<&str>)?)
}

/// Mounts an empty file system in memory, of at most `max_bytes`, over `path`.
///
/// # Errors
///
/// Those of `mount(2)`.
pub fn tmpfs(path: &Path, max_bytes: u64) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(format!("size={max_bytes}").as_str()))?)
}

/// Shows `source` (a file or a directory) in the place of `target`, which is made if it is missing.
///
/// A `target` that is a symbolic link, such as `/etc/resolv.conf` often is, is followed; if it leads nowhere, the file
/// that it names is made if possible.
///
/// # Errors
///
/// Those of making `target` and of `mount(2)`.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    if !target.exists() {
        if source.is_dir() {
            fs::create_dir_all(target)?;
        } else {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            File::options().create(true).append(true).open(target)?;
        }
    }
    Ok(mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

/// As [`bind`], and nobody can write to it there.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    bind(source, target)?;
    // In a user namespace the flags that the parent locked must be repeated.
    let kept = nix::sys::statvfs::statvfs(target)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (has, set) in [
        (nix::sys::statvfs::FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (nix::sys::statvfs::FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (nix::sys::statvfs::FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (nix::sys::statvfs::FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (nix::sys::statvfs::FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if kept.contains(has) {
            flags |= set;
        }
    }
    Ok(mount(None::<&str>, target, None::<&str>, flags, None::<&str>)?)
}

/// Takes a mount away; it vanishes when the last user of it is gone.
///
/// # Errors
///
/// `InvalidInput` if nothing is mounted there.
pub fn unmount(path: &Path) -> io::Result<()> {
    Ok(umount2(path, MntFlags::MNT_DETACH)?)
}

/// Sets the host name of the current namespace (see [`Namespaces::HOSTNAME`](crate::userns::Namespaces::HOSTNAME)).
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`; `InvalidInput` if it is longer than 64 bytes.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}
