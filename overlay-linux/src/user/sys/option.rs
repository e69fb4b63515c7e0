use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Sets a socket option that is an `int`.
pub(in super::super) fn integer(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    set(fd, level, option, &value)
}

/// Asks for a buffer of this many bytes; without privilege the kernel gives as much as its limit allows.
pub(in super::super) fn largest_buffer(fd: BorrowedFd<'_>, receive: bool, bytes: usize) -> io::Result<()> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    let (force, modest) = if receive {
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)
    } else {
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
    };
    integer(fd, libc::SOL_SOCKET, force, bytes).or_else(|_| integer(fd, libc::SOL_SOCKET, modest, bytes))
}

/// One instruction of the classic packet filter: code, jump if true, jump if false, operand.
pub(in super::super) type Instruction = (u16, u8, u8, u32);

/// Attaches a classic packet filter to a socket.
pub(in super::super) fn filter(fd: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let description = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // The kernel copies the program: it may go when the call is over.
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &description)
}

/// How many packets the socket has dropped because its buffer was full or its filter said so.
pub(in super::super) fn drops(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut values = [0_u32; 9];
    let mut len = libc::socklen_t::try_from(size_of_val(&values)).map_err(|_| Errno::EINVAL)?;
    let (to, level) = (values.as_mut_ptr().cast(), libc::SOL_SOCKET);
    // SAFETY: `to` has room for the `len` bytes that the kernel may write.
    let got = unsafe { libc::getsockopt(fd.as_raw_fd(), level, SO_MEMINFO, to, &raw mut len) };
    Errno::result(got)?;
    let [.., drops] = values;
    Ok(u64::from(drops))
}

fn set<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: `value` points to `len` bytes, which the kernel only reads.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) };
    Errno::result(done)?;
    Ok(())
}

/// `SK_MEMINFO_DROPS` is the last of the nine numbers.
const SO_MEMINFO: i32 = 55;
