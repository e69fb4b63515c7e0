//! What runs in a task.

use serde::{Deserialize, Serialize};

use super::lenient::{is_default, nullable};
use super::{Extra, Labels, Nanos};

/// A container (or a process that stands for one). Fields that only a container runtime reads stay in `extra`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerSpec {
    /// The image's name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Labels of the container.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Replaces the image's entry point.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Host name inside; empty: the container's id.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// `KEY=value` each.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// User inside.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Whether an init process reaps children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Signal that asks the process to stop; empty: SIGTERM.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Time between the stop signal and SIGKILL; absent: 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Nanos>,
    /// Whether a terminal is attached.
    #[serde(rename = "TTY", deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Extra lines of `/etc/hosts`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Resolver settings.
    #[serde(rename = "DNSConfig", skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    /// Secrets that the task may read.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,
    /// Configs that the task may read.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigReference>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ContainerSpec {
    /// Time between the stop signal and SIGKILL. 10 s, as Docker.
    pub fn stop_grace_period(&self) -> Nanos {
        self.stop_grace_period.unwrap_or(Nanos::from_secs(10))
    }
}

/// Resolver settings of a container.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DnsConfig {
    /// Upstream servers.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Search domains.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options such as `ndots:0`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A secret of a container.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SecretReference {
    /// Where it appears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileTarget>,
    /// Which secret.
    #[serde(rename = "SecretID", deserialize_with = "nullable")]
    pub secret_id: String,
    /// Its name, for people.
    #[serde(deserialize_with = "nullable")]
    pub secret_name: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A config of a container.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConfigReference {
    /// Where it appears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileTarget>,
    /// Which config.
    #[serde(rename = "ConfigID", deserialize_with = "nullable")]
    pub config_id: String,
    /// Its name, for people.
    #[serde(deserialize_with = "nullable")]
    pub config_name: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Where a secret or config appears inside.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FileTarget {
    /// File name; relative ones live under `/run/secrets` or `/`.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Owner.
    #[serde(rename = "UID", deserialize_with = "nullable")]
    pub uid: String,
    /// Group.
    #[serde(rename = "GID", deserialize_with = "nullable")]
    pub gid: String,
    /// Permission bits.
    #[serde(deserialize_with = "nullable")]
    pub mode: u32,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}
