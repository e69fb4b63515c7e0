//! Datagrams of 64 bytes, as fast as they leave, and how many arrive.
#![expect(clippy::disallowed_types, reason = "a load has sockets of its own")]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt};

use super::{Arrived, PATIENCE, ready};
use crate::clock;

/// Counts for `span` from the first datagram on.
///
/// # Errors
///
/// Those of the socket; `WouldBlock` if none came.
pub(super) fn count(at: SocketAddr, span: Duration) -> io::Result<Arrived> {
    let socket = UdpSocket::bind(at)?;
    let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER); // as much as is allowed
    socket.set_read_timeout(Some(PATIENCE))?;
    ready();
    socket.recv(&mut [0; LEN])?;
    // Whoever floods may end a moment before us.
    socket.set_read_timeout(Some(Duration::from_millis(10)))?;
    let start = clock::now();
    let mut room = [[0; LEN]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut arrived = Arrived::default();
    while start.elapsed() < span {
        let mut slices: Vec<_> = room.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            Ok(received) => arrived.count += u64::try_from(received.count()).unwrap_or_default(),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    arrived.seconds = start.elapsed().as_secs_f64();
    Ok(arrived)
}

/// Sends for `span`, and waits for nothing.
///
/// # Errors
///
/// Those of the socket, but for a full queue and for what the other end says.
pub(super) fn flood(to: SocketAddr, span: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    let datagram = [0x5a; LEN];
    let slices = vec![[IoSlice::new(&datagram)]; BATCH];
    let nowhere = [None::<SockaddrStorage>; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let start = clock::now();
    while start.elapsed() < span {
        match sendmmsg(socket.as_raw_fd(), &mut headers, slices.iter(), nowhere, [], MsgFlags::empty()) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(Errno::ENOBUFS) => thread::sleep(Duration::from_micros(50)),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Bytes of a datagram.
const LEN: usize = 64;
/// Datagrams of one system call.
const BATCH: usize = 64;
/// Room for what arrives while the counter is not scheduled.
const RECEIVE_BUFFER: usize = 4 << 20;
