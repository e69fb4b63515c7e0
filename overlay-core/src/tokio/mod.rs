//! The driver: a [`Vtep`](crate::Vtep) with a UDP socket, time, and ports that are channels of frames.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use overlay_core::{Location, MacAddr, Network, PortId, VXLAN_PORT, Vni, tokio::Endpoint};
//!
//! let endpoint = Endpoint::bind("192.0.2.1:4789".parse()?, VXLAN_PORT).await?;
//! let mut port = endpoint.attach(PortId::new(1)).await?;
//! endpoint.set_network(Vni::new(4097)?, Network {
//!     stations: [
//!         (MacAddr::from_ipv4([10, 0, 1, 3].into()), Location::Port(port.id())),
//!         (MacAddr::from_ipv4([10, 0, 1, 4].into()), Location::Endpoint([192, 0, 2, 2].into())),
//!     ].into(),
//!     ..Network::default()
//! }).await?;
//! while let Some(frame) = port.receive().await {
//!     println!("{} bytes", frame.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It is plain: one socket, one datagram for each frame, no offloads. For tests, examples and programs that forward
//! little; hosts that forward much have a driver of their own.

mod pump;

use std::{io, net::SocketAddr};

use ::tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};

use self::pump::{Command, Pump};
use crate::{Network, NetworkError, PortId, Stats, Vni};

/// A running tunnel endpoint: one UDP socket and one task.
///
/// Clones share it; when the last clone and every [`Port`] are gone, the socket closes.
#[derive(Clone, Debug)]
pub struct Endpoint {
    commands: mpsc::UnboundedSender<Command>,
    frames: mpsc::Sender<(PortId, Vec<u8>)>,
    addr: SocketAddr,
}

/// A place where a station is attached: frames go in and come out.
#[derive(Debug)]
pub struct Port {
    id: PortId,
    /// Keeps the endpoint running.
    _commands: mpsc::UnboundedSender<Command>,
    frames: mpsc::Sender<(PortId, Vec<u8>)>,
    received: mpsc::Receiver<Vec<u8>>,
}

/// Why an endpoint did not do what it was told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum EndpointError {
    /// The network was refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The keys were refused.
    #[cfg(feature = "seal")]
    #[error(transparent)]
    Key(#[from] crate::seal::KeyError),
    /// Its task has ended: it was shut down, or its runtime was.
    #[error("the endpoint at {addr} is closed")]
    Closed { addr: SocketAddr },
}

impl Endpoint {
    /// Binds the socket and starts the endpoint, which has no network yet. Needs a tokio runtime with time and IO.
    ///
    /// Other hosts are reached at UDP port `remote_port`, [`VXLAN_PORT`](crate::VXLAN_PORT) but in tests. What the
    /// endpoint seals is marked with the time of this call, so that the clock must not go back between two starts.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn bind(bind: SocketAddr, remote_port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind(bind).await?;
        let addr = socket.local_addr()?;
        let (commands, orders) = mpsc::unbounded_channel();
        let (frames, sent) = mpsc::channel(QUEUE);
        ::tokio::spawn(Pump::new(socket, remote_port).run(orders, sent));
        Ok(Self { commands, frames, addr })
    }

    /// Where the socket is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Attaches a port; one that was attached under this number before receives nothing any more.
    ///
    /// A frame that finds 1024 others waiting is lost, as in a network card.
    ///
    /// # Errors
    /// [`EndpointError::Closed`].
    pub async fn attach(&self, id: PortId) -> Result<Port, EndpointError> {
        let (deliver, received) = mpsc::channel(QUEUE);
        self.ask(|done| Command::Attach(id, deliver, done)).await?;
        Ok(Port { id, _commands: self.commands.clone(), frames: self.frames.clone(), received })
    }

    /// As [`Vtep::set_network`](crate::Vtep::set_network).
    ///
    /// # Errors
    /// [`EndpointError::Network`] and [`EndpointError::Closed`]; nothing changed.
    pub async fn set_network(&self, vni: Vni, network: Network) -> Result<(), EndpointError> {
        Ok(self.ask(|done| Command::SetNetwork(vni, Box::new(network), done)).await??)
    }

    /// As [`Vtep::remove_network`](crate::Vtep::remove_network); its keys are forgotten, too.
    ///
    /// # Errors
    /// [`EndpointError::Closed`].
    pub async fn remove_network(&self, vni: Vni) -> Result<bool, EndpointError> {
        self.ask(|done| Command::RemoveNetwork(vni, done)).await
    }

    /// As [`Seal::set_keys`](crate::seal::Seal::set_keys).
    ///
    /// # Errors
    /// [`EndpointError::Key`] and [`EndpointError::Closed`]; nothing changed.
    #[cfg(feature = "seal")]
    pub async fn set_keys(
        &self,
        vni: Vni,
        active: crate::seal::KeyId,
        keys: std::collections::BTreeMap<crate::seal::KeyId, crate::seal::SealKey>,
    ) -> Result<(), EndpointError> {
        Ok(self.ask(|done| Command::SetKeys(vni, active, keys, done)).await??)
    }

    /// What was decided since the start.
    ///
    /// # Errors
    /// [`EndpointError::Closed`].
    pub async fn stats(&self) -> Result<Stats, EndpointError> {
        self.ask(Command::Stats).await
    }

    /// Closes the socket; returns when it is closed.
    pub async fn shutdown(&self) {
        let _ = self.ask(Command::Shutdown).await;
    }

    async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Result<A, EndpointError> {
        let (done, answer) = oneshot::channel();
        let closed = EndpointError::Closed { addr: self.addr };
        self.commands.send(command(done)).map_err(|_| closed.clone())?;
        answer.await.map_err(|_| closed)
    }
}

impl Port {
    /// The number under which networks know it.
    #[must_use]
    pub const fn id(&self) -> PortId {
        self.id
    }

    /// Sends a frame; waits while 1024 others do. Says whether there is still an endpoint to take it.
    pub async fn send(&self, frame: Vec<u8>) -> bool {
        self.frames.send((self.id, frame)).await.is_ok()
    }

    /// The next frame for this port; `None` when the endpoint is closed.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        self.received.recv().await
    }
}

/// Frames that wait on each side of a port.
const QUEUE: usize = 1024;
