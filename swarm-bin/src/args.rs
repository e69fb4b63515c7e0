//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::{ApiError, Client};
use crate::bench::{self, BenchError};
use crate::cli::{self, VerbError};
use crate::daemon::{DaemonArgs, DaemonError};
use crate::demo::{self, DemoError};
use crate::doctor::{self, DoctorArgs};
use crate::host::{Host, HostError};
use crate::out;

/// Docker Swarm's overlay network in one program: the daemon, the docker verbs, and a demo of a whole swarm
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "\
See a swarm work, in ten seconds and without root:
  swarm-bin demo

Keep it, and drive a node of it with docker or with the same verbs here:
  swarm-bin demo --keep
  DOCKER_HOST=unix:///tmp/swarm-demo.x/master/docker.sock docker node ls
  swarm-bin -H unix:///tmp/swarm-demo.x/master/docker.sock node ls

Make this machine a node:
  swarm-bin daemon --host unix:///run/swarm-bin.sock --data-dir /var/lib/swarm-bin
  swarm-bin swarm init --advertise-addr eth0"
)]
pub(crate) struct Cli {
    /// The daemon: unix:///path/to/socket or tcp://host:port [default: $DOCKER_HOST, or unix:///run/swarm-bin.sock]
    #[arg(short = 'H', long, global = true, value_name = "HOST")]
    host: Option<Host>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Daemon(DaemonArgs),
    Demo(demo::DemoArgs),
    DemoStop(demo::StopArgs),
    Doctor(DoctorArgs),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    #[command(subcommand)]
    Swarm(cli::SwarmCommand),
    #[command(subcommand)]
    Node(cli::NodeCommand),
    #[command(subcommand)]
    Network(cli::NetworkCommand),
    #[command(subcommand)]
    Service(cli::ServiceCommand),
    #[command(subcommand)]
    Ipam(cli::IpamCommand),
    Info(cli::InfoArgs),
    Version(cli::VersionArgs),
    #[command(hide = true)]
    DemoSupervisor(demo::SupervisorArgs),
    #[command(hide = true)]
    DemoNode(demo::NodeArgs),
    #[command(hide = true)]
    DemoClient(demo::ClientArgs),
    #[command(hide = true)]
    DoctorProbe,
    #[command(hide = true)]
    BenchRun(bench::RunArgs),
    #[command(hide = true)]
    BenchHost(bench::HostArgs),
    #[command(hide = true)]
    BenchLoad(bench::LoadArgs),
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The daemon did not run.
    #[error("swarm-bin daemon: {0}")]
    Daemon(#[from] DaemonError),
    /// The demo could not be shown.
    #[error("swarm-bin demo: {0}")]
    Demo(#[from] DemoError),
    /// Nothing could be measured.
    #[error("swarm-bin bench: {0}")]
    Bench(#[from] BenchError),
    /// A verb failed.
    #[error("{0}")]
    Verb(#[from] VerbError),
    /// `DOCKER_HOST` is wrong.
    #[error("DOCKER_HOST: {0}")]
    Host(#[from] HostError),
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        Self::Verb(error.into())
    }
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    ///
    /// Every [`CommandError`].
    pub(crate) fn run(self) -> Result<ExitCode, CommandError> {
        let host = self.host;
        match self.command {
            Command::Daemon(args) => args.run(host.unwrap_or_else(default_socket))?,
            Command::Demo(args) => return Ok(args.run()?),
            Command::DemoStop(args) => args.run()?,
            Command::Doctor(args) => return Ok(args.run()),
            Command::DemoSupervisor(args) => return Ok(args.run()),
            Command::DemoNode(args) => return Ok(args.run()?),
            Command::DemoClient(args) => args.run(),
            Command::DoctorProbe => return Ok(doctor::probe()),
            Command::Bench(command) => return Ok(command.run()?),
            Command::BenchRun(args) => return Ok(args.run()?),
            Command::BenchHost(args) => args.run()?,
            Command::BenchLoad(args) => args.run()?,
            Command::Swarm(command) => ask(host, |client| command.run(client))?,
            Command::Node(command) => ask(host, |client| command.run(client))?,
            Command::Network(command) => ask(host, |client| command.run(client))?,
            Command::Service(command) => ask(host, |client| command.run(client))?,
            Command::Ipam(command) => ask(host, |client| command.run(client))?,
            Command::Info(args) => ask(host, |client| args.run(client))?,
            Command::Version(args) => ask(host, |client| args.run(client))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn default_socket() -> Host {
    Host::Unix(Host::DEFAULT_SOCKET.into())
}

/// Runs a verb against a daemon; Ctrl-C ends it quietly.
fn ask<F>(host: Option<Host>, verb: impl FnOnce(Client) -> F) -> Result<(), CommandError>
where
    F: Future<Output = Result<(), VerbError>>,
{
    let client = Client::new(Host::choose(host)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(CommandError::Runtime)?.block_on(async {
        tokio::select! {
            done = verb(client) => done,
            _ = tokio::signal::ctrl_c() => {
                out::note("interrupted");
                Ok(())
            }
        }
    });
    Ok(done?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_posts_lines_are_understood_after_the_program_name() {
        for line in [
            "swarm init --advertise-addr eth1",
            "node ls",
            "swarm join-token worker",
            "swarm join --token SWMTKN-1-a-b 192.168.99.100:2377",
            "network ls",
            "network inspect ingress",
            "service create --mode replicated --replicas 2 --name helloworld -p 8080:8080 --endpoint-mode vip huyinghuan/helloworld:latest",
            "network create -d overlay helloNet",
            "network create -d overlay --subnet 172.19.0.1/24 --gateway 172.19.0.1 helloNew",
            "-H unix:///a.sock service ps helloworld --json",
            "-H unix:///a.sock ipam audit --json",
            "ipam audit --host unix:///a.sock",
            "ipam explain fd00::1",
            "demo --keep --json --nodes 5",
            "bench dataplane --only docker,raw --tests pps64 --rounds 9 --seconds 0.3 --json",
            "daemon --host unix:///a.sock --data-dir /a",
        ] {
            let words = std::iter::once("swarm-bin").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
