use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    num::ParseIntError,
    str::FromStr,
    time::Duration,
};

use crate::{MacAddr, Vni};

/// A place on this host where a station is attached; the caller chooses the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortId(u32);

/// Where a station is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Location {
    /// On this host.
    Port(PortId),
    /// On the host with this underlay address.
    Endpoint(IpAddr),
}

/// Everything a host must know about one network: the whole truth, not a change to it.
///
/// A datagram of the network is accepted from [`peers`](Self::peers) and from every endpoint that has a station.
/// What the default leaves off is off: it forwards to the stations that it names, and nothing else.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// Other hosts that take part, also while they have no station.
    pub peers: BTreeSet<IpAddr>,
    /// The forwarding table: where each station is. A port may have several.
    pub stations: BTreeMap<MacAddr, Location>,
    /// Who has which address; answers ARP and neighbour solicitations.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// Whether frames to groups (broadcast, multicast) are copied to everyone. Off: they are dropped.
    pub flood: bool,
    /// Whether every datagram of the network is encrypted. A plain one is then dropped, and none is sent.
    pub sealed: bool,
    /// The MTU of IP packets inside of the network, at least 68; none: not looked at.
    ///
    /// A larger packet of a port is dropped; who sent it is told, unless it is IPv4 that routers may fragment. The
    /// segment size that TCP connections announce is clamped to what fits, in both directions.
    pub mtu: Option<u16>,
    /// Whether stations of other hosts are learnt from their datagrams, too.
    ///
    /// In a network that floods as well, frames to stations and questions for neighbours that are unknown are flooded.
    pub learning: Option<Learning>,
    /// Whether IGMP and MLD are listened to, so that frames to groups go only to where a member is. Needs `flood`.
    pub snooping: Option<Snooping>,
    /// Which IP addresses the stations of a port may speak for; a port that is not listed may use any.
    ///
    /// The link-local address that belongs to a station's MAC address is always allowed, and so is speaking without an
    /// address where protocols want it: ARP probes, DHCP, IGMP, duplicate address detection, MLD. Router advertisements
    /// and redirects are not.
    pub spoof_guard: BTreeMap<PortId, BTreeSet<IpAddr>>,
}

/// How stations of other hosts are learnt. What [`Network::stations`] names is never learnt otherwise.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Learning {
    /// Stations that are remembered at most; further ones are counted, not learnt. 4096.
    pub max_entries: usize,
    /// How long a station that is not heard is remembered, ten years at most. 300 s, as Linux.
    pub ageing: Duration,
}

/// Why a network was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum NetworkError {
    /// A port belongs to one network.
    #[error("port {port} already belongs to network {vni}")]
    PortTaken { port: PortId, vni: Vni },
    /// A group or zero is nobody's address.
    #[error("{mac} is not the address of a station")]
    NotAStation { mac: MacAddr },
    /// Every IPv4 link carries packets of 68 bytes ([RFC 791 §3.2]).
    ///
    /// [RFC 791 §3.2]: https://www.rfc-editor.org/rfc/rfc791#section-3.2
    #[error("an MTU of {mtu} is below 68")]
    MtuTooSmall { mtu: u16 },
}

impl PortId {
    /// Wraps a number; every value is allowed.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<PortId> for u32 {
    fn from(port: PortId) -> Self {
        port.0
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PortId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// How memberships are learnt from IGMP (versions 1, 2, 3) and MLD (1, 2), as [RFC 4541] describes.
///
/// Until someone has asked the hosts for their memberships and waited for the answers, frames to groups go to everyone;
/// the questions of [`Vtep::poll_query`](crate::Vtep::poll_query) do, and so do those of a router.
///
/// [RFC 4541]: https://www.rfc-editor.org/rfc/rfc4541
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Snooping {
    /// Groups that are remembered at most; while one has found no room, unknown groups go to everyone. 1024.
    pub max_groups: usize,
    /// How long a report counts. 260 s ([RFC 3376 §8.4](https://www.rfc-editor.org/rfc/rfc3376#section-8.4)).
    pub membership: Duration,
    /// How long a question counts. 255 s ([RFC 3376 §8.5](https://www.rfc-editor.org/rfc/rfc3376#section-8.5)).
    pub querier: Duration,
    /// Time between two questions, if nobody else asks; at least 1 s. 125 s
    /// ([RFC 3376 §8.2](https://www.rfc-editor.org/rfc/rfc3376#section-8.2)).
    pub query_interval: Duration,
}

impl Default for Snooping {
    fn default() -> Self {
        Self {
            max_groups: 1024,
            membership: Duration::from_secs(260),
            querier: Duration::from_secs(255),
            query_interval: Duration::from_secs(125),
        }
    }
}

impl Default for Learning {
    fn default() -> Self {
        Self { max_entries: 4096, ageing: Duration::from_secs(300) }
    }
}

/// The longest time that is told apart from never: ten years, so that no sum with it overflows.
pub(super) const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
