use crate::Vni;

/// The UDP port that IANA assigned to VXLAN ([RFC 7348 §5]).
///
/// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
pub const VXLAN_PORT: u16 = 4789;

/// What a VXLAN header says ([RFC 7348 §5]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|R|R|R|I|R|R|R|            Reserved                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                VXLAN Network Identifier (VNI) |   Reserved    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct VxlanHeader {
    /// The network that the inner frame belongs to.
    pub vni: Vni,
}

/// A VXLAN header and the frame behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VxlanPacket<'a> {
    /// What the header says.
    pub header: VxlanHeader,
    /// The inner Ethernet frame, not yet looked at.
    pub frame: &'a [u8],
}

/// Why a datagram is not VXLAN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum VxlanError {
    /// Shorter than a header.
    #[error("a VXLAN header takes 8 bytes, not {len}")]
    Truncated { len: usize },
    /// The I flag is off, so the datagram names no network.
    #[error("the VXLAN flags {flags:#04x} say that there is no VNI")]
    NoVni { flags: u8 },
}

impl VxlanHeader {
    /// Bytes of a header.
    pub const LEN: usize = 8;
    /// The flag that says that the VNI is valid.
    pub const FLAG_I: u8 = 0x08;

    /// Writes the header; reserved bits are zero.
    #[inline]
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        *buffer = self.to_bytes();
    }

    /// The header as bytes, to be sent in front of a frame.
    #[inline]
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        let [a, b, c] = self.vni.to_be_bytes();
        [Self::FLAG_I, 0, 0, 0, a, b, c, 0]
    }
}

impl<'a> VxlanPacket<'a> {
    /// Reads the payload of a UDP datagram. Reserved bits are ignored, as the RFC wants.
    ///
    /// # Errors
    /// [`VxlanError`] if it is too short or names no network.
    #[inline]
    pub const fn parse(payload: &'a [u8]) -> Result<Self, VxlanError> {
        let Some((header, frame)) = payload.split_first_chunk::<{ VxlanHeader::LEN }>() else {
            return Err(VxlanError::Truncated { len: payload.len() });
        };
        let [flags, _, _, _, a, b, c, _] = *header;
        if flags & VxlanHeader::FLAG_I == 0 {
            return Err(VxlanError::NoVni { flags });
        }
        let vni = Vni::from_be_bytes([a, b, c]);
        Ok(Self { header: VxlanHeader { vni }, frame })
    }
}
