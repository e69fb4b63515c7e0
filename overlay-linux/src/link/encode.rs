//! Questions to the kernel, from our words.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, VxlanDf,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use overlay_core::MacAddr;

use super::{Family, FdbEntry, Link, LinkKind, LinkName, Macvlan, Peer, Route, Rule, Scope, Stray, Vxlan};
use crate::netns::NetNs;

pub(super) fn named_link(name: &LinkName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message
}

pub(super) fn link_with(name: &LinkName, attribute: LinkAttribute) -> LinkMessage {
    let mut message = named_link(name);
    message.attributes.push(attribute);
    message
}

pub(super) fn link_up(name: &LinkName, up: bool) -> LinkMessage {
    let mut message = named_link(name);
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message
}

/// The whole link but its port, addresses and state; `None` for one that is not made by us, or on top of another.
pub(super) fn new_link(name: &LinkName, link: &Link) -> Option<LinkMessage> {
    let mut message = named_link(name);
    look(&mut message, link.mac, link.mtu, link.gso_max_size);
    let info = match &link.kind {
        LinkKind::Bridge => bridge_info(),
        LinkKind::Vxlan(vxlan) => {
            vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(vxlan_info(vxlan)))]
        }
        LinkKind::Veth(peer) => {
            let data = InfoData::Veth(InfoVeth::Peer(far_end(peer)));
            vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]
        }
        LinkKind::Macvlan(_) | LinkKind::Existing => return None,
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    Some(message)
}

/// The whole macvlan but its addresses and state; `lower` is the number of the device below.
pub(super) fn new_macvlan(lower: u32, macvlan: &Macvlan) -> LinkMessage {
    let mut message = far_end(&macvlan.peer);
    message.attributes.push(LinkAttribute::Link(lower));
    let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]));
    message
}

/// A link of another namespace, of which this one knows the number.
pub(super) fn stray(stray: &Stray) -> LinkMessage {
    link_with(&stray.name, LinkAttribute::IfNetnsId(stray.namespace))
}

/// All macvlans of another namespace.
pub(super) fn macvlans_of(namespace: i32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfNetnsId(namespace));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]));
    message
}

/// Which number this namespace has for another one.
pub(super) fn number_of(netns: &NetNs) -> NsidMessage {
    let mut message = NsidMessage::default();
    // A descriptor is never negative.
    message.attributes.extend(u32::try_from(netns.as_fd().as_raw_fd()).map(NsidAttribute::Fd));
    message
}

/// Gives another namespace any free number.
pub(super) fn give_number_to(netns: &NetNs) -> NsidMessage {
    let mut message = number_of(netns);
    message.attributes.push(NsidAttribute::Id(NO_NUMBER));
    message
}

/// Of a namespace that has no number.
pub(super) const NO_NUMBER: i32 = -1;

pub(super) fn bridge_info() -> Vec<LinkInfo> {
    let plain = vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::MulticastSnooping(false),
        InfoBridge::NfCallIpTables(false),
        InfoBridge::NfCallIp6Tables(false),
        InfoBridge::NfCallArpTables(false),
    ];
    vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(plain))]
}

pub(super) fn port_info(isolated: bool) -> Vec<LinkInfo> {
    let data = InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(isolated)]);
    vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)]
}

fn vxlan_info(vxlan: &Vxlan) -> Vec<InfoVxlan> {
    vec![
        InfoVxlan::Id(vxlan.vni.get()),
        match vxlan.local {
            IpAddr::V4(local) => InfoVxlan::Local(local),
            IpAddr::V6(local) => InfoVxlan::Local6(local),
        },
        InfoVxlan::Port(vxlan.port),
        InfoVxlan::Learning(vxlan.learning),
        InfoVxlan::Proxy(vxlan.proxy),
        InfoVxlan::L2Miss(vxlan.l2miss),
        InfoVxlan::L3Miss(vxlan.l3miss),
        InfoVxlan::UDPCsum(true),
        InfoVxlan::Df(VxlanDf::Unset),
    ]
}

fn far_end(peer: &Peer) -> LinkMessage {
    let mut message = named_link(&peer.name);
    look(&mut message, peer.mac, peer.mtu, peer.gso_max_size);
    message.attributes.push(LinkAttribute::NetNsFd(peer.netns.as_fd().as_raw_fd()));
    message
}

fn look(message: &mut LinkMessage, mac: Option<MacAddr>, mtu: Option<u32>, gso_max_size: Option<u32>) {
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(gso_max_size.map(LinkAttribute::GsoMaxSize));
}

pub(super) fn address(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family(Family::of(net.addr()));
    message.header.prefix_len = net.prefix_len();
    message.attributes.push(AddressAttribute::Address(net.addr()));
    message.attributes.push(AddressAttribute::Local(net.addr()));
    if net.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

pub(super) fn neighbour(index: u32, ip: IpAddr, mac: Option<MacAddr>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(ip));
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(ip)));
    message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec())));
    message
}

pub(super) fn fdb(index: u32, entry: &FdbEntry) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(entry.mac.octets().to_vec()));
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(entry.dst)));
    message.attributes.extend(entry.vni.map(|vni| NeighbourAttribute::Vni(vni.get())));
    message
}

pub(super) fn route(index: Option<u32>, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(route.dest.addr()));
    message.header.destination_prefix_length = route.dest.prefix_len();
    message.header.table = short_table(route.table);
    message.header.protocol = RouteProtocol::from(Scope::PROTOCOL);
    message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    if route.onlink && route.via.is_some() {
        message.header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if route.dest.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.dest.network().into()));
    }
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(index.map(RouteAttribute::Oif));
    attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    attributes.push(RouteAttribute::Table(route.table));
    message
}

/// As `route`, but it matches the kernel's whatever its scope and whoever made it.
pub(super) fn old_route(index: Option<u32>, old: &Route) -> RouteMessage {
    let mut message = route(index, old);
    message.header.protocol = RouteProtocol::Unspec;
    message.header.scope = RouteScope::NoWhere;
    message
}

pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.header.table = short_table(rule.table);
    message.header.action = RuleAction::ToTable;
    message.header.src_len = rule.from.map_or(0, |net| net.prefix_len());
    message.header.dst_len = rule.to.map_or(0, |net| net.prefix_len());
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.pref));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.extend(rule.iif.as_ref().map(|iif| RuleAttribute::Iifname(iif.to_string())));
    if let Some(mark) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark.value));
        attributes.push(RuleAttribute::FwMask(mark.mask));
    }
    attributes.extend(rule.from.map(|net| RuleAttribute::Source(net.network())));
    attributes.extend(rule.to.map(|net| RuleAttribute::Destination(net.network())));
    message
}

pub(super) const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The header has room for small table numbers only; the attribute holds them all.
fn short_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(0)
}
