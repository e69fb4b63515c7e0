use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

use super::header::{Context, Header};
use super::key::{Algorithm, SealKey};

/// A network's key, ready to derive from.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    key: SealKey,
    prk: Prk,
}

/// The key of one epoch of a context: it seals [`DatagramKey::UNITS`] datagrams and then is followed by the next.
#[derive(Debug)]
pub(super) struct DatagramKey {
    epoch: u64,
    key: LessSafeKey,
}

impl Secret {
    pub(super) fn new(key: &SealKey) -> Self {
        Self { prk: Salt::new(HKDF_SHA256, &[]).extract(key.bytes()), key: key.clone() }
    }

    pub(super) fn is(&self, key: &SealKey) -> bool {
        self.key == *key
    }

    /// HKDF-Expand with everything that tells two keys apart.
    pub(super) fn derive(&self, context: Context, epoch: u64) -> DatagramKey {
        let algorithm: Algorithm = self.key.algorithm();
        let info: [&[u8]; 6] = [
            LABEL,
            &[algorithm.number()],
            &context.vni.to_be_bytes(),
            &context.id.get().to_be_bytes(),
            &context.session.get().to_be_bytes(),
            &epoch.to_be_bytes(),
        ];
        let okm = self.prk.expand(&info, algorithm.aead()).expect("a key is shorter than 255 hashes");
        DatagramKey { epoch, key: LessSafeKey::new(UnboundKey::from(okm)) }
    }
}

impl DatagramKey {
    /// Datagrams sealed with one key: what RFC 9001 §6.6 allows AES-GCM whatever their size.
    const UNITS: u64 = 1 << 23;

    pub(super) const fn epoch_of(counter: u64) -> u64 {
        counter / Self::UNITS
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Encrypts in place; `None` if the frame is longer than any datagram can be.
    #[inline]
    pub(super) fn seal(
        &self,
        header: &[u8; Header::LEN],
        counter: u64,
        frame: &mut [u8],
    ) -> Option<[u8; 16]> {
        let tag = self.key.seal_in_place_separate_tag(nonce(counter), Aad::from(header), frame).ok()?;
        tag.as_ref().first_chunk().copied()
    }

    /// Decrypts in place and returns the frame; `None` if anything was changed on the way, and the body is unusable.
    #[inline]
    pub(super) fn open<'p>(
        &self,
        header: &[u8; Header::LEN],
        counter: u64,
        body: &'p mut [u8],
    ) -> Option<&'p mut [u8]> {
        self.key.open_in_place(nonce(counter), Aad::from(header), body).ok()
    }
}

fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

const LABEL: &[u8] = b"sealed vxlan 1";
