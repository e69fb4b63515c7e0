//! What an address is, in words.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Ipam, NetworkKey, Owner, OwnerKey, state::ipam::NOBODY};

/// What is known about an address; prints as one sentence.
///
/// ```
/// use overlay_ipam::{Command, Config, Ipam, State};
///
/// let mut ipam = Ipam::new(Config::default());
/// ipam.apply(0, &Command::CreateNetwork { network: "web".into(), subnets: vec![] })?;
/// let explanation = ipam.explain("10.0.0.1".parse().unwrap());
/// assert!(matches!(explanation.state, State::Leased { .. }));
/// assert_eq!(
///     explanation.to_string(),
///     "10.0.0.1 lies in 10.0.0.0/24 of network web and is held by the gateway since generation 1"
/// );
/// # Ok::<(), overlay_ipam::Denied>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The address.
    pub addr: IpAddr,
    /// The pool that it lies in.
    pub pool: Option<IpNet>,
    /// Who keeps it out of new subnets, and by which prefix.
    pub excluded: Option<(OwnerKey, IpNet)>,
    /// What it is now.
    pub state: State,
}

/// What an address is now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by the variants")]
#[non_exhaustive]
pub enum State {
    /// In no subnet.
    Outside,
    /// In a subnet of a network that was deleted; it can be picked again at that time.
    SubnetRests { subnet: IpNet, ready_ms: u64 },
    /// The network, broadcast or anycast address.
    Edge { network: NetworkKey, subnet: IpNet },
    /// Nobody has it. `dynamic`: it is handed out to whoever asks for any address.
    Free { network: NetworkKey, subnet: IpNet, dynamic: bool },
    /// It was freed and rests: until that time, or until all nodes have acknowledged the mark.
    Rests { network: NetworkKey, subnet: IpNet, ready_ms: u64, mark: u64 },
    /// Somebody has it.
    Leased { network: NetworkKey, subnet: IpNet, owner: Owner, generation: u64 },
}

impl Ipam {
    /// What the address is and why.
    pub fn explain(&self, addr: IpAddr) -> Explanation {
        let host = IpNet::from(addr);
        let excluded = self.excluder(host, None).map(|(by, route)| (by.clone(), route));
        Explanation { addr, pool: self.pool.base_of(host), excluded, state: self.state(addr) }
    }

    fn state(&self, addr: IpAddr) -> State {
        let Some((subnet, whose)) = self.pool.holders(addr.into()).next() else { return State::Outside };
        if whose == NOBODY {
            let rest = self.resting.iter().find(|(net, _)| *net == subnet);
            return State::SubnetRests { subnet, ready_ms: rest.map_or(0, |(_, rest)| rest.ready_ms) };
        }
        let network = self.network(whose);
        let space = network.and_then(|network| network.spaces.iter().find(|space| space.net() == subnet));
        let found =
            network.zip(space).and_then(|(network, space)| Some((network, space, space.offset(addr)?)));
        let Some((network, space, offset)) = found else { return State::Outside };
        let name = network.key.clone();
        let lease = space.lease_at(offset).and_then(|number| self.leases.get(number));
        if let Some(entry) = lease {
            let (owner, generation) = (self.leases.owner(entry), entry.generation);
            return State::Leased { network: name, subnet, owner, generation };
        }
        let rest = space.pool.rest_of(offset).filter(|rest| !rest.is_over(&self.moment));
        match rest {
            Some(rest) => State::Rests { network: name, subnet, ready_ms: rest.ready_ms, mark: rest.mark },
            None if space.pool.is_edge(offset) => State::Edge { network: name, subnet },
            None => {
                let own = network.subnets.iter().find(|own| own.net == subnet);
                let dynamic = own.and_then(|own| own.range).is_none_or(|range| range.contains(&addr));
                State::Free { network: name, subnet, dynamic }
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        match &self.state {
            State::Outside => write!(f, "{addr} lies in no subnet")?,
            State::SubnetRests { subnet, ready_ms } => {
                write!(f, "{addr} lies in {subnet}, which was freed recently and rests until {ready_ms} ms")?;
            }
            State::Edge { network, subnet } => {
                write!(f, "{addr} is the first or last address of {subnet} of network {network}")?;
            }
            State::Free { network, subnet, dynamic } => {
                let only = if *dynamic { "" } else { ", outside of its range: only who names it gets it" };
                write!(f, "{addr} lies in {subnet} of network {network} and is free{only}")?;
            }
            State::Rests { network, subnet, ready_ms, mark } => write!(
                f,
                "{addr} lies in {subnet} of network {network} and rests until {ready_ms} ms or all nodes acknowledge {mark}"
            )?,
            State::Leased { network, subnet, owner, generation } => write!(
                f,
                "{addr} lies in {subnet} of network {network} and is held by {owner} since generation {generation}"
            )?,
        }
        if let Some((by, route)) = &self.excluded {
            write!(f, "; {by} uses {route}")?;
        }
        match (&self.state, self.pool) {
            (State::Outside, Some(pool)) => write!(f, "; a subnet can be cut from {pool}"),
            _ => Ok(()),
        }
    }
}
