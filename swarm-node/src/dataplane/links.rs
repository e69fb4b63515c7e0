//! Scene → interfaces, addresses, routes and neighbours of the node's namespace.

use std::net::{IpAddr, Ipv6Addr};

use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{
    Desired, Family, FdbEntry, Link, LinkName, Mark, NeighbourKey, Peer, Route, Rule, Scope, Vxlan,
};
use overlay_linux::user::GSO_MAX_SIZE;

use super::{
    mark,
    scene::{Fabric, HostIpv6, Layout, Overlay, OverlayPlane, Scene, TaskScene, Underlay},
};

/// The fabric's device.
pub(crate) const FABRIC: &str = "ofabric";
/// The bridge to the outside.
pub(crate) const GATEWAY: &str = "docker_gwbridge";
/// Tables of the routes back to ingress nodes: this and the peer's number.
const TABLES: std::ops::RangeInclusive<u32> = 0x5a00_0000..=0x5aff_ffff;
/// Preference of our policy rules.
const PREF: u32 = 147;

/// What is ours in a node's namespace.
pub(crate) fn scope() -> Scope {
    Scope::links(["ob######", "ov######", "ve.", "vg.", FABRIC, GATEWAY])
        .with_tables(TABLES)
        .with_rules(PREF..=PREF)
}

/// The desired state of the node's namespace.
pub(crate) fn desired(scene: &Scene) -> Desired {
    let mut desired = Desired::default();
    let Some(underlay) = &scene.underlay else { return desired };
    gateway(&mut desired, scene, underlay);
    if let Some(own) = &scene.fabric {
        fabric(&mut desired, own, underlay);
        if scene.gateway.ipv6 {
            fabric_ipv6(&mut desired, own);
        }
    }
    for network in scene.overlays.values() {
        if let OverlayPlane::Kernel(layout) = network.plane {
            overlay(&mut desired, (network, layout), underlay);
        }
    }
    for (id, task) in &scene.tasks {
        attach(&mut desired, scene, underlay, (id, task));
    }
    desired
}

fn gateway(desired: &mut Desired, scene: &Scene, underlay: &Underlay) {
    let mut bridge = Link::bridge().with_mtu(underlay.mtu);
    for family in [Family::V4, Family::V6] {
        bridge.addresses.extend(scene.gateway.own(family));
    }
    desired.links.insert(name(GATEWAY), bridge);
    set(
        desired,
        [
            ("net.ipv4.ip_forward", "1"),
            // The kernel takes the greater of `all` and the device's own value; replies of the mesh are asymmetric.
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.docker_gwbridge.rp_filter", "0"),
        ],
    );
    if underlay.ipv6 != HostIpv6::Missing {
        deaf(desired, GATEWAY);
    }
    if let (HostIpv6::On { advised }, true) = (&underlay.ipv6, scene.gateway.ipv6) {
        set(desired, [("net.ipv6.conf.all.forwarding", "1")]);
        // Who forwards does not listen to routers any more, unless told to.
        for device in advised {
            desired.sysctls.insert(format!("net/ipv6/conf/{device}/accept_ra"), "2".to_owned());
        }
    }
}

/// This host believes no router that a task pretends to be.
fn deaf(desired: &mut Desired, device: &str) {
    desired.sysctls.insert(format!("net/ipv6/conf/{device}/accept_ra"), "0".to_owned());
}

fn set<const N: usize>(desired: &mut Desired, values: [(&str, &str); N]) {
    desired.sysctls.extend(values.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

fn fabric(desired: &mut Desired, fabric: &Fabric, underlay: &Underlay) {
    let dev = name(FABRIC);
    let tunnel = Vxlan { port: underlay.port, ..Vxlan::new(fabric.vni, underlay.addr) };
    let mut link = Link::vxlan(tunnel).with_mtu(underlay.inner_mtu()).with_address(fabric.address);
    if let Some(mac) = mac_of(fabric.address.addr()) {
        link = link.with_mac(mac);
    }
    desired.links.insert(dev.clone(), link);
    // Replies come home through the fabric with this node's own address as source.
    set(desired, [("net.ipv4.conf.ofabric.rp_filter", "0"), ("net.ipv4.conf.ofabric.accept_local", "1")]);
    if underlay.ipv6 != HostIpv6::Missing {
        deaf(desired, FABRIC);
    }
    for peer in fabric.peers.values() {
        let (Some(mac), Some(mark)) = (mac_of(peer.address), mark::of(peer.address, fabric.address)) else {
            continue;
        };
        desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: peer.address }, mac);
        desired.fdb.insert(FdbEntry { dev: dev.clone(), mac, dst: peer.vtep, vni: None });
        desired.routes.insert(Route::default_via(peer.address).in_table(mark).onlink(dev.clone()));
        desired.rules.insert(Rule {
            iif: Some(name(GATEWAY)),
            mark: Some(Mark { value: mark, mask: u32::MAX }),
            ..Rule::new(Family::V4, PREF, mark)
        });
    }
}

/// The ways back to ingress nodes over IPv6. The fabric needs no addresses for that: a node's is link-local, and follows from
/// its MAC address.
fn fabric_ipv6(desired: &mut Desired, fabric: &Fabric) {
    let dev = name(FABRIC);
    for peer in fabric.peers.values() {
        let (Some(mac), Some(mark)) = (mac_of(peer.address), mark::of(peer.address, fabric.address)) else {
            continue;
        };
        let node = IpAddr::V6(link_local(mac));
        desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: node }, mac);
        let way = Route { dev: Some(dev.clone()), ..Route::default_via(node).in_table(mark) };
        desired.routes.insert(way);
        desired.rules.insert(Rule {
            iif: Some(name(GATEWAY)),
            mark: Some(Mark { value: mark, mask: u32::MAX }),
            ..Rule::new(Family::V6, PREF, mark)
        });
    }
}

/// The tunnel answers for tasks on other nodes; those on this node find each other by themselves.
fn overlay(desired: &mut Desired, (network, layout): (&Overlay, Layout), underlay: &Underlay) {
    let tunnel = tunnel_name(network.vni);
    let mtu = underlay.inner_mtu();
    let vxlan = Vxlan { port: underlay.port, ..Vxlan::new(network.vni, underlay.addr).proxied() };
    let mut link = Link::vxlan(vxlan).with_mtu(mtu);
    if layout == Layout::Bridge {
        let bridge = bridge_name(network.vni);
        desired.links.insert(bridge.clone(), Link::bridge().with_mtu(mtu));
        if underlay.ipv6 != HostIpv6::Missing {
            // It would give the host an address on the tasks' link.
            desired.sysctls.insert(format!("net/ipv6/conf/{bridge}/disable_ipv6"), "1".to_owned());
        }
        link = link.with_master(bridge);
    }
    desired.links.insert(tunnel.clone(), link);
    if network.remote.iter().any(|remote| remote.ip.is_ipv6()) {
        // It answers for neighbours, also where the host itself has no IPv6. It needs no address for that.
        for (key, value) in [("accept_ra", "0"), ("addr_gen_mode", "1"), ("disable_ipv6", "0")] {
            desired.sysctls.insert(format!("net/ipv6/conf/{tunnel}/{key}"), value.to_owned());
        }
    }
    for remote in &network.remote {
        desired.neighbours.insert(NeighbourKey { dev: tunnel.clone(), ip: remote.ip }, remote.mac);
        desired.fdb.insert(FdbEntry { dev: tunnel.clone(), mac: remote.mac, dst: remote.vtep, vni: None });
    }
}

fn attach(desired: &mut Desired, scene: &Scene, underlay: &Underlay, (id, task): (&str, &TaskScene)) {
    for (index, network, interface) in scene.interfaces(task) {
        let mtu = underlay.mtu_of(network);
        let mut peer =
            Peer::new(task.netns.clone(), name(&format!("eth{index}"))).with_mac(interface.mac).with_mtu(mtu);
        for address in &interface.addresses {
            peer = peer.with_address(*address);
        }
        let link = match network.plane {
            OverlayPlane::Kernel(Layout::Macvlan) => Link::macvlan(tunnel_name(network.vni), peer),
            OverlayPlane::Kernel(Layout::Bridge) => {
                Link::veth(peer).with_mtu(mtu).with_master(bridge_name(network.vni))
            }
            // The user-space plane reads what the task sends from this end; wrapped, it must fit into one datagram.
            OverlayPlane::User(_) => Link::veth(peer.with_gso_max_size(GSO_MAX_SIZE)).with_mtu(mtu),
        };
        desired.links.insert(task_link("ve", index, id), link);
    }
    let index = scene.interfaces(task).count();
    let mut peer = Peer::new(task.netns.clone(), name(&format!("eth{index}")))
        .with_mac(MacAddr::from_ipv4(task.gateway_addr))
        .with_mtu(underlay.mtu);
    for family in [Family::V4, Family::V6] {
        let own = scene.gateway.interface(task.gateway_addr, family);
        let via = scene.gateway.own(family).filter(|_| task.outside);
        peer.addresses.extend(own);
        peer.routes.extend(via.map(|bridge| Route::default_via(bridge.addr())));
    }
    let link = Link::veth(peer).with_mtu(underlay.mtu).with_master(name(GATEWAY)).isolated();
    desired.links.insert(task_link("vg", index, id), link);
}

/// The link-local address that the kernel would make from a MAC address ([RFC 4291], appendix A).
///
/// [RFC 4291]: https://www.rfc-editor.org/rfc/rfc4291
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    let [one, two] = [[a ^ 2, b], [c, 0xff]].map(u16::from_be_bytes);
    let [three, four] = [[0xfe, d], [e, f]].map(u16::from_be_bytes);
    Ipv6Addr::new(0xfe80, 0, 0, 0, one, two, three, four)
}

/// MAC address of an interface whose address is `ip`; only IPv4 ones are numbered so.
pub(crate) fn mac_of(ip: IpAddr) -> Option<MacAddr> {
    match ip {
        IpAddr::V4(ip) => Some(MacAddr::from_ipv4(ip)),
        IpAddr::V6(_) => None,
    }
}

fn bridge_name(vni: Vni) -> LinkName {
    name(&format!("ob{:06x}", vni.get()))
}

fn tunnel_name(vni: Vni) -> LinkName {
    name(&format!("ov{:06x}", vni.get()))
}

/// How much of a task's id is in the names of its links.
pub(crate) const TASK_CHARS: usize = 10;

/// `ve.<index><beginning of the task's id>`: 14 of the 15 characters that a name may have.
pub(super) fn task_link(kind: &str, index: usize, task: &str) -> LinkName {
    let id: String = task.chars().take(TASK_CHARS).collect();
    name(&format!("{kind}.{index:x}{id}"))
}

fn name(text: &str) -> LinkName {
    LinkName::new(text).expect("names are made of at most 15 letters, digits and dots above")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use overlay_linux::{link::LinkKind, netns::NetNs};

    use super::*;
    use crate::dataplane::scene::TaskInterface;

    /// One task on one network.
    fn scene(plane: OverlayPlane) -> Scene {
        let underlay = Underlay {
            addr: "192.0.2.1".parse().unwrap(),
            mtu: 1500,
            devices: Default::default(),
            addresses: Default::default(),
            port: 4789,
            kernel_vxlan: true,
            ipv6: HostIpv6::Missing,
        };
        let overlay = Overlay { vni: Vni::new(4097).unwrap(), remote: Default::default(), plane };
        let task = TaskScene {
            netns: Arc::new(NetNs::current().unwrap()),
            gateway_addr: "172.18.0.2".parse().unwrap(),
            interfaces: vec![TaskInterface {
                network: "net".to_owned(),
                addresses: vec!["10.0.1.5/24".parse().unwrap()],
                mac: "02:42:0a:00:01:05".parse().unwrap(),
            }],
            vips: Default::default(),
            host_ports: Vec::new(),
            outside: true,
        };
        Scene {
            underlay: Some(underlay),
            overlays: [("net".to_owned(), overlay)].into(),
            tasks: [("0123456789abcdef".to_owned(), task)].into(),
            ..Scene::default()
        }
    }

    fn links_of(scene: &Scene) -> BTreeMap<String, Link> {
        desired(scene).links.into_iter().map(|(name, link)| (name.to_string(), link)).collect()
    }

    #[test]
    fn tasks_sit_on_the_tunnel_unless_the_network_asks_for_a_bridge() {
        let option = |value: &str| BTreeMap::from([("layout".to_owned(), value.to_owned())]);
        for usual in [BTreeMap::new(), option("macvlan")] {
            let links = links_of(&scene(OverlayPlane::Kernel(Layout::of(&usual))));
            let LinkKind::Macvlan(macvlan) = &links["ve.00123456789"].kind else { panic!("{links:?}") };
            assert_eq!((macvlan.lower.as_str(), macvlan.peer.name.as_str()), ("ov001001", "eth0"));
            assert_eq!((macvlan.peer.mtu, links["ov001001"].mtu), (Some(1450), Some(1450)));
            assert!(links["ov001001"].master.is_none() && !links.contains_key("ob001001"));
        }
        let links = links_of(&scene(OverlayPlane::Kernel(Layout::of(&option("bridge")))));
        assert!(matches!(links["ve.00123456789"].kind, LinkKind::Veth(_)));
        for port in ["ve.00123456789", "ov001001"] {
            assert_eq!(links[port].master.as_ref().map(LinkName::as_str), Some("ob001001"));
        }
    }

    #[test]
    fn a_network_of_the_user_space_plane_has_neither_tunnel_nor_bridge() {
        let links = links_of(&scene(OverlayPlane::User(None)));
        assert!(matches!(links["ve.00123456789"].kind, LinkKind::Veth(_)));
        assert!(!links.contains_key("ov001001") && links["ve.00123456789"].master.is_none());
    }

    #[test]
    fn a_fabric_address_follows_from_the_mac_address() {
        let mac = "02:42:0a:00:00:03".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::42:aff:fe00:3");
    }

    #[test]
    fn a_bridge_gives_the_host_no_address_among_tasks() {
        let mut scene = scene(OverlayPlane::Kernel(Layout::Bridge));
        assert!(desired(&scene).sysctls.keys().all(|key| !key.contains("ob001001")));
        if let Some(underlay) = &mut scene.underlay {
            underlay.ipv6 = HostIpv6::On { advised: Default::default() };
        }
        let sysctls = desired(&scene).sysctls;
        assert_eq!(sysctls["net/ipv6/conf/ob001001/disable_ipv6"], "1");
    }

    #[test]
    fn routers_are_heard_on_before_this_host_forwards() {
        let mut scene = scene(OverlayPlane::User(None));
        let advised = ["eth0.7".to_owned()].into();
        let underlay = scene.underlay.take().unwrap();
        scene.underlay = Some(Underlay { ipv6: HostIpv6::On { advised }, ..underlay });
        let value = |scene: &Scene, key: &str| desired(scene).sysctls.get(key).cloned();
        let forwarding = "net.ipv6.conf.all.forwarding";
        assert_eq!(value(&scene, forwarding), None, "nobody asks for published ports over IPv6");
        scene.gateway.ipv6 = true;
        assert_eq!(value(&scene, forwarding).as_deref(), Some("1"));
        assert_eq!(value(&scene, "net/ipv6/conf/eth0.7/accept_ra").as_deref(), Some("2"));
        assert_eq!(value(&scene, "net/ipv6/conf/docker_gwbridge/accept_ra").as_deref(), Some("0"));
    }
}
