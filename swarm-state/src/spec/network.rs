//! What a network is asked to be.

use serde::{Deserialize, Serialize};

use super::lenient::{is_default, nullable};
use super::{Extra, Labels};

/// The body of `POST /networks/create`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSpec {
    /// Unique among networks.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// `overlay` for networks of the swarm.
    #[serde(deserialize_with = "nullable")]
    pub driver: String,
    /// `swarm` or empty.
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
    /// Absent means yes.
    #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    /// Absent means no, unless an IPv6 subnet is given.
    #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    /// Whether tasks have no way out of the network.
    #[serde(deserialize_with = "nullable")]
    pub internal: bool,
    /// Whether containers outside of services may join.
    #[serde(deserialize_with = "nullable")]
    pub attachable: bool,
    /// Whether this is the network of the routing mesh.
    #[serde(deserialize_with = "nullable")]
    pub ingress: bool,
    /// Subnets.
    #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
    pub ipam: Option<IpamSpec>,
    /// Options of the driver.
    #[serde(deserialize_with = "nullable")]
    pub options: Labels,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl NetworkSpec {
    /// The subnets that were asked for.
    pub fn subnets(&self) -> &[IpamConfig] {
        self.ipam.as_ref().map_or(&[], |ipam| ipam.config.as_slice())
    }
}

/// Subnets and who hands them out.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamSpec {
    /// `default`.
    #[serde(deserialize_with = "nullable")]
    pub driver: String,
    /// Options of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Labels>,
    /// One entry per subnet.
    #[serde(deserialize_with = "nullable")]
    pub config: Vec<IpamConfig>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One subnet as it was written; read by `apply`, which names what is wrong.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamConfig {
    /// Such as `10.0.9.0/24`; empty: the next free one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub subnet: String,
    /// Where dynamic addresses come from.
    #[serde(rename = "IPRange", deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub ip_range: String,
    /// The gateway's address; empty: the first one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub gateway: String,
    /// Addresses that are never handed out, by name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub auxiliary_addresses: Labels,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}
