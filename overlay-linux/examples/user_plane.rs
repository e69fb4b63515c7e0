//! Two hosts and a task on each, in this process: an encrypted overlay network in user space, then a connection over it.
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

use ipnet::IpNet;
use overlay_core::seal::{Algorithm, KeyId, SealKey};
use overlay_core::{Location, MacAddr, Network, PortId, Vni, mtu};
use overlay_linux::link::{Desired, Link, LinkName, Netlink, Peer, Scope};
use overlay_linux::user::{Attachment, PacketSocket, PlaneConfig, UserPlane};
use overlay_linux::{netns::NetNs, userns};

const PORT: PortId = PortId::new(1);

fn main() -> Result<(), Box<dyn Error>> {
    NetNs::create().map(drop).or_else(|_| userns::enter_as_root())?;
    // The wire between the hosts.
    let (host_a, host_b) = (NetNs::create()?, Arc::new(NetNs::create()?));
    let (ip_a, ip_b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let far_end = Peer::new(host_b.clone(), LinkName::new("eth0")?).with_address(IpNet::new(ip_b, 24)?);
    let wire = Link::veth(far_end).with_address(IpNet::new(ip_a, 24)?);
    converge(&host_a, "eth0", wire)?;

    // A task on each host, and a plane that connects it with the other.
    let (one, two) = (Ipv4Addr::new(10, 0, 1, 5), Ipv4Addr::new(10, 0, 1, 6));
    let (task_one, plane_a) = join(&host_a, one, ip_b, two)?;
    let (task_two, plane_b) = join(&host_b, two, ip_a, one)?;

    // A connection from task to task.
    let listener = task_two.run(|| TcpListener::bind((two, 80)))??;
    let client = task_one.run(|| TcpStream::connect((two, 80)))??;
    let (mut served, from) = listener.accept()?;
    served.write_all(format!("hello, {}", from.ip()).as_bytes())?;
    drop(served);
    println!("{two} says: {}", read_to_string(client)?);
    println!("datagrams sealed: {} and {}", plane_a.stats().seal.sealed, plane_b.stats().seal.sealed);
    Ok(())
}

/// A task's namespace with the address `own` on this host, and the plane for it.
fn join(
    host: &NetNs,
    own: Ipv4Addr,
    other_host: IpAddr,
    other: Ipv4Addr,
) -> Result<(Arc<NetNs>, UserPlane), Box<dyn Error>> {
    let (task, mtu) = (Arc::new(NetNs::create()?), mtu::inner_sealed(1500, false));
    let [own_mac, other_mac] = [own, other].map(MacAddr::from_ipv4);
    let eth0 = Peer::new(task.clone(), LinkName::new("eth0")?).with_mac(own_mac).with_mtu(mtu);
    converge(host, "ve1", Link::veth(eth0.with_address(IpNet::new(own.into(), 24)?)).with_mtu(mtu))?;
    let index = Netlink::open_in(host)?.interface("ve1")?.ok_or("no ve1")?.index;

    let vni = Vni::new(4097)?;
    let plane = host.run(|| UserPlane::start(PlaneConfig::default()))??;
    plane.attach(PORT, Attachment::Packet(host.run(|| PacketSocket::open(index))??))?;
    let key = SealKey::new(Algorithm::Aes128Gcm, b"sixteen secrets.")?;
    plane.set_keys(vni, KeyId::new(1), [(KeyId::new(1), key)].into())?;
    let stations = [(own_mac, Location::Port(PORT)), (other_mac, Location::Endpoint(other_host))].into();
    let neighbours = [(other.into(), other_mac)].into();
    plane.set_network(vni, Network { stations, neighbours, sealed: true, ..Network::default() })?;
    Ok((task, plane))
}

fn converge(host: &NetNs, name: &str, link: Link) -> Result<(), Box<dyn Error>> {
    let mut desired = Desired::default();
    desired.links.insert(LinkName::new(name)?, link);
    print!("{}", Netlink::open_in(host)?.converge(&Scope::links([name]), &desired)?);
    Ok(())
}
