use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Discard;
use crate::{
    MacAddr,
    wire::{ArpOperation, ArpPacket, EtherType, EthernetFrame, Layout, Part, protocol},
};

/// The IP addresses that the stations of one port may speak for.
#[derive(Debug)]
pub(super) struct Guard {
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
}

impl Guard {
    pub(super) fn new(allowed: &BTreeSet<IpAddr>) -> Self {
        let canonical: BTreeSet<IpAddr> = allowed.iter().map(IpAddr::to_canonical).collect();
        let v4 =
            canonical.iter().filter_map(|addr| if let IpAddr::V4(addr) = addr { Some(*addr) } else { None });
        let v6 =
            canonical.iter().filter_map(|addr| if let IpAddr::V6(addr) = addr { Some(*addr) } else { None });
        Self { v4: v4.collect(), v6: v6.collect() }
    }

    /// Whether the sender of a frame speaks for itself. Other protocols than IP and ARP have no addresses.
    #[inline]
    pub(super) fn check(&self, frame: &[u8], ethernet: &EthernetFrame<'_>) -> Result<(), Discard> {
        match ethernet.header.ethertype {
            EtherType::IPV4 => self.check_ipv4(ethernet.payload),
            EtherType::IPV6 => self.check_ipv6(frame, ethernet),
            EtherType::ARP => self.check_arp(ethernet.payload),
            _ => Ok(()),
        }
    }

    fn check_arp(&self, packet: &[u8]) -> Result<(), Discard> {
        let arp = ArpPacket::parse(packet).map_err(|_| Discard::Malformed)?;
        // A probe (RFC 5227) speaks for no one yet.
        let probe = arp.operation == ArpOperation::Request && arp.sender_ip.is_unspecified();
        if probe || self.allows_v4(arp.sender_ip) { Ok(()) } else { Err(Discard::SpoofedAddress) }
    }

    #[inline]
    fn check_ipv4(&self, packet: &[u8]) -> Result<(), Discard> {
        let source = packet.get(12..).and_then(<[u8]>::first_chunk::<4>).ok_or(Discard::Malformed)?;
        let source = Ipv4Addr::from(*source);
        if self.allows_v4(source) || source.is_unspecified() && speaks_without_address(packet) {
            Ok(())
        } else {
            Err(Discard::SpoofedAddress)
        }
    }

    #[inline]
    fn check_ipv6(&self, frame: &[u8], ethernet: &EthernetFrame<'_>) -> Result<(), Discard> {
        let source =
            ethernet.payload.get(8..).and_then(<[u8]>::first_chunk::<16>).ok_or(Discard::Malformed)?;
        let source = Ipv6Addr::from(*source);
        let known = self.allows_v6(source, ethernet.header.source);
        if known && ethernet.payload.get(6).is_some_and(|next| matches!(*next, protocol::TCP | protocol::UDP))
        {
            return Ok(());
        }
        let layout = Layout::parse(frame).map_err(|_| Discard::Malformed)?;
        let about_neighbours = layout.protocol == protocol::ICMPV6 && layout.part != Part::Later;
        let message =
            frame.get(layout.transport..layout.end).filter(|_| about_neighbours).unwrap_or_default();
        let target =
            message.get(8..).and_then(<[u8]>::first_chunk::<16>).map(|target| Ipv6Addr::from(*target));
        let own_target = target.is_some_and(|target| self.allows_v6(target, ethernet.header.source));
        let allowed = match message.first().copied().unwrap_or(0) {
            // Routers and their redirects are not behind a guarded port (RFC 6105).
            ROUTER_ADVERTISEMENT | REDIRECT => false,
            ADVERTISEMENT => known && own_target,
            // Duplicate address detection.
            SOLICITATION => known || source.is_unspecified() && own_target,
            ROUTER_SOLICITATION | MLD_REPORT | MLD_DONE | MLD_REPORT_V2 => known || source.is_unspecified(),
            _ => known,
        };
        if allowed { Ok(()) } else { Err(Discard::SpoofedAddress) }
    }

    fn allows_v4(&self, addr: Ipv4Addr) -> bool {
        self.v4.binary_search(&addr).is_ok()
    }

    /// Also the link-local address that belongs to the MAC address, which was checked.
    fn allows_v6(&self, addr: Ipv6Addr, mac: MacAddr) -> bool {
        self.v6.binary_search(&addr).is_ok() || addr == link_local(mac)
    }
}

/// The link-local address of a MAC address ([RFC 4291 appendix A]).
///
/// [RFC 4291 appendix A]: https://www.rfc-editor.org/rfc/rfc4291#appendix-A
pub(super) fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Whether a host without an address may send this: to find one (DHCP), or to join a group (RFC 3376 §4.2.13).
fn speaks_without_address(packet: &[u8]) -> bool {
    let [first, _, _, _, _, _, f0, f1, _, next, ..] = packet else { return false };
    let transport = packet.get(usize::from(first & 0x0f) * 4..).unwrap_or_default();
    let whole = u16::from_be_bytes([*f0, *f1]) & 0x3fff == 0;
    match *next {
        protocol::IGMP => true,
        protocol::UDP => whole && transport.starts_with(&DHCP_PORTS),
        _ => false,
    }
}

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const MLD_REPORT: u8 = 131;
const MLD_DONE: u8 = 132;
const MLD_REPORT_V2: u8 = 143;
/// From 68 to 67.
const DHCP_PORTS: [u8; 4] = [0, 68, 0, 67];
