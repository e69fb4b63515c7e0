use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::decode::{self, RawFdb, RawLink, RawRoute};
use super::far::FarEnds;
use super::netlink::Refusal;
use super::observed::{ObservedKind, ObservedLink};
use super::{
    Desired, Family, FdbEntry, LinkError, LinkKind, LinkName, NeighbourKey, Netlink, Observed, Route, Rule,
    Scope, encode, sysctl,
};

impl Netlink {
    /// Reads what is ours, and of what is not ours what `desired` speaks of.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if a list cannot be read. A far end whose namespace cannot be read counts as missing.
    pub fn observe(&self, scope: &Scope, desired: &Desired) -> Result<Observed, LinkError> {
        let table = self.links_and_addresses()?;
        let mut there = FarEnds::new(self);
        let mut observed = Observed::default();
        for raw in table.links.values() {
            let wanted = desired.links.get(&raw.name);
            if !scope.owns_link(raw.name.as_str()) && wanted.is_none() {
                continue;
            }
            let mut link = table.observed(raw);
            if let (ObservedKind::Veth { peer }, Some(LinkKind::Veth(wanted))) =
                (&mut link.kind, wanted.map(|link| &link.kind))
            {
                *peer = there.pair(raw, wanted);
            }
            observed.links.insert(raw.name.clone(), link);
        }
        for (name, link) in &desired.links {
            if let LinkKind::Macvlan(wanted) = &link.kind
                && !observed.links.contains_key(name)
                && let Some(found) = there.macvlan(&table, &wanted.peer)
            {
                observed.links.insert(name.clone(), found);
            }
        }
        observed.strays = self.strays(&table, |name| observed.links.contains_key(name), desired)?;
        let owned = |name: &LinkName| scope.owns_link(name.as_str());
        for (index, ip, mac) in self.neighbours()? {
            let Some(link) = table.links.get(&index) else { continue };
            let key = NeighbourKey { dev: link.name.clone(), ip };
            if owned(&link.name) || desired.neighbours.contains_key(&key) {
                observed.neighbours.insert(key, mac);
            }
        }
        for RawFdb { index, mac, dst, vni } in self.forwarding()? {
            let Some(link) = table.links.get(&index) else { continue };
            let tunnel = matches!(link.kind, ObservedKind::Vxlan(_));
            if tunnel && observed.links.contains_key(&link.name) {
                observed.fdb.insert(FdbEntry { dev: link.name.clone(), mac, dst, vni });
            }
        }
        let speaks_of: BTreeSet<_> =
            desired.routes.iter().map(|route| (route.table, route.dest.trunc())).collect();
        observed.routes = table.routes(self.raw_routes()?, |raw, dev| {
            let marked = raw.protocol == RouteProtocol::from(Scope::PROTOCOL);
            let known = speaks_of.contains(&(raw.route.table, raw.route.dest));
            scope.owns_table(raw.route.table) || marked && (known || dev.is_some_and(owned))
        });
        observed.rules = self.rules()?.into_iter().filter(|rule| scope.owns_rule(rule.pref)).collect();
        observed.rules.sort();
        observed.sysctls = sysctl::read(self.netns(), desired.sysctls.keys())
            .map_err(|error| LinkError::io("read /proc/sys", error))?;
        Ok(observed)
    }

    pub(super) fn links_and_addresses(&self) -> Result<LinkTable, LinkError> {
        let links = self
            .list(&RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .map_err(listing("links"))?
            .into_iter()
            .filter_map(|message| {
                if let RouteNetlinkMessage::NewLink(message) = message {
                    decode::link(&message)
                } else {
                    None
                }
            })
            .map(|link| (link.index, link))
            .collect();
        let mut addresses: BTreeMap<u32, BTreeSet<_>> = BTreeMap::new();
        let list = self
            .list(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .map_err(listing("addresses"))?;
        for message in list {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            if let Some((index, address)) = decode::address(&message) {
                addresses.entry(index).or_default().insert(address);
            }
        }
        Ok(LinkTable { links, addresses })
    }

    /// The unicast routes of both families, in all tables.
    pub(super) fn raw_routes(&self) -> Result<Vec<RawRoute>, LinkError> {
        let mut routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut question = RouteMessage::default();
            question.header.address_family = encode::family(family);
            let list =
                self.list_family(RouteNetlinkMessage::GetRoute(question)).map_err(listing("routes"))?;
            routes.extend(list.into_iter().filter_map(|message| {
                if let RouteNetlinkMessage::NewRoute(message) = message {
                    decode::route(&message)
                } else {
                    None
                }
            }));
        }
        Ok(routes)
    }

    fn rules(&self) -> Result<Vec<Rule>, LinkError> {
        let mut rules = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut question = RuleMessage::default();
            question.header.family = encode::family(family);
            let list = self.list_family(RouteNetlinkMessage::GetRule(question)).map_err(listing("rules"))?;
            rules.extend(list.into_iter().filter_map(|message| {
                if let RouteNetlinkMessage::NewRule(message) = message {
                    decode::rule(&message)
                } else {
                    None
                }
            }));
        }
        Ok(rules)
    }

    fn neighbours(&self) -> Result<Vec<(u32, std::net::IpAddr, overlay_core::MacAddr)>, LinkError> {
        let list = self
            .list(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))
            .map_err(listing("neighbours"))?;
        let entry = |message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                decode::neighbour(&message)
            } else {
                None
            }
        };
        Ok(list.into_iter().filter_map(entry).collect())
    }

    fn forwarding(&self) -> Result<Vec<RawFdb>, LinkError> {
        let mut question = NeighbourMessage::default();
        question.header.family = AddressFamily::Bridge;
        let list = self
            .list_family(RouteNetlinkMessage::GetNeighbour(question))
            .map_err(listing("forwarding entries"))?;
        let entry = |message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                decode::fdb(&message)
            } else {
                None
            }
        };
        Ok(list.into_iter().filter_map(entry).collect())
    }

    /// A list of one family; empty if the kernel was built without that family.
    fn list_family(&self, question: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        use nix::errno::Errno;
        match self.list(&question) {
            Err(refusal) if matches!(refusal.errno(), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT)) => {
                Ok(Vec::new())
            }
            answer => answer,
        }
    }
}

/// The links of a namespace by number, with their addresses.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    pub(super) links: BTreeMap<u32, RawLink>,
    pub(super) addresses: BTreeMap<u32, BTreeSet<ipnet::IpNet>>,
}

impl LinkTable {
    pub(super) fn name(&self, index: u32) -> Option<&LinkName> {
        self.links.get(&index).map(|link| &link.name)
    }

    pub(super) fn observed(&self, raw: &RawLink) -> ObservedLink {
        ObservedLink {
            kind: raw.kind.clone(),
            mac: raw.mac,
            mtu: raw.mtu,
            gso_max_size: raw.gso_max_size,
            master: raw.master.and_then(|index| self.name(index)).cloned(),
            isolated: raw.isolated,
            addresses: self.addresses.get(&raw.index).cloned().unwrap_or_default(),
            up: raw.up,
        }
    }

    /// The routes that are `ours`, but for those that the kernel adds itself.
    pub(super) fn routes(
        &self,
        routes: Vec<RawRoute>,
        ours: impl Fn(&RawRoute, Option<&LinkName>) -> bool,
    ) -> BTreeSet<Route> {
        let dev = |raw: &RawRoute| raw.index.and_then(|index| self.name(index));
        routes
            .into_iter()
            .filter(|raw| raw.protocol != RouteProtocol::Kernel && ours(raw, dev(raw)))
            .map(|raw| self.with_dev(raw))
            .collect()
    }

    pub(super) fn with_dev(&self, raw: RawRoute) -> Route {
        Route { dev: raw.index.and_then(|index| self.name(index)).cloned(), ..raw.route }
    }
}

pub(super) fn listing(what: &'static str) -> impl Fn(Refusal) -> LinkError {
    move |refusal| refusal.of(format!("list {what}"), None)
}
