//! `swarm-bin swarm …`

use serde_json::{Value, json};

use super::VerbError;
use crate::api::{Client, text};
use crate::out;

/// Founds, joins and leaves swarms
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum SwarmCommand {
    /// Founds a swarm with this node as its first manager
    #[command(after_help = "\
Examples:
  swarm-bin swarm init
  swarm-bin swarm init --advertise-addr eth1")]
    Init {
        /// An address or an interface of this machine that the others reach [default: its only address]
        #[arg(long, value_name = "IP|INTERFACE[:PORT]", default_value = "")]
        advertise_addr: String,
        /// Where the manager listens
        #[arg(long, value_name = "IP[:PORT]", default_value = "0.0.0.0:2377")]
        listen_addr: String,
        /// As --advertise-addr, for the VXLAN traffic [default: the same]
        #[arg(long, value_name = "IP|INTERFACE", default_value = "")]
        data_path_addr: String,
        /// Pools for the subnets of networks [default: 10.0.0.0/8]
        #[arg(long, value_name = "CIDR")]
        default_addr_pool: Vec<String>,
        /// The length of a subnet's prefix
        #[arg(long, value_name = "BITS", default_value_t = 24)]
        default_addr_pool_mask_length: u8,
    },
    /// Joins a swarm; `swarm join-token` on a manager prints the line to type
    #[command(after_help = "\
Example:
  swarm-bin swarm join --token SWMTKN-1-… 192.168.99.100:2377")]
    Join {
        /// The token of the role to join as
        #[arg(long)]
        token: String,
        /// A manager of the swarm
        #[arg(value_name = "HOST:PORT")]
        remote: String,
        /// As for `swarm init`
        #[arg(long, value_name = "IP|INTERFACE[:PORT]", default_value = "")]
        advertise_addr: String,
        /// As for `swarm init`
        #[arg(long, value_name = "IP[:PORT]", default_value = "0.0.0.0:2377")]
        listen_addr: String,
        /// As for `swarm init`
        #[arg(long, value_name = "IP|INTERFACE", default_value = "")]
        data_path_addr: String,
    },
    /// Prints the line that joins another node
    JoinToken {
        /// The role of the new node
        #[arg(value_enum)]
        role: Role,
        /// Prints the token only
        #[arg(short, long)]
        quiet: bool,
        /// Makes a new token first; the old one is void
        #[arg(long)]
        rotate: bool,
    },
    /// Leaves the swarm
    Leave {
        /// Also if this node is a manager; without the last one the swarm is lost
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Role {
    Worker,
    Manager,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }

    const fn token_pointer(self) -> &'static str {
        match self {
            Self::Worker => "/JoinTokens/Worker",
            Self::Manager => "/JoinTokens/Manager",
        }
    }
}

impl SwarmCommand {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        match self {
            Self::Init {
                advertise_addr,
                listen_addr,
                data_path_addr,
                default_addr_pool,
                default_addr_pool_mask_length,
            } => {
                let body = json!({
                    "ListenAddr": listen_addr, "AdvertiseAddr": advertise_addr, "DataPathAddr": data_path_addr,
                    "DataPathPort": 0, "DefaultAddrPool": default_addr_pool,
                    "SubnetSize": default_addr_pool_mask_length, "ForceNewCluster": false,
                    "AutoLockManagers": false, "Availability": "", "Spec": empty_spec(),
                });
                init(&client, &body).await
            }
            Self::Join { token, remote, advertise_addr, listen_addr, data_path_addr } => {
                let body = json!({
                    "ListenAddr": listen_addr, "AdvertiseAddr": advertise_addr, "DataPathAddr": data_path_addr,
                    "RemoteAddrs": [remote], "JoinToken": token, "Availability": "",
                });
                client.post("/swarm/join", &body).await?;
                let info = client.get("/info").await?;
                let manages = info.pointer("/Swarm/ControlAvailable").and_then(Value::as_bool);
                let role = if manages == Some(true) { "manager" } else { "worker" };
                out::line(format_args!("This node joined a swarm as a {role}."));
                Ok(())
            }
            Self::JoinToken { role, quiet, rotate } => join_token(&client, role, quiet, rotate).await,
            Self::Leave { force } => {
                client.post(&format!("/swarm/leave?force={}", u8::from(force)), &Value::Null).await?;
                out::line("Node left the swarm.");
                Ok(())
            }
        }
    }
}

/// The settings of a swarm as `docker swarm init` sends them: nothing set, so the daemon's defaults.
pub(crate) fn empty_spec() -> Value {
    json!({
        "Labels": null, "Orchestration": {}, "Raft": {"ElectionTick": 0, "HeartbeatTick": 0}, "Dispatcher": {},
        "CAConfig": {}, "TaskDefaults": {}, "EncryptionConfig": {"AutoLockManagers": false},
    })
}

async fn init(client: &Client, body: &Value) -> Result<(), VerbError> {
    let id = client.post("/swarm/init", body).await?;
    let id = id.as_str().unwrap_or_default();
    let node = client.get(&format!("/nodes/{id}")).await?;
    let swarm = client.get("/swarm").await?;
    out::line(format_args!(
        "Swarm initialized: current node ({id}) is now a manager.\n\n\
         To add a worker to this swarm, run the following command:\n\n    \
         swarm-bin swarm join --token {} {}\n\n\
         To add a manager to this swarm, run 'swarm-bin swarm join-token manager' and follow the instructions.",
        text(&swarm, Role::Worker.token_pointer()),
        text(&node, "/ManagerStatus/Addr"),
    ));
    Ok(())
}

async fn join_token(client: &Client, role: Role, quiet: bool, rotate: bool) -> Result<(), VerbError> {
    let mut swarm = client.get("/swarm").await?;
    if rotate {
        let which = if role == Role::Worker { "rotateWorkerToken" } else { "rotateManagerToken" };
        let version = crate::api::number(&swarm, "/Version/Index");
        let spec = swarm.get("Spec").cloned().unwrap_or_default();
        client.post(&format!("/swarm/update?version={version}&{which}=true"), &spec).await?;
        swarm = client.get("/swarm").await?;
    }
    let token = text(&swarm, role.token_pointer());
    if quiet {
        out::line(token);
        return Ok(());
    }
    let info = client.get("/info").await?;
    let node = client.get(&format!("/nodes/{}", text(&info, "/Swarm/NodeID"))).await?;
    out::line(format_args!(
        "To add a {} to this swarm, run the following command:\n\n    swarm-bin swarm join --token {token} {}\n",
        role.word(),
        text(&node, "/ManagerStatus/Addr"),
    ));
    Ok(())
}
