//! The sockets of one task's name server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use overlay_lb::View;
use overlay_linux::netns::NetNs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    ADDRESS,
    answer::{Verdict, decide, refusal},
    upstream,
};

/// Where the views come from; asked for each question.
type Views = dyn Fn() -> Vec<Arc<View>> + Send + Sync;

/// Forwarded questions at once; more are refused.
const MAX_FORWARDED: usize = 64;
/// TCP clients at once.
const MAX_STREAMS: usize = 16;
const IDLE: Duration = Duration::from_secs(10);

struct Server {
    views: Arc<Views>,
    upstreams: Arc<[IpAddr]>,
    rotation: AtomicU64,
    forwarded: Arc<Semaphore>,
}

/// Serves until dropped; tries again while the sockets of an earlier server are still there.
pub(super) async fn run(views: Arc<Views>, netns: &NetNs, upstreams: Arc<[IpAddr]>) {
    let (udp, tcp) = loop {
        match sockets(netns) {
            Ok(sockets) => break sockets,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    let forwarded = Arc::new(Semaphore::new(MAX_FORWARDED));
    let server = Arc::new(Server { views, upstreams, rotation: AtomicU64::new(0), forwarded });
    let streams = Arc::clone(&server);
    tokio::join!(datagrams(server, Arc::new(udp)), connections(streams, tcp));
}

fn sockets(netns: &NetNs) -> io::Result<(UdpSocket, TcpListener)> {
    let at = SocketAddr::from((ADDRESS, 53));
    let (udp, tcp) = netns.run(|| -> io::Result<(Socket, Socket)> {
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        udp.set_nonblocking(true)?;
        udp.bind(&at.into())?;
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        tcp.set_reuse_address(true)?;
        tcp.set_nonblocking(true)?;
        tcp.bind(&at.into())?;
        tcp.listen(16)?;
        Ok((udp, tcp))
    })??;
    Ok((UdpSocket::from_std(udp.into())?, TcpListener::from_std(tcp.into())?))
}

async fn datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let packet = buffer.get(..len).unwrap_or_default();
        match server.decide(packet, true) {
            Verdict::Reply(bytes) => drop(socket.send_to(&bytes, from).await),
            Verdict::Ignore => {}
            Verdict::Forward(query) => {
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                tokio::spawn(async move {
                    let bytes = server.forward(&query, true).await;
                    let _ = socket.send_to(&bytes, from).await;
                });
            }
        }
    }
}

async fn connections(server: Arc<Server>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_STREAMS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let _ = converse(&server, stream).await;
            drop(place);
        });
    }
}

async fn converse(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    while let Ok(len) = timeout(IDLE, stream.read_u16()).await? {
        let mut packet = vec![0; usize::from(len)];
        timeout(IDLE, stream.read_exact(&mut packet)).await??;
        let bytes = match server.decide(&packet, false) {
            Verdict::Reply(bytes) => bytes,
            Verdict::Forward(query) => server.forward(&query, false).await,
            Verdict::Ignore => break,
        };
        stream.write_u16(u16::try_from(bytes.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

impl Server {
    fn decide(&self, packet: &[u8], udp: bool) -> Verdict {
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        decide(&(self.views)(), packet, rotation, udp)
    }

    async fn forward(&self, query: &hickory_proto::op::Message, udp: bool) -> Vec<u8> {
        let Ok(_place) = self.forwarded.try_acquire() else { return refusal(query, ResponseCode::Refused) };
        let answer = upstream::ask(Arc::clone(&self.upstreams), query, udp).await;
        answer.unwrap_or_else(|| refusal(query, ResponseCode::ServFail))
    }
}
