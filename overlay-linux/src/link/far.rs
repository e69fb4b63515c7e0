//! What is in other namespaces: far ends of veths, and macvlans on top of our links.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::nsid::NsidMessage;
use netlink_packet_route::route::RouteProtocol;

use super::decode::{self, RawLink};
use super::observe::{LinkTable, listing};
use super::observed::{ObservedKind, ObservedLink, ObservedPeer};
use super::{Desired, LinkError, LinkKind, LinkName, Netlink, Peer, Route, Scope, Stray, encode};
use crate::netns::NetNs;

/// What is in the namespaces that the desired state names, each read once.
pub(super) struct FarEnds<'n> {
    here: &'n Netlink,
    read: BTreeMap<u64, Option<FarNamespace>>,
}

struct FarNamespace {
    table: LinkTable,
    routes: BTreeSet<Route>,
    /// Its number for the namespace that is being programmed.
    here: Option<i32>,
}

impl<'n> FarEnds<'n> {
    pub(super) const fn new(here: &'n Netlink) -> Self {
        Self { here, read: BTreeMap::new() }
    }

    /// The far end of the veth `near`, if it is where it should be.
    pub(super) fn pair(&mut self, near: &RawLink, wanted: &Peer) -> Option<ObservedPeer> {
        let far = self.namespace(&wanted.netns)?;
        let raw = near.other_end.and_then(|index| far.table.links.get(&index))?;
        (raw.name == wanted.name && raw.other_end == Some(near.index)).then(|| far.peer(raw, &wanted.netns))
    }

    /// The macvlan of that name there, if it is on top of a link of this namespace.
    pub(super) fn macvlan(&mut self, links: &LinkTable, wanted: &Peer) -> Option<ObservedLink> {
        let far = self.namespace(&wanted.netns)?;
        let raw = far.table.links.values().find(|raw| raw.name == wanted.name && is_macvlan(raw))?;
        if raw.other_netns.is_none() || raw.other_netns != far.here {
            return None;
        }
        let lower = raw.other_end.and_then(|index| links.name(index))?.clone();
        let kind =
            ObservedKind::Macvlan { lower, bridge: raw.bridge_mode, peer: far.peer(raw, &wanted.netns) };
        Some(ObservedLink { kind, ..far.table.observed(raw) })
    }

    fn namespace(&mut self, netns: &NetNs) -> Option<&FarNamespace> {
        let here = self.here;
        let read = || {
            let netlink = Netlink::open_in(netns).ok()?;
            let table = netlink.links_and_addresses().ok()?;
            let mark = RouteProtocol::from(Scope::PROTOCOL);
            let routes = table.routes(netlink.raw_routes().ok()?, |raw, _| raw.protocol == mark);
            Some(FarNamespace { table, routes, here: netlink.number_of(here.netns()).ok()? })
        };
        self.read.entry(netns.inode()).or_insert_with(read).as_ref()
    }
}

impl FarNamespace {
    fn peer(&self, raw: &RawLink, netns: &std::sync::Arc<NetNs>) -> ObservedPeer {
        let far = self.table.observed(raw);
        let through = |route: &&Route| route.dev.as_ref() == Some(&raw.name);
        ObservedPeer {
            netns: netns.clone(),
            name: raw.name.clone(),
            mac: far.mac,
            mtu: far.mtu,
            gso_max_size: far.gso_max_size,
            addresses: far.addresses,
            up: far.up,
            routes: self.routes.iter().filter(through).cloned().collect(),
        }
    }
}

impl Netlink {
    /// Macvlans in other namespaces on top of links that are `ours`, without those that are desired there.
    ///
    /// Namespaces that cannot be read, for want of rights or because they went, count as empty.
    pub(super) fn strays(
        &self,
        links: &LinkTable,
        ours: impl Fn(&LinkName) -> bool,
        desired: &Desired,
    ) -> Result<BTreeSet<Stray>, LinkError> {
        if !links.links.values().any(|link| ours(&link.name)) {
            return Ok(BTreeSet::new());
        }
        let mut wanted = BTreeSet::new();
        for link in desired.links.values() {
            if let LinkKind::Macvlan(macvlan) = &link.kind
                && let Some(namespace) = self.number_of(&macvlan.peer.netns)?
            {
                wanted.insert((namespace, &macvlan.peer.name));
            }
        }
        let mut strays = BTreeSet::new();
        for namespace in self.numbered_namespaces()? {
            let question = Message::GetLink(encode::macvlans_of(namespace));
            let there = self.list(&question).unwrap_or_default();
            // The answer may have given this namespace a number for itself.
            let here = if there.is_empty() { None } else { self.number_of(self.netns())? };
            for message in there {
                let Message::NewLink(message) = message else { continue };
                let Some(raw) = decode::link(&message).filter(is_macvlan) else { continue };
                let on_ours = here.is_some() && raw.other_netns == here;
                let lower = raw.other_end.filter(|_| on_ours).and_then(|index| links.name(index));
                let Some(lower) = lower.filter(|lower| ours(lower)) else { continue };
                if !wanted.contains(&(namespace, &raw.name)) {
                    strays.insert(Stray { namespace, name: raw.name, lower: lower.clone() });
                }
            }
        }
        Ok(strays)
    }

    /// The number that this namespace has for another one, or for itself.
    fn number_of(&self, netns: &NetNs) -> Result<Option<i32>, LinkError> {
        let answer =
            self.ask(Message::GetNsId(encode::number_of(netns)), 0).map_err(listing("namespaces"))?;
        Ok(answer.iter().find_map(number))
    }

    fn numbered_namespaces(&self) -> Result<Vec<i32>, LinkError> {
        let list = self.list(&Message::GetNsId(NsidMessage::default())).map_err(listing("namespaces"))?;
        Ok(list.iter().filter_map(number).collect())
    }
}

fn number(message: &Message) -> Option<i32> {
    if let Message::NewNsId(message) = message { decode::number(message) } else { None }
}

fn is_macvlan(link: &RawLink) -> bool {
    link.kind_name == "macvlan"
}
