use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::message::{Control, Name};

/// Buffers for a batch of datagrams or frames, side by side in one piece of memory.
///
/// Untouched pages of it cost nothing: small packets only ever use the beginning of each buffer.
pub(in super::super) struct ReceiveBatch {
    storage: Vec<u8>,
    slot_len: usize,
    received: Vec<Received>,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

/// What came with the bytes in one buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Received {
    /// Where the buffer begins.
    pub(in super::super) start: usize,
    /// How many bytes of it are filled.
    pub(in super::super) len: usize,
    /// The sending host.
    pub(in super::super) from: Option<IpAddr>,
    /// The length of each datagram but the last, if the kernel put several into one buffer.
    pub(in super::super) segment: Option<u16>,
    /// The buffer was too small.
    pub(in super::super) truncated: bool,
    /// The kernel took a VLAN tag off the frame.
    pub(in super::super) tagged: bool,
}

impl ReceiveBatch {
    pub(in super::super) fn new(slots: usize, slot_len: usize) -> Self {
        Self {
            storage: vec![0; slots * slot_len],
            slot_len,
            received: vec![Received::default(); slots],
            headers: Vec::with_capacity(slots),
            iovecs: Vec::with_capacity(slots),
            names: vec![Name::EMPTY; slots],
            controls: vec![Control::EMPTY; slots],
        }
    }

    /// All buffers as one.
    pub(in super::super) fn storage(&self) -> &[u8] {
        &self.storage
    }

    /// All buffers as one.
    pub(in super::super) fn storage_mut(&mut self) -> &mut [u8] {
        &mut self.storage
    }

    /// The `index`-th of the messages received last.
    pub(in super::super) fn get(&self, index: usize) -> Option<Received> {
        self.received.get(index).copied()
    }

    /// How many messages one call can bring.
    pub(in super::super) const fn slots(&self) -> usize {
        self.received.len()
    }

    /// Receives up to `limit` messages without waiting. `Ok(0)`: there is none.
    pub(in super::super) fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.headers.clear();
        self.iovecs.clear();
        let storage = self.storage.as_mut_ptr();
        for index in 0..limit.min(self.received.len()) {
            // SAFETY: `new` made room for `slots` buffers of `slot_len` bytes, and `index` is below `slots`.
            let base = unsafe { storage.add(index * self.slot_len) };
            self.iovecs.push(libc::iovec { iov_base: base.cast(), iov_len: self.slot_len });
        }
        for ((iovec, name), control) in self.iovecs.iter_mut().zip(&mut self.names).zip(&mut self.controls) {
            // SAFETY: all zeros is a valid `msghdr`: null pointers with lengths of zero.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_name = name.bytes.as_mut_ptr().cast();
            header.msg_namelen = Name::MAX_LEN;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = control.bytes.as_mut_ptr().cast();
            header.msg_controllen = Control::LEN;
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        let count = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
        let (headers, timeout) = (self.headers.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: the `count` headers point to names, control messages and buffers that live in `self` and are not
        // touched by anybody else during the call; all lengths are those of the memory that they go with.
        let got = unsafe { libc::recvmmsg(fd.as_raw_fd(), headers, count, NONBLOCKING, timeout) };
        let got = match Errno::result(got) {
            Ok(got) => usize::try_from(got).unwrap_or(0),
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        self.note(got);
        Ok(got)
    }

    /// Fills one buffer after the other by `read`, which says how many bytes it wrote, or 0 that there is nothing left.
    ///
    /// An error ends the batch; it is told only if nothing was read before.
    pub(in super::super) fn read_each(
        &mut self,
        limit: usize,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let buffers = self.storage.chunks_exact_mut(self.slot_len).zip(&mut self.received);
        for (index, (buffer, received)) in buffers.take(limit).enumerate() {
            match read(buffer) {
                Ok(0) => break,
                Ok(len) => *received = Received { start: index * self.slot_len, len, ..Received::default() },
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }

    /// Keeps what the kernel said about the first `count` messages.
    fn note(&mut self, count: usize) {
        let told = self.headers.iter().zip(&mut self.names).zip(&self.controls).zip(&mut self.received);
        for (index, (((header, name), control), received)) in told.take(count).enumerate() {
            name.len = header.msg_hdr.msg_namelen;
            let controls = header.msg_hdr.msg_controllen;
            let gro = control.find(controls, libc::SOL_UDP, libc::UDP_GRO);
            let aux = control.find(controls, libc::SOL_PACKET, libc::PACKET_AUXDATA);
            *received = Received {
                start: index * self.slot_len,
                len: usize::try_from(header.msg_len).unwrap_or(0).min(self.slot_len),
                from: name.ip(),
                segment: gro.and_then(<[u8]>::first_chunk).and_then(|size| {
                    // The kernel writes an `int`; no datagram is longer than 65,535 bytes.
                    u16::try_from(i32::from_ne_bytes(*size)).ok()
                }),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                tagged: aux
                    .and_then(<[u8]>::first_chunk)
                    .is_some_and(|status| u32::from_ne_bytes(*status) & libc::TP_STATUS_VLAN_VALID != 0),
            };
        }
    }
}

impl Received {
    /// Where the bytes are in the storage.
    pub(in super::super) const fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

const NONBLOCKING: libc::c_int = libc::MSG_DONTWAIT;
