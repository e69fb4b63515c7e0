//! Who is who in the demo: names, addresses, paths.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};

use crate::host::Host;

/// How many nodes there can be: their addresses are 192.168.99.100 and up.
pub(super) const MAX_NODES: u8 = 20;

/// The port that the service is published on.
pub(super) const SERVICE_PORT: u16 = 8080;

/// A machine of the demo.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Machine {
    /// Its host name.
    pub(super) name: String,
    /// Its address on the segment.
    pub(super) addr: Ipv4Addr,
    /// Its directory on the real machine.
    pub(super) dir: PathBuf,
    /// Whether it runs a daemon.
    pub(super) has_daemon: bool,
}

impl Machine {
    /// The nodes `master`, `node01`, `node02`, …, with directories below `dir`.
    pub(super) fn nodes(dir: &Path, count: u8) -> Vec<Self> {
        let node = |i: u8| {
            let name = if i == 0 { "master".to_owned() } else { format!("node{i:02}") };
            let addr = Ipv4Addr::new(192, 168, 99, 100_u8.saturating_add(i));
            Self { dir: dir.join(&name), name, addr, has_daemon: true }
        };
        (0..count.min(MAX_NODES)).map(node).collect()
    }

    /// The machine that the requests come from.
    pub(super) fn client(dir: &Path) -> Self {
        let name = "client".to_owned();
        Self { dir: dir.join(&name), name, addr: Ipv4Addr::new(192, 168, 99, 10), has_daemon: false }
    }

    /// Its address with the length of the segment's prefix.
    pub(super) fn interface_address(&self) -> IpNet {
        IpNet::V4(Ipv4Net::new_assert(self.addr, 24))
    }

    /// Its daemon's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// Where its daemon listens.
    pub(super) fn host(&self) -> Host {
        Host::Unix(self.socket())
    }

    /// What its daemon prints.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_and_numbered_as_in_the_tutorial() {
        let nodes = Machine::nodes(Path::new("/tmp/d"), 3);
        let names = nodes.iter().map(|node| format!("{} {}", node.name, node.interface_address()));
        let expected = ["master 192.168.99.100/24", "node01 192.168.99.101/24", "node02 192.168.99.102/24"];
        assert!(names.eq(expected));
        assert_eq!(nodes[1].host().to_string(), "unix:///tmp/d/node01/docker.sock");
        assert_eq!(Machine::client(Path::new("/tmp/d")).interface_address().to_string(), "192.168.99.10/24");
    }
}
