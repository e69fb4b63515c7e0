//! The cluster.

use ipnet::IpNet;
use serde::Serialize;
use swarm_state::object::Cluster;
use swarm_state::spec::SwarmSpec;

use super::{MetaView, TlsView};

/// The cluster as `docker info` shows it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: SwarmSpec,
    #[serde(rename = "TLSInfo")]
    pub tls_info: TlsView,
    pub root_rotation_in_progress: bool,
    pub default_addr_pool: Option<Vec<IpNet>>,
    pub subnet_size: u8,
    pub data_path_port: u16,
}

impl ClusterView {
    pub fn new(cluster: &Cluster) -> Self {
        let pools = cluster.default_pools.clone();
        Self {
            meta: MetaView::new(&cluster.id, cluster.meta),
            spec: cluster.spec.clone(),
            tls_info: TlsView::new(&cluster.root_ca.certificate),
            root_rotation_in_progress: false,
            default_addr_pool: (!pools.is_empty()).then_some(pools),
            subnet_size: cluster.subnet_size,
            data_path_port: cluster.data_path_port,
        }
    }
}

/// The cluster with what nodes need to join: `GET /swarm`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SwarmView {
    #[serde(flatten)]
    pub cluster: ClusterView,
    pub join_tokens: JoinTokensView,
}

impl SwarmView {
    pub fn new(cluster: &Cluster) -> Self {
        let tokens = &cluster.tokens;
        let join_tokens = JoinTokensView { worker: tokens.worker.clone(), manager: tokens.manager.clone() };
        Self { cluster: ClusterView::new(cluster), join_tokens }
    }
}

/// `SWMTKN-1-…`, one per role.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinTokensView {
    pub worker: String,
    pub manager: String,
}
