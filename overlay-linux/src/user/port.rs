//! The device of one task.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::uio::writev;
use nix::unistd::read;
use overlay_core::offload::{Coalescer, Offload, Pushed, SegmentKind, Verify};

use super::Attachment;
use super::stats::PortStats;
use super::sys::{self, ReceiveBatch};

/// A port's device, and the frames that are being put together for it.
pub(super) struct Port {
    fd: OwnedFd,
    /// The interface of a packet socket; `None`: a TAP device.
    packet: Option<u32>,
    coalescer: Coalescer,
    verify: Verify,
    /// Whether the kernel takes super-frames of UDP (Linux 6.2).
    joins_datagrams: bool,
    /// The last batch was of super-frames, and how many of them make a batch.
    large: bool,
    large_frames: usize,
    /// The interface was down at last.
    down: bool,
    /// Raised when somebody should look after this port.
    alarm: Rc<Cell<bool>>,
    pub(super) stats: PortStats,
}

impl Port {
    pub(super) fn new(
        device: Attachment,
        verify: Verify,
        large_frames: usize,
        alarm: Rc<Cell<bool>>,
    ) -> Self {
        let (fd, packet, joins_datagrams) = match device {
            Attachment::Tap(tap) => {
                let joins_datagrams = tap.has_udp_segmentation();
                (tap.fd, None, joins_datagrams)
            }
            Attachment::Packet(socket) => (socket.fd, Some(socket.interface_index), true),
        };
        let coalescer = coalescer(verify, joins_datagrams);
        Self {
            fd,
            packet,
            joins_datagrams,
            coalescer,
            verify,
            large: false,
            large_frames,
            down: false,
            alarm,
            stats: PortStats::default(),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads a batch of frames, each behind its [`Offload`].
    pub(super) fn receive(&mut self, frames: &mut ReceiveBatch) -> usize {
        let fd = self.fd.as_fd();
        let limit = if self.large { self.large_frames } else { frames.slots() };
        let got = if self.packet.is_some() {
            frames.receive(fd, limit)
        } else {
            frames.read_each(limit, |buffer| match read(fd, buffer) {
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
                other => Ok(other?),
            })
        };
        match got {
            Ok(0) => 0,
            Ok(count) => {
                self.stats.receive_calls += 1;
                self.down = false;
                self.large =
                    (0..count).filter_map(|index| frames.get(index)).all(|received| received.len > LARGE);
                count
            }
            Err(error) => {
                self.trouble(errno_of(&error));
                0
            }
        }
    }

    /// Takes a frame that lies at `offset` of the received bytes, to hand it over together with those that follow it.
    pub(super) fn push(&mut self, storage: &[u8], offset: usize, len: usize, verify: Verify) {
        let frame = storage.get(offset..offset + len).unwrap_or_default();
        if verify != self.verify {
            self.flush(storage);
            self.coalescer = coalescer(verify, self.joins_datagrams);
            self.verify = verify;
        }
        let mut pushed = self.coalescer.push(0, offset, frame);
        if matches!(pushed, Pushed::Refused) {
            self.flush(storage);
            pushed = self.coalescer.push(0, offset, frame);
        }
        if matches!(pushed, Pushed::Damaged | Pushed::Refused) {
            self.stats.damaged += 1;
        }
    }

    /// Hands over what was put together.
    pub(super) fn flush(&mut self, storage: &[u8]) {
        let Some(frame) = self.coalescer.take() else { return };
        let (offload, header) = (frame.offload, frame.offload.to_bytes());
        let mut slices = [IoSlice::new(&[]); SLICES];
        let fronts = [header.as_slice(), frame.headers].into_iter();
        let pieces = frame
            .pieces
            .iter()
            .map(|piece| storage.get(piece.offset..piece.offset + piece.len).unwrap_or_default());
        let mut count = 0;
        // There are as many slots as the coalescer has pieces, and two.
        for (slot, slice) in slices.iter_mut().zip(fronts.chain(pieces)) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        let packets = frame.pieces.len();
        let written = writev(self.fd.as_fd(), slices.get(..count).unwrap_or_default());
        let refused = written == Err(Errno::EINVAL);
        self.settle(written, packets);
        if refused && offload.segmentation.is_some_and(|how| how.kind == SegmentKind::Udp) {
            self.joins_datagrams = false;
            self.coalescer = coalescer(self.verify, false);
        }
    }

    /// Hands over one frame as it is.
    pub(super) fn write(&mut self, offload: Offload, frame: &[u8]) {
        let header = offload.to_bytes();
        let written = writev(self.fd.as_fd(), &[IoSlice::new(&header), IoSlice::new(frame)]);
        self.settle(written, 1);
    }

    /// What the kernel dropped before it came here.
    pub(super) fn kernel_drops(&self) -> u64 {
        self.packet.and_then(|_| sys::drops(self.fd.as_fd()).ok()).unwrap_or(0)
    }

    fn settle(&mut self, written: nix::Result<usize>, packets: usize) {
        match written {
            Ok(len) => {
                self.down = false;
                self.stats.sent_frames += 1;
                self.stats.sent_packets += packets as u64;
                self.stats.sent_bytes += len.saturating_sub(Offload::LEN) as u64;
            }
            Err(Errno::EAGAIN | Errno::ENOBUFS) => self.stats.full += 1,
            Err(errno) => self.trouble(errno),
        }
    }

    /// Notes an error; some mean that the device is down or no more.
    fn trouble(&mut self, errno: Errno) {
        self.stats.refused += 1;
        self.stats.refusal = Some(errno);
        match (errno, self.packet) {
            (Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV, Some(_)) => self.down = true,
            (Errno::EBADFD | Errno::ENODEV | Errno::ENXIO, None) => self.stats.gone = true,
            _ => return,
        }
        self.alarm.set(true);
    }

    /// Whether the interface was down when it was used last.
    pub(super) const fn is_down(&self) -> bool {
        self.down
    }

    /// Looks whether an interface that is down is still there.
    pub(super) fn check(&mut self) {
        if let Some(index) = self.packet.filter(|_| self.down) {
            self.stats.gone = !sys::exists(self.fd(), index);
        }
    }
}

fn coalescer(verify: Verify, joins_datagrams: bool) -> Coalescer {
    let coalescer = Coalescer::new(verify);
    if joins_datagrams { coalescer } else { coalescer.without_datagrams() }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// Frames longer than this are read in smaller batches.
const LARGE: usize = 16 << 10;
/// An offload header, headers and pieces: a coalescer has 64 at most.
const SLICES: usize = 128;
