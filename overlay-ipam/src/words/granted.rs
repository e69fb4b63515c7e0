//! What is granted.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{NetworkKey, Owner, Rest};

/// The answer to a command that was done.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Granted {
    /// The subnets, in the order of the requests.
    Network(Vec<Subnet>),
    /// The leases, in the order of the wants; two in a row for a want in a network of both families.
    Leases(Vec<Lease>),
    /// Nothing to tell.
    Done,
}

/// A subnet of a network.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// The prefix, host bits cleared.
    pub net: IpNet,
    /// Its gateway.
    pub gateway: IpAddr,
    /// What was asked for, if host bits had to be cleared.
    pub normalised_from: Option<IpNet>,
    /// Where dynamic addresses come from, if limited.
    pub range: Option<IpNet>,
}

/// An address in the hands of an owner.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Where.
    pub network: NetworkKey,
    /// Whose.
    pub owner: Owner,
    /// The address; of a delegated block the first one.
    pub addr: IpAddr,
    /// Prefix length of the subnet that it lies in.
    pub prefix_len: u8,
    /// Tells this lease from earlier and later ones; release needs it. One per acquisition: both families
    /// share it.
    pub generation: u64,
    /// The whole of it, if it is a delegated block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<IpNet>,
}

/// How full a subnet is. `in_use + held + reserved + free == capacity`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The subnet.
    pub subnet: IpNet,
    /// All addresses of the prefix.
    pub capacity: u128,
    /// Leased to owners other than gateway and auxiliary ones; a delegated block counts in full.
    pub in_use: u128,
    /// Freed, and resting.
    pub held: u128,
    /// Gateway, auxiliary, network, broadcast or anycast address.
    pub reserved: u128,
    /// Can be taken by whoever prefers them.
    pub free: u128,
    /// Those of the free ones that can be handed out dynamically (they lie in the range).
    pub available: u128,
}

/// How full a subnet is, and with what. The counts of holders and [`Usage::held`], [`Usage::free`] and `edges` add up to
/// the capacity.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// The sums.
    pub usage: Usage,
    /// Network, broadcast and anycast address.
    pub edges: u128,
    /// Held by [`Owner::Gateway`].
    pub gateways: u128,
    /// Held by [`Owner::Aux`].
    pub aux: u128,
    /// Held by [`Owner::Vip`].
    pub vips: u128,
    /// Held by [`Owner::Lb`].
    pub nodes: u128,
    /// Held by [`Owner::Task`].
    pub tasks: u128,
    /// Held by [`Owner::Static`].
    pub statics: u128,
    /// In blocks of [`Owner::Delegation`].
    pub delegated: u128,
}

/// Addresses that were freed and rest: one, or those of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resting {
    /// The first one.
    pub first: IpAddr,
    /// The last one; the same as the first but for blocks.
    pub last: IpAddr,
    /// Until when.
    pub rest: Rest,
}
