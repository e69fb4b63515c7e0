//! The managers' port: everyone may knock, peers come in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, tune};
use super::messages::Hello;

/// A connection whose peer said what it wants and may have it.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, after its first frame.
    pub connection: Connection,
    /// What the peer wants.
    pub hello: Hello,
}

/// Accepts connections, drops and counts what is no peer.
///
/// At most 64 handshakes run at a time, each for at most 5 s up to and including the first frame; further
/// clients wait in the kernel. At most 64 peers without a certificate are served at a time; more are dropped.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    handshakes: JoinSet<Result<Accepted, Refusal>>,
    strangers: Arc<Semaphore>,
    handle: ListenerHandle,
    config: watch::Receiver<Arc<ServerConfig>>,
}

impl Listener {
    /// Most handshakes at a time.
    pub const MAX_HANDSHAKES: usize = 64;
    /// Most served connections of peers without a certificate at a time.
    pub const MAX_STRANGERS: usize = 64;
    /// Time from the first packet to the end of the first frame.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Listens on `addr`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address is not ours or in use.
    pub async fn bind(addr: SocketAddr, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let (sender, config) = watch::channel(config);
        Ok(Self {
            tcp,
            handshakes: JoinSet::new(),
            strangers: Arc::new(Semaphore::new(Self::MAX_STRANGERS)),
            handle: ListenerHandle { config: Arc::new(sender), counters: Arc::default() },
            config,
        })
    }

    /// The address that clients dial.
    ///
    /// # Errors
    /// The system does not know, which does not happen to a listening socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// A handle to change the configuration and read the counters while another task accepts.
    pub fn handle(&self) -> ListenerHandle {
        self.handle.clone()
    }

    /// The next peer. Never fails: what goes wrong is counted. Cancel-safe.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Some(accepted) = self.handle.counters.finish(done) {
                        return accepted;
                    }
                }
                incoming = self.tcp.accept(), if self.handshakes.len() < Self::MAX_HANDSHAKES => {
                    match incoming {
                        Ok((stream, remote)) => self.greet(stream, remote),
                        Err(_) => {
                            self.handle.counters.accept_failed.add();
                            sleep(ACCEPT_PAUSE).await; // out of descriptors: some will be closed
                        }
                    }
                }
            }
        }
    }

    fn greet(&mut self, stream: TcpStream, remote: SocketAddr) {
        let acceptor = TlsAcceptor::from(self.config.borrow().clone());
        let strangers = self.strangers.clone();
        self.handshakes.spawn(async move {
            match timeout(Self::HANDSHAKE_TIMEOUT, meet(acceptor, stream, remote, strangers)).await {
                Ok(met) => met,
                Err(_) => Err(Refusal::Silent),
            }
        });
    }
}

/// Changes and observes a [`Listener`] from elsewhere.
#[derive(Clone, Debug)]
pub struct ListenerHandle {
    config: Arc<watch::Sender<Arc<ServerConfig>>>,
    counters: Arc<Counters>,
}

impl ListenerHandle {
    /// Serves later handshakes with this configuration: after a renewal or a change of the root. Connections
    /// that exist are not touched.
    pub fn set_config(&self, config: Arc<ServerConfig>) {
        self.config.send_replace(config);
    }

    /// The counters since the start.
    pub fn stats(&self) -> ListenerStats {
        let counters = &self.counters;
        ListenerStats {
            accepted: counters.accepted.read(),
            bad_handshake: counters.bad_handshake.read(),
            silent: counters.silent.read(),
            bad_hello: counters.bad_hello.read(),
            unauthorised: counters.unauthorised.read(),
            crowded: counters.crowded.read(),
            accept_failed: counters.accept_failed.read(),
        }
    }
}

/// What came to a [`Listener`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Connections handed out.
    pub accepted: u64,
    /// Not TLS, not our protocol, or a certificate that is expired or another cluster's.
    pub bad_handshake: u64,
    /// Not done within 5 s.
    pub silent: u64,
    /// A first frame that is too long or no hello, or none at all.
    pub bad_hello: u64,
    /// A hello that the peer's certificate does not allow.
    pub unauthorised: u64,
    /// Dropped because too many peers without a certificate are being served.
    pub crowded: u64,
    /// The system gave no connection: out of file descriptors or memory.
    pub accept_failed: u64,
}

#[derive(Debug)]
enum Refusal {
    Handshake,
    Silent,
    Hello,
    Unauthorised,
    Crowded,
}

async fn meet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
    strangers: Arc<Semaphore>,
) -> Result<Accepted, Refusal> {
    tune(&stream).map_err(|_| Refusal::Handshake)?;
    let stream = acceptor.accept(stream).await.map_err(|_| Refusal::Handshake)?;
    let mut connection = Connection::over(stream.into(), remote).ok_or(Refusal::Handshake)?;
    let hello: Hello = connection.recv(None).await.map_err(|_| Refusal::Hello)?;
    hello.authorise(connection.peer()).map_err(|_| Refusal::Unauthorised)?;
    if connection.peer().is_none() {
        let slot: OwnedSemaphorePermit = strangers.try_acquire_owned().map_err(|_| Refusal::Crowded)?;
        connection.hold(slot);
    }
    Ok(Accepted { connection, hello })
}

#[derive(Debug, Default)]
struct Counters {
    accepted: Counter,
    bad_handshake: Counter,
    silent: Counter,
    bad_hello: Counter,
    unauthorised: Counter,
    crowded: Counter,
    accept_failed: Counter,
}

impl Counters {
    fn finish(&self, done: Result<Result<Accepted, Refusal>, JoinError>) -> Option<Accepted> {
        let (counter, accepted) = match done {
            Ok(Ok(accepted)) => (&self.accepted, Some(accepted)),
            Ok(Err(Refusal::Handshake)) | Err(_) => (&self.bad_handshake, None),
            Ok(Err(Refusal::Silent)) => (&self.silent, None),
            Ok(Err(Refusal::Hello)) => (&self.bad_hello, None),
            Ok(Err(Refusal::Unauthorised)) => (&self.unauthorised, None),
            Ok(Err(Refusal::Crowded)) => (&self.crowded, None),
        };
        counter.add();
        accepted
    }
}

#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
