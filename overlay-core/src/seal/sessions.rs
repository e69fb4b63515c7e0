use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::derive::{DatagramKey, Secret};
use super::header::{Context, Header};
use super::key::{KeyId, Session};
use super::stats::OpenError;
use super::window::Window;
use crate::Vni;

/// The runs of other hosts. Only an authenticated datagram adds one.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// With keys and windows.
    known: BTreeMap<Context, Box<Run>>,
    /// The newest counter of runs whose keys and windows were given up; everything up to it counts as seen.
    closed: BTreeMap<Context, u64>,
    /// The newest run of each address that only one address has used.
    newest: BTreeMap<(Vni, KeyId, IpAddr), Session>,
    /// Grows with each datagram opened; tells which run was silent longest.
    clock: u64,
}

/// One run of one sender.
#[derive(Debug)]
struct Run {
    window: Window,
    current: DatagramKey,
    /// The key of the neighbouring epoch, for datagrams that were overtaken.
    other: Option<DatagramKey>,
    /// The only address that used the run. `None`: several did, so it says nothing about any of them.
    home: Option<IpAddr>,
    last_used: u64,
}

/// A datagram in parts.
pub(super) struct Sealed<'p> {
    pub(super) header: Header,
    pub(super) bytes: [u8; Header::LEN],
    pub(super) body: &'p mut [u8],
}

impl Sessions {
    /// Runs of one key that are held with key and window, about 2 kB each.
    const MAX_KNOWN: usize = 4096;
    /// Runs of all keys of which the newest counter is remembered; from there on no new run begins.
    const MAX_CLOSED: usize = 1 << 18;

    /// A run is known only while its key is installed, so `secret` is asked when a key has to be derived, and only then.
    #[inline]
    pub(super) fn open<'s, 'p>(
        &mut self,
        secret: impl FnOnce() -> Result<&'s Secret, OpenError>,
        from: IpAddr,
        sealed: Sealed<'p>,
    ) -> Result<&'p mut [u8], OpenError> {
        let context = sealed.header.context;
        let Some(run) = self.known.get_mut(&context) else {
            return self.begin(secret()?, from, sealed);
        };
        let frame = run.open(secret, sealed)?;
        self.clock += 1;
        run.last_used = self.clock;
        if run.home.is_some_and(|home| home != from) {
            self.unsettle(context);
        }
        Ok(frame)
    }

    /// Forgets a key's runs: the key will not come back.
    pub(super) fn forget(&mut self, vni: Vni, id: KeyId) {
        self.take(vni, id);
        let closed: Vec<Context> = self.closed.range(all_of(vni, id)).map(|(context, _)| *context).collect();
        for context in closed {
            self.closed.remove(&context);
        }
    }

    /// Gives up keys and windows, but not what was seen: the key may come back.
    pub(super) fn close(&mut self, vni: Vni, id: KeyId) {
        for (context, run) in self.take(vni, id) {
            self.closed.insert(context, run.window.newest());
        }
    }

    /// Keys of a network of which runs are remembered.
    pub(super) fn keys(&self, vni: Vni) -> BTreeSet<KeyId> {
        let all = first(vni, KeyId::new(0))..=last(vni, KeyId::new(u16::MAX));
        let known = self.known.range(all.clone()).map(|(context, _)| context.id);
        known.chain(self.closed.range(all).map(|(context, _)| context.id)).collect()
    }

    #[cold]
    fn begin<'p>(
        &mut self,
        secret: &Secret,
        from: IpAddr,
        sealed: Sealed<'p>,
    ) -> Result<&'p mut [u8], OpenError> {
        let context = sealed.header.context;
        let address = (context.vni, context.id, from);
        let closed = self.closed.get(&context).copied();
        let newest = self.newest.get(&address).copied();
        if closed.is_none() && newest.is_some_and(|newest| context.session < newest) {
            return Err(OpenError::Superseded);
        }
        let epoch = DatagramKey::epoch_of(sealed.header.counter);
        let mut run = Run {
            window: closed.map_or_else(Window::new, Window::resume),
            current: secret.derive(context, epoch),
            other: None,
            home: closed.is_none().then_some(from),
            last_used: self.clock + 1,
        };
        let frame = run.open(|| Ok(secret), sealed)?;
        self.make_room(context)?;
        self.clock += 1;
        self.closed.remove(&context);
        if run.home.is_some() {
            self.newest.insert(address, context.session);
        }
        self.known.insert(context, Box::new(run));
        Ok(frame)
    }

    /// Closes the run that was silent longest if the key has too many.
    fn make_room(&mut self, context: Context) -> Result<(), OpenError> {
        let all = all_of(context.vni, context.id);
        if self.known.len() < Self::MAX_KNOWN || self.known.range(all.clone()).count() < Self::MAX_KNOWN {
            return Ok(());
        }
        if self.closed.len() >= Self::MAX_CLOSED && !self.closed.contains_key(&context) {
            return Err(OpenError::Crowded);
        }
        let silent = self.known.range(all).min_by_key(|(_, run)| run.last_used).map(|(context, _)| *context);
        if let Some(silent) = silent {
            self.unsettle(silent);
            if let Some(run) = self.known.remove(&silent) {
                self.closed.insert(silent, run.window.newest());
            }
        }
        Ok(())
    }

    /// The run no longer says which is the newest of its address.
    #[cold]
    fn unsettle(&mut self, context: Context) {
        let Some(home) = self.known.get_mut(&context).and_then(|run| run.home.take()) else { return };
        let address = (context.vni, context.id, home);
        let mut left = self.known.range(all_of(context.vni, context.id)).rev();
        match left.find(|(_, run)| run.home == Some(home)) {
            Some((newest, _)) => self.newest.insert(address, newest.session),
            None => self.newest.remove(&address),
        };
    }

    fn take(&mut self, vni: Vni, id: KeyId) -> Vec<(Context, Box<Run>)> {
        self.newest.retain(|(of, key, _), _| (*of, *key) != (vni, id));
        let contexts: Vec<Context> = self.known.range(all_of(vni, id)).map(|(context, _)| *context).collect();
        contexts.into_iter().filter_map(|context| self.known.remove_entry(&context)).collect()
    }
}

impl Run {
    #[inline]
    fn open<'s, 'p>(
        &mut self,
        secret: impl FnOnce() -> Result<&'s Secret, OpenError>,
        sealed: Sealed<'p>,
    ) -> Result<&'p mut [u8], OpenError> {
        let Header { context, counter } = sealed.header;
        self.window.check(counter)?;
        let epoch = DatagramKey::epoch_of(counter);
        let other = self.other.as_ref().filter(|key| key.epoch() == epoch);
        let frame = if self.current.epoch() == epoch {
            self.current.open(&sealed.bytes, counter, sealed.body).ok_or(OpenError::Forged)?
        } else if let Some(other) = other {
            other.open(&sealed.bytes, counter, sealed.body).ok_or(OpenError::Forged)?
        } else {
            let key = secret()?.derive(context, epoch);
            let frame = key.open(&sealed.bytes, counter, sealed.body).ok_or(OpenError::Forged)?;
            self.keep(key);
            frame
        };
        self.window.note(counter);
        Ok(frame)
    }

    fn keep(&mut self, key: DatagramKey) {
        self.other = Some(if key.epoch() > self.current.epoch() {
            std::mem::replace(&mut self.current, key)
        } else {
            key
        });
    }
}

fn all_of(vni: Vni, id: KeyId) -> RangeInclusive<Context> {
    first(vni, id)..=last(vni, id)
}

const fn first(vni: Vni, id: KeyId) -> Context {
    Context { vni, id, session: Session::new(0) }
}

const fn last(vni: Vni, id: KeyId) -> Context {
    Context { vni, id, session: Session::new(u64::MAX) }
}
