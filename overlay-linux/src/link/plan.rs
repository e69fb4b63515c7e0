use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use overlay_core::MacAddr;

use super::observed::{ObservedKind, ObservedLink, ObservedPeer};
use super::same::{
    as_shown, can_become, has_one_target, is_last_resort, is_link_local, is_same_route, stays, without,
};
use super::{
    Change, Desired, FdbEntry, Link, LinkKind, LinkName, Macvlan, Observed, Op, Peer, Place, Route, Vxlan,
};

/// The steps from `observed` to `desired`; none if they agree.
///
/// They are ordered: what is new is made before what is old goes. The exception is a link that cannot become what it
/// should be (a tunnel with another VNI or source): it is removed first, together with the macvlans on top of it and any
/// tunnel of ours that holds a wanted VNI, and then made anew. Stray macvlans go first, too: their device may have to
/// become a port, and takes each hardware address once.
///
/// One case needs two rounds: when the kernel removes with an address more than was asked for. The next one heals it.
#[must_use]
pub fn diff(observed: &Observed, desired: &Desired) -> Vec<Op> {
    let mut plan = Plan::default();
    let removed = plan.clear_the_way(observed, desired);
    let left = without(observed, &removed);
    for (name, link) in &desired.links {
        plan.link(&left, name, link);
    }
    plan.neighbours(&left, desired);
    plan.fdb(&left, desired);
    plan.routes(&Place::Here, &left.routes, &desired.routes);
    plan.rules(&left, desired);
    plan.sysctls(&left, desired);
    plan.surplus_links(&left, desired);
    plan.steps.sort_by_key(|(phase, _)| *phase);
    plan.steps.into_iter().map(|(_, op)| op).collect()
}

/// The order of the steps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    ClearTheWay,
    CreateBridge,
    CreateLink,
    Sysctl,
    Properties,
    CreateAbove,
    PropertiesAbove,
    AddAddress,
    Up,
    DeleteAddress,
    Neighbour,
    Fdb,
    RouteOnLink,
    RouteVia,
    AddRule,
    DeleteRule,
    DeleteRoute,
    DeleteEntry,
    DeleteLink,
}

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<(Phase, Op)>,
}

/// What the near end, the far end and other links have in common.
struct Settings<'a> {
    mac: Option<MacAddr>,
    mtu: Option<u32>,
    gso_max_size: Option<u32>,
    addresses: &'a BTreeSet<IpNet>,
    up: bool,
    /// Somebody else's: what is not desired stays.
    shared: bool,
}

impl Plan {
    fn push(&mut self, phase: Phase, place: &Place, change: Change) {
        self.steps.push((phase, Op { place: place.clone(), change }));
    }

    fn here(&mut self, phase: Phase, change: Change) {
        self.push(phase, &Place::Here, change);
    }

    /// Removes links that cannot stay while others are made. Returns their names.
    fn clear_the_way(&mut self, observed: &Observed, desired: &Desired) -> BTreeSet<LinkName> {
        let wrong = |name: &LinkName, link: &ObservedLink| match desired.links.get(name) {
            Some(wanted) => !can_become(link, wanted),
            None => false,
        };
        let mut removed: BTreeSet<LinkName> = observed
            .links
            .iter()
            .filter(|(name, link)| wrong(name, link))
            .map(|(name, _)| name.clone())
            .collect();
        let made: Vec<&Vxlan> = desired
            .links
            .iter()
            .filter(|(name, _)| !observed.links.contains_key(*name) || removed.contains(*name))
            .filter_map(|(_, link)| if let LinkKind::Vxlan(vxlan) = &link.kind { Some(vxlan) } else { None })
            .collect();
        for (name, link) in &observed.links {
            let ObservedKind::Vxlan(held) = &link.kind else { continue };
            let taken = made.iter().any(|vxlan| Some(vxlan.vni) == held.vni && vxlan.port == held.port);
            if taken && !desired.links.contains_key(name) {
                removed.insert(name.clone());
            }
        }
        for stray in &observed.strays {
            self.here(Phase::ClearTheWay, Change::DeleteStray { stray: stray.clone() });
        }
        // Those above other links first: they would go with them.
        let above = |name: &&LinkName| {
            observed.links.get(*name).and_then(|link| {
                if let ObservedKind::Macvlan { peer, .. } = &link.kind { Some(peer) } else { None }
            })
        };
        for peer in removed.iter().filter_map(|name| above(&name)) {
            let place = Place::There(peer.netns.clone());
            self.push(Phase::ClearTheWay, &place, Change::DeleteLink { name: peer.name.clone() });
        }
        for name in removed.iter().filter(|name| above(name).is_none()) {
            self.here(Phase::ClearTheWay, Change::DeleteLink { name: name.clone() });
        }
        removed
    }

    fn link(&mut self, left: &Observed, name: &LinkName, link: &Link) {
        let found = left.links.get(name);
        let existing = link.kind == LinkKind::Existing;
        if found.is_none() && !existing {
            let phase = match link.kind {
                LinkKind::Bridge => Phase::CreateBridge,
                LinkKind::Macvlan(_) => Phase::CreateAbove,
                LinkKind::Vxlan(_) | LinkKind::Veth(_) | LinkKind::Existing => Phase::CreateLink,
            };
            self.here(phase, Change::CreateLink { name: name.clone(), link: link.clone() });
        }
        if let LinkKind::Macvlan(Macvlan { peer, .. }) = &link.kind {
            self.peer(peer, far_end(found));
            return;
        }
        let none = BTreeSet::new();
        // A link that was just made has what its creation gave it; an existing one that is missing has nothing.
        let (mac, mtu, gso_max_size) =
            if existing { (None, None, None) } else { (link.mac, link.mtu, link.gso_max_size) };
        let made = Settings { mac, mtu, gso_max_size, addresses: &none, up: false, shared: existing };
        let before = found.map_or(made, |found| Settings {
            mac: found.mac,
            mtu: Some(found.mtu),
            gso_max_size: Some(found.gso_max_size),
            addresses: &found.addresses,
            up: found.up,
            shared: existing,
        });
        let (mac, mtu, gso_max_size, up) = (link.mac, link.mtu, link.gso_max_size, link.up);
        let after = Settings { mac, mtu, gso_max_size, addresses: &link.addresses, up, shared: existing };
        self.settings(&Place::Here, name, &before, &after);

        self.port(found, name, link);
        if let Some(ObservedLink { kind: ObservedKind::Bridge { plain: false }, .. }) = found
            && link.kind == LinkKind::Bridge
        {
            self.here(Phase::Properties, Change::SimplifyBridge { name: name.clone() });
        }
        if let LinkKind::Veth(peer) = &link.kind {
            self.peer(peer, far_end(found));
        }
    }

    fn port(&mut self, found: Option<&ObservedLink>, name: &LinkName, link: &Link) {
        let moved = found.and_then(|found| found.master.as_ref()) != link.master.as_ref();
        if moved && !(link.kind == LinkKind::Existing && link.master.is_none()) {
            let change = Change::SetMaster { name: name.clone(), master: link.master.clone() };
            self.here(Phase::Properties, change);
        }
        let isolated = !moved && found.is_some_and(|found| found.isolated);
        if isolated != link.isolated && link.master.is_some() {
            let change = Change::SetIsolated { name: name.clone(), isolated: link.isolated };
            self.here(Phase::Properties, change);
        }
    }

    fn peer(&mut self, peer: &Peer, found: Option<&ObservedPeer>) {
        let place = Place::There(peer.netns.clone());
        let (no_addresses, no_routes) = (BTreeSet::new(), BTreeSet::new());
        let (mac, mtu, gso_max_size) = (peer.mac, peer.mtu, peer.gso_max_size);
        let made = Settings { mac, mtu, gso_max_size, addresses: &no_addresses, up: false, shared: false };
        let before = found.map_or(made, |found| Settings {
            mac: found.mac,
            mtu: Some(found.mtu),
            gso_max_size: Some(found.gso_max_size),
            addresses: &found.addresses,
            up: found.up,
            shared: false,
        });
        let after = Settings { mac, mtu, gso_max_size, addresses: &peer.addresses, up: true, shared: false };
        self.settings(&place, &peer.name, &before, &after);

        let through = |route: &Route| Route { dev: Some(peer.name.clone()), ..route.clone() };
        let routes = peer.routes.iter().map(through).collect();
        self.routes(&place, found.map_or(&no_routes, |found| &found.routes), &routes);
    }

    fn settings(&mut self, place: &Place, name: &LinkName, before: &Settings<'_>, after: &Settings<'_>) {
        // A macvlan's packets may be as large as those of the device below: that one changes first.
        let phase = if *place == Place::Here { Phase::Properties } else { Phase::PropertiesAbove };
        if let Some(mac) = after.mac.filter(|_| before.mac != after.mac) {
            self.push(phase, place, Change::SetMac { name: name.clone(), mac });
        }
        if let Some(mtu) = after.mtu.filter(|_| before.mtu != after.mtu) {
            self.push(phase, place, Change::SetMtu { name: name.clone(), mtu });
        }
        if let Some(size) = after.gso_max_size.filter(|_| before.gso_max_size != after.gso_max_size) {
            self.push(phase, place, Change::SetGsoMaxSize { name: name.clone(), size });
        }
        if before.up != after.up {
            self.push(Phase::Up, place, Change::SetUp { name: name.clone(), up: after.up });
        }
        for address in after.addresses.difference(before.addresses) {
            let change = Change::AddAddress { dev: name.clone(), address: *address };
            self.push(Phase::AddAddress, place, change);
        }
        if after.shared {
            return;
        }
        let surplus: Vec<IpNet> =
            before.addresses.difference(after.addresses).filter(|net| !is_link_local(net)).copied().collect();
        for address in &surplus {
            let change = Change::DeleteAddress { dev: name.clone(), address: *address };
            self.push(Phase::DeleteAddress, place, change);
        }
        // With the first address of a network the kernel removes the later ones: put them back.
        let network = |net: &IpNet| net.trunc();
        for address in after.addresses {
            if surplus.iter().any(|gone| network(gone) == network(address)) {
                let change = Change::AddAddress { dev: name.clone(), address: *address };
                self.push(Phase::DeleteAddress, place, change);
            }
        }
    }

    fn neighbours(&mut self, left: &Observed, desired: &Desired) {
        for (key, mac) in &desired.neighbours {
            if left.neighbours.get(key) != Some(mac) {
                self.here(Phase::Neighbour, Change::SetNeighbour { key: key.clone(), mac: *mac });
            }
        }
        for key in left.neighbours.keys() {
            if !desired.neighbours.contains_key(key) && stays(desired, &key.dev) {
                self.here(Phase::DeleteEntry, Change::DeleteNeighbour { key: key.clone() });
            }
        }
    }

    fn fdb(&mut self, left: &Observed, desired: &Desired) {
        let wanted: BTreeSet<FdbEntry> = desired.fdb.iter().map(|entry| as_shown(desired, entry)).collect();
        let set: Vec<&FdbEntry> = wanted.difference(&left.fdb).collect();
        let replaced: BTreeSet<(&LinkName, MacAddr)> = set
            .iter()
            .filter(|entry| has_one_target(entry.mac))
            .map(|entry| (&entry.dev, entry.mac))
            .collect();
        for entry in left.fdb.difference(&wanted) {
            if !replaced.contains(&(&entry.dev, entry.mac)) && stays(desired, &entry.dev) {
                self.here(Phase::DeleteEntry, Change::DeleteFdb { entry: entry.clone() });
            }
        }
        for entry in set {
            self.here(Phase::Fdb, Change::SetFdb { entry: entry.clone() });
        }
    }

    fn routes(&mut self, place: &Place, before: &BTreeSet<Route>, after: &BTreeSet<Route>) {
        let mut found: BTreeMap<(u32, IpNet), Vec<&Route>> = BTreeMap::new();
        for route in before {
            found.entry((route.table, route.dest)).or_default().push(route);
        }
        for route in after {
            let same_dest = found.remove(&(route.table, route.dest.trunc())).unwrap_or_default();
            if same_dest.iter().any(|there| is_same_route(there, route)) {
                for there in same_dest.into_iter().filter(|there| !is_same_route(there, route)) {
                    self.push(Phase::DeleteRoute, place, Change::DeleteRoute { route: there.clone() });
                }
            } else {
                let phase = if route.via.is_none() { Phase::RouteOnLink } else { Phase::RouteVia };
                self.push(phase, place, Change::SetRoute { route: route.clone() });
            }
        }
        for route in found.into_values().flatten() {
            self.push(Phase::DeleteRoute, place, Change::DeleteRoute { route: route.clone() });
        }
    }

    fn rules(&mut self, left: &Observed, desired: &Desired) {
        let mut found = BTreeSet::new();
        for rule in &left.rules {
            let again = !found.insert(rule);
            if again || !desired.rules.contains(rule) && !is_last_resort(rule, desired) {
                self.here(Phase::DeleteRule, Change::DeleteRule { rule: rule.clone() });
            }
        }
        for rule in desired.rules.iter().filter(|rule| !found.contains(rule)) {
            self.here(Phase::AddRule, Change::AddRule { rule: rule.clone() });
        }
    }

    fn sysctls(&mut self, left: &Observed, desired: &Desired) {
        // What is written for all interfaces may change what each of them does: that one is prepared first.
        let for_all = |name: &str| name.split(['/', '.']).any(|part| part == "all");
        let (all, each): (Vec<_>, Vec<_>) = desired.sysctls.iter().partition(|(name, _)| for_all(name));
        for (name, value) in each.into_iter().chain(all) {
            if left.sysctls.get(name) != Some(value) {
                let change = Change::SetSysctl { name: name.clone(), value: value.clone() };
                self.here(Phase::Sysctl, change);
            }
        }
    }

    fn surplus_links(&mut self, left: &Observed, desired: &Desired) {
        for name in left.links.keys().filter(|name| !desired.links.contains_key(*name)) {
            self.here(Phase::DeleteLink, Change::DeleteLink { name: name.clone() });
        }
    }
}

/// The end of a link that is in another namespace.
fn far_end(link: Option<&ObservedLink>) -> Option<&ObservedPeer> {
    match &link?.kind {
        ObservedKind::Veth { peer } => peer.as_ref(),
        ObservedKind::Macvlan { peer, .. } => Some(peer),
        ObservedKind::Bridge { .. } | ObservedKind::Vxlan(_) | ObservedKind::Other(_) => None,
    }
}
