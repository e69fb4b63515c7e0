//! The first process of the demo's own namespaces: starts the machines, plays the story, cleans up.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use overlay_linux::link::{LinkName, Netlink};
use overlay_linux::mount;
use overlay_linux::userns::{Namespaces, unshare};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::error::DemoError;
use super::plan::Machine;
use super::processes::Processes;
use super::story::Story;
use super::world::{World, remove, tail};
use crate::out;

/// Runs the demo in a PID namespace of its own (internal)
///
/// Standard input ends when whoever looks at the demo is gone. Standard output carries one JSON object.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SupervisorArgs {
    /// Where the machines keep their files
    #[arg(long)]
    dir: PathBuf,
    /// How many nodes
    #[arg(long)]
    nodes: u8,
    /// How many requests through each node
    #[arg(long)]
    requests: usize,
    /// When to give up, in seconds
    #[arg(long)]
    timeout: u64,
    /// Leaves everything running after the service is up
    #[arg(long)]
    keep: bool,
    /// Only the machines and their daemons
    #[arg(long)]
    bare: bool,
}

impl SupervisorArgs {
    /// Plays the demo and removes its directory; the exit code says whether every step held.
    pub(crate) fn run(self) -> ExitCode {
        let done = self.play();
        remove(&self.dir);
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(DemoError::Interrupted) => ExitCode::FAILURE,
            Err(error) => {
                out::note(format_args!("\nthe demo failed: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn play(&self) -> Result<(), DemoError> {
        let at = DemoError::system;
        let _ = nix::unistd::setsid(); // Ctrl-C is for the visible process; fails only if it is so already
        unshare(Namespaces::NETWORK | Namespaces::MOUNT | Namespaces::HOSTNAME | Namespaces::IPC)
            .map_err(at("make namespaces"))?;
        mount::make_private().map_err(at("make mounts private"))?;
        mount::proc(Path::new("/proc")).map_err(at("mount /proc"))?;
        let loopback = LinkName::new("lo").map_err(io::Error::other).map_err(at("name the loopback"))?;
        Netlink::open().map_err(at("talk to the kernel about links"))?.set_up(&loopback)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.map_err(at("start threads"))?.block_on(self.watched())
    }

    /// The story, unless somebody ends it.
    async fn watched(&self) -> Result<(), DemoError> {
        let at = DemoError::system;
        let mut terminate = signal(SignalKind::terminate()).map_err(at("listen to signals"))?;
        let lifeline = io::stdin().as_fd().try_clone_to_owned().map_err(at("watch the visible process"))?;
        let mut lifeline =
            pipe::Receiver::from_file(File::from(lifeline)).map_err(at("watch the visible process"))?;
        let mut world = None;
        let played = tokio::select! {
            played = self.story(&mut world) => played,
            _ = terminate.recv() => Err(DemoError::Interrupted),
            _ = lifeline.read_u8() => Err(DemoError::Interrupted),
        };
        if played.is_err() && !matches!(played, Err(DemoError::Interrupted)) {
            self.show_logs();
        }
        if played.is_ok() && self.keep {
            detach(&self.dir).map_err(at("leave the terminal"))?;
            terminate.recv().await;
        }
        drop(world);
        played
    }

    async fn story(&self, world: &mut Option<World>) -> Result<(), DemoError> {
        let limit = Duration::from_secs(self.timeout);
        let mut story = Story::new(self.requests);
        let told = async {
            let world = world.insert(World::start(&self.dir, self.nodes)?);
            if self.bare {
                story.until_daemons(world).await?;
            } else {
                story.until_served(world).await?;
            }
            if self.keep {
                out::line(kept(world));
            } else {
                story.power_cut(world).await?;
                story.measure_memory(world);
                let figures = story.finish();
                out::note(format_args!("\n{}", figures.table()));
                out::line(serde_json::to_string(&figures).unwrap_or_default());
            }
            Ok(())
        };
        let timed_out = |_| DemoError::Timeout { seconds: self.timeout };
        tokio::time::timeout(limit, told).await.map_err(timed_out)?
    }

    fn show_logs(&self) {
        for machine in Machine::nodes(&self.dir, self.nodes) {
            let tail = tail(&machine);
            if !tail.is_empty() {
                out::note(format_args!("\n--- the end of {}'s log ---\n{tail}", machine.name));
            }
        }
    }
}

/// What whoever keeps the demo needs; the process numbers are those of this PID namespace.
fn kept(world: &World) -> Value {
    let processes = Processes::now();
    let node = |node: &super::world::Running| {
        json!({
            "name": node.machine.name,
            "docker_host": node.machine.host().to_string(),
            "pid": node.pid(),
            "daemon_pid": node.daemon(&processes).map(|daemon| daemon.pid),
        })
    };
    json!({
        "nodes": world.nodes.iter().map(node).collect::<Vec<_>>(),
        "client": {"pid": world.client.pid()},
    })
}

/// Lets go of the terminal and of the pipe to the visible process.
fn detach(dir: &Path) -> io::Result<()> {
    let log = File::options().create(true).append(true).open(dir.join("supervisor.log"))?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    nix::unistd::dup2_stderr(&log)?;
    nix::unistd::dup2_stdout(&log)?; // last: the visible process takes it as the sign that all is done
    Ok(())
}
