//! When what is there is what is wanted, in the kernel's eyes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use overlay_core::MacAddr;

use super::observed::{ObservedKind, ObservedLink};
use super::{Desired, FdbEntry, Link, LinkKind, LinkName, Observed, Route, Rule};

/// Whether `link` is of the wanted sort; what else differs can be changed while it stays.
pub(super) fn can_become(link: &ObservedLink, wanted: &Link) -> bool {
    match (&link.kind, &wanted.kind) {
        (_, LinkKind::Existing) | (ObservedKind::Bridge { .. }, LinkKind::Bridge) => true,
        (ObservedKind::Vxlan(is), LinkKind::Vxlan(wanted)) => {
            is.vni == Some(wanted.vni)
                && is.local == Some(wanted.local)
                && is.port == wanted.port
                && is.proxy == wanted.proxy
                && is.learning == wanted.learning
                && (is.l2miss, is.l3miss) == (wanted.l2miss, wanted.l3miss)
                && is.checksums
        }
        (ObservedKind::Veth { peer: Some(peer) }, LinkKind::Veth(wanted)) => {
            peer.netns == wanted.netns && peer.name == wanted.name
        }
        (ObservedKind::Macvlan { lower, bridge, peer }, LinkKind::Macvlan(wanted)) => {
            *lower == wanted.lower
                && *bridge
                && peer.netns == wanted.peer.netns
                && peer.name == wanted.peer.name
        }
        (
            ObservedKind::Bridge { .. }
            | ObservedKind::Vxlan(_)
            | ObservedKind::Veth { .. }
            | ObservedKind::Macvlan { .. }
            | ObservedKind::Other(_),
            LinkKind::Bridge | LinkKind::Vxlan(_) | LinkKind::Veth(_) | LinkKind::Macvlan(_),
        ) => false,
    }
}

/// What the kernel leaves when those links go.
pub(super) fn without(observed: &Observed, removed: &BTreeSet<LinkName>) -> Observed {
    let mut left = observed.clone();
    if removed.is_empty() {
        return left;
    }
    left.links.retain(|name, link| {
        let above = matches!(&link.kind, ObservedKind::Macvlan { lower, .. } if removed.contains(lower));
        !above && !removed.contains(name)
    });
    for link in left.links.values_mut() {
        link.master = link.master.take().filter(|master| !removed.contains(master));
        link.isolated &= link.master.is_some();
    }
    left.neighbours.retain(|key, _| !removed.contains(&key.dev));
    left.fdb.retain(|entry| !removed.contains(&entry.dev));
    left.routes.retain(|route| route.dev.as_ref().is_none_or(|dev| !removed.contains(dev)));
    left.sysctls.retain(|name, _| !name.split(['/', '.']).any(|part| removed.contains(part)));
    left
}

/// Entries on a link that goes need no removal of their own.
pub(super) fn stays(desired: &Desired, dev: &LinkName) -> bool {
    desired.links.contains_key(dev)
}

/// The kernel does not show the VNI of an entry if it is that of the device.
pub(super) fn as_shown(desired: &Desired, entry: &FdbEntry) -> FdbEntry {
    let mut shown = entry.clone();
    if let Some(Link { kind: LinkKind::Vxlan(vxlan), .. }) = desired.links.get(&entry.dev) {
        shown.vni = shown.vni.filter(|vni| *vni != vxlan.vni);
    }
    shown
}

/// Whether the kernel keeps one tunnel end for `mac`; else it keeps a list.
pub(super) fn has_one_target(mac: MacAddr) -> bool {
    mac != MacAddr::ZERO && !mac.is_multicast()
}

/// Whether the kernel shows `wanted` as `there`: it fills in the device if none was named.
pub(super) fn is_same_route(there: &Route, wanted: &Route) -> bool {
    there.via == wanted.via
        && (wanted.dev.is_none() || there.dev == wanted.dev)
        && there.onlink == (wanted.onlink && wanted.via.is_some())
        && there.src == wanted.src
}

/// A host without a rule that asks the local table takes no packet at all: one goes only if another comes.
pub(super) fn is_last_resort(rule: &Rule, desired: &Desired) -> bool {
    let asks_local = |rule: &Rule| *rule == Rule::new(rule.family, rule.pref, Route::LOCAL);
    asks_local(rule) && !desired.rules.iter().any(|other| other.family == rule.family && asks_local(other))
}

pub(super) fn is_link_local(net: &IpNet) -> bool {
    matches!(net.addr(), IpAddr::V6(addr) if addr.is_unicast_link_local())
}
