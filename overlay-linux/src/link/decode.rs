//! Answers of the kernel, in our words. What has no word in ours is `None`.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoMacVlan, InfoPortData, InfoVxlan,
    LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, MacVlanMode,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use overlay_core::{MacAddr, Vni};

use super::observed::{ObservedKind, ObservedVxlan};
use super::{Family, LinkName, Mark, Route, Rule};

/// The first attribute of a kind, turned into something.
macro_rules! first {
    ($attributes:expr, $pattern:pat => $value:expr) => {
        $attributes.iter().find_map(|attribute| if let $pattern = attribute { $value } else { None })
    };
}

/// A link with the numbers that the kernel uses instead of names.
#[derive(Clone, Debug)]
pub(super) struct RawLink {
    pub(super) index: u32,
    pub(super) name: LinkName,
    /// Without the far end of a veth.
    pub(super) kind: ObservedKind,
    pub(super) kind_name: String,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u32,
    pub(super) gso_max_size: u32,
    pub(super) up: bool,
    pub(super) master: Option<u32>,
    pub(super) isolated: bool,
    /// The number of a veth's far end, or of the device below a macvlan, in its namespace.
    pub(super) other_end: Option<u32>,
    /// That namespace, if it is another one.
    pub(super) other_netns: Option<i32>,
    /// A macvlan in bridge mode.
    pub(super) bridge_mode: bool,
}

pub(super) fn link(message: &LinkMessage) -> Option<RawLink> {
    let attributes = &message.attributes;
    let name = first!(attributes, LinkAttribute::IfName(name) => LinkName::new(name.as_str()).ok())?;
    let info: &[LinkInfo] =
        first!(attributes, LinkAttribute::LinkInfo(info) => Some(info.as_slice())).unwrap_or_default();
    let kind_name = first!(info, LinkInfo::Kind(kind) => Some(kind.to_string())).unwrap_or_else(|| {
        if message.header.link_layer_type == LinkLayerType::Loopback { "loopback" } else { "device" }
            .to_owned()
    });
    let data = first!(info, LinkInfo::Data(data) => Some(data));
    let kind = match data {
        Some(InfoData::Bridge(options)) => ObservedKind::Bridge { plain: is_plain(options) },
        Some(InfoData::Vxlan(options)) => ObservedKind::Vxlan(vxlan(options)),
        _ if kind_name == "veth" => ObservedKind::Veth { peer: None },
        _ => ObservedKind::Other(kind_name.clone()),
    };
    Some(RawLink {
        index: message.header.index,
        name,
        kind,
        kind_name,
        mac: first!(attributes, LinkAttribute::Address(mac) => mac_addr(mac)),
        mtu: first!(attributes, LinkAttribute::Mtu(mtu) => Some(*mtu)).unwrap_or_default(),
        gso_max_size: first!(attributes, LinkAttribute::GsoMaxSize(size) => Some(*size)).unwrap_or_default(),
        up: message.header.flags.contains(LinkFlags::Up),
        master: first!(attributes, LinkAttribute::Controller(index) => Some(*index)),
        isolated: first!(info, LinkInfo::PortData(InfoPortData::BridgePort(options)) => Some(options))
            .is_some_and(|options| options.contains(&InfoBridgePort::Isolated(true))),
        other_end: first!(attributes, LinkAttribute::Link(index) => Some(*index)),
        other_netns: first!(attributes, LinkAttribute::LinkNetNsId(id) => Some(*id)),
        bridge_mode: matches!(data, Some(InfoData::MacVlan(options))
            if options.contains(&InfoMacVlan::Mode(MacVlanMode::Bridge))),
    })
}

fn is_plain(options: &[InfoBridge]) -> bool {
    !options.iter().any(|option| {
        if let InfoBridge::StpState(state) = option {
            *state != BridgeStpState::Disabled
        } else {
            matches!(
                option,
                InfoBridge::MulticastSnooping(true)
                    | InfoBridge::NfCallIpTables(true)
                    | InfoBridge::NfCallIp6Tables(true)
                    | InfoBridge::NfCallArpTables(true)
            )
        }
    })
}

fn vxlan(options: &[InfoVxlan]) -> ObservedVxlan {
    let local = first!(options, InfoVxlan::Local(local) => Some(IpAddr::V4(*local)));
    let on = |wanted: InfoVxlan| options.contains(&wanted);
    ObservedVxlan {
        vni: first!(options, InfoVxlan::Id(id) => Vni::new(*id).ok())
            .filter(|_| !on(InfoVxlan::CollectMetadata(true))),
        local: local.or_else(|| first!(options, InfoVxlan::Local6(local) => Some(IpAddr::V6(*local)))),
        port: first!(options, InfoVxlan::Port(port) => Some(*port)).unwrap_or_default(),
        learning: on(InfoVxlan::Learning(true)),
        proxy: on(InfoVxlan::Proxy(true)),
        l2miss: on(InfoVxlan::L2Miss(true)),
        l3miss: on(InfoVxlan::L3Miss(true)),
        checksums: on(InfoVxlan::UDPCsum(true)),
    }
}

/// The number of a namespace; `None` if it has none.
pub(super) fn number(message: &NsidMessage) -> Option<i32> {
    first!(message.attributes, NsidAttribute::Id(id) => Some(*id)).filter(|id| *id >= 0)
}

/// The number of the link, and an address with the length of its network.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let attributes = &message.attributes;
    let local = first!(attributes, AddressAttribute::Local(addr) => Some(*addr));
    let addr = local.or_else(|| first!(attributes, AddressAttribute::Address(addr) => Some(*addr)))?;
    Some((message.header.index, IpNet::new(addr, message.header.prefix_len).ok()?))
}

/// The number of the link, and a permanent neighbour.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(u32, IpAddr, MacAddr)> {
    if message.header.state != NeighbourState::Permanent || message.header.family == AddressFamily::Bridge {
        return None;
    }
    let ip = first!(message.attributes, NeighbourAttribute::Destination(addr) => ip_addr(addr))?;
    let mac = first!(message.attributes, NeighbourAttribute::LinkLayerAddress(mac) => mac_addr(mac))?;
    Some((message.header.ifindex, ip, mac))
}

/// A tunnel's forwarding entry, with the number of its device.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawFdb {
    pub(super) index: u32,
    pub(super) mac: MacAddr,
    pub(super) dst: IpAddr,
    pub(super) vni: Option<Vni>,
}

pub(super) fn fdb(message: &NeighbourMessage) -> Option<RawFdb> {
    let attributes = &message.attributes;
    Some(RawFdb {
        index: message.header.ifindex,
        mac: first!(attributes, NeighbourAttribute::LinkLayerAddress(mac) => mac_addr(mac))?,
        dst: first!(attributes, NeighbourAttribute::Destination(addr) => ip_addr(addr))?,
        vni: first!(attributes, NeighbourAttribute::Vni(vni) => Vni::new(*vni).ok()),
    })
}

/// A unicast route, with the number of its device and who made it.
#[derive(Clone, Debug)]
pub(super) struct RawRoute {
    pub(super) index: Option<u32>,
    pub(super) protocol: RouteProtocol,
    pub(super) metric: u32,
    pub(super) mtu: Option<u32>,
    /// Without the device.
    pub(super) route: Route,
}

pub(super) fn route(message: &RouteMessage) -> Option<RawRoute> {
    let (header, attributes) = (&message.header, &message.attributes);
    let unicast = header.kind == RouteType::Unicast || header.kind == RouteType::Local;
    if !unicast || header.flags.contains(RouteFlags::Cloned) && header.destination_prefix_length == 0 {
        return None;
    }
    let family = family(header.address_family)?;
    let dest = first!(attributes, RouteAttribute::Destination(addr) => route_addr(addr));
    let dest = dest.unwrap_or_else(|| family.any().addr());
    let metrics: &[RouteMetric] =
        first!(attributes, RouteAttribute::Metrics(metrics) => Some(metrics.as_slice())).unwrap_or_default();
    Some(RawRoute {
        index: first!(attributes, RouteAttribute::Oif(index) => Some(*index)),
        protocol: header.protocol,
        metric: first!(attributes, RouteAttribute::Priority(metric) => Some(*metric)).unwrap_or_default(),
        mtu: first!(metrics, RouteMetric::Mtu(mtu) => Some(*mtu)),
        route: Route {
            table: first!(attributes, RouteAttribute::Table(table) => Some(*table))
                .unwrap_or_else(|| header.table.into()),
            dest: IpNet::new(dest, header.destination_prefix_length).ok()?,
            via: first!(attributes, RouteAttribute::Gateway(addr) => route_addr(addr)),
            dev: None,
            onlink: header.flags.contains(RouteFlags::Onlink),
            src: first!(attributes, RouteAttribute::PrefSource(addr) => route_addr(addr)),
        },
    })
}

pub(super) fn rule(message: &RuleMessage) -> Option<Rule> {
    let (header, attributes) = (&message.header, &message.attributes);
    if header.action != RuleAction::ToTable {
        return None;
    }
    let family = family(header.family)?;
    let mask = first!(attributes, RuleAttribute::FwMask(mask) => Some(*mask));
    let value = first!(attributes, RuleAttribute::FwMark(value) => Some(*value));
    let from = first!(attributes, RuleAttribute::Source(addr) => IpNet::new(*addr, header.src_len).ok());
    let to = first!(attributes, RuleAttribute::Destination(addr) => IpNet::new(*addr, header.dst_len).ok());
    Some(Rule {
        family,
        pref: first!(attributes, RuleAttribute::Priority(pref) => Some(*pref)).unwrap_or_default(),
        iif: first!(attributes, RuleAttribute::Iifname(name) => LinkName::new(name.as_str()).ok()),
        mark: mask.map(|mask| Mark { value: value.unwrap_or_default(), mask }),
        from,
        to,
        table: first!(attributes, RuleAttribute::Table(table) => Some(*table))
            .unwrap_or_else(|| header.table.into()),
    })
}

fn family(family: AddressFamily) -> Option<Family> {
    if family == AddressFamily::Inet {
        Some(Family::V4)
    } else if family == AddressFamily::Inet6 {
        Some(Family::V6)
    } else {
        None
    }
}

fn mac_addr(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(|octets: [u8; 6]| MacAddr::new(octets))
}

/// The kernel's forwarding entries do not say of which family the tunnel's end is; its length does.
fn ip_addr(addr: &NeighbourAddress) -> Option<IpAddr> {
    if let NeighbourAddress::Inet(addr) = addr {
        Some(IpAddr::V4(*addr))
    } else if let NeighbourAddress::Inet6(addr) = addr {
        Some(IpAddr::V6(*addr))
    } else if let NeighbourAddress::Other(bytes) = addr {
        let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
    } else {
        None
    }
}

fn route_addr(addr: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(addr) = addr {
        Some(IpAddr::V4(*addr))
    } else if let RouteAddress::Inet6(addr) = addr {
        Some(IpAddr::V6(*addr))
    } else {
        None
    }
}
