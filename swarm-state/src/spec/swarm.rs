//! What the cluster is asked to be.

use serde::{Deserialize, Serialize};

use super::lenient::nullable;
use super::{Extra, Labels, Nanos};

/// The body of `POST /swarm/update`, and a part of `POST /swarm/init`. Zero and absent mean Docker's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SwarmSpec {
    /// Always `default`.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// History of tasks.
    #[serde(deserialize_with = "nullable")]
    pub orchestration: Orchestration,
    /// The replicated log.
    #[serde(deserialize_with = "nullable")]
    pub raft: RaftSpec,
    /// Heartbeats of workers.
    #[serde(deserialize_with = "nullable")]
    pub dispatcher: Dispatcher,
    /// Certificates.
    #[serde(rename = "CAConfig", deserialize_with = "nullable")]
    pub ca_config: CaConfig,
    /// Defaults of tasks.
    #[serde(deserialize_with = "nullable")]
    pub task_defaults: Extra,
    /// Keys at rest.
    #[serde(deserialize_with = "nullable")]
    pub encryption_config: EncryptionConfig,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl SwarmSpec {
    /// Fills Docker's defaults where nothing or zero is said.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        if self.name.is_empty() {
            self.name = "default".to_owned();
        }
        self.orchestration.task_history_retention_limit.get_or_insert(5);
        or_default(&mut self.raft.snapshot_interval, 10_000);
        self.raft.keep_old_snapshots.get_or_insert(0);
        or_default(&mut self.raft.log_entries_for_slow_followers, 500);
        or_default(&mut self.raft.election_tick, 10);
        or_default(&mut self.raft.heartbeat_tick, 1);
        or_default(&mut self.dispatcher.heartbeat_period, Nanos::from_secs(5));
        or_default(&mut self.ca_config.node_cert_expiry, Nanos::from_secs(90 * 24 * 3600));
        self
    }

    /// Tasks kept per slot; `None`: all of them.
    pub fn history_limit(&self) -> Option<usize> {
        usize::try_from(self.orchestration.task_history_retention_limit.unwrap_or(5)).ok()
    }
}

/// History of tasks.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Orchestration {
    /// Tasks kept per slot. 5, as Docker; negative: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_history_retention_limit: Option<i64>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The replicated log.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RaftSpec {
    /// Entries between snapshots. 10 000, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub snapshot_interval: u64,
    /// Old snapshots kept. 0, as Docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_old_snapshots: Option<u64>,
    /// Entries kept for slow followers. 500, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub log_entries_for_slow_followers: u64,
    /// Ticks without a leader before an election. 10, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub election_tick: i64,
    /// Ticks between heartbeats. 1, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub heartbeat_tick: i64,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Heartbeats of workers.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Dispatcher {
    /// Time between two heartbeats. 5 s, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub heartbeat_period: Nanos,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Certificates.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CaConfig {
    /// Life of a node's certificate. 90 days, as Docker.
    #[serde(deserialize_with = "nullable")]
    pub node_cert_expiry: Nanos,
    /// Unknown fields (`ExternalCAs`, `SigningCACert`, `ForceRotate`).
    #[serde(flatten)]
    pub extra: Extra,
}

/// Keys at rest.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EncryptionConfig {
    /// Whether a restarted manager needs the unlock key.
    #[serde(deserialize_with = "nullable")]
    pub auto_lock_managers: bool,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

fn or_default<T: Default + PartialEq>(value: &mut T, default: T) {
    if *value == T::default() {
        *value = default;
    }
}
