use crate::wire::{EtherType, EthernetFrame, protocol};

/// A UDP source port out of 49152–65535 for the inner flow ([RFC 7348 §5]): equal for all packets of a flow.
///
/// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
pub(super) fn source_port(frame: &EthernetFrame<'_>) -> u16 {
    let packet = frame.payload;
    let (addresses, ports) = match frame.header.ethertype {
        EtherType::IPV4 => (packet.get(12..20), ipv4_ports(packet)),
        EtherType::IPV6 => (packet.get(8..40), ipv6_ports(packet)),
        _ => (None, None),
    };
    let [.., s2, s3, s4, s5] = frame.header.source.octets();
    let [.., d2, d3, d4, d5] = frame.header.destination.octets();
    let stations = [s2, s3, s4, s5, d2, d3, d4, d5];
    let mut hash = 0;
    for word in
        [addresses.unwrap_or(&stations), ports.unwrap_or_default()].iter().flat_map(|part| part.as_chunks().0)
    {
        hash = mix(hash ^ u64::from(u32::from_be_bytes(*word)));
    }
    let [a, b, ..] = hash.to_be_bytes();
    u16::from_be_bytes([a, b]) | 0xc000
}

/// Both ports of TCP, UDP or SCTP. A fragment has none: only the first would have them, and all must take one way.
fn ipv4_ports(packet: &[u8]) -> Option<&[u8]> {
    let [first, _, _, _, _, _, f0, f1, _, next, ..] = packet else { return None };
    let header_len = usize::from(first & 0x0f) * 4;
    let whole = u16::from_be_bytes([*f0, *f1]) & 0x3fff == 0;
    (whole && has_ports(*next)).then(|| packet.get(header_len..header_len + 4)).flatten()
}

fn ipv6_ports(packet: &[u8]) -> Option<&[u8]> {
    packet.get(6).filter(|next| has_ports(**next)).and_then(|_| packet.get(40..44))
}

const fn has_ports(next: u8) -> bool {
    matches!(next, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// Spreads every bit of the word over the upper bits of the result.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ word >> 29
}
