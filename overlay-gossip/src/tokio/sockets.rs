//! UDP and TCP on one port.

use std::io;
use std::net::SocketAddr;

use ::tokio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};

/// Binds both; port 0 finds one that is free for both.
pub(super) async fn bind(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let tcp = listen(addr)?;
        let both = SocketAddr::new(addr.ip(), tcp.local_addr()?.port());
        match datagrams(both) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if addr.port() != 0 || tries >= TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn datagrams(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Bursts of a large cluster; the kernel may grant less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

const TRIES: u32 = 16;
const BACKLOG: i32 = 256;
const RECEIVE_BUFFER: usize = 1 << 20;
