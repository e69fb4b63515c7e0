//! The replicated state.

use std::collections::{BTreeMap, BTreeSet};

use overlay_ipam::{IdSpace, Ipam};
use serde::{Deserialize, Serialize};

use crate::apply::Left;
use crate::object::{AttachedContainer, Cluster, Config, Network, Node, Rotation, Secret, Service, Task};
use crate::spec::Protocol;
use crate::{ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId, Timestamp};

/// Everything that the managers agree on: a fold of the log.
///
/// Two states that applied the same commands are equal, also when one of them came from a snapshot in between.
///
/// ```
/// use swarm_state::{Action, State, Timestamp};
///
/// let mut state = State::new();
/// state.apply(1, &Action::Tick {}.at(Timestamp::from_millis(5)))?;
/// assert_eq!(State::from_json(&state.to_json())?, state);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(crate) index: u64,
    pub(crate) now: Timestamp,
    /// Index of the last plan: older ones create nothing any more.
    #[serde(default)]
    pub(crate) last_plan: u64,
    pub(crate) cluster: Option<Cluster>,
    /// Of the gossip's keys.
    #[serde(default)]
    pub(crate) gossip_rotation: Rotation,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) networks: BTreeMap<NetworkId, Network>,
    pub(crate) services: BTreeMap<ServiceId, Service>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    #[serde(default)]
    pub(crate) containers: BTreeMap<TaskId, AttachedContainer>,
    pub(crate) secrets: BTreeMap<SecretId, Secret>,
    pub(crate) configs: BTreeMap<ConfigId, Config>,
    /// Their certificates are not accepted any more.
    pub(crate) removed_nodes: BTreeSet<NodeId>,
    /// Who has which address.
    pub(crate) ipam: Ipam,
    /// Networks that nodes had, until they have said that nothing of them is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) leaving: BTreeMap<NodeId, BTreeMap<NetworkId, Left>>,
    /// The node that was found to hold back what rests: as long as it does, the others need not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) awaited: Option<NodeId>,
    /// VNIs in use, and those that rest.
    pub(crate) vnis: IdSpace,
    /// Published ports in use, of those that the cluster picks.
    pub(crate) ports: BTreeMap<Protocol, IdSpace>,
}

impl State {
    /// Nothing: no cluster yet.
    pub fn new() -> Self {
        Self {
            index: 0,
            now: Timestamp::default(),
            last_plan: 0,
            cluster: None,
            gossip_rotation: Rotation::default(),
            nodes: BTreeMap::new(),
            networks: BTreeMap::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            containers: BTreeMap::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
            removed_nodes: BTreeSet::new(),
            ipam: Ipam::new(overlay_ipam::Config::default()),
            leaving: BTreeMap::new(),
            awaited: None,
            vnis: IdSpace::new(FIRST_VNI..=overlay_core::Vni::MAX.get()),
            ports: BTreeMap::new(),
        }
    }

    /// A snapshot.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // all keys are strings and all numbers finite
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    ///
    /// If the bytes are no snapshot.
    pub fn from_json(snapshot: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(snapshot)
    }

    /// Index of the last entry that was applied.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Time of the last entry that was applied.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The cluster; `None` before [`crate::Action::InitCluster`].
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// How far the replacement of the gossip's keys is.
    pub const fn gossip_rotation(&self) -> Rotation {
        self.gossip_rotation
    }

    /// All nodes.
    pub const fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// All networks.
    pub const fn networks(&self) -> &BTreeMap<NetworkId, Network> {
        &self.networks
    }

    /// All services.
    pub const fn services(&self) -> &BTreeMap<ServiceId, Service> {
        &self.services
    }

    /// All tasks, those of the past included.
    pub const fn tasks(&self) -> &BTreeMap<TaskId, Task> {
        &self.tasks
    }

    /// All containers outside of services.
    pub const fn containers(&self) -> &BTreeMap<TaskId, AttachedContainer> {
        &self.containers
    }

    /// All secrets.
    pub const fn secrets(&self) -> &BTreeMap<SecretId, Secret> {
        &self.secrets
    }

    /// All configs.
    pub const fn configs(&self) -> &BTreeMap<ConfigId, Config> {
        &self.configs
    }

    /// Who has which address.
    pub const fn ipam(&self) -> &Ipam {
        &self.ipam
    }

    /// Whether the node was removed; its certificate is not accepted any more.
    pub fn was_removed(&self, node: NodeId) -> bool {
        self.removed_nodes.contains(&node)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// The first VNI that is handed out. 4096, as Docker.
const FIRST_VNI: u32 = 4096;
