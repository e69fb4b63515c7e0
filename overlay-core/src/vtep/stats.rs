use std::fmt;

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Discard {
    /// No network has the port that sent the frame.
    UnknownPort,
    /// This host does not take part in the network.
    UnknownNetwork,
    /// The host that sent the datagram does not take part in the network.
    ForeignSource,
    /// The bytes are not what they promise to be.
    Malformed,
    /// The frame carries a VLAN tag; a network is one VLAN ([RFC 7348 §6.1]).
    ///
    /// [RFC 7348 §6.1]: https://www.rfc-editor.org/rfc/rfc7348#section-6.1
    Tagged,
    /// The sender uses an address that is someone else's.
    Spoofed,
    /// No one has the destination's MAC address.
    UnknownStation,
    /// No one has the IP address that was asked for.
    UnknownNeighbour,
    /// A station announced or checked its own address; everyone knows it already.
    Announcement,
    /// The frame is for a group, and the network does not flood or has no one else.
    Group,
    /// The frame would go back to where it came from.
    Hairpin,
    /// The sender uses an IP address that is not its own.
    SpoofedAddress,
    /// The packet is larger than the network's MTU.
    TooBig,
    /// Word of a membership that no router wants to hear; it was taken note of.
    Membership,
    /// The datagram is plain, and its network is sealed.
    Unsealed,
    /// The datagram is encrypted, and nobody has opened it.
    Sealed,
    /// The datagram was encrypted, and its network is not sealed.
    NotSealed,
}

/// What a [`Vtep`](crate::Vtep) decided, in frames.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Handed to ports of this host.
    pub delivered: u64,
    /// Sent to one other host.
    pub sent: u64,
    /// Copied to everyone.
    pub flooded: u64,
    /// Answers given on the spot: to questions about neighbours, and about packets that were too big.
    pub answered: u64,
    /// Stations of other hosts that were learnt.
    pub learnt: u64,
    /// Learnt stations that were heard from another host than before.
    pub moved: u64,
    /// Datagrams whose station found no room.
    pub not_learnt: u64,
    /// TCP connections whose segment size was lowered, counted in each direction.
    pub clamped: u64,
    /// Questions that were asked about memberships.
    pub queried: u64,
    dropped: [u64; Discard::ALL.len()],
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::UnknownPort,
        Self::UnknownNetwork,
        Self::ForeignSource,
        Self::Malformed,
        Self::Tagged,
        Self::Spoofed,
        Self::UnknownStation,
        Self::UnknownNeighbour,
        Self::Announcement,
        Self::Group,
        Self::Hairpin,
        Self::SpoofedAddress,
        Self::TooBig,
        Self::Membership,
        Self::Unsealed,
        Self::Sealed,
        Self::NotSealed,
    ];
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownPort => "unknown port",
            Self::UnknownNetwork => "unknown network",
            Self::ForeignSource => "foreign source",
            Self::Malformed => "malformed",
            Self::Tagged => "tagged",
            Self::Spoofed => "spoofed",
            Self::UnknownStation => "unknown station",
            Self::UnknownNeighbour => "unknown neighbour",
            Self::Announcement => "announcement",
            Self::Group => "group",
            Self::Hairpin => "hairpin",
            Self::SpoofedAddress => "spoofed address",
            Self::TooBig => "too big",
            Self::Membership => "membership",
            Self::Unsealed => "unsealed",
            Self::Sealed => "sealed",
            Self::NotSealed => "not sealed",
        })
    }
}

impl Stats {
    /// Frames dropped for one reason.
    #[must_use]
    pub fn dropped(&self, reason: Discard) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Frames dropped, by reason; all reasons are listed.
    pub fn drops(&self) -> impl Iterator<Item = (Discard, u64)> {
        Discard::ALL.into_iter().map(|reason| (reason, self.dropped(reason)))
    }

    pub(super) fn count(&mut self, reason: Discard) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
