use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::sys;
use crate::link::LinkName;

/// The device behind a port.
#[derive(Debug)]
pub enum Attachment {
    /// The program's end of a TAP device.
    Tap(Tap),
    /// A packet socket on an interface, such as the near end of a task's veth pair.
    Packet(PacketSocket),
}

/// A TAP device: an interface whose other end is this program. Needs access to `/dev/net/tun`.
///
/// It vanishes with this value; the interface may be moved to another namespace meanwhile.
#[derive(Debug)]
pub struct Tap {
    pub(super) fd: OwnedFd,
    udp_segmentation: bool,
}

/// Everything that an interface receives, and a way to send through it. Needs `CAP_NET_RAW`, but no device file.
///
/// On the near end of a veth pair this is the same as being at the end of the wire.
#[derive(Debug)]
pub struct PacketSocket {
    pub(super) fd: OwnedFd,
    pub(super) interface_index: u32,
}

impl Tap {
    /// Makes the device in the calling thread's network namespace, or opens one that is there and not in use.
    ///
    /// # Errors
    /// `EACCES` or `ENOENT` for `/dev/net/tun`; `EPERM` without `CAP_NET_ADMIN`; `EBUSY` if another program has it.
    pub fn open(name: &LinkName) -> io::Result<Self> {
        let opened = sys::open_tap(name)?;
        Ok(Self { fd: opened.fd, udp_segmentation: opened.udp_segmentation })
    }

    /// Whether the kernel hands over UDP datagrams uncut (Linux 6.2 and later).
    #[must_use]
    pub const fn has_udp_segmentation(&self) -> bool {
        self.udp_segmentation
    }
}

impl PacketSocket {
    /// Opens one on the interface with this number in the calling thread's network namespace.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; `ENODEV` if there is no such interface.
    pub fn open(interface_index: u32) -> io::Result<Self> {
        // Protocol 0: nothing is received before the socket is bound to the interface.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        let set = |option| sys::integer(fd.as_fd(), libc::SOL_PACKET, option, 1);
        set(libc::PACKET_VNET_HDR)?;
        set(libc::PACKET_AUXDATA)?;
        set(libc::PACKET_IGNORE_OUTGOING)?;
        sys::largest_buffer(fd.as_fd(), true, BUFFER)?;
        sys::largest_buffer(fd.as_fd(), false, BUFFER)?;
        sys::bind_packet(fd.as_fd(), interface_index)?;
        sys::promiscuous(fd.as_fd(), interface_index)?;
        Ok(Self { fd, interface_index })
    }

    /// Hands frames to the driver at once, around the queueing discipline of the interface.
    ///
    /// A little faster; but the interface must then be able to cut frames itself, as a veth pair can: one with these
    /// offloads switched off drops all large frames.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn bypass_queue(self) -> io::Result<Self> {
        sys::integer(self.fd.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        Ok(self)
    }
}

/// Bytes that a packet socket may queue; without privilege `net.core.rmem_max` is the limit.
const BUFFER: usize = 8 << 20;
