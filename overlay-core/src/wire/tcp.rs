use core::ops::BitOr;

/// What a TCP header says ([RFC 9293 §3.1]); the reserved bits are not kept.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |          Source Port          |       Destination Port        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                        Sequence Number                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Acknowledgment Number                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Offset| Rsrvd |C|E|U|A|P|R|S|F|            Window             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Checksum            |         Urgent Pointer        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                           [Options]                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 9293 §3.1]: https://www.rfc-editor.org/rfc/rfc9293#section-3.1
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TcpHeader {
    /// Where an answer goes.
    pub source_port: u16,
    /// Where the segment goes.
    pub destination_port: u16,
    /// The number of the payload's first byte, or of the SYN.
    pub sequence: u32,
    /// The byte that is expected next, if [`TcpFlags::ACK`] is set.
    pub acknowledgement: u32,
    /// What this segment does to the connection.
    pub flags: TcpFlags,
    /// How much the sender is willing to receive, before scaling.
    pub window: u16,
    /// Over the pseudo header, this header and the payload.
    pub checksum: u16,
    /// Where urgent bytes end, if [`TcpFlags::URG`] is set.
    pub urgent: u16,
    /// Bytes of options behind the header: a multiple of four, at most [`TcpHeader::MAX_OPTIONS`].
    pub options_len: u8,
}

/// The control bits of a TCP header ([RFC 9293 §3.1], [RFC 3168 §6.1]).
///
/// ```
/// use overlay_core::wire::TcpFlags;
///
/// let answer = TcpFlags::SYN | TcpFlags::ACK;
/// assert!(answer.contains(TcpFlags::SYN) && !answer.intersects(TcpFlags::FIN | TcpFlags::RST));
/// ```
///
/// [RFC 9293 §3.1]: https://www.rfc-editor.org/rfc/rfc9293#section-3.1
/// [RFC 3168 §6.1]: https://www.rfc-editor.org/rfc/rfc3168#section-6.1
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TcpFlags(u8);

/// A TCP header, its options and what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpSegment<'a> {
    /// What the header says.
    pub header: TcpHeader,
    /// The options as they travel, `header.options_len` bytes: see [`TcpSegment::options`].
    pub options: &'a [u8],
    /// Everything behind the options.
    pub payload: &'a [u8],
}

/// One option of a TCP header ([RFC 9293 §3.2]).
///
/// [RFC 9293 §3.2]: https://www.rfc-editor.org/rfc/rfc9293#section-3.2
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TcpOption<'a> {
    /// The largest segment that the sender of a SYN can receive.
    MaximumSegmentSize(u16),
    /// Any other one.
    Other {
        /// Its number ([IANA](https://www.iana.org/assignments/tcp-parameters)).
        kind: u8,
        /// What stands behind kind and length.
        value: &'a [u8],
    },
}

/// The options of a segment in order; padding is skipped, and a damaged option ends the list.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
    at: usize,
}

/// Why bytes are not a TCP segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum TcpError {
    /// Shorter than a header and its options.
    #[error("a TCP header of {want} bytes has only {len}")]
    Truncated { want: usize, len: usize },
    /// The data offset does not even cover the header.
    #[error("a TCP header of {header_len} bytes is below 20")]
    Offset { header_len: usize },
}

impl TcpHeader {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;
    /// The most options that the data offset can say.
    pub const MAX_OPTIONS: u8 = 40;

    /// Writes the header; options go behind it. Their length is cut to a multiple of four within the maximum.
    #[inline]
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [n0, n1, n2, n3] = self.sequence.to_be_bytes();
        let [a0, a1, a2, a3] = self.acknowledgement.to_be_bytes();
        let options_len =
            if self.options_len > Self::MAX_OPTIONS { Self::MAX_OPTIONS } else { self.options_len };
        let offset = (5 + options_len / 4) << 4;
        let [w0, w1] = self.window.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        let [u0, u1] = self.urgent.to_be_bytes();
        #[rustfmt::skip]
        let header = [s0, s1, d0, d1, n0, n1, n2, n3, a0, a1, a2, a3,
            offset, self.flags.0, w0, w1, c0, c1, u0, u1];
        *buffer = header;
    }
}

impl TcpFlags {
    /// The sender is done.
    pub const FIN: Self = Self(0x01);
    /// Opens the connection.
    pub const SYN: Self = Self(0x02);
    /// Ends the connection at once.
    pub const RST: Self = Self(0x04);
    /// Hand on what was received.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// The receiver saw congestion.
    pub const ECE: Self = Self(0x40);
    /// The sender slowed down.
    pub const CWR: Self = Self(0x80);

    /// Wraps the byte that travels; every value is allowed.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte that travels.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags but for `flags`.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl<'a> TcpSegment<'a> {
    /// Reads the payload of an IP packet; the checksum needs the addresses and is not looked at.
    ///
    /// # Errors
    /// [`TcpError`] if a length does not fit.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TcpError> {
        let Some((header, rest)) = bytes.split_first_chunk::<{ TcpHeader::LEN }>() else {
            return Err(TcpError::Truncated { want: TcpHeader::LEN, len: bytes.len() });
        };
        #[rustfmt::skip]
        let [s0, s1, d0, d1, n0, n1, n2, n3, a0, a1, a2, a3,
            offset, flags, w0, w1, c0, c1, u0, u1] = *header;
        let header_len = usize::from(offset >> 4) * 4;
        let Some(options_len) = (offset >> 4).checked_sub(5).map(|words| words * 4) else {
            return Err(TcpError::Offset { header_len });
        };
        let Some((options, payload)) = rest.split_at_checked(usize::from(options_len)) else {
            return Err(TcpError::Truncated { want: header_len, len: bytes.len() });
        };
        let header = TcpHeader {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            sequence: u32::from_be_bytes([n0, n1, n2, n3]),
            acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(flags),
            window: u16::from_be_bytes([w0, w1]),
            checksum: u16::from_be_bytes([c0, c1]),
            urgent: u16::from_be_bytes([u0, u1]),
            options_len,
        };
        Ok(Self { header, options, payload })
    }

    /// The options one by one.
    #[must_use]
    pub const fn options(&self) -> TcpOptions<'a> {
        TcpOptions { rest: self.options, at: 0 }
    }

    /// The maximum segment size, if the segment says one.
    ///
    /// ```
    /// use overlay_core::wire::TcpSegment;
    ///
    /// let syn = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4];
    /// assert_eq!(TcpSegment::parse(&syn)?.maximum_segment_size(), Some(1460));
    /// # Ok::<(), overlay_core::wire::TcpError>(())
    /// ```
    #[must_use]
    pub fn maximum_segment_size(&self) -> Option<u16> {
        self.options().find_map(|option| match option {
            TcpOption::MaximumSegmentSize(size) => Some(size),
            TcpOption::Other { .. } => None,
        })
    }
}

impl TcpOptions<'_> {
    /// Where the option that came last ends, counted from where the first begins.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        while let [NO_OPERATION, rest @ ..] = self.rest {
            (self.rest, self.at) = (rest, self.at + 1);
        }
        let [kind, len, rest @ ..] = self.rest else { return None };
        if *kind == END {
            return None;
        }
        let (value, rest) = rest.split_at_checked(usize::from(*len).checked_sub(2)?)?;
        (self.rest, self.at) = (rest, self.at + usize::from(*len));
        Some(match (*kind, value) {
            (MAXIMUM_SEGMENT_SIZE, [a, b]) => TcpOption::MaximumSegmentSize(u16::from_be_bytes([*a, *b])),
            (kind, value) => TcpOption::Other { kind, value },
        })
    }
}

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
