//! Names of machines in the words of each protocol.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use overlay_gossip::NodeName;
use overlay_raft::MemberId;
use swarm_state::NodeId;

/// One of the machines of a world, counted from 0; displays as `n1`, `n2`, …
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Machine(pub u8);

impl Machine {
    /// Its address in the network of the machines.
    pub const fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 168, 99, self.number()))
    }

    /// Its id in the swarm.
    pub fn node_id(self) -> NodeId {
        NodeId::from_random([self.number(); 16])
    }

    pub(crate) const fn gossip_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip(), GOSSIP_PORT)
    }

    pub(crate) fn manager_addr(self) -> String {
        format!("{}:2377", self.ip())
    }

    pub(crate) fn name(self) -> NodeName {
        NodeName::new(self.node_id().as_str()).expect("an id is a short text without control characters")
    }

    pub(crate) fn member_id(self) -> MemberId {
        MemberId::new(u64::from(self.number())).expect("numbers begin at 1")
    }

    pub(crate) fn of_member(id: MemberId) -> Option<Self> {
        u8::try_from(id.get()).ok()?.checked_sub(1).map(Self)
    }

    pub(crate) const fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [192, 168, 99, number @ 1..=255] => Some(Self(number - 1)),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    pub(crate) fn of_manager(addr: &str) -> Option<Self> {
        Self::of_ip(addr.parse::<SocketAddr>().ok()?.ip())
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    const fn number(self) -> u8 {
        self.0.saturating_add(1)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.number())
    }
}

const GOSSIP_PORT: u16 = 7946;
