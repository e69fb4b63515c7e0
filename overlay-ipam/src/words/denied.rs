//! Why a command was refused.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, NetworkKey, Owner, OwnerKey};

/// Why a command was refused. Nothing has changed but the clock.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Denied {
    /// Another network, or another subnet of the same request, is in the way.
    #[error("{wanted} overlaps {subnet} of network {network}{}", hint(next_free))]
    Overlap { wanted: IpNet, network: NetworkKey, subnet: IpNet, next_free: Option<IpNet> },
    /// A host is on a network with these addresses.
    #[error("{wanted} overlaps {route}, which {by} uses{}", hint(next_free))]
    Excluded { wanted: IpNet, by: OwnerKey, route: IpNet, next_free: Option<IpNet> },
    /// No pool has a free subnet of that length. `held` ones rest; the first is ready at `ready_ms`.
    #[error("no {family} pool has a free subnet{} ({taken} in use, {held} resting)", of_length(prefix_len))]
    PoolsExhausted { family: Family, prefix_len: Option<u8>, taken: u64, held: u64, ready_ms: Option<u64> },
    /// No address is left. `held` ones rest; the first is ready at `ready_ms`. `outside` ones are free, but outside of the
    /// range of those that are given to who asks for any.
    #[error(
        "network {network} has no free {family} address ({in_use} in use, {held} resting, {reserved} reserved{})",
        outside_of_range(*outside)
    )]
    AddressesExhausted {
        network: NetworkKey,
        family: Family,
        in_use: u64,
        held: u64,
        reserved: u64,
        #[serde(default)]
        outside: u64,
        ready_ms: Option<u64>,
    },
    /// Somebody else has the address.
    #[error("{addr} in network {network} is in use by {holder}{}", hint(next_free))]
    InUse { network: NetworkKey, addr: IpAddr, holder: Owner, next_free: Option<IpAddr> },
    /// The address was freed a moment ago.
    #[error(
        "{addr} in network {network} was freed recently and rests until {ready_ms} ms{}",
        hint(next_free)
    )]
    Held { network: NetworkKey, addr: IpAddr, ready_ms: u64, next_free: Option<IpAddr> },
    /// It is the network, broadcast or anycast address.
    #[error("{addr} cannot be used: it is the first or last address of {subnet}")]
    Reserved { addr: IpAddr, subnet: IpNet },
    /// The address is not in the network.
    #[error("{addr} is not in network {network} ({})", list(subnets))]
    OutsideSubnet { network: NetworkKey, addr: IpAddr, subnets: Vec<IpNet> },
    /// The gateway is not in its subnet.
    #[error("gateway {gateway} is not in {subnet}")]
    GatewayOutside { gateway: IpAddr, subnet: IpNet },
    /// The auxiliary address is not in its subnet.
    #[error("auxiliary address {name}={addr} is not in {subnet}")]
    AuxOutside { name: String, addr: IpAddr, subnet: IpNet },
    /// The range is not in its subnet.
    #[error("range {range} is not in {subnet}")]
    RangeOutside { range: IpNet, subnet: IpNet },
    #[error("there is no network {network}")]
    NoSuchNetwork { network: NetworkKey },
    #[error("network {network} exists already")]
    NetworkExists { network: NetworkKey },
    /// No aligned block of that length is free.
    #[error("network {network} has no free block of length /{prefix_len}{}", hint(next_free))]
    NoBlock { network: NetworkKey, prefix_len: u8, next_free: Option<IpNet> },
    /// A block is longer than its subnet and no longer than an address.
    #[error("a block of length /{prefix_len} cannot be cut from network {network} ({})", list(subnets))]
    BlockLength { network: NetworkKey, prefix_len: u8, subnets: Vec<IpNet> },
    /// Only a part of the block can be kept.
    #[error("{keep} is not in {block}, which is delegated to {to}")]
    OutsideBlock { keep: IpNet, block: IpNet, to: OwnerKey },
    /// A subnet that grows keeps its gateway.
    #[error("{subnet} grows in place and keeps its gateway {gateway}")]
    GatewayStays { subnet: IpNet, gateway: IpAddr },
    /// Another pool is in the way.
    #[error("pool {base} overlaps pool {pool}")]
    PoolOverlap { base: IpNet, pool: IpNet },
    /// A network has at most 65,535 subnets.
    #[error("network {network} has too many subnets")]
    TooManySubnets { network: NetworkKey },
    /// Gateway and auxiliary addresses are set when the network is created.
    #[error("{owner} of network {network} is set when the network is created")]
    Fixed { network: NetworkKey, owner: Owner },
}

fn hint<T: ToString>(next_free: &Option<T>) -> String {
    next_free.as_ref().map(|free| format!("; {} is free", free.to_string())).unwrap_or_default()
}

fn outside_of_range(free: u64) -> String {
    if free == 0 { String::new() } else { format!(", {free} free outside of its range") }
}

fn of_length(prefix_len: &Option<u8>) -> String {
    prefix_len.map(|len| format!(" of length /{len}")).unwrap_or_default()
}

fn list(subnets: &[IpNet]) -> String {
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
