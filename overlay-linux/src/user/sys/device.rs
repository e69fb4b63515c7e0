use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

use crate::link::LinkName;

/// A TAP device that was opened.
pub(in super::super) struct TapOpened {
    pub(in super::super) fd: OwnedFd,
    /// Whether the kernel hands over UDP datagrams that it has not cut yet (Linux 6.2).
    pub(in super::super) udp_segmentation: bool,
}

/// Makes a TAP device, or opens one that is there, in the namespace of the calling thread.
pub(in super::super) fn open_tap(name: &LinkName) -> io::Result<TapOpened> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let mut request = interface_request();
    request.ifr_name.iter_mut().zip(name.as_str().bytes()).for_each(|(to, from)| *to = from.cast_signed());
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads and writes one `ifreq`, which is what `request` is.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let header_len: libc::c_int = 10;
    // SAFETY: the kernel reads one `int`.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header_len) })?;
    let set = |offloads: libc::c_uint| {
        // SAFETY: the request takes a number, not a pointer.
        Errno::result(unsafe {
            libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads))
        })
    };
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp_segmentation = set(tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6).is_ok();
    if !udp_segmentation {
        set(tcp)?;
    }
    Ok(TapOpened { fd: file.into(), udp_segmentation })
}

/// Ties a packet socket to one interface.
pub(in super::super) fn bind_packet(fd: BorrowedFd<'_>, interface_index: u32) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sockaddr_ll`.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    addr.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?;
    addr.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(|_| Errno::EINVAL)?.to_be();
    addr.sll_ifindex = i32::try_from(interface_index).map_err(|_| Errno::ENODEV)?;
    let len = libc::socklen_t::try_from(size_of_val(&addr)).map_err(|_| Errno::EINVAL)?;
    let addr = std::ptr::from_ref(&addr).cast();
    // SAFETY: `addr` points to `len` bytes, which the kernel only reads.
    Errno::result(unsafe { libc::bind(fd.as_raw_fd(), addr, len) })?;
    Ok(())
}

/// Sees frames for every address, as long as the socket is open.
pub(in super::super) fn promiscuous(fd: BorrowedFd<'_>, interface_index: u32) -> io::Result<()> {
    // SAFETY: all zeros is a valid `packet_mreq`.
    let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
    request.mr_ifindex = i32::try_from(interface_index).map_err(|_| Errno::ENODEV)?;
    request.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).map_err(|_| Errno::EINVAL)?;
    let len = libc::socklen_t::try_from(size_of_val(&request)).map_err(|_| Errno::EINVAL)?;
    let value = std::ptr::from_ref(&request).cast();
    let option = libc::PACKET_ADD_MEMBERSHIP;
    // SAFETY: `value` points to `len` bytes, which the kernel only reads.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, value, len) };
    Errno::result(done)?;
    Ok(())
}

/// Whether the interface is still in the namespace of the socket.
pub(in super::super) fn exists(fd: BorrowedFd<'_>, interface_index: u32) -> bool {
    let Ok(index) = i32::try_from(interface_index) else { return false };
    let mut request = interface_request();
    request.ifr_ifru.ifru_ifindex = index;
    // SAFETY: the kernel reads and writes one `ifreq`, which is what `request` is.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGIFNAME, &raw mut request) }).is_ok()
}

fn interface_request() -> libc::ifreq {
    // SAFETY: all zeros is a valid `ifreq`: an empty name and the number 0.
    unsafe { std::mem::zeroed() }
}

const SIOCGIFNAME: libc::Ioctl = 0x8910;
