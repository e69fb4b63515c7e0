//! The sockets towards the other hosts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, socket};

use super::sys::{self, Name};
use super::{Integrity, PlaneConfig, PlaneError};

/// One socket that receives, and several that send: each has its own source port.
#[derive(Debug)]
pub(super) struct Underlay {
    pub(super) receive: OwnedFd,
    pub(super) send: Vec<OwnedFd>,
    family: Family,
    remote_port: u16,
}

/// Which addresses the sockets can send to.
#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
    Both,
}

impl Underlay {
    pub(super) fn open(config: &PlaneConfig) -> Result<Self, PlaneError> {
        let local = config.local;
        let listen = || {
            let fd = open(local)?;
            sys::largest_buffer(fd.as_fd(), true, config.socket_buffer)?;
            sys::integer(fd.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)?;
            if config.integrity == Integrity::Outer {
                sys::filter(fd.as_fd(), &REFUSE_WITHOUT_CHECKSUM)?;
            }
            bind(fd.as_fd(), local)?;
            Ok(fd)
        };
        let send = |_| {
            let from = SocketAddr::new(local.ip(), 0);
            let fd = open(from)?;
            sys::filter(fd.as_fd(), &REFUSE_ALL)?;
            sys::largest_buffer(fd.as_fd(), false, config.socket_buffer)?;
            bind(fd.as_fd(), from)?;
            Ok(fd)
        };
        Ok(Self {
            receive: listen().map_err(|source| PlaneError::Listen { local, source })?,
            send: (0..config.source_ports.max(1))
                .map(send)
                .collect::<io::Result<_>>()
                .map_err(|source| PlaneError::Send { local, source })?,
            family: match local.ip() {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(addr) if addr.is_unspecified() => Family::Both,
                IpAddr::V6(_) => Family::V6,
            },
            remote_port: config.remote_port,
        })
    }

    /// The other host as the sockets want it; `None` if they cannot reach its address family.
    pub(super) fn name(&self, endpoint: IpAddr) -> Option<Name> {
        let endpoint = match (self.family, endpoint) {
            (Family::V4, IpAddr::V4(_)) | (Family::V6 | Family::Both, IpAddr::V6(_)) => endpoint,
            (Family::Both, IpAddr::V4(addr)) => IpAddr::V6(addr.to_ipv6_mapped()),
            (Family::V4, IpAddr::V6(_)) | (Family::V6, IpAddr::V4(_)) => return None,
        };
        Some(Name::from(SocketAddr::new(endpoint, self.remote_port)))
    }

    /// The sending socket with this number.
    pub(super) fn sender(&self, number: usize) -> Option<BorrowedFd<'_>> {
        self.send.get(number).map(AsFd::as_fd)
    }
}

fn open(local: SocketAddr) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if local.is_ipv6() {
        let only = i32::from(!local.ip().is_unspecified());
        sys::integer(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
        // Routers do not cut IPv6 packets: what they said about the path's MTU is used, and the host cuts.
        sys::integer(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
    }
    // Routers may cut, as RFC 7348 allows; a forged ICMP message does not make this host cut.
    sys::integer(fd.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
    Ok(fd)
}

fn bind(fd: BorrowedFd<'_>, addr: SocketAddr) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    Ok(match addr {
        SocketAddr::V4(addr) => nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrIn::from(addr)),
        SocketAddr::V6(addr) => nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrIn6::from(addr)),
    }?)
}

/// A filter on a UDP socket sees the packet from its UDP header on: the checksum is at 6. Zero means that there is none.
const REFUSE_WITHOUT_CHECKSUM: [sys::Instruction; 4] =
    [(LOAD_HALF, 0, 0, 6), (JUMP_IF_EQUAL, 0, 1, 0), (RETURN, 0, 0, 0), (RETURN, 0, 0, u32::MAX)];
/// The sockets that send receive nothing.
const REFUSE_ALL: [sys::Instruction; 1] = [(RETURN, 0, 0, 0)];
/// `BPF_LD | BPF_H | BPF_ABS`.
const LOAD_HALF: u16 = 0x28;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
