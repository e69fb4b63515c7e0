//! The JSON objects of the API, rendered from the state. Pure: the same state gives the same answer.
//!
//! Field names and shapes are those that a Docker daemon answers.
#![expect(missing_docs, reason = "fields are named as in the Engine API")]

mod ipam;
mod network;
mod node;
mod secret;
mod service;
mod swarm;
mod task;
mod tls;
mod verbose;

pub use ipam::{AuditView, ExplanationView, IpamStatusView, NetworkStatusView, SubnetStatusView};
pub use network::{ConfigFromView, ContainerView, IpamView, NetworkView, PeerView, SubnetView};
pub use node::{ManagerStatusView, NodeStatusView, NodeView};
pub use secret::{ConfigView, SecretView};
pub(crate) use service::normalised;
pub use service::{EndpointView, ServiceStatusView, ServiceView, UpdateStatusView, VirtualIpView};
pub use swarm::{ClusterView, JoinTokensView, SwarmView};
pub use task::{
    AttachedNetworkView, AttachmentView, ContainerStatusView, PortStatusView, TaskStatusView, TaskView,
};
pub use tls::TlsView;
pub(crate) use verbose::services as network_services;
pub use verbose::{BackendView, InfoView, NetworkServiceView};

use serde::Serialize;
use swarm_state::Timestamp;
use swarm_state::object::Meta;

/// The version that an update has to name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionView {
    pub index: u64,
}

/// What every object begins with.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetaView {
    #[serde(rename = "ID")]
    pub id: String,
    pub version: VersionView,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl MetaView {
    pub(crate) fn new(id: &impl ToString, meta: Meta) -> Self {
        Self {
            id: id.to_string(),
            version: VersionView { index: meta.version },
            created_at: meta.created_at,
            updated_at: meta.updated_at,
        }
    }
}
