//! The cluster itself.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::ClusterId;
use crate::spec::SwarmSpec;

/// The one cluster that this state describes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Version and times.
    #[serde(default)]
    pub meta: Meta,
    /// What it is asked to be, with defaults filled in.
    pub spec: SwarmSpec,
    /// Who signs certificates.
    pub root_ca: RootCa,
    /// What nodes show to join.
    pub tokens: JoinTokens,
    /// Subnets of networks come from here; empty: 10.0.0.0/8.
    #[serde(default)]
    pub default_pools: Vec<IpNet>,
    /// Prefix length of those subnets. 24, as Docker.
    pub subnet_size: u8,
    /// UDP port of VXLAN. 4789, as Docker.
    pub data_path_port: u16,
    /// Keys of the gossip, the current one first. Empty: plain.
    #[serde(default)]
    pub gossip_keys: Vec<GossipKey>,
}

impl Cluster {
    /// A cluster with Docker's defaults, without authority, tokens and keys.
    pub fn new(id: ClusterId) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: SwarmSpec::default().with_defaults(),
            root_ca: RootCa::default(),
            tokens: JoinTokens::default(),
            default_pools: Vec::new(),
            subnet_size: 24,
            data_path_port: 4789,
            gossip_keys: Vec::new(),
        }
    }
}

/// Certificate and key of the cluster's authority, PEM. Its `Debug` hides the key.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct RootCa {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// `SWMTKN-1-…`, one per role. Its `Debug` hides them.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct JoinTokens {
    /// Makes workers.
    pub worker: String,
    /// Makes managers.
    pub manager: String,
}

impl fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}

/// A key of 16 bytes. Its `Debug` hides it.
#[derive(Clone, Copy, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GossipKey(pub [u8; 16]);

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GossipKey(..)")
    }
}
