use std::collections::BTreeMap;
use std::net::IpAddr;

use super::derive::{DatagramKey, Secret};
use super::header::{Context, Header};
use super::key::{KeyError, KeyId, SealKey, Session};
use super::sessions::{Sealed, Sessions};
use super::stats::{OpenError, SealStats};
use crate::Vni;

/// The sealing state of one host, for all of its encrypted networks.
///
/// [`set_keys`](Self::set_keys) is the whole truth about one network; [`install`](Self::install),
/// [`activate`](Self::activate) and [`retire`](Self::retire) are the steps of a rotation, which loses no datagram if
/// each step is finished everywhere before the next begins. See the [module](super) for an example.
#[derive(Debug)]
pub struct Seal {
    session: Session,
    networks: BTreeMap<Vni, Keys>,
    sessions: Sessions,
    stats: SealStats,
}

/// A frame that was authenticated and decrypted; only [`Seal::open`] makes one.
#[derive(Debug)]
pub struct Opened<'p> {
    vni: Vni,
    frame: &'p mut [u8],
}

/// Why a frame cannot be sealed. It must not be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum SealError {
    /// There is no key to seal with.
    #[error("network {vni} has no active key")]
    NoKey { vni: Vni },
    /// The buffer has no room for header and tag.
    #[error("{len} bytes have no room for a header of 24 bytes and a tag of 16")]
    Short { len: usize },
    /// The frame is longer than the algorithm can seal.
    #[error("a frame of {len} bytes is too long to be sealed")]
    Long { len: usize },
    /// All counters of this run are used up. Only a new [`Session`] can go on.
    #[error("network {vni} has used up the counters of this run")]
    Exhausted { vni: Vni },
}

/// One network. It outlives its keys, so that its counter never goes back within a run.
#[derive(Debug, Default)]
struct Keys {
    keys: BTreeMap<KeyId, Secret>,
    active: Option<KeyId>,
    sealing: Option<DatagramKey>,
    /// The last one that was used.
    counter: u64,
}

impl Seal {
    /// Bytes in front of the ciphertext.
    pub const HEADER_LEN: usize = Header::LEN;
    /// Bytes behind the ciphertext.
    pub const TAG_LEN: usize = 16;
    /// Bytes that sealing takes from the MTU beyond plain VXLAN: header and tag, less the 8 of the plain header.
    pub const OVERHEAD: u16 = 32;

    /// A host without encrypted networks, at the start of a run.
    #[must_use]
    pub fn new(session: Session) -> Self {
        let (networks, sessions, stats) = Default::default();
        Self { session, networks, sessions, stats }
    }

    /// Adds a key that opens datagrams but does not seal them yet. Installing a key twice changes nothing.
    ///
    /// # Errors
    /// [`KeyError::Taken`] if the number belongs to another key.
    pub fn install(&mut self, vni: Vni, id: KeyId, key: SealKey) -> Result<(), KeyError> {
        let network = self.networks.entry(vni).or_default();
        match network.keys.get(&id) {
            Some(secret) if !secret.is(&key) => return Err(KeyError::Taken { vni, id }),
            Some(_) => {}
            None => drop(network.keys.insert(id, Secret::new(&key))),
        }
        Ok(())
    }

    /// Seals with this key from now on. All hosts must have it installed.
    ///
    /// # Errors
    /// [`KeyError::UnknownNetwork`], [`KeyError::UnknownKey`].
    pub fn activate(&mut self, vni: Vni, id: KeyId) -> Result<(), KeyError> {
        let network = self.network_mut(vni)?;
        if !network.keys.contains_key(&id) {
            return Err(KeyError::UnknownKey { vni, id });
        }
        network.activate(id);
        Ok(())
    }

    /// Forgets a key and everything that was seen under it. It must never be installed again: what was recorded under
    /// it could be replayed.
    ///
    /// # Errors
    /// [`KeyError::Active`] if it still seals; [`KeyError::UnknownNetwork`], [`KeyError::UnknownKey`].
    pub fn retire(&mut self, vni: Vni, id: KeyId) -> Result<(), KeyError> {
        let network = self.network_mut(vni)?;
        if network.active == Some(id) {
            return Err(KeyError::Active { vni, id });
        }
        network.keys.remove(&id).ok_or(KeyError::UnknownKey { vni, id })?;
        self.sessions.forget(vni, id);
        Ok(())
    }

    /// Makes `keys` the keys of a network: new ones are installed, missing ones retired, `active` seals.
    ///
    /// What was seen under keys that stay is kept. A key that has changed under its number is a new key.
    ///
    /// # Errors
    /// [`KeyError::UnknownKey`] if `active` is not among `keys`.
    pub fn set_keys(
        &mut self,
        vni: Vni,
        active: KeyId,
        keys: &BTreeMap<KeyId, SealKey>,
    ) -> Result<(), KeyError> {
        if !keys.contains_key(&active) {
            return Err(KeyError::UnknownKey { vni, id: active });
        }
        let network = self.networks.entry(vni).or_default();
        let stays = |id: &KeyId, secret: &Secret| keys.get(id).is_some_and(|key| secret.is(key));
        let gone = network.keys.iter().filter(|(id, secret)| !stays(id, secret)).map(|(id, _)| *id);
        let gone: Vec<KeyId> = gone.collect();
        network.keys.retain(|id, _| !gone.contains(id));
        if network.active.is_some_and(|active| gone.contains(&active)) {
            (network.active, network.sealing) = (None, None);
        }
        for (id, key) in keys {
            network.keys.entry(*id).or_insert_with(|| Secret::new(key));
        }
        network.activate(active);
        // Also the runs of keys that were gone when the network came back.
        let forgotten = self.sessions.keys(vni).into_iter().filter(|id| !keys.contains_key(id));
        for id in gone.into_iter().chain(forgotten) {
            self.sessions.forget(vni, id);
        }
        Ok(())
    }

    /// Drops a network's keys. What was seen and sent under them is remembered in short, in case the network comes back.
    pub fn remove_network(&mut self, vni: Vni) {
        let Some(network) = self.networks.get_mut(&vni) else { return };
        *network = Keys { counter: network.counter, ..Keys::default() };
        for id in self.sessions.keys(vni) {
            self.sessions.close(vni, id);
        }
    }

    /// Turns a frame into a datagram's payload, in place. `buffer` is [`Self::HEADER_LEN`] free bytes, the frame, and
    /// [`Self::TAG_LEN`] free bytes.
    ///
    /// # Errors
    /// [`SealError`]; the buffer must not be sent then.
    #[inline]
    pub fn seal(&mut self, vni: Vni, buffer: &mut [u8]) -> Result<(), SealError> {
        let session = self.session;
        let network = self.networks.get_mut(&vni).ok_or(SealError::NoKey { vni });
        let sealed = network.and_then(|network| network.seal(vni, session, buffer));
        match sealed {
            Ok(()) => self.stats.sealed += 1,
            Err(_) => self.stats.unsent += 1,
        }
        sealed
    }

    /// Authenticates and decrypts a datagram's payload, in place.
    ///
    /// `from` only helps to tell runs apart; it proves nothing. No datagram without the key's tag changes any state.
    ///
    /// # Errors
    /// [`OpenError`]: drop it; the payload is not to be used. It is counted already.
    #[inline]
    pub fn open<'p>(&mut self, from: IpAddr, payload: &'p mut [u8]) -> Result<Opened<'p>, OpenError> {
        let opened = self.try_open(from, payload);
        match &opened {
            Ok(_) => self.stats.opened += 1,
            Err(reason) => self.stats.refuse(*reason),
        }
        opened
    }

    /// Whether a payload claims to be sealed: cheap, to choose between [`Self::open`] and plain VXLAN.
    #[inline]
    #[must_use]
    pub fn is_sealed(payload: &[u8]) -> bool {
        Header::is_sealed(payload)
    }

    /// What was sealed, opened and refused.
    #[must_use]
    pub const fn stats(&self) -> &SealStats {
        &self.stats
    }

    /// This host's run.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    fn try_open<'p>(&mut self, from: IpAddr, payload: &'p mut [u8]) -> Result<Opened<'p>, OpenError> {
        if !Self::is_sealed(payload) {
            return Err(if payload.is_empty() { OpenError::Truncated } else { OpenError::Plain });
        }
        let Some((bytes, body)) = payload.split_first_chunk_mut() else { return Err(OpenError::Truncated) };
        if body.len() < Self::TAG_LEN {
            return Err(OpenError::Truncated);
        }
        let header = Header::parse(bytes)?;
        let Context { vni, id, .. } = header.context;
        let secret = || {
            let network = self.networks.get(&vni).filter(|network| !network.keys.is_empty());
            network.ok_or(OpenError::UnknownNetwork)?.keys.get(&id).ok_or(OpenError::UnknownKey)
        };
        let frame = self.sessions.open(secret, from, Sealed { header, bytes: *bytes, body })?;
        Ok(Opened { vni, frame })
    }

    fn network_mut(&mut self, vni: Vni) -> Result<&mut Keys, KeyError> {
        let network = self.networks.get_mut(&vni).filter(|network| !network.keys.is_empty());
        network.ok_or(KeyError::UnknownNetwork { vni })
    }
}

impl<'p> Opened<'p> {
    /// The network whose key opened the datagram.
    #[must_use]
    pub const fn vni(&self) -> Vni {
        self.vni
    }

    /// The inner Ethernet frame, not yet looked at.
    #[must_use]
    pub const fn frame(&self) -> &[u8] {
        self.frame
    }

    /// The frame's bytes, in the buffer that was opened.
    #[must_use]
    pub const fn into_frame(self) -> &'p mut [u8] {
        self.frame
    }
}

impl Keys {
    fn activate(&mut self, id: KeyId) {
        if self.active != Some(id) {
            (self.active, self.sealing) = (Some(id), None);
        }
    }

    fn seal(&mut self, vni: Vni, session: Session, buffer: &mut [u8]) -> Result<(), SealError> {
        let len = buffer.len();
        let (header, rest) = buffer.split_first_chunk_mut().ok_or(SealError::Short { len })?;
        let (frame, tag) = rest.split_last_chunk_mut().ok_or(SealError::Short { len })?;
        let id = self.active.ok_or(SealError::NoKey { vni })?;
        let counter = self.counter.checked_add(1).ok_or(SealError::Exhausted { vni })?;
        let context = Context { vni, id, session };
        let epoch = DatagramKey::epoch_of(counter);
        if self.sealing.as_ref().is_none_or(|key| key.epoch() != epoch) {
            self.sealing = self.keys.get(&id).map(|secret| secret.derive(context, epoch));
        }
        let key = self.sealing.as_ref().ok_or(SealError::NoKey { vni })?;
        // Spent whatever comes of it.
        self.counter = counter;
        *header = Header { context, counter }.to_bytes();
        *tag = key.seal(header, counter, frame).ok_or(SealError::Long { len })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;

    const VNI: Vni = Vni::MAX;
    const UNITS: u64 = 1 << 23;

    #[test]
    fn the_datagrams_key_changes_before_it_wears_out_and_nothing_is_lost() {
        let (mut a, mut b) = (host(1, UNITS - 50), host(2, 0));
        let mut datagrams: Vec<Vec<u8>> = (0..100).map(|_| sealed(&mut a)).collect();
        // Overtaken across the change, also before the older key was ever needed.
        for at in [60, 40, 99, 0, 49, 50] {
            assert!(b.open(FROM, &mut datagrams[at].clone()).is_ok(), "{at}");
        }
        let late =
            datagrams.iter_mut().map(|datagram| u32::from(b.open(FROM, datagram).is_ok())).sum::<u32>();
        assert_eq!(late, 94);
    }

    #[test]
    fn counters_end_and_do_not_begin_again() {
        let (mut a, mut b) = (host(1, u64::MAX - 1), host(2, 0));
        assert!(b.open(FROM, &mut sealed(&mut a)).is_ok());
        let mut buffer = [0; 64];
        assert_eq!(a.seal(VNI, &mut buffer), Err(SealError::Exhausted { vni: VNI }));
        assert_eq!(buffer, [0; 64]);
    }

    fn host(session: u64, counter: u64) -> Seal {
        let key = SealKey::new(Algorithm::Aes128Gcm, &[1; 16]).unwrap();
        let mut seal = Seal::new(Session::new(session));
        seal.set_keys(VNI, KeyId::new(1), &[(KeyId::new(1), key)].into()).unwrap();
        seal.networks.get_mut(&VNI).unwrap().counter = counter;
        seal
    }

    fn sealed(seal: &mut Seal) -> Vec<u8> {
        let mut buffer = vec![0; 64];
        seal.seal(VNI, &mut buffer).unwrap();
        buffer
    }

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
}
