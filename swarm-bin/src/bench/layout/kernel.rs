//! Ours in the kernel: a VXLAN device that answers from tables and learns nothing.
//!
//! The container has a macvlan on the device itself, or, as in Docker's layout, a veth pair to a bridge.

use overlay_linux::link::{Desired, FdbEntry, Link, NeighbourKey, Vxlan};

use super::super::error::BenchError;
use super::super::lab::{Built, Container, Crowd, Host, Site, VXLAN_MTU, converge, name, stranger, vni};

/// Builds it with macvlans.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn macvlan(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Macvlan, Crowd::default())
}

/// Builds it with macvlans, and 10 000 forwarding entries that no packet needs.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn stations(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Macvlan, Crowd { stations: 10_000, networks: 0 })
}

/// Builds it with macvlans, and 255 networks that no packet belongs to.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn networks(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Macvlan, Crowd { stations: 0, networks: 255 })
}

/// Builds it with bridges.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn bridge(site: &Site) -> Result<Built, BenchError> {
    build(site, Attached::Bridge, Crowd::default())
}

#[derive(Clone, Copy)]
enum Attached {
    Macvlan,
    Bridge,
}

fn build(site: &Site, how: Attached, crowd: Crowd) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [one, two] = Container::pair()?;
    let [a, b] = &hosts;
    for (host, container, far_host, far) in [(a, &one, b, &two), (b, &two, a, &one)] {
        let mut desired = half(host, container, how)?;
        let dev = name(TUNNEL)?;
        desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: far.addr.into() }, far.mac);
        let strangers = (0..crowd.stations).map(stranger);
        for mac in std::iter::once(far.mac).chain(strangers) {
            desired.fdb.insert(FdbEntry { dev: dev.clone(), mac, dst: far_host.addr.into(), vni: None });
        }
        for further in 1..=crowd.networks {
            let tunnel = Link::vxlan(Vxlan::new(vni(further)?, host.addr.into()).proxied());
            desired.links.insert(name(&format!("of{further}"))?, tunnel);
        }
        converge(&host.netns, &["ov", "of", "ob", "ve"], &desired)?;
    }
    let mut built = Built::between(one.netns, two.netns, two.addr);
    built.between = hosts.map(|host| host.netns).into();
    Ok(built)
}

fn half(host: &Host, container: &Container, how: Attached) -> Result<Desired, BenchError> {
    let tunnel = Link::vxlan(Vxlan::new(vni(0)?, host.addr.into()).proxied()).with_mtu(VXLAN_MTU);
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

const TUNNEL: &str = "ov1";
