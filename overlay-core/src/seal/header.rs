use super::key::{KeyId, Session};
use super::stats::OpenError;
use crate::Vni;
use crate::wire::VxlanHeader;

/// What stands in front of the ciphertext; all of it is authenticated.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|S|R|R|I|R|R|R|  Version (1)  |            Key id             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                VXLAN Network Identifier (VNI) |   Reserved    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                            Session                            |
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                            Counter                            |
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) context: Context,
    pub(super) counter: u64,
}

/// Whose datagrams are counted together: one network, key and run of a sender. Ordered so that the sessions of a key
/// are neighbours.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Context {
    pub(super) vni: Vni,
    pub(super) id: KeyId,
    pub(super) session: Session,
}

impl Header {
    pub(super) const LEN: usize = 24;
    const SEALED: u8 = 0x40;
    const VERSION: u8 = 1;

    /// Whether a datagram claims to be sealed, in whatever version.
    #[inline]
    pub(super) fn is_sealed(payload: &[u8]) -> bool {
        let both = VxlanHeader::FLAG_I | Self::SEALED;
        payload.first().is_some_and(|flags| flags & both == both)
    }

    #[inline]
    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let [k0, k1] = self.context.id.get().to_be_bytes();
        let [v0, v1, v2] = self.context.vni.to_be_bytes();
        let flags = VxlanHeader::FLAG_I | Self::SEALED;
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.context.session.get().to_be_bytes();
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.counter.to_be_bytes();
        [
            flags,
            Self::VERSION,
            k0,
            k1,
            v0,
            v1,
            v2,
            0, //
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
        ]
    }

    #[inline]
    pub(super) fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, OpenError> {
        let [flags, version, k0, k1, v0, v1, v2, reserved, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, c4, c5, c6, c7] = rest;
        if flags != VxlanHeader::FLAG_I | Self::SEALED || version != Self::VERSION || reserved != 0 {
            return Err(OpenError::Version);
        }
        let context = Context {
            vni: Vni::from_be_bytes([v0, v1, v2]),
            id: KeyId::new(u16::from_be_bytes([k0, k1])),
            session: Session::new(u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
        };
        Ok(Self { context, counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]) })
    }
}
