//! What a node is told when it starts.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use swarm_state::spec::SwarmSpec;

use crate::runtime::TaskRuntime;

/// The settings of a node. [`NodeConfig::new`] fills in what a machine of its own needs.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where the node keeps its identity, log and tasks. One node per directory.
    pub data_dir: PathBuf,
    /// The name people see. The host's name by default.
    pub hostname: String,
    /// Runs the tasks; `None` is [`ProcessRuntime`](crate::runtime::ProcessRuntime) below `data_dir`.
    pub runtime: Option<Arc<dyn TaskRuntime>>,
    /// TCP port of the managers. 2377, as Docker.
    pub manager_port: u16,
    /// UDP and TCP port of the gossip. 7946, as memberlist.
    pub gossip_port: u16,
    /// Period of a manager's clock: an election takes 10 to 20 of them. 100 ms.
    pub raft_tick: Duration,
    /// Period in which the kernel's state is compared with what it should be. 5 s.
    pub audit_interval: Duration,
    /// Name servers that tasks' questions about other names go to; `None` reads `/etc/resolv.conf`.
    pub upstream_dns: Option<Vec<IpAddr>>,
    /// The program's own version, as `docker version` shows it.
    pub version: String,
}

impl NodeConfig {
    /// Settings for a node that keeps its state in `data_dir`, with the defaults of each field.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            data_dir: data_dir.into(),
            hostname: hostname.unwrap_or_else(|| "localhost".to_owned()),
            runtime: None,
            manager_port: 2377,
            gossip_port: 7946,
            raft_tick: Duration::from_millis(100),
            audit_interval: Duration::from_secs(5),
            upstream_dns: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// `docker swarm init`.
#[derive(Clone, Debug, Default)]
pub struct InitRequest {
    /// `0.0.0.0:2377`: where the manager listens.
    pub listen_addr: String,
    /// An address or an interface, with an optional port; empty: the only address of the machine.
    pub advertise_addr: String,
    /// As `advertise_addr`, for VXLAN; empty: the same.
    pub data_path_addr: String,
    /// UDP port of VXLAN; 0: 4789.
    pub data_path_port: u16,
    /// Pools for the subnets of networks; empty: 10.0.0.0/8.
    pub default_pools: Vec<IpNet>,
    /// Prefix length of such a subnet; 0: 24.
    pub subnet_size: u8,
    /// `active`, `pause`, `drain`; empty: active.
    pub availability: String,
    /// The cluster's settings.
    pub spec: SwarmSpec,
}

/// `docker swarm join`.
#[derive(Clone, Debug, Default)]
pub struct JoinRequest {
    /// As in [`InitRequest`].
    pub listen_addr: String,
    /// As in [`InitRequest`].
    pub advertise_addr: String,
    /// As in [`InitRequest`].
    pub data_path_addr: String,
    /// `host:port` of managers, tried in order.
    pub remote_addrs: Vec<String>,
    /// `SWMTKN-1-…`
    pub token: String,
    /// As in [`InitRequest`].
    pub availability: String,
}
