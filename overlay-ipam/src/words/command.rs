//! What can be asked.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, NetworkKey, Owner, OwnerKey, PoolSpec};

/// One entry of the log. Each is done completely or not at all.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Gives a network its subnets; answered by [`Granted::Network`](crate::Granted::Network). No request means one
    /// default subnet.
    #[expect(missing_docs, reason = "named by the variant")]
    CreateNetwork { network: NetworkKey, subnets: Vec<SubnetRequest> },
    /// Gives a network more addresses; answered by [`Granted::Network`](crate::Granted::Network) with all its
    /// subnets.
    ///
    /// If the request names a prefix that contains one of the network's subnets, that subnet grows in place: every
    /// address stays, and the range too unless another one is given. Otherwise it is one more subnet, and addresses
    /// come from it when the ones before are full. What the network has already is no error.
    #[expect(missing_docs, reason = "named by the variant")]
    GrowNetwork { network: NetworkKey, subnet: SubnetRequest },
    /// Frees all subnets and all leases of a network.
    #[expect(missing_docs, reason = "named by the variant")]
    DeleteNetwork { network: NetworkKey },
    /// Takes addresses, all or none; answered by [`Granted::Leases`](crate::Granted::Leases). An owner that already
    /// has its addresses gets the same ones again, whatever it prefers now.
    #[expect(missing_docs, reason = "named by the variant")]
    Acquire { wants: Vec<Want> },
    /// Hands a node the lowest free aligned block of a length, for it to hand out; answered by
    /// [`Granted::Leases`](crate::Granted::Leases) with the one lease of [`Owner::Delegation`]. Who has a block of
    /// the family already gets the same one again.
    #[expect(missing_docs, reason = "named by the variant")]
    Delegate { network: NetworkKey, to: OwnerKey, family: Family, prefix_len: u8 },
    /// Takes back all of a delegated block but `keep`, if the generation is that of the lease; otherwise it does
    /// nothing and is no error. `Release` takes back the whole block.
    #[expect(missing_docs, reason = "named by the variant")]
    Shrink { network: NetworkKey, from: OwnerKey, generation: u64, keep: IpNet },
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
    /// Adds a pool. One that is there already is no error.
    #[expect(missing_docs, reason = "named by the variant")]
    AddPool { pool: PoolSpec },
    /// Cuts no new subnets from a pool any more. Existing networks stay; a pool that is not there is no error.
    #[expect(missing_docs, reason = "named by the variant")]
    DisablePool { base: IpNet },
    /// Replaces the set of nodes whose acknowledgements end a rest early. A new one has acknowledged nothing; no
    /// nodes means that only time counts.
    #[expect(missing_docs, reason = "named by the variant")]
    SetNodes { nodes: Vec<OwnerKey> },
    /// A node has forgotten everything that was freed up to a [mark](crate::Ipam::mark). Nodes that are not in the
    /// set do not count.
    #[expect(missing_docs, reason = "named by the variant")]
    Ack { node: OwnerKey, through: u64 },
    /// Nothing but the time.
    Tick,
}

/// A subnet that a network should have.
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
    /// cleared and reported in [`Subnet::normalised_from`](crate::Subnet::normalised_from).
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
