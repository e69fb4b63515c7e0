//! Super-frames that the kernel's VXLAN sent and nobody cut.

use overlay_core::offload::{Offload, PartialChecksum, SegmentKind, Segmentation};
use overlay_core::wire::{Checksum, IpVersion, Layout, Part, TcpFlags, VxlanPacket, protocol};

/// What is left to do in the inner frame of a message, if that is one super-frame as the other task's kernel made it.
///
/// On a virtual wire such as a veth pair nobody cuts it, and nobody finishes its checksum. The message then is one
/// datagram, as long as its inner frame says, and `segment` (told for UDP only) is the length of inner datagrams. A
/// message that holds many datagrams is longer than its first inner frame; a complete packet has a complete checksum.
pub(super) fn uncut(payload: &[u8], segment: Option<u16>) -> Option<Offload> {
    // Most messages hold one datagram.
    if payload.len() <= segment.map_or(LONGEST_CUT, usize::from) {
        return None;
    }
    let frame = VxlanPacket::parse(payload).ok()?.frame;
    let layout = Layout::parse(frame).ok()?;
    if layout.end != frame.len() || layout.part != Part::Whole {
        return None;
    }
    let headers = layout.payload - layout.network;
    let (kind, offset, size) = match (layout.protocol, layout.version) {
        // The segment size is not told. Any will do: a stream has no borders.
        (protocol::TCP, IpVersion::V4) => (SegmentKind::Tcp4, 16, USUAL_MTU.saturating_sub(headers)),
        (protocol::TCP, IpVersion::V6) => (SegmentKind::Tcp6, 16, USUAL_MTU.saturating_sub(headers)),
        (protocol::UDP, _) => (SegmentKind::Udp, 6, usize::from(segment?)),
        _ => return None,
    };
    if word(frame, layout.transport + offset)? != pseudo_sum(frame, &layout)? {
        return None;
    }
    let number = |value: usize| u16::try_from(value).ok();
    let ecn = layout.protocol == protocol::TCP
        && frame.get(layout.transport + 13).is_some_and(|bits| TcpFlags::new(*bits).contains(TcpFlags::CWR));
    Some(Offload {
        checksum: Some(PartialChecksum { start: number(layout.transport)?, offset: number(offset)? }),
        segmentation: Some(Segmentation {
            kind,
            size: number(size).filter(|size| *size > 0)?,
            header_len: number(layout.payload)?,
            ecn,
        }),
    })
}

/// The sum of the pseudo header, which is all that an unfinished checksum holds.
fn pseudo_sum(frame: &[u8], layout: &Layout) -> Option<u16> {
    let addresses = match layout.version {
        IpVersion::V4 => layout.network + 12..layout.network + 20,
        IpVersion::V6 => layout.network + 8..layout.network + 40,
    };
    let len = u16::try_from(layout.end - layout.transport).ok()?;
    let sum = Checksum::new().add_bytes(frame.get(addresses)?).add_word(u16::from(layout.protocol));
    Some(sum.add_word(len).sum())
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// The MTU inside of a network whose underlay has the usual 1500.
const USUAL_MTU: usize = 1450;
/// A VXLAN header, an Ethernet header and a packet that needs no cutting.
const LONGEST_CUT: usize = 8 + 14 + USUAL_MTU;
