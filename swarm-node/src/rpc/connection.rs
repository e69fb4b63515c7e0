//! One end of a finished handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::frames::{FrameError, FrameReader, FrameWriter, Frames};
use crate::security::PeerIdentity;
use crate::security::tls::{ALPN, SERVER_NAME, client_config_trusting_anyone_to_fetch_the_root, identity_of};

/// A connection to a peer after the handshake.
#[derive(Debug)]
pub struct Connection {
    frames: Frames,
    peer: Option<PeerIdentity>,
    remote: SocketAddr,
    /// Held while a peer without a certificate is served; see [`Listener`](super::Listener).
    slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Connects to a manager and verifies it as `config` demands; `timeout` covers both. `server_name` is
    /// [`tls::SERVER_NAME`](crate::security::tls::SERVER_NAME) for a manager.
    ///
    /// In TLS 1.3 the client is done before the server has judged the client's certificate: a refusal of *our*
    /// certificate shows in the first [`Connection::recv`].
    ///
    /// # Errors
    /// Nobody answers in time, or not as a manager that `config` trusts.
    pub async fn dial(
        addr: SocketAddr,
        config: Arc<ClientConfig>,
        server_name: &str,
        deadline: Duration,
    ) -> Result<Self, DialError> {
        let stream = handshake(addr, config, server_name, deadline).await?;
        Self::over(stream, addr).ok_or(DialError::Protocol { addr })
    }

    /// Connects to whoever listens at `addr`, **without any verification**: to ask for a root certificate whose
    /// digest is known. The peer stays unknown and its frames short.
    ///
    /// # Errors
    /// Nobody answers in time, or in another protocol.
    pub async fn dial_unverified(addr: SocketAddr, deadline: Duration) -> Result<Self, DialError> {
        let config = client_config_trusting_anyone_to_fetch_the_root()
            .map_err(|error| DialError::Tls { addr, source: io::Error::other(error) })?;
        let stream = handshake(addr, config, SERVER_NAME, deadline).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(DialError::Protocol { addr });
        }
        Ok(Self { frames: Frames::new(stream), peer: None, remote: addr, slot: None })
    }

    /// Who the peer proved to be. `None` for a client without a certificate, and for an unverified server.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// Address of the peer's end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Address of our end: for the one who dialled, the address under which that peer sees us.
    pub fn local(&self) -> Option<SocketAddr> {
        self.frames.stream().get_ref().0.local_addr().ok()
    }

    /// Sends a message as JSON.
    ///
    /// # Errors
    /// As [`Frames::send`].
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), FrameError> {
        self.frames.send(message).await
    }

    /// Receives a message as JSON. Cancel-safe.
    ///
    /// # Errors
    /// As [`Frames::recv`].
    pub async fn recv<T: DeserializeOwned>(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<T, FrameError> {
        self.frames.recv(deadline).await
    }

    /// Sends raw bytes as one frame.
    ///
    /// # Errors
    /// As [`Frames::send`].
    pub async fn send_bytes(&mut self, frame: Bytes) -> Result<(), FrameError> {
        self.frames.send_bytes(frame).await
    }

    /// Receives one frame as it is. Cancel-safe.
    ///
    /// # Errors
    /// As [`Frames::recv_bytes`].
    pub async fn recv_bytes(
        &mut self,
        deadline: impl Into<Option<Duration>>,
    ) -> Result<BytesMut, FrameError> {
        self.frames.recv_bytes(deadline).await
    }

    /// Divides the connection, so that one task reads while another writes.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        self.frames.split()
    }

    /// Wraps a finished handshake; `None` if the peer speaks another protocol.
    pub(super) fn over(stream: TlsStream<TcpStream>, remote: SocketAddr) -> Option<Self> {
        let (_, state) = stream.get_ref();
        if state.alpn_protocol() != Some(ALPN) {
            return None;
        }
        let peer = identity_of(state);
        let mut frames = Frames::new(stream);
        if peer.is_some() {
            frames.trust();
        }
        Some(Self { frames, peer, remote, slot: None })
    }

    pub(super) fn hold(&mut self, slot: OwnedSemaphorePermit) {
        self.slot = Some(slot);
    }
}

/// Small frames leave at once, and a peer that is cut off is noticed within seconds instead of after TCP's long patience.
pub(super) fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// How long bytes may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Why there is no connection. The texts are those of Go's `net` package, which users of Docker know.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum DialError {
    /// TCP did not connect.
    #[error("dial tcp {addr}: connect: {}", go_text(source))]
    Connect { addr: SocketAddr, source: io::Error },
    /// Neither a connection nor a refusal, or a handshake that did not end.
    #[error("dial tcp {addr}: i/o timeout")]
    Timeout { addr: SocketAddr, after: Duration },
    /// The handshake failed; `source` holds a [`rustls::Error`] if TLS is the reason.
    #[error("authentication handshake with {addr} failed: {source}")]
    Tls { addr: SocketAddr, source: io::Error },
    /// The peer speaks TLS but not this protocol.
    #[error("{addr} does not speak the managers' protocol")]
    Protocol { addr: SocketAddr },
    /// The caller's name for the server is no DNS name.
    #[error("{name:?} is not a server name")]
    Name { name: String },
}

async fn handshake(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    server_name: &str,
    deadline: Duration,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| DialError::Name { name: server_name.to_owned() })?;
    let dialled = timeout(deadline, async {
        let tcp = TcpStream::connect(addr).await.map_err(|source| DialError::Connect { addr, source })?;
        let tls = |source| DialError::Tls { addr, source };
        tune(&tcp).map_err(tls)?;
        let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(tls)?;
        Ok(stream.into())
    });
    dialled.await.map_err(|_| DialError::Timeout { addr, after: deadline })?
}

/// How Go's `net` package names the error; the system's own words for those it has no shorter name for.
fn go_text(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::ConnectionReset, "connection reset by peer"),
        (io::ErrorKind::HostUnreachable, "no route to host"),
        (io::ErrorKind::NetworkUnreachable, "network is unreachable"),
        (io::ErrorKind::TimedOut, "connection timed out"),
    ];
    match known.into_iter().find(|(kind, _)| *kind == error.kind()) {
        Some((_, text)) => text.to_owned(),
        None => error.to_string(),
    }
}
