use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::message::Control;
pub(in super::super) use super::message::Name;

/// Scratch memory for sending a batch of datagrams with one call.
#[derive(Default)]
pub(in super::super) struct SendBatch {
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    places: Vec<Place>,
}

/// Where a message lies in the scratch memory, and whom it goes to.
struct Place {
    slices: usize,
    name: Name,
    control: Option<(Control, usize)>,
}

impl SendBatch {
    /// Sends messages without waiting, each of them made of slices. Says how many the kernel took: at least one.
    ///
    /// With a segment size, the kernel cuts the message into datagrams of that size; the last may be shorter.
    pub(in super::super) fn send<'b, Slices>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = (Name, Option<u16>, Slices)>,
    ) -> io::Result<usize>
    where
        Slices: Iterator<Item = &'b [u8]>,
    {
        self.headers.clear();
        self.iovecs.clear();
        self.places.clear();
        for (name, segment, slices) in messages {
            let before = self.iovecs.len();
            self.iovecs.extend(slices.map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            }));
            let slices = self.iovecs.len() - before;
            self.places.push(Place { slices, name, control: segment.map(Control::segment) });
        }
        let mut iovecs = self.iovecs.as_mut_slice();
        for place in &mut self.places {
            let Some((of_this, rest)) = std::mem::take(&mut iovecs).split_at_mut_checked(place.slices) else {
                break;
            };
            iovecs = rest;
            // SAFETY: all zeros is a valid `msghdr`: null pointers with lengths of zero.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_name = place.name.bytes.as_mut_ptr().cast();
            header.msg_namelen = place.name.len;
            header.msg_iov = of_this.as_mut_ptr();
            header.msg_iovlen = of_this.len();
            if let Some((control, len)) = &mut place.control {
                header.msg_control = control.bytes.as_mut_ptr().cast();
                header.msg_controllen = *len;
            }
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        let count = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the `count` headers point to names and control messages in `self.places`, to iovecs in `self.iovecs`,
        // and those to slices that outlive the call ('b); the kernel only reads them.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers, count, libc::MSG_DONTWAIT) };
        Ok(Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or(0))?)
    }
}
