//! Ours in the kernel: a VXLAN device that answers from tables and learns nothing.
//!
//! The container has a macvlan on the device itself, or, as in Docker's layout, a veth pair to a bridge.

use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{Desired, FdbEntry, Link, NeighbourKey, Vxlan};

use super::super::error::BenchError;
use super::super::lab::{Built, Container, Host, Site, VNI, VXLAN_MTU, converge, name};

/// Builds it with macvlans.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn macvlan(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Macvlan, 0)
}

/// Builds it with macvlans, and many forwarding entries that no packet needs.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn crowded(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Macvlan, CROWD)
}

/// Builds it with bridges.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn bridge(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Bridge, 0)
}

#[derive(Clone, Copy)]
enum Attached {
    Macvlan,
    Bridge,
}

fn build(site: &Site, how: Attached, crowd: u16) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [one, two] = Container::pair()?;
    let [a, b] = &hosts;
    for (host, container, far_host, far) in [(a, &one, b, &two), (b, &two, a, &one)] {
        let mut desired = half(host, container, how)?;
        let dev = name(TUNNEL)?;
        desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: far.addr.into() }, far.mac);
        let strangers = (0..crowd).map(stranger);
        for mac in std::iter::once(far.mac).chain(strangers) {
            desired.fdb.insert(FdbEntry { dev: dev.clone(), mac, dst: far_host.addr.into(), vni: None });
        }
        converge(&host.netns, &[TUNNEL, "ob", "ve"], &desired)?;
    }
    let mut built = Built::between(one.netns, two.netns, two.addr);
    built.between = hosts.map(|host| host.netns).into();
    Ok(built)
}

fn half(host: &Host, container: &Container, how: Attached) -> Result<Desired, BenchError> {
    let vni = Vni::new(VNI).map_err(|error| BenchError::Report { report: error.to_string() })?;
    let tunnel = Link::vxlan(Vxlan::new(vni, host.addr.into()).proxied()).with_mtu(VXLAN_MTU);
    let peer = container.peer(VXLAN_MTU)?;
    let mut desired = Desired::default();
    match how {
        Attached::Macvlan => {
            desired.links.insert(name(TUNNEL)?, tunnel);
            desired.links.insert(name("ve1")?, Link::macvlan(name(TUNNEL)?, peer));
        }
        Attached::Bridge => {
            let bridge = name("ob1")?;
            desired.links.insert(bridge.clone(), Link::bridge().with_mtu(VXLAN_MTU));
            desired.links.insert(name(TUNNEL)?, tunnel.with_master(bridge.clone()));
            let veth = Link::veth(peer).with_mtu(VXLAN_MTU).with_master(bridge);
            desired.links.insert(name("ve1")?, veth);
        }
    }
    Ok(desired)
}

fn stranger(index: u16) -> MacAddr {
    let [a, b] = index.to_be_bytes();
    MacAddr::new([2, 0x99, 0, 0, a, b])
}

const TUNNEL: &str = "ov1";
const CROWD: u16 = 10_000;
