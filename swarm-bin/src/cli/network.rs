//! `swarm-bin network …`

use serde_json::{Value, json};

use super::spec::{labels, zip_subnets};
use super::{Shown, VerbError, short};
use crate::api::{Client, encode, items, text};
use crate::out;
use crate::table::Table;

/// Makes, shows and removes networks
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
  swarm-bin network create -d overlay --subnet 172.19.0.0/24 --gateway 172.19.0.1 backend")]
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
