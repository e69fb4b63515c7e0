//! What each task of a service gets.

use serde::{Deserialize, Serialize};

use super::lenient::{is_default, nullable};
use super::word::words;
use super::{ContainerSpec, Extra, Nanos};

/// The template of a service's tasks.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TaskSpec {
    /// What runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_spec: Option<ContainerSpec>,
    /// What it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What happens when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Where it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Networks it is attached to, besides ingress.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkTarget>,
    /// Changing this number replaces all tasks.
    #[serde(deserialize_with = "nullable")]
    pub force_update: u64,
    /// `container` or empty.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl TaskSpec {
    /// The restart policy, with Docker's defaults for what is absent.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.restart_policy.clone().unwrap_or_default()
    }

    /// The constraints of the placement.
    pub fn constraints(&self) -> &[String] {
        self.placement.as_ref().map_or(&[], |placement| placement.constraints.as_slice())
    }

    /// What the task reserves on its node.
    pub fn reservations(&self) -> ResourceLimits {
        self.resources.as_ref().and_then(|r| r.reservations.clone()).unwrap_or_default()
    }
}

/// A network of a task.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkTarget {
    /// A name or an id in requests; always the id in the state.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Further names under which the service is found in this network.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Limits and reservations.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Resources {
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
    /// At least; the scheduler finds a node that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservations: Option<ResourceLimits>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Amounts of what a node has.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ResourceLimits {
    /// Billionths of a processor.
    #[serde(rename = "NanoCPUs", deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub nano_cpus: i64,
    /// Bytes of memory.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub memory_bytes: i64,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What happens when a task ends.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// Absent means [`RestartCondition::Any`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<RestartCondition>,
    /// Absent means 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Nanos>,
    /// 0 or absent: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// Attempts are counted within this time; 0 or absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Nanos>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl RestartPolicy {
    /// When a task is replaced. Any end, as Docker.
    pub fn condition(&self) -> RestartCondition {
        self.condition.unwrap_or_default()
    }

    /// Time before the replacement starts. 5 s, as Docker.
    pub fn delay(&self) -> Nanos {
        self.delay.unwrap_or(Nanos::from_secs(5))
    }

    /// The limit of attempts, if there is one.
    pub fn max_attempts(&self) -> Option<u64> {
        self.max_attempts.filter(|limit| *limit > 0)
    }

    /// The time within which attempts are counted, if it is limited.
    pub fn window(&self) -> Option<Nanos> {
        self.window.filter(|window| window.0 > 0)
    }
}

/// Where tasks may run.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Placement {
    /// `key==value` or `key!=value`, all must hold.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// What the tasks are spread over.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
    /// Tasks per node at most; 0: no limit.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub max_replicas: u64,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One placement preference.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Preference {
    /// Spread evenly over the values of a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A label to spread over.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Spread {
    /// Such as `node.labels.zone`.
    #[serde(deserialize_with = "nullable")]
    pub spread_descriptor: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

words! {
    /// When an ended task is replaced.
    RestartCondition {
        /// However it ended.
        Any = "any",
        /// When it did not end with code 0.
        OnFailure = "on-failure",
        /// Never.
        None = "none",
    }
}
