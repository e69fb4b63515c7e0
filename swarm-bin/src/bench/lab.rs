//! What layouts are made of: namespaces, cables, hosts with an underlay between them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::Ipv4Net;
use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{Desired, Interface, Link, LinkName, Netlink, Peer, Scope};
use overlay_linux::netns::NetNs;

use super::error::BenchError;
use super::host::Tuning;
use super::program::{ETHTOOL, Running, Talking};
use crate::clock;

/// A layout that stands: two ends that reach each other, and what keeps them apart from everything else.
#[derive(Debug)]
pub(super) struct Built {
    /// Where the client is.
    pub(super) client: Arc<NetNs>,
    /// Where the server is.
    pub(super) server: Arc<NetNs>,
    /// The server's address, as the client sees it.
    pub(super) addr: Ipv4Addr,
    /// Namespaces between them.
    pub(super) between: Vec<Arc<NetNs>>,
    /// Programs that carry the traffic.
    pub(super) running: Vec<Running>,
    /// The same, of ours.
    pub(super) planes: Vec<Talking>,
}

/// Where a layout keeps files, and how its underlay is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// A directory of its own.
    pub(super) dir: PathBuf,
    /// Whether the underlay cuts what is inside of a tunnel, as few network cards do.
    pub(super) tunnel_offload: bool,
    /// Of the user plane.
    pub(super) tuning: Tuning,
}

/// What else a host knows that no packet of a test needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    /// Further stations of the network, on the other host.
    pub(super) stations: u16,
    /// Further networks.
    pub(super) networks: u16,
}

/// A host: a namespace with `eth0` on the underlay.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) netns: Arc<NetNs>,
    pub(super) addr: Ipv4Addr,
}

/// One of the two ends of an overlay network: a namespace, and who it is there.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) netns: Arc<NetNs>,
    pub(super) addr: Ipv4Addr,
    pub(super) mac: MacAddr,
}

impl Built {
    /// Two ends with nothing yet in between.
    pub(super) fn between(client: Arc<NetNs>, server: Arc<NetNs>, addr: Ipv4Addr) -> Self {
        Self { client, server, addr, between: Vec::new(), running: Vec::new(), planes: Vec::new() }
    }

    /// Whether every program that carries the traffic still runs.
    ///
    /// # Errors
    ///
    /// One ended.
    pub(super) fn check(&mut self) -> Result<(), BenchError> {
        self.running.iter_mut().try_for_each(Running::check)
    }
}

impl Site {
    /// Two hosts with a cable of 1500 bytes between them.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub(super) fn hosts(&self) -> Result<[Host; 2], BenchError> {
        let host = |n| Ok::<_, BenchError>(Host { netns: netns()?, addr: Ipv4Addr::new(192, 0, 2, n) });
        let hosts = [host(1)?, host(2)?];
        let [a, b] = &hosts;
        cable(&a.netns, a.addr, &b.netns, b.addr)?;
        if !self.tunnel_offload {
            for host in &hosts {
                let off = "-K eth0 tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off gro on";
                ETHTOOL.run(&host.netns, &off.split(' ').collect::<Vec<_>>())?;
            }
        }
        Ok(hosts)
    }

    /// Makes the layout's directory and one below it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, BenchError> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(BenchError::system("make a directory"))?;
        Ok(dir)
    }

    /// Where what a program says is kept.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Container {
    /// The two ends of the network 10.0.9.0/24.
    ///
    /// # Errors
    ///
    /// The kernel has no more namespaces.
    pub(super) fn pair() -> Result<[Self; 2], BenchError> {
        let one = |n| {
            let addr = Ipv4Addr::new(10, 0, 9, n);
            Ok::<_, BenchError>(Self { netns: netns()?, addr, mac: MacAddr::from_ipv4(addr) })
        };
        Ok([one(3)?, one(4)?])
    }

    /// Its address with the length of the network.
    pub(super) fn net(&self) -> Ipv4Net {
        net(self.addr)
    }

    /// Its interface `eth0`, as the far end of something.
    ///
    /// # Errors
    ///
    /// None.
    pub(super) fn peer(&self, mtu: u16) -> Result<Peer, BenchError> {
        let peer = Peer::new(Arc::clone(&self.netns), name("eth0")?);
        Ok(peer.with_mac(self.mac).with_mtu(mtu).with_address(self.net()))
    }
}

/// Joins two namespaces by a veth pair, `eth0` at both ends.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn cable(a: &NetNs, at_a: Ipv4Addr, b: &Arc<NetNs>, at_b: Ipv4Addr) -> Result<(), BenchError> {
    let peer = Peer::new(Arc::clone(b), name("eth0")?).with_address(net(at_b));
    let link = Link::veth(peer).with_address(net(at_a));
    converge(a, &["eth0"], &Desired { links: [(name("eth0")?, link)].into(), ..Desired::default() })
}

/// Waits until somebody made the interface `dev`, and gives it what it lacks.
///
/// # Errors
///
/// It did not come, or the kernel refused.
pub(super) fn dress(netns: &NetNs, dev: &str, link: impl Fn(Link) -> Link) -> Result<(), BenchError> {
    until(netns, dev, |_| true)?;
    let links = [(name(dev)?, link(Link::existing()))].into();
    converge(netns, &[], &Desired { links, ..Desired::default() })
}

/// Waits until the interface `dev` is there and as it should be.
///
/// # Errors
///
/// It is not for a long time.
pub(super) fn until(
    netns: &NetNs,
    dev: &str,
    as_it_should: impl Fn(&Interface) -> bool,
) -> Result<(), BenchError> {
    let netlink = Netlink::open_in(netns).map_err(BenchError::system("talk to the kernel about links"))?;
    let give_up = clock::now() + PATIENCE;
    while !netlink.interface(dev)?.as_ref().is_some_and(&as_it_should) {
        if clock::now() > give_up {
            return Err(BenchError::Slow { what: format!("making {dev}"), seconds: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Makes a namespace what it should be, as far as links that begin with `ours` go.
///
/// # Errors
///
/// The kernel refused something.
pub(super) fn converge(netns: &NetNs, ours: &[&'static str], desired: &Desired) -> Result<(), BenchError> {
    let netlink = Netlink::open_in(netns).map_err(BenchError::system("talk to the kernel about links"))?;
    let report = netlink.converge(&Scope::links(ours.iter().copied()), desired)?;
    if report.is_clean() { Ok(()) } else { Err(BenchError::Report { report: report.to_string() }) }
}

/// A fresh namespace.
///
/// # Errors
///
/// The kernel has no more.
pub(super) fn netns() -> Result<Arc<NetNs>, BenchError> {
    NetNs::create().map(Arc::new).map_err(BenchError::system("make a network namespace"))
}

/// The name of an interface.
///
/// # Errors
///
/// It is none.
pub(super) fn name(text: &str) -> Result<LinkName, BenchError> {
    LinkName::new(text).map_err(|error| BenchError::Report { report: error.to_string() })
}

/// A path by which another program can open a namespace, for as long as this process holds it.
pub(super) fn path(netns: &NetNs) -> String {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

/// A station that nobody talks to.
pub(super) fn stranger(index: u16) -> MacAddr {
    let [a, b] = index.to_be_bytes();
    MacAddr::new([2, 0x99, 0, 0, a, b])
}

/// A network's number: the one that is used, or a further one.
///
/// # Errors
///
/// None.
pub(super) fn vni(further: u16) -> Result<Vni, BenchError> {
    let vni = Vni::new(4097 + u32::from(further));
    vni.map_err(|error| BenchError::Report { report: error.to_string() })
}

/// An address in its /24.
pub(super) fn net(addr: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new_assert(addr, 24)
}

/// Bytes that fit into VXLAN over an underlay of 1500.
pub(super) const VXLAN_MTU: u16 = 1450;

const PATIENCE: Duration = Duration::from_secs(10);
