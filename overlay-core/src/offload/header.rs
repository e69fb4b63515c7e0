/// What the kernel left undone in a frame, or may leave undone: the meaning of `struct virtio_net_hdr`
/// ([VIRTIO 1.2 §5.1.6]) in front of a frame of a TAP device or a packet socket.
///
/// ```text
///   0       1          2            4          6             8              10
///   │ flags │ gso_type │ hdr_len    │ gso_size │ csum_start  │ csum_offset  │   in the byte order of this machine
/// ```
///
/// ```
/// use overlay_core::offload::{Offload, PartialChecksum};
///
/// let checksum = Some(PartialChecksum { start: 34, offset: 16 });
/// let offload = Offload { checksum, ..Offload::NONE };
/// assert_eq!(Offload::parse(&offload.to_bytes()), Ok(offload));
/// assert_eq!(Offload::parse(&[0; 10]), Ok(Offload::NONE));
/// ```
///
/// [VIRTIO 1.2 §5.1.6]: https://docs.oasis-open.org/virtio/virtio/v1.2/csd01/virtio-v1.2-csd01.html#x1-2400006
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offload {
    /// A checksum that is not finished.
    pub checksum: Option<PartialChecksum>,
    /// The frame stands for several.
    pub segmentation: Option<Segmentation>,
}

/// A checksum whose field holds only the sum of the pseudo header: what is left is to sum up everything from `start` to
/// the end of the frame, and to put the complement into the field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartialChecksum {
    /// Where the sum begins, counted from the start of the frame.
    pub start: u16,
    /// Where the field is, counted from `start`.
    pub offset: u16,
}

/// How a super-frame is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segmentation {
    /// What is cut.
    pub kind: SegmentKind,
    /// Bytes of payload behind the headers of each segment; the last one may have fewer. Not zero.
    pub size: u16,
    /// Bytes of headers. When read only a hint: the headers themselves decide.
    pub header_len: u16,
    /// Congestion was reported: `CWR` belongs on the first segment alone.
    pub ecn: bool,
}

/// What a super-frame carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, over either.
    Udp,
}

/// Why ten bytes are not an [`Offload`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum OffloadError {
    /// A kind of segmentation that was not asked for.
    #[error("{gso_type:#04x} is no segmentation that is known here")]
    Kind { gso_type: u8 },
    /// Segments of no bytes.
    #[error("segmentation {gso_type:#04x} into segments of 0 bytes")]
    NoSize { gso_type: u8 },
}

impl Offload {
    /// A frame that is complete.
    pub const NONE: Self = Self { checksum: None, segmentation: None };
    /// Bytes of a header.
    pub const LEN: usize = 10;

    /// Reads the header; unknown flags are ignored.
    ///
    /// # Errors
    /// [`OffloadError`] if it asks for a segmentation that is not understood.
    #[inline]
    pub const fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, OffloadError> {
        let [flags, gso_type, h0, h1, z0, z1, s0, s1, o0, o1] = *bytes;
        let checksum = if flags & NEEDS_CHECKSUM == 0 {
            None
        } else {
            Some(PartialChecksum {
                start: u16::from_ne_bytes([s0, s1]),
                offset: u16::from_ne_bytes([o0, o1]),
            })
        };
        let kind = match gso_type {
            0 => return Ok(Self { checksum, segmentation: None }),
            TCP4 | TCP4_ECN => SegmentKind::Tcp4,
            TCP6 | TCP6_ECN => SegmentKind::Tcp6,
            UDP => SegmentKind::Udp,
            gso_type => return Err(OffloadError::Kind { gso_type }),
        };
        let size = u16::from_ne_bytes([z0, z1]);
        if size == 0 {
            return Err(OffloadError::NoSize { gso_type });
        }
        let header_len = u16::from_ne_bytes([h0, h1]);
        let segmentation = Some(Segmentation { kind, size, header_len, ecn: gso_type & ECN != 0 });
        Ok(Self { checksum, segmentation })
    }

    /// The header as bytes, to be written in front of a frame.
    #[inline]
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        let (flags, [s0, s1], [o0, o1]) = match self.checksum {
            None => (0, [0, 0], [0, 0]),
            Some(PartialChecksum { start, offset }) => {
                (NEEDS_CHECKSUM, start.to_ne_bytes(), offset.to_ne_bytes())
            }
        };
        let (gso_type, [h0, h1], [z0, z1]) = match self.segmentation {
            None => (0, [0, 0], [0, 0]),
            Some(Segmentation { kind, size, header_len, ecn }) => {
                let gso_type = match (kind, ecn) {
                    (SegmentKind::Tcp4, false) => TCP4,
                    (SegmentKind::Tcp4, true) => TCP4_ECN,
                    (SegmentKind::Tcp6, false) => TCP6,
                    (SegmentKind::Tcp6, true) => TCP6_ECN,
                    (SegmentKind::Udp, _) => UDP,
                };
                (gso_type, header_len.to_ne_bytes(), size.to_ne_bytes())
            }
        };
        [flags, gso_type, h0, h1, z0, z1, s0, s1, o0, o1]
    }
}

const NEEDS_CHECKSUM: u8 = 1;
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;
const ECN: u8 = 0x80;
const TCP4_ECN: u8 = TCP4 | ECN;
const TCP6_ECN: u8 = TCP6 | ECN;
