use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    num::ParseIntError,
    str::FromStr,
};

use crate::{MacAddr, Vni};

/// A place on this host where a station is attached; the caller chooses the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortId(u32);

/// Where a station is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Location {
    /// On this host.
    Port(PortId),
    /// On the host with this underlay address.
    Endpoint(IpAddr),
}

/// Everything a host must know about one network: the whole truth, not a change to it.
///
/// A datagram of the network is accepted from [`peers`](Self::peers) and from every endpoint that has a station.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// Other hosts that take part, also while they have no station.
    pub peers: BTreeSet<IpAddr>,
    /// The forwarding table: where each station is. A port may have several.
    pub stations: BTreeMap<MacAddr, Location>,
    /// Who has which address; answers ARP and neighbour solicitations.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// Whether frames to groups (broadcast, multicast) are copied to everyone. Off: they are dropped.
    pub flood: bool,
}

/// Why a network was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum NetworkError {
    /// A port belongs to one network.
    #[error("port {port} already belongs to network {vni}")]
    PortTaken { port: PortId, vni: Vni },
    /// A group or zero is nobody's address.
    #[error("{mac} is not the address of a station")]
    NotAStation { mac: MacAddr },
}

/// A network in the form that the packet path reads.
#[derive(Debug)]
pub(super) struct Table {
    stations: HashMap<MacAddr, Location>,
    neighbours: HashMap<IpAddr, MacAddr>,
    ports: Vec<PortId>,
    endpoints: Vec<IpAddr>,
    flood: bool,
}

impl PortId {
    /// Wraps a number; every value is allowed.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<PortId> for u32 {
    fn from(port: PortId) -> Self {
        port.0
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PortId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl Table {
    pub(super) fn new(network: Network) -> Result<Self, NetworkError> {
        if let Some(mac) = network.stations.keys().find(|mac| !mac.is_unicast()) {
            return Err(NetworkError::NotAStation { mac: *mac });
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

    pub(super) const fn floods(&self) -> bool {
        self.flood
    }
}
