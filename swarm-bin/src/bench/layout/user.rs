//! Ours in user space: on each host a process with the plane, as in production.

use overlay_linux::link::{Desired, Link, Netlink};
use overlay_linux::user::limit_gso;

use super::super::error::BenchError;
use super::super::host::{Attach, HostArgs};
use super::super::lab::{Built, Container, Host, Site, VXLAN_MTU, converge, dress, name, path};
use super::super::load::{PATIENCE, READY};
use super::super::program::Talking;

/// Builds it with packet sockets on veth pairs.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn packet(site: &Site) -> Result<Built, BenchError> {
    build(site, false, None)
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
    build(site, true, None)
}

/// The same as [`packet`], encrypted with AES-128-GCM.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed(site: &Site) -> Result<Built, BenchError> {
    build(site, false, Some("aes-128-gcm"))
}

/// The same as [`packet`], encrypted with AES-256-GCM.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed_256(site: &Site) -> Result<Built, BenchError> {
    build(site, false, Some("aes-256-gcm"))
}

/// The same as [`packet`], encrypted with ChaCha20-Poly1305.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn sealed_chacha(site: &Site) -> Result<Built, BenchError> {
    build(site, false, Some("chacha20-poly1305"))
}

fn build(site: &Site, tap: bool, seal: Option<&'static str>) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [one, two] = Container::pair()?;
    let [a, b] = &hosts;
    let mtu = if seal.is_some() { VXLAN_MTU - overlay_core::seal::Seal::OVERHEAD } else { VXLAN_MTU };
    let mut planes = Vec::new();
    for (host, own, far_host, far) in [(a, &one, b, &two), (b, &two, a, &one)] {
        let attach = if tap {
            Attach::Tap { netns: path(&own.netns).into() }
        } else {
            veth(host, own, mtu)?;
            Attach::Packet { dev: NEAR.to_owned() }
        };
        let command = HostArgs::command(site, attach, [(host, own), (far_host, far)], (mtu, seal));
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

const NEAR: &str = "ve1";
