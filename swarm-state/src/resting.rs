//! What a node has to forget before it is given to somebody else.

use std::net::IpAddr;

use overlay_core::Vni;
use serde::{Deserialize, Serialize};

use crate::apply::{network_key, node_key};
use crate::{NetworkId, NodeId, State};

/// An address that was freed. It is given to nobody before its rest is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RestingAddress {
    /// Where.
    pub network: NetworkId,
    /// The address.
    pub addr: IpAddr,
    /// The mark of the release.
    pub mark: u64,
}

/// A network that the node has no more: because no task of it is left there, or because it was removed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct LeftNetwork {
    /// Its id.
    pub network: NetworkId,
    /// Its VNIs, if it was removed: they will be another network's.
    #[serde(default)]
    pub vnis: Vec<Vni>,
    /// The mark of the release.
    pub mark: u64,
}

/// The parts of an [`Assignment`](crate::Assignment).
pub(crate) struct Rests {
    pub(crate) addresses: Vec<RestingAddress>,
    pub(crate) networks: Vec<LeftNetwork>,
    pub(crate) mark: u64,
}

/// What the node has to forget; nothing if nobody waits for it.
pub(crate) fn of_node(state: &State, node: NodeId) -> Rests {
    let mut rests = Rests { addresses: Vec::new(), networks: Vec::new(), mark: 0 };
    let Some((acked, known)) = state.ipam.acked(&node_key(node)).zip(state.node(node)) else { return rests };
    let now_ms = state.now.as_millis();
    let left = state.leaving.get(&node).into_iter().flatten();
    let left = left.filter(|(_, left)| left.mark > acked && left.ready_ms > now_ms);
    let had = left.clone().map(|(network, _)| network);
    for network in known.attachments.keys().chain(had) {
        let resting = state.ipam.resting(&network_key(*network), acked, LIMIT + 1).into_iter();
        rests.addresses.extend(resting.map(|resting| RestingAddress {
            network: *network,
            addr: resting.first,
            mark: resting.rest.mark,
        }));
    }
    rests.networks.extend(left.map(|(network, left)| LeftNetwork {
        network: *network,
        vnis: left.vnis.clone(),
        mark: left.mark,
    }));
    rests.addresses.sort_by_key(|resting| (resting.mark, resting.network, resting.addr));
    rests.networks.sort_by_key(|left| (left.mark, left.network));
    rests.cut();
    rests
}

impl Rests {
    /// Leaves out what is too much, and never a part of what has one mark.
    fn cut(&mut self) {
        let of_addresses = self.addresses.get(LIMIT).map(|resting| resting.mark);
        let of_networks = self.networks.get(LIMIT).map(|left| left.mark);
        if let Some(end) = of_addresses.into_iter().chain(of_networks).min() {
            self.addresses.retain(|resting| resting.mark < end);
            self.networks.retain(|left| left.mark < end);
        }
        let last = self.addresses.last().map(|resting| resting.mark);
        self.mark = last.into_iter().chain(self.networks.last().map(|left| left.mark)).max().unwrap_or(0);
    }
}

/// Entries of each kind in an assignment.
const LIMIT: usize = 1024;
