//! `swarm-bin network …`

use serde_json::{Value, json};

use super::spec::{labels, zip_subnets};
use super::{Shown, VerbError, short};
use crate::api::{Client, encode, items, text};
use crate::out;
use crate::table::Table;

/// Makes, shows, grows and removes networks, and replaces the keys of encrypted ones
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum NetworkCommand {
    /// Lists the networks that the node knows
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// Makes an overlay network
    #[command(after_help = "\
Examples:
  swarm-bin network create backend
  swarm-bin network create -d overlay --subnet 172.19.0.0/24 --gateway 172.19.0.1 backend
  swarm-bin network create --opt encrypted backend
  swarm-bin network create --opt encrypted=chacha20-poly1305 backend

Options of the driver:
  encrypted[=CIPHER]        encrypts what travels between nodes: aes-128-gcm (the default), aes-256-gcm or
                            chacha20-poly1305; the keys are replaced every 12 hours
  plane=auto|kernel|user    who forwards its frames; encrypted networks need auto or user
  layout=macvlan|bridge     how the kernel's plane attaches tasks: by a macvlan, or by a bridge and pairs as Docker does")]
    Create {
        /// Only overlay networks can be made
        #[arg(short, long, default_value = "overlay")]
        driver: String,
        /// A subnet in CIDR form; picked if not given
        #[arg(long, value_name = "CIDR")]
        subnet: Vec<String>,
        /// The gateway of the subnet at the same place
        #[arg(long, value_name = "IP")]
        gateway: Vec<String>,
        /// The part of the subnet at the same place that addresses are taken from
        #[arg(long, value_name = "CIDR")]
        ip_range: Vec<String>,
        /// No way out of the network
        #[arg(long)]
        internal: bool,
        /// Tasks that belong to no service may join
        #[arg(long)]
        attachable: bool,
        /// An option of the driver
        #[arg(short, long = "opt", value_name = "KEY=VALUE")]
        options: Vec<String>,
        /// A label
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// Its name
        name: String,
    },
    /// Shows all about networks
    Inspect {
        /// Ids or names
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
        /// Also the services and tasks on it
        #[arg(short, long)]
        verbose: bool,
    },
    /// Gives a network more addresses, while it is in use
    #[command(after_help = "\
A subnet around one of the network's own takes its place: no address changes. That works while the other half is free; if
it is not, the answer says who has it and what is free instead. Any other subnet is added, and is used when those before
it are full.

Examples:
  swarm-bin network grow backend 10.0.2.0/23     # was 10.0.2.0/24
  swarm-bin network grow backend 10.7.0.0/24     # one more")]
    Grow {
        /// Where dynamic addresses come from [default: all of it]
        #[arg(long, value_name = "CIDR")]
        ip_range: Option<String>,
        /// Id or name
        network: String,
        /// The subnet in CIDR form
        subnet: String,
    },
    /// Replaces the keys of encrypted networks now, without losing a packet
    #[command(after_help = "\
A new key is given to all nodes, used by all nodes, and the old one forgotten: three steps, with a grace in between so
that each node has learned of one step before the next begins. That happens by itself every 12 hours, and when a node
was removed. Do it by hand when somebody may have seen the keys.

Examples:
  swarm-bin network rotate-keys backend
  swarm-bin network rotate-keys --grace 5 backend frontend   # done after 10 seconds; a node that is slower loses packets")]
    RotateKeys {
        /// Seconds between two steps [default: 60]
        #[arg(long, value_name = "SECONDS")]
        grace: Option<u64>,
        /// Ids or names
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
    },
    /// Removes networks that nobody uses
    Rm {
        /// Ids or names
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
    },
}

impl NetworkCommand {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        match self {
            Self::Ls { shown } => shown.show(&client.get("/networks").await?, table),
            Self::Create {
                driver,
                subnet,
                gateway,
                ip_range,
                internal,
                attachable,
                options,
                labels: pairs,
                name,
            } => {
                let body = json!({
                    "Name": name, "Driver": driver, "Scope": "", "Internal": internal, "Attachable": attachable,
                    "Ingress": false, "ConfigOnly": false, "ConfigFrom": null,
                    "Options": labels(&options), "Labels": labels(&pairs),
                    "IPAM": {"Driver": "default", "Options": {}, "Config": zip_subnets(&subnet, &gateway, &ip_range)},
                });
                let made = client.post("/networks/create", &body).await?;
                if !text(&made, "/Warning").is_empty() {
                    out::note(format_args!("WARNING: {}", text(&made, "/Warning")));
                }
                out::line(text(&made, "/Id"));
            }
            Self::Inspect { networks, verbose } => {
                let mut all = Vec::new();
                for network in networks {
                    all.push(client.get(&format!("/networks/{}?verbose={verbose}", encode(&network))).await?);
                }
                out::pretty(&Value::Array(all));
            }
            Self::Grow { ip_range, network, subnet } => {
                let body = json!({"Subnet": subnet, "IPRange": ip_range.unwrap_or_default()});
                let grown = client.post(&format!("/networks/{}/grow", encode(&network)), &body).await?;
                if !text(&grown, "/Warning").is_empty() {
                    out::note(format_args!("WARNING: {}", text(&grown, "/Warning")));
                }
                out::line(network);
            }
            Self::RotateKeys { grace, networks } => {
                let grace = grace.map(|seconds| format!("?grace={seconds}")).unwrap_or_default();
                for network in networks {
                    let path = format!("/networks/{}/rotate-keys{grace}", encode(&network));
                    client.post(&path, &Value::Null).await?;
                    out::line(network);
                }
            }
            Self::Rm { networks } => {
                for network in networks {
                    client.delete(&format!("/networks/{}", encode(&network))).await?;
                    out::line(network);
                }
            }
        }
        Ok(())
    }
}

fn table(networks: &Value) -> String {
    let mut table = Table::new(["NETWORK ID", "NAME", "DRIVER", "SCOPE"]);
    let mut networks = items(networks, "").to_vec();
    networks.sort_by_key(|network| text(network, "/Name").to_owned());
    for network in &networks {
        let cell = |pointer| text(network, pointer).to_owned();
        table.row([short(text(network, "/Id")).to_owned(), cell("/Name"), cell("/Driver"), cell("/Scope")]);
    }
    table.render()
}
