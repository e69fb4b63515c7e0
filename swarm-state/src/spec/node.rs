//! What a node is asked to be, and what it says it is.

use serde::{Deserialize, Serialize};

use super::lenient::nullable;
use super::word::words;
use super::{Extra, Labels, ResourceLimits};

/// The body of `POST /nodes/{id}/update`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeSpec {
    /// A name that an operator gave; usually empty.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels that placement constraints see as `node.labels.x`.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// The role it is meant to have.
    #[serde(deserialize_with = "nullable")]
    pub role: NodeRole,
    /// Whether it takes tasks.
    #[serde(deserialize_with = "nullable")]
    pub availability: Availability,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a node reports of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeDescription {
    /// Its host name.
    #[serde(deserialize_with = "nullable")]
    pub hostname: String,
    /// Machine and operating system.
    #[serde(deserialize_with = "nullable")]
    pub platform: Platform,
    /// What it has.
    #[serde(deserialize_with = "nullable")]
    pub resources: ResourceLimits,
    /// What runs the tasks.
    #[serde(deserialize_with = "nullable")]
    pub engine: EngineDescription,
    /// Unknown fields (`TLSInfo`).
    #[serde(flatten)]
    pub extra: Extra,
}

/// Machine and operating system.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Platform {
    /// Such as `x86_64`.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// Such as `linux`.
    #[serde(rename = "OS", deserialize_with = "nullable")]
    pub os: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What runs the tasks.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EngineDescription {
    /// Its version.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub engine_version: String,
    /// Labels that placement constraints see as `engine.labels.x`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it can do.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<EnginePlugin>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A plugin of the engine.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EnginePlugin {
    /// Such as `Network`.
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub kind: String,
    /// Such as `overlay`.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

words! {
    /// What a node does in the cluster.
    NodeRole {
        /// Runs tasks.
        Worker = "worker",
        /// Runs tasks and keeps the replicated state.
        Manager = "manager",
    }

    /// Whether a node takes tasks.
    Availability {
        /// It does.
        Active = "active",
        /// It keeps its tasks and takes no new ones.
        Pause = "pause",
        /// Its tasks move elsewhere.
        Drain = "drain",
    }

    /// How a node is.
    NodeState {
        /// It has not been heard of since the leader changed or since it joined.
        Unknown = "unknown",
        /// It is gone.
        Down = "down",
        /// It takes part.
        Ready = "ready",
        /// It left without saying so, not yet declared down.
        Disconnected = "disconnected",
    }
}
