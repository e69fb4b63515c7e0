//! What can be asked, and what is granted.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{NetworkKey, Owner, OwnerKey, PoolSpec};

/// One entry of the log. Each is done completely or not at all.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Gives a network its subnets; answered by [`Granted::Network`]. No request means one default subnet.
    #[expect(missing_docs, reason = "named by the variant")]
    CreateNetwork { network: NetworkKey, subnets: Vec<SubnetRequest> },
    /// Frees all subnets and all leases of a network.
    #[expect(missing_docs, reason = "named by the variant")]
    DeleteNetwork { network: NetworkKey },
    /// Takes addresses, all or none; answered by [`Granted::Leases`]. An owner that already has its addresses
    /// gets the same ones again, whatever it prefers now.
    #[expect(missing_docs, reason = "named by the variant")]
    Acquire { wants: Vec<Want> },
    /// Frees what the owner holds in the network if the generation is that of the lease; otherwise it does
    /// nothing and is no error.
    #[expect(missing_docs, reason = "named by the variant")]
    Release { network: NetworkKey, owner: Owner, generation: u64 },
    /// Frees what the owner holds in every network; never an error.
    #[expect(missing_docs, reason = "named by the variant")]
    ReleaseOwner { owner: Owner },
    /// Replaces the prefixes that `by` wants kept out of new subnets (its on-link routes, its nameservers).
    /// Default routes are ignored; existing networks stay.
    #[expect(missing_docs, reason = "named by the variant")]
    Exclude { by: OwnerKey, nets: Vec<IpNet> },
    /// Replaces the pools. Existing networks stay, wherever they are.
    #[expect(missing_docs, reason = "named by the variant")]
    SetPools { pools: Vec<PoolSpec> },
}

/// A subnet that a new network should have.
///
/// ```
/// let any = overlay_ipam::SubnetRequest::default(); // the lowest free one
/// let named = overlay_ipam::SubnetRequest { subnet: "172.19.0.0/24".parse().ok(), ..any };
/// assert!(named.gateway.is_none()); // the first free address
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct SubnetRequest {
    /// `None` picks the lowest free one of the first pool that has one, IPv4 first. `0.0.0.0/N` and `::/N`
    /// pick one of length N from the pools of that family (N = 0: of the pool's own length). Host bits are
    /// cleared and reported in [`Subnet::normalised_from`].
    pub subnet: Option<IpNet>,
    /// Limits dynamic addresses; a preferred one may lie anywhere in the subnet.
    pub range: Option<IpNet>,
    /// `None` takes the first free address.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out, by name.
    pub aux: BTreeMap<String, IpAddr>,
}

/// An address that an owner should have.
///
/// In a network of both families the owner gets one of each, or none.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Want {
    /// Where.
    pub network: NetworkKey,
    /// For whom.
    pub owner: Owner,
    /// This address or nothing (in its family; the other one is picked).
    pub prefer: Option<IpAddr>,
}

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
    /// The address.
    pub addr: IpAddr,
    /// Prefix length of the subnet that it lies in.
    pub prefix_len: u8,
    /// Tells this lease from earlier and later ones; release needs it. One per acquisition: both families
    /// share it.
    pub generation: u64,
}

/// How full a subnet is. `in_use + held + reserved + free == capacity`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The subnet.
    pub subnet: IpNet,
    /// All addresses of the prefix.
    pub capacity: u128,
    /// Leased to owners other than gateway and auxiliary ones.
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
