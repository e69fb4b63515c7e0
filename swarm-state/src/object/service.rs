//! A service.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::spec::{EndpointSpec, PortConfig, ServiceSpec};
use crate::{NetworkId, ServiceId, Timestamp};

/// A service.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Version and times.
    pub meta: Meta,
    /// What it is asked to be. Networks are ids.
    pub spec: ServiceSpec,
    /// Index of the log entry that set `spec`.
    pub spec_version: u64,
    /// What it was asked to be before.
    pub previous_spec: Option<ServiceSpec>,
    /// What clients reach.
    pub endpoint: Endpoint,
    /// How the last change of the template goes.
    pub update_status: Option<UpdateStatus>,
}

impl Service {
    /// Its address in a network.
    pub fn virtual_ip(&self, network: NetworkId) -> Option<IpNet> {
        self.endpoint.virtual_ips.iter().find(|vip| vip.network == network).map(|vip| vip.addr)
    }

    /// Whether an update or rollback has been stopped by failures and waits for the next update.
    pub fn is_paused(&self) -> bool {
        self.update_status
            .as_ref()
            .is_some_and(|status| matches!(status.state, UpdateState::Paused | UpdateState::RollbackPaused))
    }

    /// Whether tasks go back to the previous spec.
    pub fn is_rolling_back(&self) -> bool {
        self.update_status.as_ref().is_some_and(|status| {
            matches!(
                status.state,
                UpdateState::RollbackStarted | UpdateState::RollbackPaused | UpdateState::RollbackCompleted
            )
        })
    }
}

/// What clients reach.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What was asked for.
    pub spec: EndpointSpec,
    /// The published ports, with numbers for those that the cluster picked.
    pub ports: Vec<PortConfig>,
    /// One address per network and family; none with `dnsrr`.
    pub virtual_ips: Vec<VirtualIp>,
}

/// An address of a service.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VirtualIp {
    /// Where.
    pub network: NetworkId,
    /// Address and prefix length.
    pub addr: IpNet,
}

/// How a change of the template goes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The state.
    pub state: UpdateState,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// For people.
    pub message: String,
}

/// The states of an update.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// Stopped by failures.
    Paused,
    /// Done.
    Completed,
    /// Tasks are being replaced by the previous ones.
    RollbackStarted,
    /// Stopped by failures while going back.
    RollbackPaused,
    /// Gone back.
    RollbackCompleted,
}

impl UpdateState {
    /// The word that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Updating => "updating",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::RollbackStarted => "rollback_started",
            Self::RollbackPaused => "rollback_paused",
            Self::RollbackCompleted => "rollback_completed",
        }
    }
}
