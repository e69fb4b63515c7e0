//! The `docker` command against a served socket.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use support::Daemon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::oneshot;

#[tokio::test]
async fn the_docker_command_talks_to_us() {
    if std::process::Command::new("docker").arg("--version").output().is_err() {
        println!("skipped: docker not found");
        return;
    }
    let daemon = Daemon::start().await;
    let socket = daemon.dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(swarm_docker::serve(daemon.node.clone(), listener, async {
        let _ = stopped.await;
    }));

    let version = docker(&socket, &["version"]).await;
    assert!(version.status.success(), "{version:?}");
    assert!(text(&version.stdout).contains("not Docker"), "{version:?}");
    assert!(text(&version.stdout).contains("1.45 (minimum version 1.24)"), "{version:?}");

    let networks = docker(&socket, &["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]).await;
    assert_eq!(text(&networks.stdout), "bridge bridge local\nhost host local\nnone null local\n");

    let info = docker(&socket, &["info"]).await;
    assert!(info.status.success() && text(&info.stdout).contains(" Swarm: inactive\n"), "{info:?}");

    let nodes = docker(&socket, &["node", "ls"]).await;
    assert_eq!(text(&nodes.stderr), format!("Error response from daemon: {NO_SWARM}\n"));

    let inspected = docker(&socket, &["inspect", "nope"]).await;
    assert!(text(&inspected.stderr).to_lowercase().contains("no such object: nope"), "{inspected:?}");
    let ran = docker(&socket, &["run", "busybox"]).await;
    assert!(text(&ran.stderr).contains("containers are not provided here"), "{ran:?}");
    for list in [["ps"].as_slice(), &["images"], &["volume", "ls"], &["plugin", "ls"], &["system", "df"]] {
        let listed = docker(&socket, list).await;
        assert!(listed.status.success(), "{listed:?}");
    }

    // Who is refused before the whole question was sent gets the answer, not a broken connection.
    let mut create = UnixStream::connect(&socket).await.unwrap();
    let question = "POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 300000\r\n\r\n";
    create.write_all(question.as_bytes()).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        create.write_all(&[b' '; 100_000]).await.unwrap();
    }
    let mut head = [0; 12];
    create.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 501");

    let mut events = UnixStream::connect(&socket).await.unwrap();
    events.write_all(b"GET /events HTTP/1.1\r\nHost: docker\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(5), events.read_exact(&mut head));
    read.await.expect("the head comes before the first event").unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");

    stop.send(()).unwrap(); // an endless stream does not hold the server up
    server.await.unwrap().unwrap();
}

async fn docker(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.arg("-H").arg(format!("unix://{}", socket.display())).args(arguments).kill_on_drop(true);
    command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env_remove("DOCKER_API_VERSION");
    let output = tokio::time::timeout(Duration::from_secs(20), command.output());
    output.await.unwrap_or_else(|_| panic!("docker {arguments:?} hangs")).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
