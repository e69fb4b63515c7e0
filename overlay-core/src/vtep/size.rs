use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use super::{Discard, reply::Desk};
use crate::{
    offload::{Offload, PartialChecksum},
    rewrite,
    wire::{
        EtherType, EthernetFrame, EthernetHeader, FragmentationNeeded, Ipv4Packet, Ipv6Header, Ipv6Packet,
        Layout, PacketTooBig, TcpFlags, protocol,
    },
};

/// How often one port is told that its packets are too big: 10 times at once, then 10 times a second, as
/// [RFC 4443 §2.4](https://www.rfc-editor.org/rfc/rfc4443#section-2.4) (f) suggests.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When all of it would be there again.
    full_at: Option<Instant>,
}

impl Allowance {
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        if full_at.duration_since(now) > EACH * (AT_ONCE - 1) {
            return false;
        }
        self.full_at = Some(full_at + EACH);
        true
    }
}

/// Whether an IP packet is larger than `mtu`; of a super-frame, each of its packets.
#[inline]
pub(super) fn exceeds(mtu: u16, offload: Offload, frame: &[u8]) -> Result<bool, Discard> {
    let len = frame.len().saturating_sub(EthernetHeader::LEN);
    if len <= usize::from(mtu) {
        return Ok(false);
    }
    let Some(segmentation) = offload.segmentation else { return Ok(true) };
    let layout = Layout::parse(frame).map_err(|_| Discard::Malformed)?;
    Ok((layout.payload - layout.network + usize::from(segmentation.size)).min(len) > usize::from(mtu))
}

/// Writes what the sender of a packet that is too big has to know.
///
/// The one who speaks is the packet's destination: no router is on the way, and this is the one address of the link
/// that the sender's host expects an answer from, whatever it filters.
pub(super) fn complain(
    desk: &mut Desk,
    allowance: &mut Allowance,
    now: Instant,
    mtu: u16,
    frame: &[u8],
) -> Result<(), Discard> {
    let ethernet = EthernetFrame::parse(frame).map_err(|_| Discard::Malformed)?;
    match ethernet.header.ethertype {
        EtherType::IPV4 => {
            let packet = Ipv4Packet::parse(ethernet.payload).map_err(|_| Discard::Malformed)?;
            if !may_be_told_v4(&packet) || !allowance.take(now) {
                return Err(Discard::TooBig);
            }
            let (source, destination) = (packet.header.destination, packet.header.source);
            desk.fragmentation_needed(&FragmentationNeeded { source, destination, mtu }, &ethernet);
        }
        EtherType::IPV6 => {
            let packet = Ipv6Packet::parse(ethernet.payload).map_err(|_| Discard::Malformed)?;
            let layout = Layout::parse(frame).map_err(|_| Discard::Malformed)?;
            let kind = frame.get(layout.transport).filter(|_| layout.protocol == protocol::ICMPV6);
            if !may_be_told_v6(&packet, kind.copied()) || !allowance.take(now) {
                return Err(Discard::TooBig);
            }
            let (source, destination) = (packet.header.destination, packet.header.source);
            desk.packet_too_big(&PacketTooBig { source, destination, mtu: u32::from(mtu) }, &ethernet);
        }
        _ => return Err(Discard::TooBig),
    }
    Ok(())
}

/// Lowers the segment size that a `SYN` announces to what fits into `mtu`.
#[inline]
pub(super) fn clamp(mtu: u16, offload: Offload, frame: &mut [u8]) -> bool {
    match syn(frame) {
        Some(headers) => rewrite::clamp_mss(frame, mtu.saturating_sub(headers), offload),
        None => false,
    }
}

/// As [`clamp`], for a frame that came through the tunnel: its checksum may be unfinished without a word of it, if the
/// other host's kernel left that to a network card that there is not.
#[inline]
pub(super) fn clamp_arrival(mtu: u16, frame: &mut [u8]) -> bool {
    match syn(frame) {
        Some(headers) => {
            let offload = unfinished(frame).unwrap_or_default();
            rewrite::clamp_mss(frame, mtu.saturating_sub(headers), offload)
        }
        None => false,
    }
}

/// How many bytes the headers of the connection's packets take at least, if this may be a `SYN`. Quick; not exact.
#[inline]
fn syn(frame: &[u8]) -> Option<u16> {
    let (ethernet, packet) = frame.split_first_chunk::<{ EthernetHeader::LEN }>()?;
    let [.., t0, t1] = *ethernet;
    let flags = match EtherType::from_be_bytes([t0, t1]) {
        EtherType::IPV4 if packet.get(9) == Some(&protocol::TCP) => {
            packet.get(usize::from(packet.first()? & 0x0f) * 4 + 13)
        }
        EtherType::IPV6 if packet.get(6) == Some(&protocol::TCP) => packet.get(Ipv6Header::LEN + 13),
        _ => None,
    }?;
    let headers = if t0 == 0x08 { MIN_HEADERS_V4 } else { MIN_HEADERS_V6 };
    TcpFlags::new(*flags).contains(TcpFlags::SYN).then_some(headers)
}

#[cold]
fn unfinished(frame: &[u8]) -> Option<Offload> {
    let layout = Layout::parse(frame).ok().filter(|layout| layout.protocol == protocol::TCP)?;
    let segment = frame.get(layout.transport..layout.end)?;
    let pseudo = layout.pseudo_header(frame).add_word(u16::try_from(segment.len()).ok()?);
    let field = segment.get(16..)?.first_chunk::<2>()?;
    let partial = !pseudo.add_bytes(segment).is_intact() && u16::from_be_bytes(*field) == !pseudo.finish();
    let start = u16::try_from(layout.transport).ok().filter(|_| partial)?;
    Some(Offload { checksum: Some(PartialChecksum { start, offset: 16 }), ..Offload::NONE })
}

/// [RFC 1122 §3.2.2](https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2): nobody is told about errors of errors, about
/// later fragments and groups, or who is not a single host. Routers may fragment what does not forbid it.
fn may_be_told_v4(packet: &Ipv4Packet<'_>) -> bool {
    let header = packet.header;
    let is_error = header.protocol == protocol::ICMP
        && packet.payload.first().is_none_or(|kind| ICMP_ERRORS.contains(kind));
    let single = |addr: Ipv4Addr| {
        !(addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast() || addr.is_loopback())
    };
    header.dont_fragment
        && header.fragment_offset == 0
        && !is_error
        && single(header.source)
        && single(header.destination)
}

/// [RFC 4443 §2.4](https://www.rfc-editor.org/rfc/rfc4443#section-2.4) (e).
fn may_be_told_v6(packet: &Ipv6Packet<'_>, icmp: Option<u8>) -> bool {
    let single = |addr: Ipv6Addr| !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback());
    let is_error = icmp.is_some_and(|kind| kind < 128);
    !is_error && single(packet.header.source) && single(packet.header.destination)
}

/// Unreachable, source quench, redirect, time exceeded, parameter problem.
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
const AT_ONCE: u32 = 10;
const EACH: Duration = Duration::from_millis(100);
/// IP and TCP without options, as RFC 9293 §3.7.1 counts.
const MIN_HEADERS_V4: u16 = 40;
const MIN_HEADERS_V6: u16 = 60;
