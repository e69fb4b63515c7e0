//! Names that are not ours: every name server of the host is asked, a little after the one before; the first useful answer
//! wins.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::{Message, ResponseCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

/// Head start of each server over the next.
const HEDGE: Duration = Duration::from_millis(100);
/// The whole question. Docker waits 4 s per server, one after the other.
const PATIENCE: Duration = Duration::from_secs(4);
const DNS: u16 = 53;

/// Asks; `None` if nobody has an answer.
pub(super) async fn ask(servers: Arc<[IpAddr]>, query: &Message, udp: bool) -> Option<Vec<u8>> {
    let packet = query.to_vec().ok()?;
    let mut running: FuturesUnordered<_> = servers
        .iter()
        .zip(0_u32..)
        .map(|(server, turn)| {
            let (packet, server) = (packet.clone(), SocketAddr::new(*server, DNS));
            async move {
                sleep(HEDGE * turn).await;
                if udp { over_udp(server, &packet).await } else { over_tcp(server, &packet).await }.ok()
            }
        })
        .collect();
    let mut second_best = None;
    let _ = timeout(PATIENCE, async {
        while let Some(answer) = running.next().await {
            let Some(answer) = answer else { continue };
            let Ok(message) = Message::from_vec(&answer) else { continue };
            if message.metadata.id != query.metadata.id || message.queries != query.queries {
                continue;
            }
            let code = message.metadata.response_code;
            second_best = Some(answer);
            if !matches!(code, ResponseCode::ServFail | ResponseCode::Refused) {
                return;
            }
        }
    })
    .await;
    second_best
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; 4096];
    let len = socket.recv(&mut buffer).await?;
    buffer.truncate(len);
    Ok(buffer)
}

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
    stream.write_u16(len).await?;
    stream.write_all(packet).await?;
    let len = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(len)];
    stream.read_exact(&mut buffer).await?;
    Ok(buffer)
}
