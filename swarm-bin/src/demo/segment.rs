//! The wire between the machines: a bridge in the supervisor's namespace with a port for each of them.

use std::sync::Arc;

use overlay_linux::link::{Desired, Link, LinkName, Netlink, Peer, Scope};
use overlay_linux::netns::NetNs;

use super::error::DemoError;
use super::plan::Machine;

/// The bridge and the ports.
#[derive(Debug)]
pub(super) struct Segment {
    netlink: Netlink,
}

impl Segment {
    /// Makes the bridge in the calling thread's network namespace, and an `eth1` in that of each machine.
    ///
    /// # Errors
    ///
    /// The kernel refused something.
    pub(super) fn build(machines: &[(Machine, Arc<NetNs>)]) -> Result<Self, DemoError> {
        let netlink = Netlink::open().map_err(DemoError::system("talk to the kernel about links"))?;
        let bridge = name(BRIDGE)?;
        let mut desired = Desired::default();
        desired.links.insert(bridge.clone(), Link::bridge());
        for (machine, netns) in machines {
            let peer = Peer::new(Arc::clone(netns), name("eth1")?).with_address(machine.interface_address());
            let port = Link::veth(peer).with_master(bridge.clone());
            desired.links.insert(name(&port_name(&machine.name))?, port);
        }
        let report = netlink.converge(&Scope::links([BRIDGE, PORT]), &desired)?;
        if report.is_clean() {
            Ok(Self { netlink })
        } else {
            Err(DemoError::Segment { report: report.to_string() })
        }
    }

    /// Pulls a machine's cable.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub(super) fn unplug(&self, machine: &str) -> Result<(), DemoError> {
        self.netlink.delete_link(&name(&port_name(machine))?)?;
        Ok(())
    }
}

fn name(text: &str) -> Result<LinkName, DemoError> {
    LinkName::new(text).map_err(|error| DemoError::Segment { report: error.to_string() })
}

fn port_name(machine: &str) -> String {
    format!("{PORT}{machine}")
}

const BRIDGE: &str = "swarm-demo";
/// What the names of the bridge's ports begin with.
const PORT: &str = "sp-";

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;

    use super::*;

    #[expect(clippy::disallowed_types, reason = "real traffic between namespaces")]
    type Sockets = (std::net::TcpListener, std::net::TcpStream);

    #[test]
    #[expect(clippy::disallowed_types, reason = "real traffic between namespaces")]
    fn machines_reach_each_other_until_the_cable_is_pulled() {
        let Ok(outside) = NetNs::create() else {
            println!("skipped: machines_reach_each_other_until_the_cable_is_pulled (no namespaces here)");
            return;
        };
        let mut machines = Machine::nodes(Path::new("/nowhere"), 2);
        machines.push(Machine::client(Path::new("/nowhere")));
        let with_netns = |machine| (machine, Arc::new(NetNs::create().unwrap()));
        let machines: Vec<_> = machines.into_iter().map(with_netns).collect();
        let segment = outside.run(|| Segment::build(&machines)).unwrap().unwrap();
        let [(master, at_master), .., (client, at_client)] = machines.as_slice() else { unreachable!() };

        let listener = at_master.run(|| std::net::TcpListener::bind((master.addr, 80))).unwrap().unwrap();
        let patience = std::time::Duration::from_secs(5);
        let to = (master.addr, 80).into();
        let stream = at_client.run(|| std::net::TcpStream::connect_timeout(&to, patience)).unwrap().unwrap();
        let sockets: Sockets = (listener, stream);
        let (accepted, from) = sockets.0.accept().unwrap();
        assert_eq!(from.ip(), client.addr);
        drop(accepted);
        assert_eq!((&sockets.1).read(&mut [0]).unwrap(), 0);

        segment.unplug("master").unwrap();
        let gone = Netlink::open_in(at_master).unwrap().interface("eth1").unwrap();
        assert!(gone.is_none(), "a cable has two ends");
        segment.unplug("master").unwrap();
    }
}
