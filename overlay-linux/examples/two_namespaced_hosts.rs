//! Two hosts and a task on each, in this process: an overlay network between them, then a connection over it.
//! Runs as root or, in a user namespace, as anybody.
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "the example sends real traffic and prints"
)]

use std::error::Error;
use std::io::{Write, read_to_string};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{Desired, FdbEntry, Link, LinkName, NeighbourKey, Netlink, Peer, Scope, Vxlan};
use overlay_linux::{netns::NetNs, userns};

const OURS: [&str; 3] = ["ob", "ov", "ve"];

struct Task {
    netns: Arc<NetNs>,
    ip: Ipv4Addr,
}

fn main() -> Result<(), Box<dyn Error>> {
    NetNs::create().map(drop).or_else(|_| userns::enter_as_root())?;
    // The wire between the hosts.
    let (host_a, host_b) = (NetNs::create()?, Arc::new(NetNs::create()?));
    let (ip_a, ip_b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let far_end = Peer::new(host_b.clone(), LinkName::new("eth0")?).with_address(IpNet::new(ip_b, 24)?);
    let mut wire = Desired::default();
    wire.links.insert(LinkName::new("eth0")?, Link::veth(far_end).with_address(IpNet::new(ip_a, 24)?));
    print!("{}", Netlink::open_in(&host_a)?.converge(&Scope::links(["eth"]), &wire)?);

    // The network 10.0.1.0/24 over it.
    let one = Task { netns: Arc::new(NetNs::create()?), ip: "10.0.1.5".parse()? };
    let two = Task { netns: Arc::new(NetNs::create()?), ip: "10.0.1.6".parse()? };
    for (host, desired) in
        [(&host_a, overlay(ip_a, &one, ip_b, two.ip)?), (&host_b, overlay(ip_b, &two, ip_a, one.ip)?)]
    {
        let netlink = Netlink::open_in(host)?;
        print!("{}", netlink.converge(&Scope::links(OURS), &desired)?);
        assert!(netlink.converge(&Scope::links(OURS), &desired)?.is_idle(), "nothing is left to do");
    }

    // A connection from task to task.
    let listener = two.netns.run(|| TcpListener::bind((two.ip, 80)))??;
    let client = one.netns.run(|| TcpStream::connect((two.ip, 80)))??;
    let (mut served, from) = listener.accept()?;
    served.write_all(format!("hello, {}", from.ip()).as_bytes())?;
    drop(served);
    println!("{} says: {}", two.ip, read_to_string(client)?);
    Ok(())
}

/// What one host needs: a bridge, a tunnel, its task, and where the other task is.
fn overlay(
    host: IpAddr,
    task: &Task,
    other_host: IpAddr,
    other: Ipv4Addr,
) -> Result<Desired, Box<dyn Error>> {
    let (bridge, tunnel) = (LinkName::new("ob001001")?, LinkName::new("ov001001")?);
    let vxlan = Link::vxlan(Vxlan::new(Vni::new(4097)?, host).proxied()).with_mtu(1450_u32);
    let eth0 = Peer::new(task.netns.clone(), LinkName::new("eth0")?)
        .with_mac(MacAddr::from_ipv4(task.ip))
        .with_mtu(1450_u32)
        .with_address(Ipv4Net::new(task.ip, 24)?);
    let mac = MacAddr::from_ipv4(other);
    let mut desired = Desired::default();
    desired.links.insert(bridge.clone(), Link::bridge());
    desired.links.insert(LinkName::new("ve1")?, Link::veth(eth0).with_master(bridge.clone()));
    desired.links.insert(tunnel.clone(), vxlan.with_master(bridge));
    let key = NeighbourKey { dev: tunnel.clone(), ip: other.into() };
    desired.neighbours.insert(key, mac);
    desired.fdb.insert(FdbEntry { dev: tunnel, mac, dst: other_host, vni: None });
    Ok(desired)
}
