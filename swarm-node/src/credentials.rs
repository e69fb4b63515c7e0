//! The node's identity in use: TLS configurations that change with it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, ServerConfig};

use crate::{
    rpc::{Connection, DialError, messages::Hello},
    security::{NodeIdentity, TlsError, tls},
};

/// Certificate and key of this node with what TLS makes of them.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) identity: Arc<NodeIdentity>,
    client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

/// Time for a connection to a manager, handshake included.
const DIAL: Duration = Duration::from_secs(5);

impl Credentials {
    pub(crate) fn new(identity: NodeIdentity) -> Result<Self, TlsError> {
        let client = tls::client_config(&identity)?;
        let server = tls::server_config(&identity)?;
        Ok(Self { identity: Arc::new(identity), client, server })
    }

    /// Connects to a manager and says what for.
    pub(crate) async fn dial(&self, addr: SocketAddr, hello: &Hello) -> Result<Connection, DialError> {
        let mut connection = Connection::dial(addr, self.client.clone(), tls::SERVER_NAME, DIAL).await?;
        // A connection that broke here shows in the first read.
        let _ = connection.send(hello).await;
        Ok(connection)
    }
}

impl Credentials {
    /// Whether somebody listens there. A new manager does not shake hands before it has its seat.
    pub(crate) async fn reaches(&self, addr: SocketAddr) -> bool {
        tokio::time::timeout(DIAL, tokio::net::TcpStream::connect(addr))
            .await
            .is_ok_and(|dialled| dialled.is_ok())
    }
}

/// `host:port` as an address; names are not resolved.
pub(crate) fn parse_addr(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}
