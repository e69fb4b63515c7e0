//! The verbs of the docker command, as a thin client of the same API.

mod ago;
mod create;
mod ipam;
mod logs;
mod network;
mod node;
mod service;
mod spec;
mod swarm;
mod system;
mod wait;

use serde_json::Value;

use crate::api::ApiError;
use crate::out;

pub(crate) use ipam::IpamCommand;
pub(crate) use network::NetworkCommand;
pub(crate) use node::NodeCommand;
pub(crate) use service::ServiceCommand;
pub(crate) use swarm::{SwarmCommand, empty_spec};
pub(crate) use system::{InfoArgs, VersionArgs};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerbError {
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{text:?} is not a port to publish; write PUBLISHED:TARGET, such as 8080:80 or 5353:53/udp")]
    Publish { text: String },
    #[error("{text:?} is not SERVICE=REPLICAS, such as web=3")]
    Scale { text: String },
    #[error("{service}: only a replicated service can be scaled")]
    NotReplicated { service: String },
    #[error("no such service: {service}; `swarm-bin service ls` shows those that there are")]
    NoSuchService { service: String },
    #[error("nothing to change; give --replicas or --image")]
    NothingToChange,
    #[error(
        "{service} does not run as wanted after {seconds} s: {why}\nlook at `swarm-bin service ps {service}`"
    )]
    NotConverged { service: String, seconds: u64, why: String },
    #[error(
        "{count} finding(s): the state of the swarm is not sound; please report it with the output of --json"
    )]
    Unsound { count: usize },
    #[error("the log of {service} is damaged: {why}")]
    Log { service: String, why: String },
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Shown {
    /// `table` for people, `json` for scripts: the daemon's own answer
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Shown {
    /// Prints the answer itself, or what `table` makes of it.
    fn show(self, answer: &Value, table: impl FnOnce(&Value) -> String) {
        if self.json || self.format == Format::Json {
            out::line(answer);
        } else {
            out::line(table(answer));
        }
    }
}

/// The first 12 characters of an id, as docker shows it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
