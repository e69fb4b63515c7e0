//! The planner against a model of the kernel: whatever is there, the plan leads to what is desired and then is empty.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the model knows a part of the steps")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{
    Change, Desired, Family, FdbEntry, Link, LinkKind, LinkName, Macvlan, NeighbourKey, Observed,
    ObservedKind, ObservedLink, ObservedPeer, ObservedVxlan, Op, Peer, Place, Route, Rule, Stray, Vxlan,
    diff,
};
use overlay_linux::netns::NetNs;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_plan_leads_from_any_state_to_any_other(first in desired(), second in desired(), noise in noise()) {
        let mut world = Observed::default();
        settle(&mut world, &first)?;
        world.rules.extend(noise.rules);
        world.rules.sort();
        world.routes.extend(noise.routes.into_iter().filter(|route| route.dev.is_none()));
        for link in world.links.values_mut() {
            link.mtu = noise.mtu.unwrap_or(link.mtu);
            link.up &= noise.up;
            if let ObservedKind::Macvlan { peer, bridge, .. } = &mut link.kind {
                peer.mtu = noise.mtu.unwrap_or(peer.mtu);
                (peer.mac, *bridge) = (None, noise.up);
            }
        }
        settle(&mut world, &second)?;
        settle(&mut world, &Desired::default())?;
        prop_assert!(world.strays.is_empty() && world.links.is_empty() && world.fdb.is_empty() && world.neighbours.is_empty());
        prop_assert!(world.routes.is_empty() && world.rules.is_empty());
    }

    #[test]
    fn a_link_is_made_before_it_is_used(desired in desired()) {
        let mut made = BTreeSet::new();
        for op in diff(&Observed::default(), &desired) {
            if let Change::CreateLink { name, .. } = &op.change {
                made.insert(name.clone());
            }
            if let (Place::Here, Some(needs)) = (&op.place, op.needs()) {
                prop_assert!(made.contains(needs), "{op}");
            }
            if let Change::SetMaster { master: Some(master), .. } = &op.change {
                prop_assert!(made.contains(master), "{op}");
            }
        }
    }
}

#[test]
fn what_holds_for_all_interfaces_is_written_after_what_holds_for_one() {
    let names = ["net.ipv6.conf.all.forwarding", "net/ipv6/conf/eth0.7/accept_ra", "net.ipv4.ip_forward"];
    let sysctls = names.map(|name| (name.to_owned(), "1".to_owned())).into();
    let desired = Desired { sysctls, ..Desired::default() };
    let written = diff(&Observed::default(), &desired).into_iter().map(|op| op.change);
    let written: Vec<String> = written
        .map(|change| if let Change::SetSysctl { name, .. } = change { name } else { panic!() })
        .collect();
    assert_eq!(written.last().map(String::as_str), Some("net.ipv6.conf.all.forwarding"), "{written:?}");
}

#[test]
fn a_new_rule_is_there_before_the_old_one_goes() {
    let rule = |pref| Rule::new(Family::V4, pref, Route::LOCAL);
    let observed = Observed { rules: vec![rule(0), rule(0)], ..Observed::default() };
    let mut desired = Desired::default();
    assert!(diff(&observed, &desired).len() == 1, "the last rule for the local table stays");
    desired.rules.insert(rule(100));
    let changes: Vec<Change> = diff(&observed, &desired).into_iter().map(|op| op.change).collect();
    let delete = || Change::DeleteRule { rule: rule(0) };
    assert_eq!(changes, [Change::AddRule { rule: rule(100) }, delete(), delete()]);
}

/// Plans and applies until nothing is left, which must be soon.
fn settle(world: &mut Observed, desired: &Desired) -> Result<(), TestCaseError> {
    for _ in 0..3 {
        look_again(world, desired);
        let plan = diff(world, desired);
        if plan.is_empty() {
            return Ok(());
        }
        for op in plan {
            apply(world, &op).map_err(|why| TestCaseError::fail(format!("{op}: {why}")))?;
        }
    }
    let left: Vec<String> = diff(world, desired).iter().map(ToString::to_string).collect();
    Err(TestCaseError::fail(format!("not settled: {left:?}")))
}

/// What an observation does: macvlans that the desired state does not know are strays.
fn look_again(world: &mut Observed, desired: &Desired) {
    world.links.retain(|name, link| {
        let ObservedKind::Macvlan { lower, peer, .. } = &link.kind else { return true };
        let known = desired.links.get(name).is_some_and(
            |link| matches!(&link.kind, LinkKind::Macvlan(wanted) if wanted.peer.name == peer.name),
        );
        if !known {
            world.strays.insert(Stray { namespace: 0, name: peer.name.clone(), lower: lower.clone() });
        }
        known
    });
}

/// What the kernel would do; errors are those that it would give.
fn apply(world: &mut Observed, op: &Op) -> Result<(), &'static str> {
    if op.place != Place::Here {
        return apply_there(world, op);
    }
    if let Some(needs) = op.needs() {
        world.links.get(needs).ok_or("ENODEV")?;
    }
    match op.change.clone() {
        Change::CreateLink { name, link } => create(world, name, &link)?,
        Change::DeleteLink { name } => {
            world.links.remove(&name).ok_or("ENODEV")?;
            world.links.retain(|_, link| below(link) != Some(&name));
            world.strays.retain(|stray| stray.lower != name);
            world.neighbours.retain(|key, _| key.dev != name);
            world.fdb.retain(|entry| entry.dev != name);
            world.routes.retain(|route| route.dev.as_ref() != Some(&name));
            for link in world.links.values_mut() {
                link.master = link.master.take().filter(|master| *master != name);
                link.isolated &= link.master.is_some();
            }
        }
        Change::DeleteStray { stray } => drop(world.strays.remove(&stray).then_some(()).ok_or("ENODEV")?),
        Change::SetMac { name, mac } => world.links.get_mut(&name).unwrap().mac = Some(mac),
        Change::SetMtu { name, mtu } => set_mtu(world, &name, mtu),
        Change::SetGsoMaxSize { name, size } => world.links.get_mut(&name).unwrap().gso_max_size = size,
        Change::SetMaster { name, master } => set_master(world, &name, master)?,
        Change::SetIsolated { name, isolated } => {
            let link = world.links.get_mut(&name).unwrap();
            link.master.as_ref().ok_or("EINVAL")?;
            link.isolated = isolated;
        }
        Change::SimplifyBridge { name } => {
            world.links.get_mut(&name).unwrap().kind = ObservedKind::Bridge { plain: true };
        }
        Change::SetUp { name, up } => world.links.get_mut(&name).unwrap().up = up,
        Change::AddAddress { dev, address } => {
            world.links.get_mut(&dev).unwrap().addresses.insert(address);
        }
        Change::DeleteAddress { dev, address } => {
            // The harshest kernel: all addresses of the network go.
            world.links.get_mut(&dev).unwrap().addresses.retain(|other| other.trunc() != address.trunc());
        }
        Change::SetNeighbour { key, mac } => drop(world.neighbours.insert(key, mac)),
        Change::DeleteNeighbour { key } => drop(world.neighbours.remove(&key).ok_or("ENOENT")?),
        Change::SetFdb { entry } => {
            world
                .fdb
                .retain(|old| entry.mac == MacAddr::ZERO || (&old.dev, old.mac) != (&entry.dev, entry.mac));
            world.fdb.insert(entry);
        }
        Change::DeleteFdb { entry } => drop(world.fdb.remove(&entry).then_some(()).ok_or("ENOENT")?),
        Change::SetRoute { route } => set_route(&mut world.routes, route),
        Change::DeleteRoute { route } => drop(world.routes.remove(&route).then_some(()).ok_or("ESRCH")?),
        Change::AddRule { rule } => {
            world.rules.push(rule);
            world.rules.sort();
        }
        Change::DeleteRule { rule } => {
            let at = world.rules.iter().position(|other| *other == rule).ok_or("ENOENT")?;
            world.rules.remove(at);
        }
        Change::SetSysctl { name, value } => drop(world.sysctls.insert(name, value)),
        other => panic!("unknown step {other}"),
    }
    Ok(())
}

fn set_mtu(world: &mut Observed, name: &LinkName, mtu: u32) {
    world.links.get_mut(name).unwrap().mtu = mtu;
    for link in world.links.values_mut().filter(|link| below(link) == Some(name)) {
        if let ObservedKind::Macvlan { peer, .. } = &mut link.kind {
            peer.mtu = peer.mtu.min(mtu);
        }
    }
}

fn set_master(world: &mut Observed, name: &LinkName, master: Option<LinkName>) -> Result<(), &'static str> {
    let above = world.links.values().any(|link| below(link) == Some(name))
        || world.strays.iter().any(|stray| stray.lower == *name);
    if above && master.is_some() {
        return Err("EBUSY");
    }
    if master.as_ref().is_some_and(|master| !world.links.contains_key(master)) {
        return Err("ENODEV");
    }
    let link = world.links.get_mut(name).unwrap();
    (link.master, link.isolated) = (master, false);
    Ok(())
}

fn create(world: &mut Observed, name: LinkName, link: &Link) -> Result<(), &'static str> {
    let kind = match &link.kind {
        LinkKind::Bridge => ObservedKind::Bridge { plain: true },
        LinkKind::Vxlan(vxlan) => {
            let holds = |link: &ObservedLink| matches!(&link.kind, ObservedKind::Vxlan(held) if held.vni == Some(vxlan.vni) && held.port == vxlan.port);
            if world.links.values().any(holds) {
                return Err("EEXIST");
            }
            ObservedKind::Vxlan(ObservedVxlan {
                vni: Some(vxlan.vni),
                local: Some(vxlan.local),
                port: vxlan.port,
                learning: vxlan.learning,
                proxy: vxlan.proxy,
                l2miss: vxlan.l2miss,
                l3miss: vxlan.l3miss,
                checksums: true,
            })
        }
        LinkKind::Veth(peer) => ObservedKind::Veth { peer: Some(new_peer(peer)) },
        LinkKind::Macvlan(Macvlan { lower, peer }) => {
            let device = world.links.get(lower).ok_or("ENODEV")?;
            if device.master.is_some() {
                return Err("EBUSY");
            }
            if peer.mtu.is_some_and(|mtu| mtu > device.mtu) {
                return Err("EINVAL");
            }
            let peer = Peer { mtu: Some(peer.mtu.unwrap_or(device.mtu)), ..peer.clone() };
            ObservedKind::Macvlan { lower: lower.clone(), bridge: true, peer: new_peer(&peer) }
        }
        LinkKind::Existing => return Err("not made by us"),
    };
    let mtu = link.mtu.unwrap_or(1500);
    let new = ObservedLink {
        kind,
        mac: link.mac,
        mtu,
        gso_max_size: link.gso_max_size.unwrap_or(65536),
        master: None,
        isolated: false,
        addresses: BTreeSet::new(),
        up: false,
    };
    world.links.insert(name, new).map_or(Ok(()), |_| Err("EEXIST"))
}

fn new_peer(peer: &Peer) -> ObservedPeer {
    ObservedPeer {
        netns: peer.netns.clone(),
        name: peer.name.clone(),
        mac: peer.mac,
        mtu: peer.mtu.unwrap_or(1500),
        gso_max_size: peer.gso_max_size.unwrap_or(65536),
        addresses: BTreeSet::new(),
        up: false,
        routes: BTreeSet::new(),
    }
}

fn below(link: &ObservedLink) -> Option<&LinkName> {
    if let ObservedKind::Macvlan { lower, .. } = &link.kind { Some(lower) } else { None }
}

/// In the far end's namespace; the model has one far end of each name.
fn apply_there(world: &mut Observed, op: &Op) -> Result<(), &'static str> {
    if let Change::DeleteLink { name } = &op.change {
        let is_it = |link: &ObservedLink| matches!(&link.kind, ObservedKind::Macvlan { peer, .. } if peer.name == *name);
        let key =
            world.links.iter().find(|(_, link)| is_it(link)).map(|(key, _)| key.clone()).ok_or("ENODEV")?;
        world.links.remove(&key);
        return Ok(());
    }
    let name = op.needs().ok_or("no device")?.clone();
    let peer = world
        .links
        .values_mut()
        .find_map(|link| match &mut link.kind {
            ObservedKind::Veth { peer: Some(peer) } if peer.name == name => Some(peer),
            ObservedKind::Macvlan { peer, .. } if peer.name == name => Some(peer),
            _ => None,
        })
        .ok_or("ENODEV")?;
    match op.change.clone() {
        Change::SetMac { mac, .. } => peer.mac = Some(mac),
        Change::SetMtu { mtu, .. } => peer.mtu = mtu,
        Change::SetGsoMaxSize { size, .. } => peer.gso_max_size = size,
        Change::SetUp { up, .. } => peer.up = up,
        Change::AddAddress { address, .. } => drop(peer.addresses.insert(address)),
        Change::DeleteAddress { address, .. } => {
            peer.addresses.retain(|other| other.trunc() != address.trunc());
        }
        Change::SetRoute { route } => set_route(&mut peer.routes, route),
        Change::DeleteRoute { route } => drop(peer.routes.remove(&route).then_some(()).ok_or("ESRCH")?),
        other => panic!("unexpected step there: {other}"),
    }
    Ok(())
}

fn set_route(routes: &mut BTreeSet<Route>, route: Route) {
    routes.retain(|old| (old.table, old.dest) != (route.table, route.dest));
    routes.insert(route);
}

/// What somebody else did to our things.
#[derive(Clone, Debug)]
struct Noise {
    rules: Vec<Rule>,
    routes: Vec<Route>,
    mtu: Option<u32>,
    up: bool,
}

fn noise() -> impl Strategy<Value = Noise> {
    (vec(rule(), 0..3), vec(route(), 0..3), option::of(1300..1500_u32), any::<bool>())
        .prop_map(|(rules, routes, mtu, up)| Noise { rules, routes, mtu, up })
}

fn desired() -> impl Strategy<Value = Desired> {
    let links = btree_map(0..6_u8, link(), 0..5);
    let neighbours = btree_map((0..6_u8, 0..4_u8), 0..4_u8, 0..6);
    let fdb = btree_map((0..6_u8, 0..4_u8), (0..4_u8, option::of(0..3_u32)), 0..6);
    let routes = vec(route(), 0..4);
    (links, neighbours, fdb, routes, btree_set(rule(), 0..4), 0..3_u8).prop_map(
        |(links, neighbours, fdb, routes, rules, sysctl)| {
            let mut desired = Desired { rules, ..Desired::default() };
            let mut tunnels = BTreeSet::new();
            for (n, mut link) in links {
                if let LinkKind::Vxlan(vxlan) = &link.kind
                    && !tunnels.insert(vxlan.vni)
                {
                    continue; // two tunnels with one VNI cannot be
                }
                if let LinkKind::Veth(peer) | LinkKind::Macvlan(Macvlan { peer, .. }) = &mut link.kind {
                    peer.name = LinkName::new(format!("eth{n}")).unwrap();
                }
                link.master = link.master.filter(|_| link.kind != LinkKind::Bridge);
                desired.links.insert(dev(n), link);
            }
            put_on_tunnels(&mut desired);
            let bridges: BTreeSet<LinkName> = desired
                .links
                .iter()
                .filter(|(_, link)| link.kind == LinkKind::Bridge)
                .map(|(name, _)| name.clone())
                .collect();
            for link in desired.links.values_mut() {
                link.master = link.master.take().filter(|master| bridges.contains(master));
            }
            let has = |desired: &Desired, n| {
                let link = desired.links.get(&dev(n));
                link.is_some_and(|link| !matches!(link.kind, LinkKind::Macvlan(_)))
            };
            for ((n, ip), m) in neighbours {
                if has(&desired, n) {
                    desired.neighbours.insert(NeighbourKey { dev: dev(n), ip: addr(ip) }, mac(m));
                }
            }
            for ((n, m), (dst, id)) in fdb {
                if has(&desired, n) {
                    let vni = id.map(|id| Vni::new(id).unwrap());
                    desired.fdb.insert(FdbEntry { dev: dev(n), mac: mac(m), dst: addr(dst), vni });
                }
            }
            let mut dests = BTreeSet::new();
            for route in routes {
                let above = |dev: &LinkName| !matches!(desired.links[dev].kind, LinkKind::Macvlan(_));
                let there =
                    route.dev.as_ref().is_none_or(|dev| desired.links.contains_key(dev) && above(dev));
                if there && dests.insert((route.table, route.dest)) {
                    desired.routes.insert(route);
                }
            }
            desired.sysctls.insert("net.ipv4.ip_forward".to_owned(), sysctl.to_string());
            desired
        },
    )
}

/// A macvlan needs a device below that has room for its packets.
fn put_on_tunnels(desired: &mut Desired) {
    let tunnels: Vec<(LinkName, Option<u32>)> = desired
        .links
        .iter()
        .filter(|(_, link)| matches!(link.kind, LinkKind::Vxlan(_)))
        .map(|(name, link)| (name.clone(), link.mtu))
        .collect();
    desired.links.retain(|_, link| {
        let LinkKind::Macvlan(macvlan) = &mut link.kind else { return true };
        let Some((lower, mtu)) = tunnels.get(usize::from(link.up).min(tunnels.len().saturating_sub(1)))
        else {
            return false;
        };
        macvlan.lower = lower.clone();
        macvlan.peer.mtu = macvlan.peer.mtu.map(|own| mtu.map_or(own, |mtu| own.min(mtu)));
        true
    });
    let lowers: BTreeSet<LinkName> = desired
        .links
        .values()
        .filter_map(|link| {
            if let LinkKind::Macvlan(macvlan) = &link.kind { Some(macvlan.lower.clone()) } else { None }
        })
        .collect();
    for (name, link) in &mut desired.links {
        link.master = link.master.take().filter(|_| !lowers.contains(name));
    }
}

fn link() -> impl Strategy<Value = Link> {
    let here = Arc::new(NetNs::current().unwrap());
    let also_here = here.clone();
    let kind = prop_oneof![
        Just(LinkKind::Bridge),
        (0..3_u32, 0..2_u8, any::<bool>()).prop_map(|(vni, local, proxy)| {
            LinkKind::Vxlan(Vxlan {
                proxy,
                learning: !proxy,
                ..Vxlan::new(Vni::new(vni).unwrap(), addr(local))
            })
        }),
        (option::of(1300..1400_u32), btree_set(net(), 0..3), option::of(0..3_u8)).prop_map(
            move |(mtu, addresses, via)| {
                let routes = via.map(|via| Route::default_via(addr(via))).into_iter().collect();
                let name = LinkName::new("eth0").unwrap();
                let peer = Peer { mtu, addresses, routes, ..Peer::new(also_here.clone(), name) };
                LinkKind::Macvlan(Macvlan { lower: dev(0), peer })
            }
        ),
        (option::of(1300..1400_u32), btree_set(net(), 0..3), option::of(0..3_u8)).prop_map(
            move |(mtu, addresses, via)| {
                let routes = via.map(|via| Route::default_via(addr(via))).into_iter().collect();
                let name = LinkName::new("eth0").unwrap();
                LinkKind::Veth(Peer { mtu, addresses, routes, ..Peer::new(here.clone(), name) })
            }
        ),
    ];
    (
        kind,
        option::of(0..3_u8),
        option::of(1300..1400_u32),
        option::of(0..6_u8),
        btree_set(net(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(kind, m, mtu, master, addresses, up)| Link {
            kind,
            mac: m.map(mac),
            mtu,
            gso_max_size: Some(if up { 65536 } else { 62000 }),
            master: master.map(dev),
            isolated: up,
            addresses,
            up,
        })
}

fn route() -> impl Strategy<Value = Route> {
    (1000..1003_u32, 0..3_u8, option::of(0..3_u8), option::of(0..6_u8), any::<bool>()).prop_map(
        |(table, dest, via, on, onlink)| Route {
            table,
            dest: IpNet::new(IpAddr::from([10, dest, 0, 0]), 16).unwrap(),
            via: via.map(addr),
            dev: on.map(dev),
            onlink: onlink && via.is_some(),
            src: None,
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    (100..103_u32, 1000..1003_u32, option::of(0..3_u32), option::of(0..6_u8)).prop_map(
        |(pref, table, mark, iif)| {
            let rule = Rule::new(Family::V4, pref, table);
            let rule = iif.map_or(rule.clone(), |iif| rule.with_iif(dev(iif)));
            mark.map_or(rule.clone(), |mark| rule.with_mark(mark, 0xfff))
        },
    )
}

fn net() -> impl Strategy<Value = IpNet> {
    (0..2_u8, 0..3_u8).prop_map(|(net, host)| IpNet::new(IpAddr::from([10, 9, net, host]), 24).unwrap())
}

fn dev(n: u8) -> LinkName {
    LinkName::new(format!("ov{n}")).unwrap()
}

fn addr(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

/// The first is the one that may have several tunnel ends.
fn mac(n: u8) -> MacAddr {
    if n == 0 { MacAddr::ZERO } else { MacAddr::new([2, 0, 0, 0, 0, n]) }
}
