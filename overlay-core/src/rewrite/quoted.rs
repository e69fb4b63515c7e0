use super::packet::{Packet, update};
use super::{Ends, RewriteError};
use crate::wire::{Checksum, IpVersion, Ipv4Header, Ipv6Header, Layout, Part, TcpHeader, protocol};

/// Gives the packet that an ICMP error quotes new ends, so that whoever sent it recognises it.
///
/// The ends are those of the quoted packet, which went the other way than the error; the error's own are changed with
/// [`readdress`](super::readdress). The sums of the quoted headers stay as right as they were, as far as they are quoted.
///
/// # Errors
/// [`RewriteError`]; the frame is unchanged.
pub fn readdress_quoted(frame: &mut [u8], ends: &Ends) -> Result<(), RewriteError> {
    let layout = Layout::parse(frame)?;
    let message = frame.get_mut(layout.transport..layout.end).unwrap_or_default();
    let kind = match (layout.protocol, layout.version, layout.part, message.first()) {
        (protocol::ICMP, IpVersion::V4, Part::Whole, Some(kind @ (3 | 4 | 5 | 11 | 12))) => *kind,
        (protocol::ICMPV6, IpVersion::V6, Part::Whole, Some(kind @ 1..=4)) => *kind,
        (protocol::ICMP | protocol::ICMPV6, .., kind) => {
            return Err(RewriteError::NoQuote { kind: kind.copied().unwrap_or_default() });
        }
        (protocol, ..) => return Err(RewriteError::Protocol { protocol }),
    };
    let Some((_, quote)) = message.split_at_mut_checked(HEADER_LEN) else {
        return Err(RewriteError::NoQuote { kind });
    };
    let packet = parse(quote, layout.version).ok_or(RewriteError::Quote)?;
    // Both headers end here or before, and on an even byte.
    let touched = quote.len().min(packet.transport + TcpHeader::LEN);
    let sum = |quote: &[u8]| Checksum::new().add_bytes(quote.get(..touched).unwrap_or_default());
    let old = sum(quote);
    packet.readdress(quote, ends)?;
    let new = sum(quote);
    update(message, 2, |checksum| Checksum::replace(checksum, old, new));
    Ok(())
}

/// Reads what is quoted of a packet: its IP header, and at least the ports behind it.
fn parse(quote: &[u8], version: IpVersion) -> Option<Packet> {
    let (transport, protocol, has_transport) = match (version, quote) {
        (IpVersion::V4, [first @ 0x45..=0x4f, _, _, _, _, _, a, b, _, protocol, ..]) => {
            let whole = u16::from_be_bytes([*a, *b]) & OFFSET == 0;
            (usize::from(first & 0x0f) * 4, *protocol, whole)
        }
        (IpVersion::V6, [0x60..=0x6f, _, _, _, _, _, next_header, ..]) => {
            (Ipv6Header::LEN, *next_header, true)
        }
        _ => return None,
    };
    (transport >= Ipv4Header::LEN && quote.len() >= transport + HEADER_LEN).then_some(Packet {
        version,
        protocol,
        network: 0,
        transport,
        has_transport,
        is_partial: false,
    })
}

/// Of an ICMP error; and the least that it quotes of a transport header.
const HEADER_LEN: usize = 8;
const OFFSET: u16 = 0x1fff;
