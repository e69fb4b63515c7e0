use std::{collections::HashMap, net::IpAddr, time::Instant};

use super::{Learning, network::FOR_EVER};
use crate::MacAddr;

/// Stations of other hosts as their datagrams tell; bounded, and forgotten when they fall silent.
#[derive(Debug)]
pub(super) struct Learnt {
    config: Learning,
    stations: HashMap<MacAddr, Sighting>,
    sweep_at: Option<Instant>,
}

/// What a datagram said about where its sender is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    Known,
    New,
    Moved,
    NoRoom,
}

#[derive(Debug)]
struct Sighting {
    endpoint: IpAddr,
    expires: Instant,
}

impl Learnt {
    pub(super) fn new(mut config: Learning) -> Self {
        config.ageing = config.ageing.min(FOR_EVER);
        Self { config, stations: HashMap::new(), sweep_at: None }
    }

    #[inline]
    pub(super) fn hear(&mut self, now: Instant, mac: MacAddr, endpoint: IpAddr) -> Heard {
        let expires = now + self.config.ageing;
        if let Some(known) = self.stations.get_mut(&mac) {
            let heard =
                if known.endpoint == endpoint || known.expires <= now { Heard::Known } else { Heard::Moved };
            *known = Sighting { endpoint, expires };
            return heard;
        }
        if self.stations.len() >= self.config.max_entries {
            self.sweep(now);
            if self.stations.len() >= self.config.max_entries {
                return Heard::NoRoom;
            }
        }
        self.stations.insert(mac, Sighting { endpoint, expires });
        self.sweep_at.get_or_insert(expires);
        Heard::New
    }

    #[inline]
    pub(super) fn find(&self, now: Instant, mac: MacAddr) -> Option<&IpAddr> {
        self.stations.get(&mac).filter(|sighting| sighting.expires > now).map(|sighting| &sighting.endpoint)
    }

    pub(super) fn len(&self) -> usize {
        self.stations.len()
    }

    /// Takes over what another table learnt, as far as it may.
    pub(super) fn inherit(&mut self, other: Self, keep: impl Fn(MacAddr, IpAddr) -> bool) {
        self.stations = other.stations;
        self.sweep_at = other.sweep_at;
        self.stations.retain(|mac, sighting| keep(*mac, sighting.endpoint));
        if self.stations.len() > self.config.max_entries {
            self.stations.clear();
        }
    }

    /// Forgets the stations of a host and says how many those were.
    pub(super) fn forget(&mut self, endpoint: IpAddr) -> usize {
        let before = self.stations.len();
        self.stations.retain(|_, sighting| sighting.endpoint != endpoint);
        before - self.stations.len()
    }

    /// Forgets who was silent for too long. Does nothing before [`sweep_at`](Self::sweep_at).
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        self.stations.retain(|_, sighting| {
            let stays = sighting.expires > now;
            if stays {
                next = Some(next.map_or(sighting.expires, |next| next.min(sighting.expires)));
            }
            stays
        });
        // Not one walk for each station: what is expired is not found, even while it is still there.
        self.sweep_at = next.map(|next| next.max(now + self.config.ageing / 16));
    }

    pub(super) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }
}
