//! `swarm-bin daemon`: one node and its Engine API.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm_node::{Node, NodeConfig, StartError};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::host::Host;
use crate::out;

/// Serves the Engine API of one node until it is told to end.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  swarm-bin daemon --data-dir /var/lib/swarm-bin
  swarm-bin daemon --host unix:///tmp/a.sock --data-dir /tmp/a --hostname a
  DOCKER_HOST=unix:///tmp/a.sock docker swarm init --advertise-addr eth0

SIGTERM ends the daemon and leaves its tasks and their network as they are; the next daemon with the same data directory
continues with them.")]
pub(crate) struct DaemonArgs {
    /// Where the node keeps its identity, its log and its tasks; one node per directory
    #[arg(long, value_name = "DIR", default_value = "/var/lib/swarm-bin")]
    data_dir: PathBuf,
    /// The name that the node has in the swarm [default: the machine's]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Writes the process number to this file while the daemon runs
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("a daemon listens on a unix socket only, not on {host}; give --host unix:///path/to/socket")]
    NotUnix { host: Host },
    #[error("another daemon listens on {path}; stop it, or give another path with --host unix://PATH")]
    Taken { path: String },
    #[error("{path} is in the way and no socket; remove it, or give another path with --host unix://PATH")]
    InTheWay { path: String },
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: String, source: io::Error },
    #[error("{0}; give another with --data-dir DIR, or run as the user who owns it")]
    Start(#[from] StartError),
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },
}

impl DaemonArgs {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// Every [`DaemonError`].
    pub(crate) fn run(self, host: Host) -> Result<(), DaemonError> {
        let Host::Unix(socket) = host else { return Err(DaemonError::NotUnix { host }) };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(MAX_BLOCKING)
            .thread_keep_alive(Duration::from_secs(1))
            .thread_name("swarm")
            .enable_all()
            .build()
            .map_err(|source| DaemonError::System { action: "start threads", source })?;
        let served = runtime.block_on(self.serve(&socket));
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    async fn serve(self, socket: &Path) -> Result<(), DaemonError> {
        let signals = |source| DaemonError::System { action: "listen to signals", source };
        let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
        let listener = listen(socket)?;
        if let Some(pidfile) = &self.pidfile {
            fs::write(pidfile, format!("{}\n", std::process::id())).map_err(file("write", pidfile))?;
        }
        let mut config = NodeConfig::new(self.data_dir);
        if let Some(hostname) = self.hostname {
            config.hostname = hostname;
        }
        env!("CARGO_PKG_VERSION").clone_into(&mut config.version);
        let name = config.hostname.clone();
        let node = Node::start(config).await?;
        out::note(format_args!("{name}: ready, the Engine API is at unix://{}", socket.display()));
        let told_to_end = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let served = swarm_docker::serve(node.clone(), listener, told_to_end).await;
        node.shutdown().await;
        let _ = fs::remove_file(socket);
        if let Some(pidfile) = &self.pidfile {
            let _ = fs::remove_file(pidfile);
        }
        out::note(format_args!("{name}: ended; its tasks run on"));
        served.map_err(|source| DaemonError::System { action: "serve the Engine API", source })
    }
}

/// Listens on a socket that only its owner and group may use; a socket that nobody listens on is replaced.
fn listen(socket: &Path) -> Result<UnixListener, DaemonError> {
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file("look at", socket)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(DaemonError::InTheWay { path: socket.display().to_string() });
        }
        Ok(_) if UnixStream::connect(socket).is_ok() => {
            return Err(DaemonError::Taken { path: socket.display().to_string() });
        }
        Ok(_) => fs::remove_file(socket).map_err(file("replace", socket))?,
    }
    if let Some(parent) = socket.parent() {
        fs::create_dir_all(parent).map_err(file("create", parent))?;
    }
    let listener = UnixListener::bind(socket).map_err(file("listen on", socket))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).map_err(file("restrict", socket))?;
    Ok(listener)
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DaemonError {
    let path = path.display().to_string();
    move |source| DaemonError::File { action, path, source }
}

/// Threads for protocols and the API: they wait most of the time.
const WORKERS: usize = 2;
/// Threads for calls that block, such as those to the kernel.
const MAX_BLOCKING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("new").join("docker.sock");
        let listener = listen(&socket).unwrap();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(listen(&socket), Err(DaemonError::Taken { .. })));
        drop(listener);
        drop(listen(&socket).unwrap());
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "").unwrap();
        assert!(matches!(listen(&socket), Err(DaemonError::InTheWay { .. })));
    }
}
