use core::{net::Ipv4Addr, time::Duration};

use super::{Checksum, Ipv4Header, protocol};

/// What hosts and routers say about groups of IPv4: IGMP of the versions 1, 2 and 3 ([RFC 1112], [RFC 2236], [RFC 3376]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      | Max Resp Code |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                         Group Address                         |   0x11, 0x12, 0x16, 0x17
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Reserved            |   Number of Group Records     |   0x22; the records follow
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 1112]: https://www.rfc-editor.org/rfc/rfc1112
/// [RFC 2236]: https://www.rfc-editor.org/rfc/rfc2236
/// [RFC 3376]: https://www.rfc-editor.org/rfc/rfc3376
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IgmpMessage<'a> {
    /// A router asks who is a member; of every group if none is named.
    Query {
        /// The group that is asked for.
        group: Option<Ipv4Addr>,
        /// How long a host may wait before it answers.
        max_response: Duration,
    },
    /// A host is a member (version 1 and 2).
    Report {
        /// The group.
        group: Ipv4Addr,
    },
    /// A host is no longer a member (version 2).
    Leave {
        /// The group.
        group: Ipv4Addr,
    },
    /// A host's memberships (version 3).
    Records(IgmpRecords<'a>),
}

/// The question for the memberships of every group with its IPv4 header, as version 3 asks it.
///
/// It comes from no address: so [RFC 4541 §2.1.1] wants it of those who only listen, and so no router mistakes it for a
/// rival.
///
/// [RFC 4541 §2.1.1]: https://www.rfc-editor.org/rfc/rfc4541#section-2.1.1
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IgmpQuery {
    /// How long a host may wait before it answers.
    pub max_response: Duration,
    /// Time until the next question.
    pub interval: Duration,
}

/// The group records of a report of version 3; each was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IgmpRecords<'a> {
    bytes: &'a [u8],
    left: u16,
}

/// What a group record says ([RFC 3376 §4.2.12], [RFC 3810 §5.2.12]).
///
/// [RFC 3376 §4.2.12]: https://www.rfc-editor.org/rfc/rfc3376#section-4.2.12
/// [RFC 3810 §5.2.12]: https://www.rfc-editor.org/rfc/rfc3810#section-5.2.12
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GroupRecord<A> {
    /// The group.
    pub group: A,
    /// Whether the host wants to hear someone in the group: `None` if the record only takes sources away.
    pub wants: Option<bool>,
}

/// Why bytes are not an IGMP message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum IgmpError {
    /// Shorter than a message or the records that it announces.
    #[error("an IGMP message of type {kind:#04x} does not fit into {len} bytes")]
    Truncated { kind: u8, len: usize },
    /// A message that is not known here.
    #[error("IGMP type {kind:#04x} is unknown")]
    Type { kind: u8 },
    /// The address is not a group's.
    #[error("{group} is not a group")]
    Group { group: Ipv4Addr },
    /// The message was damaged.
    #[error("the IGMP checksum is wrong")]
    Checksum,
}

impl<'a> IgmpMessage<'a> {
    /// Reads the payload of an IPv4 packet.
    ///
    /// # Errors
    /// [`IgmpError`] if it is too short, damaged or unknown, or names an address that is not a group's.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IgmpError> {
        let len = bytes.len();
        let Some(([kind, code, _, _, a, b, c, d], rest)) = bytes.split_first_chunk::<8>() else {
            return Err(IgmpError::Truncated { kind: bytes.first().copied().unwrap_or(0), len });
        };
        let group = Ipv4Addr::new(*a, *b, *c, *d);
        if !Checksum::new().add_bytes(bytes).is_intact() {
            return Err(IgmpError::Checksum);
        }
        let of_group = || if group.is_multicast() { Ok(group) } else { Err(IgmpError::Group { group }) };
        match *kind {
            QUERY => Ok(Self::Query {
                group: if group.is_unspecified() { None } else { Some(of_group()?) },
                max_response: tenths(*code, len),
            }),
            REPORT_V1 | REPORT_V2 => Ok(Self::Report { group: of_group()? }),
            LEAVE => Ok(Self::Leave { group: of_group()? }),
            REPORT_V3 => {
                let records = IgmpRecords { bytes: rest, left: u16::from_be_bytes([*c, *d]) };
                records.check().map_err(|()| IgmpError::Truncated { kind: *kind, len })?;
                Ok(Self::Records(records))
            }
            kind => Err(IgmpError::Type { kind }),
        }
    }
}

impl IgmpQuery {
    /// Bytes of the packet: the IPv4 header with the router alert option, and the message.
    pub const LEN: usize = Ipv4Header::LEN + 4 + 12;

    /// Writes the packet; times are cut to 12.7 s and 127 s.
    pub fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let code = u8::try_from(self.max_response.as_millis() / 100).unwrap_or(u8::MAX).min(127);
        let interval = u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX).min(127);
        let message = |[c0, c1]: [u8; 2]| [QUERY, code, c0, c1, 0, 0, 0, 0, 2, interval, 0, 0];
        let sum = Checksum::new().add_bytes(&message([0, 0])).finish();
        // Version 4, six words with the router alert option; internetwork control; one hop.
        let header = |[c0, c1]: [u8; 2]| {
            #[rustfmt::skip]
            let header = [0x46, 0xc0, 0, 36, 0, 0, 0, 0, 1, protocol::IGMP, c0, c1,
                0, 0, 0, 0, 224, 0, 0, 1, 0x94, 4, 0, 0];
            header
        };
        let header_sum = Checksum::new().add_bytes(&header([0, 0])).finish();
        if let Some((first, rest)) = buffer.split_first_chunk_mut::<24>() {
            *first = header(header_sum.to_be_bytes());
            rest.copy_from_slice(&message(sum.to_be_bytes()));
        }
    }
}

impl IgmpRecords<'_> {
    fn check(mut self) -> Result<(), ()> {
        while self.left > 0 {
            self.next().ok_or(())?;
        }
        Ok(())
    }
}

impl Iterator for IgmpRecords<'_> {
    type Item = GroupRecord<Ipv4Addr>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ([kind, auxiliary, n0, n1, a, b, c, d], rest) = self.bytes.split_first_chunk::<8>()?;
        let sources = u16::from_be_bytes([*n0, *n1]);
        self.bytes = rest.get((usize::from(sources) + usize::from(*auxiliary)) * 4..)?;
        Some(GroupRecord { group: Ipv4Addr::new(*a, *b, *c, *d), wants: wants(*kind, sources) })
    }
}

/// What the six kinds of records mean for one who looks at groups, not at sources.
pub(super) const fn wants(kind: u8, sources: u16) -> Option<bool> {
    match kind {
        IS_EXCLUDE | TO_EXCLUDE | ALLOW => Some(true),
        IS_INCLUDE | TO_INCLUDE => Some(sources > 0),
        _ => None,
    }
}

/// A response time in tenths of a second; above 127 in the floating point of version 3, zero in version 1 ([RFC 3376 §4.1.1]).
///
/// [RFC 3376 §4.1.1]: https://www.rfc-editor.org/rfc/rfc3376#section-4.1.1
fn tenths(code: u8, len: usize) -> Duration {
    let tenths = match code {
        0 => 100,
        128.. if len >= 12 => (u64::from(code & 0x0f) | 0x10) << (u64::from(code >> 4 & 7) + 3),
        _ => u64::from(code),
    };
    Duration::from_millis(tenths * 100)
}

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;
const IS_INCLUDE: u8 = 1;
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;
const ALLOW: u8 = 5;
