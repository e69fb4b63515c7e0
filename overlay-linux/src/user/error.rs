use std::io;
use std::net::SocketAddr;

use overlay_core::seal::KeyError;
use overlay_core::{NetworkError, PortId};

/// Why a plane did not do what it was told. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum PlaneError {
    /// Its sockets could not be opened. `EADDRINUSE`: the kernel's VXLAN or another plane has the port.
    #[error("cannot listen for tunnels on {local}: {source}")]
    Listen { local: SocketAddr, source: io::Error },
    /// The sockets that send could not be opened.
    #[error("cannot send tunnels from {local}: {source}")]
    Send { local: SocketAddr, source: io::Error },
    /// No thread or no descriptor could be had.
    #[error("cannot {what}: {source}")]
    Start { what: &'static str, source: io::Error },
    /// The network makes no sense.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The keys make no sense.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The device cannot be waited for.
    #[error("cannot attach port {port}: {source}")]
    Attach { port: PortId, source: io::Error },
    /// The plane's thread has ended.
    #[error("the plane has stopped")]
    Stopped,
}
