//! The JSON shapes of the Docker Engine API: what users ask for.
//!
//! One set of types serves the wire of the API and the replicated state. `null`, absent and empty mean the same;
//! fields that this crate does not know are kept in `extra` and written back; durations are nanoseconds.

mod container;
mod endpoint;
mod lenient;
mod network;
mod node;
mod secret;
mod service;
mod swarm;
mod task;
mod word;

pub use container::{ConfigReference, ContainerSpec, DnsConfig, FileTarget, SecretReference};
pub use endpoint::{EndpointMode, EndpointSpec, PortConfig, Protocol, PublishMode};
pub use network::{IpamConfig, IpamSpec, NetworkSpec};
pub use node::{
    Availability, EngineDescription, EnginePlugin, NodeDescription, NodeRole, NodeSpec, NodeState, Platform,
};
pub use secret::{ConfigSpec, SecretSpec};
pub use service::{
    FailureAction, GlobalMode, JobMode, Mode, Replicated, ServiceSpec, UpdateConfig, UpdateOrder,
};
pub use swarm::{CaConfig, Dispatcher, EncryptionConfig, Orchestration, RaftSpec, SwarmSpec};
pub use task::{
    NetworkTarget, Placement, Preference, ResourceLimits, Resources, RestartCondition, RestartPolicy, Spread,
    TaskSpec,
};
pub use word::WordError;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Free text attached to an object, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// Fields that came in and are not known here.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// A duration as the API writes it: whole nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// Whole seconds; saturates.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// As a duration; negative ones count as zero.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}
