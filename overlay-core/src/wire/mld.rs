use core::{net::Ipv6Addr, time::Duration};

use super::{Checksum, GroupRecord, Ipv6Header, igmp::wants, protocol};

/// What hosts and routers say about groups of IPv6: MLD of the versions 1 and 2 ([RFC 2710], [RFC 3810]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      |     Code      |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |    Maximum Response Delay     |           Reserved            |   130, 131, 132: the group follows
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Reserved            |  Number of Address Records    |   143: the records follow
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 2710]: https://www.rfc-editor.org/rfc/rfc2710
/// [RFC 3810]: https://www.rfc-editor.org/rfc/rfc3810
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MldMessage<'a> {
    /// A router asks who is a member; of every group if none is named.
    Query {
        /// The group that is asked for.
        group: Option<Ipv6Addr>,
        /// How long a host may wait before it answers.
        max_response: Duration,
    },
    /// A host is a member (version 1).
    Report {
        /// The group.
        group: Ipv6Addr,
    },
    /// A host is no longer a member (version 1).
    Done {
        /// The group.
        group: Ipv6Addr,
    },
    /// A host's memberships (version 2).
    Records(MldRecords<'a>),
}

/// The question for the memberships of every group with its IPv6 header, as version 2 asks it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MldQuery {
    /// Who asks: a link-local address; hosts ignore the questions of others.
    pub source: Ipv6Addr,
    /// How long a host may wait before it answers.
    pub max_response: Duration,
    /// Time until the next question.
    pub interval: Duration,
}

/// The address records of a report of version 2; each was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MldRecords<'a> {
    bytes: &'a [u8],
    left: u16,
}

/// Why bytes are not an MLD message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum MldError {
    /// Another message of ICMPv6.
    #[error("ICMPv6 type {kind} is not about groups")]
    Type { kind: u8 },
    /// Shorter than a message or the records that it announces.
    #[error("an MLD message of type {kind} does not fit into {len} bytes")]
    Truncated { kind: u8, len: usize },
    /// The address is not a group's.
    #[error("{group} is not a group")]
    Group { group: Ipv6Addr },
    /// The message was damaged.
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
}

impl<'a> MldMessage<'a> {
    /// Reads what lies behind the last extension header of an IPv6 packet between two addresses.
    ///
    /// # Errors
    /// [`MldError`] if it is another message, too short, damaged, or names an address that is not a group's.
    pub fn parse(source: Ipv6Addr, destination: Ipv6Addr, bytes: &'a [u8]) -> Result<Self, MldError> {
        let (kind, len) = (bytes.first().copied().unwrap_or(0), bytes.len());
        if !matches!(kind, QUERY | REPORT_V1 | DONE | REPORT_V2) {
            return Err(MldError::Type { kind });
        }
        let truncated = MldError::Truncated { kind, len };
        let ([_, _, _, _, d0, d1, n0, n1], rest) = bytes.split_first_chunk::<8>().ok_or(truncated)?;
        let sum = Checksum::new()
            .add_pseudo_header(
                source.into(),
                destination.into(),
                protocol::ICMPV6,
                u16::try_from(len).map_err(|_| truncated)?,
            )
            .add_bytes(bytes);
        if !sum.is_intact() {
            return Err(MldError::Checksum);
        }
        if kind == REPORT_V2 {
            let records = MldRecords { bytes: rest, left: u16::from_be_bytes([*n0, *n1]) };
            records.check().map_err(|()| truncated)?;
            return Ok(Self::Records(records));
        }
        let (group, _) = rest.split_first_chunk::<16>().ok_or(truncated)?;
        let group = Ipv6Addr::from(*group);
        if !(group.is_multicast() || kind == QUERY && group.is_unspecified()) {
            return Err(MldError::Group { group });
        }
        Ok(match kind {
            REPORT_V1 => Self::Report { group },
            DONE => Self::Done { group },
            _ => Self::Query {
                group: Some(group).filter(|group| !group.is_unspecified()),
                max_response: milliseconds(u16::from_be_bytes([*d0, *d1]), len),
            },
        })
    }
}

impl MldQuery {
    /// Bytes of the packet: the IPv6 header, the router alert option, and the message.
    pub const LEN: usize = Ipv6Header::LEN + 8 + 28;

    /// Writes the packet; times are cut to 32.767 s and 127 s.
    pub fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 36,
            next_header: 0,
            hop_limit: 1,
            source: self.source,
            destination,
        };
        let [d0, d1] =
            u16::try_from(self.max_response.as_millis()).unwrap_or(u16::MAX).min(0x7fff).to_be_bytes();
        let interval = u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX).min(127);
        let message = |[c0, c1]: [u8; 2]| {
            #[rustfmt::skip]
            let message = [QUERY, 0, c0, c1, d0, d1, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, interval, 0, 0];
            message
        };
        let sum = Checksum::new()
            .add_pseudo_header(self.source.into(), destination.into(), protocol::ICMPV6, 28)
            .add_bytes(&message([0, 0]))
            .finish();
        if let Some((first, rest)) = buffer.split_first_chunk_mut::<{ Ipv6Header::LEN }>()
            && let Some((options, rest)) = rest.split_first_chunk_mut::<8>()
        {
            header.emit(first);
            // Hop-by-hop options: router alert for MLD, padding.
            *options = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
            rest.copy_from_slice(&message(sum.to_be_bytes()));
        }
    }
}

impl MldRecords<'_> {
    fn check(mut self) -> Result<(), ()> {
        while self.left > 0 {
            self.next().ok_or(())?;
        }
        Ok(())
    }
}

impl Iterator for MldRecords<'_> {
    type Item = GroupRecord<Ipv6Addr>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ([kind, auxiliary, n0, n1], rest) = self.bytes.split_first_chunk::<4>()?;
        let (group, rest) = rest.split_first_chunk::<16>()?;
        let sources = u16::from_be_bytes([*n0, *n1]);
        self.bytes = rest.get(usize::from(sources) * 16 + usize::from(*auxiliary) * 4..)?;
        Some(GroupRecord { group: Ipv6Addr::from(*group), wants: wants(*kind, sources) })
    }
}

/// A response time in milliseconds; above 32767 in the floating point of version 2 ([RFC 3810 §5.1.3]).
///
/// [RFC 3810 §5.1.3]: https://www.rfc-editor.org/rfc/rfc3810#section-5.1.3
fn milliseconds(code: u16, len: usize) -> Duration {
    let millis = if code >= 0x8000 && len >= 28 {
        (u64::from(code & 0x0fff) | 0x1000) << (u64::from(code >> 12 & 7) + 3)
    } else {
        u64::from(code)
    };
    Duration::from_millis(millis)
}

const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;
const DONE: u8 = 132;
const REPORT_V2: u8 = 143;
