use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use super::{Location, Network, NetworkError, PortId};
use crate::MacAddr;

/// A network in the form that the packet path reads.
#[derive(Debug)]
pub(super) struct Table {
    stations: HashMap<MacAddr, Location>,
    neighbours: HashMap<IpAddr, MacAddr>,
    ports: Vec<PortId>,
    endpoints: Vec<IpAddr>,
    pub(super) flood: bool,
    pub(super) sealed: bool,
}

impl Table {
    pub(super) fn new(network: Network) -> Result<Self, NetworkError> {
        if let Some(mac) = network.stations.keys().find(|mac| !mac.is_unicast()) {
            return Err(NetworkError::NotAStation { mac: *mac });
        }
        if let Some(mtu) = network.mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err(NetworkError::MtuTooSmall { mtu });
        }
        let mut ports = BTreeSet::new();
        let mut endpoints: BTreeSet<IpAddr> = network.peers.iter().map(IpAddr::to_canonical).collect();
        let mut stations = HashMap::with_capacity(network.stations.len());
        for (mac, location) in network.stations {
            let location = match location {
                Location::Port(port) => {
                    ports.insert(port);
                    location
                }
                Location::Endpoint(addr) => {
                    let addr = addr.to_canonical();
                    endpoints.insert(addr);
                    Location::Endpoint(addr)
                }
            };
            stations.insert(mac, location);
        }
        Ok(Self {
            stations,
            neighbours: network.neighbours.into_iter().collect(),
            ports: ports.into_iter().collect(),
            endpoints: endpoints.into_iter().collect(),
            flood: network.flood,
            sealed: network.sealed,
        })
    }

    pub(super) fn station(&self, mac: MacAddr) -> Option<&Location> {
        self.stations.get(&mac)
    }

    pub(super) fn neighbour(&self, addr: IpAddr) -> Option<MacAddr> {
        self.neighbours.get(&addr).copied()
    }

    /// Whether a host may send into this network; a socket for both families spells IPv4 in its own way.
    pub(super) fn allows(&self, from: IpAddr) -> bool {
        self.endpoints.binary_search(&from.to_canonical()).is_ok()
    }

    pub(super) fn ports(&self) -> &[PortId] {
        &self.ports
    }

    pub(super) fn endpoints(&self) -> &[IpAddr] {
        &self.endpoints
    }
}

/// What every IPv4 link carries (RFC 791 §3.2).
const MIN_MTU: u16 = 68;
