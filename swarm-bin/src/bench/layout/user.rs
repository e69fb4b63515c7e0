//! Ours in user space: on each host a process with the plane, as in production.

use overlay_core::seal::{Algorithm, Seal};
use overlay_linux::link::{Desired, Link, Netlink};
use overlay_linux::user::limit_gso;

use super::super::error::BenchError;
use super::super::host::{Attach, HostArgs, Inside};
use super::super::lab::{Built, Container, Crowd, Host, Site, VXLAN_MTU, converge, dress, name, path};
use super::super::load::{PATIENCE, READY};
use super::super::program::Talking;

/// Builds it with packet sockets on veth pairs.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn packet(site: &Site) -> Result<Built, BenchError> {
    build(site, false, PLAIN)
}

/// The same with 10 000 further stations.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn stations(site: &Site) -> Result<Built, BenchError> {
    build(site, false, Inside { crowd: Crowd { stations: 10_000, networks: 0 }, ..PLAIN })
}

/// The same with 255 further networks.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn networks(site: &Site) -> Result<Built, BenchError> {
    build(site, false, Inside { crowd: Crowd { stations: 0, networks: 255 }, ..PLAIN })
}

/// Builds it with TAP devices in the containers.
///
/// # Errors
///
/// There is no `/dev/net/tun`, or the kernel refused.
pub(super) fn tap(site: &Site) -> Result<Built, BenchError> {
    if !std::path::Path::new("/dev/net/tun").exists() {
        let (what, remedy) = ("/dev/net/tun".to_owned(), "modprobe tun".to_owned());
        return Err(BenchError::Absent { what, remedy });
    }
    build(site, true, PLAIN)
}

/// The same as [`packet`], encrypted with AES-128-GCM.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed(site: &Site) -> Result<Built, BenchError> {
    build(site, false, encrypted(Algorithm::Aes128Gcm))
}

/// The same as [`packet`], encrypted with AES-256-GCM.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed_256(site: &Site) -> Result<Built, BenchError> {
    build(site, false, encrypted(Algorithm::Aes256Gcm))
}

/// The same as [`packet`], encrypted with ChaCha20-Poly1305.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed_chacha(site: &Site) -> Result<Built, BenchError> {
    build(site, false, encrypted(Algorithm::ChaCha20Poly1305))
}

const fn encrypted(algorithm: Algorithm) -> Inside {
    Inside { seal: Some(algorithm), mtu: VXLAN_MTU - Seal::OVERHEAD, ..PLAIN }
}

fn build(site: &Site, tap: bool, inside: Inside) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [one, two] = Container::pair()?;
    let [a, b] = &hosts;
    let mtu = inside.mtu;
    let mut planes = Vec::new();
    for (host, own, far_host, far) in [(a, &one, b, &two), (b, &two, a, &one)] {
        let attach = if tap {
            Attach::Tap { netns: path(&own.netns).into() }
        } else {
            veth(host, own, mtu)?;
            Attach::Packet { dev: NEAR.to_owned() }
        };
        let command = HostArgs::command(site, attach, [(host, own), (far_host, far)], inside);
        let mut plane = Talking::start(&host.netns, command, Some(&site.log()))?;
        match plane.line(PATIENCE)? {
            line if line == READY => planes.push(plane),
            line => return Err(BenchError::program("bench-host", line)),
        }
        if tap {
            let dressed = |link: Link| link.with_mac(own.mac).with_mtu(mtu).with_address(own.net());
            dress(&own.netns, "eth0", dressed)?;
        }
        let index = Netlink::open_in(&own.netns).map_err(BenchError::system("look for eth0"))?;
        let index = index.interface("eth0")?.map(|eth0| eth0.index).unwrap_or_default();
        limit_gso(&own.netns, index).map_err(BenchError::system("limit the size of super-frames"))?;
    }
    let mut built = Built::between(one.netns, two.netns, two.addr);
    built.planes = planes;
    built.between = hosts.map(|host| host.netns).into();
    Ok(built)
}

/// A pair whose near end is nothing to the host's own network stack.
fn veth(host: &Host, container: &Container, mtu: u16) -> Result<(), BenchError> {
    let mut desired = Desired::default();
    let link = Link::veth(container.peer(mtu)?).with_mtu(mtu);
    desired.links.insert(name(NEAR)?, link);
    for (key, value) in [("ipv6/conf/ve1/disable_ipv6", "1"), ("ipv4/conf/ve1/arp_ignore", "8")] {
        desired.sysctls.insert(format!("net/{key}"), value.to_owned());
    }
    converge(&host.netns, &["ve"], &desired)
}

const PLAIN: Inside = Inside { mtu: VXLAN_MTU, seal: None, crowd: Crowd { stations: 0, networks: 0 } };
const NEAR: &str = "ve1";
