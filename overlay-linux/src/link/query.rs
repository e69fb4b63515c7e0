use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use nix::errno::Errno;
use overlay_core::MacAddr;

use super::decode;
use super::{Family, LinkError, LinkName, Netlink, Route, encode};

/// An interface of the namespace, whoever made it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: LinkName,
    /// The kernel's word for its sort: `veth`, `bridge`, `vxlan`; `loopback`, or `device` for hardware.
    pub kind: String,
    /// Its hardware address, if it is one of six bytes.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Whether it is set to carry traffic.
    pub up: bool,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
    /// The device that it is a port of.
    pub master: Option<LinkName>,
}

/// How the kernel would send a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteTo {
    /// The interface.
    pub dev: LinkName,
    /// The source address.
    pub src: Option<IpAddr>,
    /// The next hop; `None`: the destination is on the link.
    pub via: Option<IpAddr>,
    /// The largest packet in bytes: that of the route, or else of the interface.
    pub mtu: u32,
}

impl Netlink {
    /// All interfaces, by number.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the lists cannot be read.
    pub fn interfaces(&self) -> Result<Vec<Interface>, LinkError> {
        let table = self.links_and_addresses()?;
        let interface = |raw: &decode::RawLink| Interface {
            index: raw.index,
            name: raw.name.clone(),
            kind: raw.kind_name.clone(),
            mac: raw.mac,
            mtu: raw.mtu,
            up: raw.up,
            addresses: table.addresses.get(&raw.index).cloned().unwrap_or_default(),
            master: raw.master.and_then(|index| table.name(index)).cloned(),
        };
        Ok(table.links.values().map(interface).collect())
    }

    /// One interface; `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`interfaces`](Self::interfaces).
    pub fn interface(&self, name: &str) -> Result<Option<Interface>, LinkError> {
        Ok(self.interfaces()?.into_iter().find(|interface| interface.name.as_str() == name))
    }

    /// How a packet to `ip` would leave; `None` if it could not.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the kernel cannot be asked.
    pub fn route_to(&self, ip: IpAddr) -> Result<Option<RouteTo>, LinkError> {
        let mut question = RouteMessage::default();
        question.header.address_family = encode::family(Family::of(ip));
        question.header.destination_prefix_length = IpNet::from(ip).prefix_len();
        question.attributes.push(RouteAttribute::Destination(ip.into()));
        let answer = match self.ask(RouteNetlinkMessage::GetRoute(question), 0) {
            Err(refusal) if matches!(refusal.errno(), Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH)) => {
                return Ok(None);
            }
            answer => answer.map_err(|refusal| refusal.of(format!("route to {ip}"), None))?,
        };
        let route = answer.into_iter().find_map(|message| {
            if let RouteNetlinkMessage::NewRoute(message) = message { decode::route(&message) } else { None }
        });
        let Some(route) = route else { return Ok(None) };
        let table = self.links_and_addresses()?;
        let Some(link) = route.index.and_then(|index| table.links.get(&index)) else { return Ok(None) };
        Ok(Some(RouteTo {
            dev: link.name.clone(),
            src: route.route.src,
            via: route.route.via,
            mtu: route.mtu.unwrap_or(link.mtu),
        }))
    }

    /// The preferred default route of the main table; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`routes`](Self::routes).
    pub fn default_route(&self, family: Family) -> Result<Option<Route>, LinkError> {
        Ok(self.routes()?.into_iter().find(|route| route.dest == family.any()))
    }

    /// The unicast routes of the main table, whoever made them, by destination and then by preference.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the lists cannot be read.
    pub fn routes(&self) -> Result<Vec<Route>, LinkError> {
        let table = self.links_and_addresses()?;
        let mut routes = self.raw_routes()?;
        routes.retain(|raw| raw.route.table == Route::MAIN);
        routes.sort_by_key(|raw| (raw.route.dest, raw.metric));
        Ok(routes.into_iter().map(|raw| table.with_dev(raw)).collect())
    }

    /// The networks that this host is part of: what a new network must not overlap.
    ///
    /// They come from the kernel's own routes; link-local ones are left out.
    ///
    /// # Errors
    ///
    /// As [`routes`](Self::routes).
    pub fn on_link_networks(&self) -> Result<BTreeSet<IpNet>, LinkError> {
        let own = |dest: &IpNet| !matches!(dest.addr(), IpAddr::V6(addr) if addr.is_unicast_link_local());
        Ok(self
            .raw_routes()?
            .into_iter()
            .filter(|raw| raw.route.table == Route::MAIN && raw.route.via.is_none())
            .filter(|raw| raw.protocol == RouteProtocol::Kernel || raw.route.dest.prefix_len() > 0)
            .map(|raw| raw.route.dest)
            .filter(own)
            .collect())
    }
}
