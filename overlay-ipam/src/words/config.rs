//! What a cluster decides once: pools and quarantine.

use std::{fmt, net::Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of a prefix.
    pub fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A range that subnets are cut from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The whole range.
    pub base: IpNet,
    /// Prefix length of the subnets that are cut from it. Shorter than `base` means the whole of it.
    pub piece: u8,
}

/// How long freed things rest before they are handed out again, in milliseconds; 0 = not at all.
///
/// There is no exception under pressure: an address that rests is never handed out, and the refusal says when
/// the next one is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Addresses of tasks, nodes and static owners. 30 s, as AWS's VPC CNI.
    pub address_ms: u64,
    /// Virtual addresses of services. 60 s: clients cache them.
    pub vip_ms: u64,
    /// Subnets that were picked from a pool. 60 s: hosts still tear the old network down. A subnet that is
    /// asked for by name is granted during its hold.
    pub subnet_ms: u64,
}

impl Hold {
    /// No quarantine.
    pub const OFF: Self = Self { address_ms: 0, vip_ms: 0, subnet_ms: 0 };
}

impl Default for Hold {
    fn default() -> Self {
        Self { address_ms: 30_000, vip_ms: 60_000, subnet_ms: 60_000 }
    }
}

/// Pools and quarantine.
///
/// ```
/// let config = overlay_ipam::Config::default();
/// assert_eq!(config.pools[0].base.to_string(), "10.0.0.0/8");
/// assert_eq!(config.pools[0].piece, 24);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Searched in the order of their addresses; one inside of another is ignored. 10.0.0.0/8 by /24, as
    /// Docker Swarm.
    pub pools: Vec<PoolSpec>,
    /// The quarantine.
    pub hold: Hold,
}

impl Default for Config {
    fn default() -> Self {
        let base = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8).into();
        Self { pools: vec![PoolSpec { base, piece: 24 }], hold: Hold::default() }
    }
}
