//! The socket.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use swarm_node::Node;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::app::App;
use crate::{routes, version};

/// The Engine API of a node, without a socket.
///
/// # Panics
///
/// Outside of a tokio runtime, where nobody could follow the node's changes.
pub fn router(node: Node) -> Router {
    version::versioned(routes::routes(App::start(node)))
}

/// Serves the Engine API of a node until `shutdown` completes; then requests have two seconds to end.
///
/// ```no_run
/// use swarm_node::{Node, NodeConfig};
/// use tokio::net::UnixListener;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::start(NodeConfig::new("/var/lib/swarm")).await?;
/// swarm_docker::serve(node, UnixListener::bind("/run/swarm.sock")?, std::future::pending()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The listener failed.
pub async fn serve(
    node: Node,
    listener: UnixListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopped, stopping) = oneshot::channel();
    let until = async move {
        shutdown.await;
        let _ = stopped.send(()); // nobody listens if the server has failed
    };
    let server = axum::serve(listener, router(node)).with_graceful_shutdown(until);
    let late = async {
        match stopping.await {
            Ok(()) => tokio::time::sleep(GRACE).await, // streams of events and logs would never end
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = server => result,
        () = late => Ok(()),
    }
}

/// Time that requests have after the shutdown began.
const GRACE: Duration = Duration::from_secs(2);
