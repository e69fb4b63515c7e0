use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use super::{
    Discard, Location,
    groups::{Family, Groups},
};
use crate::wire::{IgmpMessage, IpVersion, Layout, LayoutError, MldError, MldMessage, Part, protocol};

/// Where a frame to a group belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    /// To everyone.
    Everyone,
    /// To the members of a group.
    Group(IpAddr),
    /// To those who route groups.
    Routers(Family),
}

/// Takes note of what a frame says about groups, and says where it belongs.
///
/// `alone`: whether there is one station at most at the place that the frame came from, so that it leaves for all.
pub(super) fn listen(
    groups: &mut Groups,
    now: Instant,
    frame: &[u8],
    from: Location,
    alone: bool,
) -> Result<Scope, Discard> {
    groups.start(now);
    let layout = match Layout::parse(frame) {
        Ok(layout) => layout,
        Err(LayoutError::NotIp { .. }) => return Ok(Scope::Everyone),
        Err(_) => return Err(Discard::Malformed),
    };
    let payload = frame.get(layout.transport..layout.end).unwrap_or_default();
    let mut listener = Listener { groups, now, from, alone };
    match (layout.version, layout.addresses(frame)) {
        (IpVersion::V4, [s0, s1, s2, s3, d0, d1, d2, d3]) => {
            let source = Ipv4Addr::new(*s0, *s1, *s2, *s3);
            let destination = Ipv4Addr::new(*d0, *d1, *d2, *d3);
            let one_hop = frame.get(layout.network + 8) == Some(&1) && layout.part == Part::Whole;
            match layout.protocol {
                protocol::IGMP if one_hop => listener.igmp(source, payload),
                protocol::PIM => Ok(listener.pim(Family::V4)),
                _ => Ok(scope(destination.into())),
            }
        }
        (IpVersion::V6, addresses) => {
            let Some((source, destination)) = ends(addresses) else { return Err(Discard::Malformed) };
            let one_hop = frame.get(layout.network + 7) == Some(&1) && layout.part == Part::Whole;
            match layout.protocol {
                protocol::ICMPV6 if one_hop => listener.mld(source, destination, payload),
                protocol::PIM => Ok(listener.pim(Family::V6)),
                _ => Ok(scope(destination.into())),
            }
        }
        (IpVersion::V4, _) => Err(Discard::Malformed),
    }
}

struct Listener<'g> {
    groups: &'g mut Groups,
    now: Instant,
    from: Location,
    alone: bool,
}

impl Listener<'_> {
    fn igmp(&mut self, source: Ipv4Addr, payload: &[u8]) -> Result<Scope, Discard> {
        match IgmpMessage::parse(payload).map_err(|_| Discard::Malformed)? {
            IgmpMessage::Query { group, .. } => {
                self.query(Family::V4, group.is_none(), !source.is_unspecified());
                return Ok(Scope::Everyone);
            }
            IgmpMessage::Report { group } => self.note(group.into(), Some(true)),
            IgmpMessage::Leave { group } => self.note(group.into(), Some(false)),
            IgmpMessage::Records(records) => records.for_each(|it| self.note(it.group.into(), it.wants)),
        }
        Ok(Scope::Routers(Family::V4))
    }

    fn mld(&mut self, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Result<Scope, Discard> {
        match MldMessage::parse(source, destination, payload) {
            Ok(MldMessage::Query { group, .. }) => {
                // RFC 3810 §5.1.14: a question of no one is no question.
                if source.is_unicast_link_local() {
                    self.query(Family::V6, group.is_none(), true);
                }
                return Ok(Scope::Everyone);
            }
            Ok(MldMessage::Report { group }) => self.note(group.into(), Some(true)),
            Ok(MldMessage::Done { group }) => self.note(group.into(), Some(false)),
            Ok(MldMessage::Records(records)) => records.for_each(|it| self.note(it.group.into(), it.wants)),
            Err(MldError::Type { .. }) => return Ok(scope(destination.into())),
            Err(_) => return Err(Discard::Malformed),
        }
        Ok(Scope::Routers(Family::V6))
    }

    fn pim(&mut self, family: Family) -> Scope {
        self.groups.hear_router(self.now, family, self.from);
        Scope::Everyone
    }

    fn query(&mut self, family: Family, general: bool, is_router: bool) {
        if general {
            self.groups.hear_query(self.now, family, self.from, is_router);
        }
    }

    fn note(&mut self, group: IpAddr, wants: Option<bool>) {
        match wants {
            Some(true) => self.groups.join(self.now, group, self.from),
            // Where there may be others, the membership ends when no one reports it any more.
            Some(false) if self.alone => self.groups.leave(group, self.from),
            Some(false) | None => {}
        }
    }
}

fn scope(destination: IpAddr) -> Scope {
    if destination.is_multicast() { Scope::Group(destination) } else { Scope::Everyone }
}

fn ends(addresses: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let (source, rest) = addresses.split_first_chunk::<16>()?;
    let (destination, _) = rest.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*source), Ipv6Addr::from(*destination)))
}
