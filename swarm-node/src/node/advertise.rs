//! Which address does a node tell the others? The texts of the refusals are Docker's.

use std::net::{IpAddr, SocketAddr};

use overlay_linux::link::{Interface, Netlink};
use swarm_state::{Rejection, RejectionKind};

use crate::dataplane::outside_devices;

/// What `--advertise-addr` and `--data-path-addr` mean here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) advertise: IpAddr,
    pub(super) data_path: IpAddr,
    /// Where the manager listens.
    pub(super) listen: SocketAddr,
    /// Port that others use for the manager.
    pub(super) port: u16,
}

/// `towards` is a manager that the node is going to join: without `--advertise-addr` the address is the one that leads there.
pub(super) fn resolve(
    (listen, advertise, data_path): (&str, &str, &str),
    default_port: u16,
    towards: Option<IpAddr>,
) -> Result<Addresses, Rejection> {
    let netlink = Netlink::open().map_err(|error| internal(&error.to_string()))?;
    let interfaces = netlink.interfaces().map_err(|error| internal(&error.to_string()))?;
    let listen = listen_addr(listen, &interfaces, default_port)?;
    let (addr, port) = split_port(advertise);
    let advertise = match (addr, towards) {
        ("", Some(manager)) => {
            let route = netlink.route_to(manager).map_err(|error| internal(&error.to_string()))?;
            match route.and_then(|route| route.src) {
                Some(addr) => addr,
                None => only_address(&interfaces)?,
            }
        }
        ("", None) if !listen.ip().is_unspecified() => listen.ip(),
        ("", None) => only_address(&interfaces)?,
        (addr, _) => named(addr, &interfaces)?,
    };
    let data_path = match split_port(data_path).0 {
        "" => advertise,
        addr => named(addr, &interfaces)?,
    };
    Ok(Addresses { advertise, data_path, listen, port: port.unwrap_or_else(|| listen.port()) })
}

fn listen_addr(text: &str, interfaces: &[Interface], default_port: u16) -> Result<SocketAddr, Rejection> {
    let (addr, port) = split_port(text);
    let ip = match addr {
        "" => IpAddr::from([0, 0, 0, 0]),
        addr => match addr.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => named(addr, interfaces)?,
        },
    };
    // The CLI always names Docker's port: a node that was told to use another one means that one.
    let port = port.filter(|port| *port != 2377).unwrap_or(default_port);
    Ok(SocketAddr::new(ip, port))
}

/// `addr:port`, `addr`, `[v6]:port`, `eth1:2377`.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((addr, port)) if port.parse::<u16>().is_ok() => {
            (addr.trim_start_matches('[').trim_end_matches(']'), port.parse().ok())
        }
        _ => (text, None),
    }
}

/// An address of this host, or the only address of one of its interfaces.
fn named(text: &str, interfaces: &[Interface]) -> Result<IpAddr, Rejection> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        if ip.is_unspecified() {
            return Err(invalid(NOT_AN_ADDRESS));
        }
        let ours = interfaces.iter().any(|interface| interface.addresses.iter().any(|net| net.addr() == ip));
        return if ours { Ok(ip) } else { Err(invalid(FOREIGN)) };
    }
    let interface = interfaces.iter().find(|interface| interface.name.as_str() == text);
    let interface = interface.ok_or_else(|| invalid(NOT_AN_ADDRESS))?;
    let of_family = |v4: bool| -> Vec<IpAddr> {
        let usable = |ip: &IpAddr| ip.is_ipv4() == v4 && !is_link_local(*ip);
        interface.addresses.iter().map(ipnet::IpNet::addr).filter(usable).collect()
    };
    match (of_family(true).as_slice(), of_family(false).as_slice()) {
        ([ip], _) | ([], [ip]) => Ok(*ip),
        ([a, b, ..], _) => {
            Err(invalid(&format!("interface {text} has more than one IPv4 address ({a} and {b})")))
        }
        ([], [a, b, ..]) => {
            Err(invalid(&format!("interface {text} has more than one IPv6 address ({a} and {b})")))
        }
        ([], []) => Err(invalid(&format!("interface {text} has no usable IPv4 or IPv6 address"))),
    }
}

/// The one address of the machine that others can reach.
fn only_address(interfaces: &[Interface]) -> Result<IpAddr, Rejection> {
    let outside = outside_devices(interfaces);
    let candidates: Vec<(&str, IpAddr)> = interfaces
        .iter()
        .filter(|interface| outside.contains(interface.name.as_str()))
        .flat_map(|interface| interface.addresses.iter().map(|net| (interface.name.as_str(), net.addr())))
        .filter(|(_, ip)| ip.is_ipv4() && !is_link_local(*ip))
        .collect();
    let ask = "specify one with --advertise-addr";
    let several = "could not choose an IP address to advertise since this system has multiple addresses";
    match candidates.as_slice() {
        [(_, ip)] => Ok(*ip),
        [] => Err(invalid(&format!("could not find the system's IP address - {ask}"))),
        [(first, a), (second, b), ..] if first == second => {
            Err(invalid(&format!("{several} on interface {first} ({a} and {b}) - {ask}")))
        }
        [(first, a), (second, b), ..] => Err(invalid(&format!(
            "{several} on different interfaces ({a} on {first} and {b} on {second}) - {ask}"
        ))),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

const NOT_AN_ADDRESS: &str =
    "advertise address must be a non-zero IP address or network interface (with optional port number)";
const FOREIGN: &str = "must specify a listening address because the address to advertise is not recognized as a system address, and a system's IP address to use could not be uniquely identified";

fn invalid(text: &str) -> Rejection {
    Rejection::plain(RejectionKind::InvalidArgument, text)
}

fn internal(text: &str) -> Rejection {
    Rejection::plain(RejectionKind::Internal, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_and_without_port() {
        assert_eq!(split_port("eth1"), ("eth1", None));
        assert_eq!(split_port("eth1:2400"), ("eth1", Some(2400)));
        assert_eq!(split_port("192.0.2.1:2377"), ("192.0.2.1", Some(2377)));
        assert_eq!(split_port("fd00::1"), ("fd00::1", None));
        assert_eq!(split_port("[fd00::1]:2377"), ("fd00::1", Some(2377)));
    }
}
