use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Instant,
};

use super::{
    Discard, Location, Network, NetworkError, Occupancy, PortId,
    groups::{Audience, Groups},
    learnt::Learnt,
    mix::Quick,
    snoop::{self, Scope},
};
use crate::MacAddr;

/// A network in the form that the packet path reads.
#[derive(Debug)]
pub(super) struct Table {
    stations: HashMap<MacAddr, Location, Quick>,
    neighbours: HashMap<IpAddr, MacAddr>,
    ports: Vec<PortId>,
    /// Ports with more than one station.
    shared_ports: BTreeSet<PortId>,
    endpoints: Vec<IpAddr>,
    pub(super) learnt: Option<Learnt>,
    pub(super) groups: Option<Groups>,
    pub(super) flood: bool,
    pub(super) sealed: bool,
    pub(super) mtu: Option<u16>,
}

/// Where a station is, borrowed from the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Port(&'a PortId),
    Endpoint(&'a IpAddr),
}

impl Table {
    pub(super) fn new(network: Network) -> Result<Self, NetworkError> {
        if let Some(mac) = network.stations.keys().find(|mac| !mac.is_unicast()) {
            return Err(NetworkError::NotAStation { mac: *mac });
        }
        if let Some(mtu) = network.mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err(NetworkError::MtuTooSmall { mtu });
        }
        let (mut ports, mut shared_ports) = (BTreeSet::new(), BTreeSet::new());
        let mut endpoints: BTreeSet<IpAddr> = network.peers.iter().map(IpAddr::to_canonical).collect();
        let mut stations = HashMap::with_capacity_and_hasher(network.stations.len(), Quick::default());
        for (mac, location) in network.stations {
            let location = match location {
                Location::Port(port) => {
                    if !ports.insert(port) {
                        shared_ports.insert(port);
                    }
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
            shared_ports,
            endpoints: endpoints.into_iter().collect(),
            learnt: network.learning.map(Learnt::new),
            groups: network.snooping.filter(|_| network.flood).map(Groups::new),
            flood: network.flood,
            sealed: network.sealed,
            mtu: network.mtu,
        })
    }

    /// Takes over what the network's table before this one has learnt, as far as it still holds.
    pub(super) fn inherit(&mut self, before: Self) {
        let mut learnt = self.learnt.take();
        if let (Some(learnt), Some(before)) = (&mut learnt, before.learnt) {
            learnt.inherit(before, |mac, endpoint| self.station(mac).is_none() && self.allows(endpoint));
        }
        let mut groups = self.groups.take();
        if let (Some(groups), Some(before)) = (&mut groups, before.groups) {
            groups.inherit(before, |member| match member {
                Location::Port(port) => self.ports.binary_search(&port).is_err(),
                Location::Endpoint(addr) => !self.allows(addr),
            });
        }
        (self.learnt, self.groups) = (learnt, groups);
    }

    #[inline]
    pub(super) fn station(&self, mac: MacAddr) -> Option<&Location> {
        self.stations.get(&mac)
    }

    /// Where a station is: what was told first, then what was learnt.
    #[inline]
    pub(super) fn find(&self, now: Instant, mac: MacAddr) -> Option<Place<'_>> {
        match self.stations.get(&mac) {
            Some(Location::Port(port)) => Some(Place::Port(port)),
            Some(Location::Endpoint(addr)) => Some(Place::Endpoint(addr)),
            None => self.learnt.as_ref()?.find(now, mac).map(Place::Endpoint),
        }
    }

    pub(super) fn neighbour(&self, addr: IpAddr) -> Option<MacAddr> {
        self.neighbours.get(&addr).copied()
    }

    /// Whether a host may send into this network; a socket for both families spells IPv4 in its own way.
    #[inline]
    pub(super) fn allows(&self, from: IpAddr) -> bool {
        self.endpoints.binary_search(&from).is_ok()
    }

    /// Whether stations and neighbours that nobody knows are looked for everywhere.
    pub(super) const fn floods_unknown(&self) -> bool {
        self.flood && self.learnt.is_some()
    }

    pub(super) fn ports(&self) -> &[PortId] {
        &self.ports
    }

    pub(super) fn endpoints(&self) -> &[IpAddr] {
        &self.endpoints
    }

    /// Takes note of what a frame to a group says about groups, and says where it belongs.
    pub(super) fn listen(&mut self, now: Instant, frame: &[u8], from: Location) -> Result<Scope, Discard> {
        let alone = matches!(from, Location::Port(port) if !self.shared_ports.contains(&port));
        match &mut self.groups {
            Some(groups) => snoop::listen(groups, now, frame, from, alone),
            None => Ok(Scope::Everyone),
        }
    }

    /// Who gets a frame to a group: ports, which may include the one it came from, and hosts.
    pub(super) fn audience(&mut self, now: Instant, scope: Scope, from: Location) -> (&[PortId], &[IpAddr]) {
        match (scope, &mut self.groups) {
            (Scope::Everyone, _) | (_, None) => (&self.ports, &self.endpoints),
            (Scope::Routers(family), Some(groups)) => (groups.routers(now, family, from), &self.endpoints),
            (Scope::Group(group), Some(groups)) => match groups.audience(now, group, from) {
                Audience::Everyone => (&self.ports, &self.endpoints),
                Audience::Members { ports, endpoints } => (ports, endpoints),
            },
        }
    }

    /// Forgets what a host said, and says how much that was.
    pub(super) fn forget(&mut self, endpoint: IpAddr) -> usize {
        let stations = self.learnt.as_mut().map_or(0, |learnt| learnt.forget(endpoint));
        let gone = |member| member == Location::Endpoint(endpoint);
        stations + self.groups.as_mut().map_or(0, |groups| groups.forget(gone))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(learnt) = &mut self.learnt {
            learnt.sweep(now);
        }
        if let Some(groups) = &mut self.groups {
            groups.handle_timeout(now);
        }
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy {
            stations: self.stations.len(),
            learnt: self.learnt.as_ref().map_or(0, Learnt::len),
            groups: self.groups.as_ref().map_or(0, Groups::len),
        }
    }

    /// When there is something to forget or to ask.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let learnt = self.learnt.as_ref().and_then(Learnt::sweep_at);
        let groups = self.groups.as_ref().and_then(Groups::deadline);
        [learnt, groups].into_iter().flatten().min()
    }
}

/// What every IPv4 link carries (RFC 791 §3.2).
const MIN_MTU: u16 = 68;
