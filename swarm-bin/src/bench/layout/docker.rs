//! As Docker does it: in a namespace of their own a bridge and a VXLAN device, a veth pair to the container.
//!
//! The device is made in the host's namespace and moved, so that its UDP socket stays there. It learns, answers ARP from
//! its neighbour table, and its forwarding entries are permanent. Netfilter of bridges stays as the kernel has it.

use std::fmt::Write as _;

use super::super::error::BenchError;
use super::super::lab::{Built, Container, Host, Site, VXLAN_MTU, netns, path, vni};
use super::super::program::{BRIDGE, IP, finish};

/// Builds it.
///
/// # Errors
///
/// iproute2 is absent, or the kernel refused.
pub(super) fn build(site: &Site) -> Result<Built, BenchError> {
    let hosts = site.hosts()?;
    let [one, two] = Container::pair()?;
    let [a, b] = &hosts;
    let sandboxes = [half(a, &one, b, &two)?, half(b, &two, a, &one)?];
    let mut built = Built::between(one.netns, two.netns, two.addr);
    built.between = hosts.map(|host| host.netns).into_iter().chain(sandboxes).collect();
    Ok(built)
}

fn half(
    host: &Host,
    container: &Container,
    far_host: &Host,
    far: &Container,
) -> Result<std::sync::Arc<overlay_linux::netns::NetNs>, BenchError> {
    let sandbox = netns()?;
    let mut made = String::new();
    let _ = writeln!(
        made,
        "link add vxlan0 mtu {VXLAN_MTU} type vxlan id {vni} dstport 4789 learning proxy l2miss l3miss\n\
         link set vxlan0 netns {}",
        path(&sandbox),
        vni = vni(0)?,
    );
    batch(&host.netns, &made)?;
    let mut made = String::new();
    let _ = writeln!(
        made,
        "link add br0 mtu {VXLAN_MTU} type bridge\n\
         addr add 10.0.9.1/24 dev br0\n\
         link set br0 up\n\
         link set vxlan0 mtu {VXLAN_MTU} master br0 up\n\
         link add veth0 mtu {VXLAN_MTU} type veth peer name eth0 mtu {VXLAN_MTU} address {mac} netns {there}\n\
         link set veth0 master br0 up\n\
         neigh add {ip} lladdr {far_mac} dev vxlan0 nud permanent",
        mac = container.mac,
        there = path(&container.netns),
        ip = far.addr,
        far_mac = far.mac,
    );
    batch(&sandbox, &made)?;
    let (mac, dst) = (far.mac.to_string(), far_host.addr.to_string());
    BRIDGE.run(&sandbox, &["fdb", "add", &mac, "dev", "vxlan0", "dst", &dst, "self", "permanent"])?;
    batch(&container.netns, &format!("addr add {} dev eth0\nlink set eth0 up\n", container.net()))?;
    Ok(sandbox)
}

/// Several lines for `ip` at once.
fn batch(netns: &overlay_linux::netns::NetNs, lines: &str) -> Result<(), BenchError> {
    let mut command = IP.command()?;
    command.args(["-batch", "-"]);
    finish(netns, command, lines).map(drop)
}
