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
    /// Sealed by this crate: the frame behind it is ciphertext.
    #[error("the VXLAN flags {flags:#04x} announce a sealed datagram")]
    Sealed { flags: u8 },
    /// The Group Policy extension ([draft-smith-vxlan-group-policy]): a policy that is not known here must not be ignored.
    ///
    /// [draft-smith-vxlan-group-policy]: https://datatracker.ietf.org/doc/html/draft-smith-vxlan-group-policy
    #[error("the VXLAN flags {flags:#04x} announce a group policy")]
    GroupPolicy { flags: u8 },
    /// The Generic Protocol Extension ([draft-ietf-nvo3-vxlan-gpe]) names what follows; it need not be a frame.
    ///
    /// [draft-ietf-nvo3-vxlan-gpe]: https://datatracker.ietf.org/doc/html/draft-ietf-nvo3-vxlan-gpe
    #[error("the VXLAN flags {flags:#04x} announce a next protocol")]
    NextProtocol { flags: u8 },
    /// A version of the Generic Protocol Extension other than 0.
    #[error("VXLAN version {version} is not 0")]
    Version { version: u8 },
    /// An operations, administration and maintenance packet of the Generic Protocol Extension; not to be forwarded.
    #[error("the VXLAN flags {flags:#04x} announce a maintenance packet")]
    Maintenance { flags: u8 },
}

impl VxlanHeader {
    /// Bytes of a header.
    pub const LEN: usize = 8;
    /// The flag that says that the VNI is valid.
    pub const FLAG_I: u8 = 0x08;
    /// The reserved bit that marks a sealed datagram, whose header is longer.
    pub const FLAG_SEALED: u8 = 0x40;

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
    /// Reads the payload of a UDP datagram.
    ///
    /// Reserved bits are ignored, as the RFC wants, but for those that change the meaning of what follows in a format
    /// that this is not: sealed datagrams, the Group Policy and the Generic Protocol Extension.
    ///
    /// # Errors
    /// [`VxlanError`] if it is too short, names no network or is of another format.
    #[inline]
    pub const fn parse(payload: &'a [u8]) -> Result<Self, VxlanError> {
        let Some((header, frame)) = payload.split_first_chunk::<{ VxlanHeader::LEN }>() else {
            return Err(VxlanError::Truncated { len: payload.len() });
        };
        let [flags, _, _, _, a, b, c, _] = *header;
        if flags & !IGNORED != VxlanHeader::FLAG_I {
            return Err(refusal(flags));
        }
        let vni = Vni::from_be_bytes([a, b, c]);
        Ok(Self { header: VxlanHeader { vni }, frame })
    }
}

#[cold]
const fn refusal(flags: u8) -> VxlanError {
    if flags & VxlanHeader::FLAG_I == 0 {
        VxlanError::NoVni { flags }
    } else if flags & VxlanHeader::FLAG_SEALED != 0 {
        VxlanError::Sealed { flags }
    } else if flags & GROUP_POLICY != 0 {
        VxlanError::GroupPolicy { flags }
    } else if flags & VERSION != 0 {
        VxlanError::Version { version: (flags & VERSION) >> 4 }
    } else if flags & NEXT_PROTOCOL != 0 {
        VxlanError::NextProtocol { flags }
    } else {
        VxlanError::Maintenance { flags }
    }
}

const GROUP_POLICY: u8 = 0x80;
const VERSION: u8 = 0x30;
const NEXT_PROTOCOL: u8 = 0x04;
/// Reserved in every format, or (the B bit of the Generic Protocol Extension) of no consequence.
const IGNORED: u8 = 0x02;
