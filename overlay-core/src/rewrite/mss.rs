use super::packet::update;
use crate::{
    offload::Offload,
    wire::{Checksum, Layout, Part, TcpFlags, TcpHeader, TcpOption, TcpSegment, protocol},
};

/// Lowers the maximum segment size that a `SYN` announces to `size`, so that the peer's segments fit through a tunnel
/// whose MTU it does not see. Says whether it did.
///
/// Everything that is no `SYN`, announces nothing, or announces no more than `size` is left alone. `offload` is that of
/// the frame: an unfinished checksum is not updated, for it does not cover the options yet.
///
/// ```
/// use overlay_core::{offload::Offload, rewrite::clamp_mss};
///
/// let mut frame = [0; 60]; // no SYN
/// assert!(!clamp_mss(&mut frame, 1410, Offload::NONE));
/// ```
#[inline]
pub fn clamp_mss(frame: &mut [u8], size: u16, offload: Offload) -> bool {
    let Ok(layout) = Layout::parse(frame) else { return false };
    if layout.protocol != protocol::TCP || layout.part == Part::Later {
        return false;
    }
    let bytes = frame.get_mut(layout.transport..layout.end).unwrap_or_default();
    let Some((old, at)) = announced(bytes).filter(|(old, _)| *old > size) else { return false };
    update(bytes, at, |_| size);
    if offload.checksum.is_none_or(|partial| usize::from(partial.start) != layout.transport) {
        // An option may begin on any byte; on an odd one its halves count as if they were exchanged (RFC 1071 §2 B).
        let (old, new) =
            if at.is_multiple_of(2) { (old, size) } else { (old.swap_bytes(), size.swap_bytes()) };
        update(bytes, 16, |checksum| Checksum::update(checksum, old, new));
    }
    true
}

/// The size that a `SYN` announces, and where it stands.
fn announced(bytes: &[u8]) -> Option<(u16, usize)> {
    let segment = TcpSegment::parse(bytes).ok().filter(|it| it.header.flags.contains(TcpFlags::SYN))?;
    let mut options = segment.options();
    while let Some(option) = options.next() {
        if let TcpOption::MaximumSegmentSize(size) = option {
            return Some((size, TcpHeader::LEN + options.position() - 2));
        }
    }
    None
}
