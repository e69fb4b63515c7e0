//! Comparing notes: one hash per network, then one per owner, then rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rand::Rng;

use super::wire::{self, NetworkDigest, RowPacker};
use super::{Send, Tables, spread};
use crate::membership::Members;
use crate::{NetworkId, NodeName};

impl Tables {
    /// One hash per network of ours, as a message.
    pub(crate) fn summary(&self) -> Vec<u8> {
        wire::emit_summary(&self.me, self.joined.iter().map(|n| (n, self.store.hash(n))))
    }

    /// Compares with one random node per network.
    pub(super) fn run_sync(&mut self, members: &Members) {
        let mut partners: BTreeMap<NodeName, BTreeSet<NetworkId>> = BTreeMap::new();
        for network in self.joined.clone() {
            // Nodes that have nothing at all are asked by those that have.
            if network.as_str().is_empty() && self.store.hash(&network) == 0 {
                continue;
            }
            for peer in self.some_of(&network, members, 1) {
                partners.entry(peer).or_default().insert(network.clone());
            }
        }
        for (peer, networks) in partners {
            self.send_summary(peer, networks.iter());
        }
    }

    /// Plans to compare with a node that appeared. In a crowd, only some do.
    pub(super) fn meet_soon(&mut self, now: Instant, peer: &NodeName, members: &Members) {
        let crowd = u32::try_from(members.up()).unwrap_or(u32::MAX);
        if self.rng.random_range(0..crowd.max(1)) < CROWD {
            self.meet.insert(peer.clone());
            let at = now + self.limits.delay;
            self.meet_at = Some(self.meet_at.map_or(at, |due| due.min(at)));
        }
    }

    pub(super) fn run_meet(&mut self, members: &Members) {
        self.meet_at = None;
        for peer in std::mem::take(&mut self.meet) {
            let knows = members.get(peer.as_str()).is_some_and(|k| k.member.vsn.has_tables());
            if !knows || !members.is_up(peer.as_str()) {
                continue;
            }
            let shared: Vec<NetworkId> = self
                .joined
                .iter()
                .filter(|n| n.as_str().is_empty() || self.attached.get(*n).is_some_and(|a| a.contains(&peer)))
                .cloned()
                .collect();
            self.send_summary(peer, shared.iter());
        }
    }

    /// Asks the nodes of a network for all that they have.
    pub(super) fn pull(&mut self, network: &NetworkId, members: &Members) {
        for to in self.some_of(network, members, PULL) {
            let digest = [self.digest(network)];
            let body = wire::emit_digest(&self.me, true, &digest).into();
            self.sends.push_back(Send { to, body, stream: false });
        }
    }

    pub(super) fn on_summary(&mut self, from: &NodeName, theirs: &[(NetworkId, u64)]) {
        let different =
            theirs.iter().filter(|(n, hash)| self.joined.contains(n) && self.store.hash(n) != *hash);
        let digests: Vec<NetworkDigest> = different.map(|(network, _)| self.digest(network)).collect();
        if !digests.is_empty() && !self.breaks(crate::config::Rule::TablesSync) {
            let body = wire::emit_digest(&self.me, true, &digests).into();
            self.sends.push_back(Send { to: from.clone(), body, stream: false });
        }
    }

    /// Sends what the other node has not, and says in turn what it has not, if it asks.
    pub(super) fn on_digest(&mut self, from: &NodeName, ask: bool, networks: &[NetworkDigest]) {
        let me = self.me.clone();
        let mut packer = RowPacker::new(&me, spread::STREAM);
        let mut answers = Vec::new();
        for theirs in networks.iter().filter(|d| self.joined.contains(&d.network)) {
            let network = &theirs.network;
            let held: BTreeMap<&NodeName, (u64, u64)> =
                theirs.owners.iter().map(|(owner, epoch, hash)| (owner, (*epoch, *hash))).collect();
            let mut differs = false;
            for (owner, rows) in self.store.owners(network) {
                let epoch = self.epoch_of(owner);
                let (their_epoch, their_hash) = held.get(owner).copied().unwrap_or_default();
                if (their_epoch, their_hash) == (epoch, rows.hash()) || their_hash == rows.hash() {
                    continue;
                }
                differs = true;
                if their_epoch > epoch {
                    continue;
                }
                for (key, row) in rows.rows.iter().filter(|(_, row)| row.epoch == epoch) {
                    packer.push(network, owner, epoch, &row.as_ref(key));
                }
            }
            let unknown = |(owner, (_, hash)): (&&NodeName, &(u64, u64))| {
                *hash != 0 && self.store.owner(network, owner).is_none()
            };
            differs |= held.iter().any(unknown);
            if differs && ask {
                answers.push(self.digest(network));
            }
        }
        let to = from.clone();
        self.sends.extend(packer.finish().into_iter().map(|body| Send {
            to: to.clone(),
            body,
            stream: false,
        }));
        if !answers.is_empty() {
            let body = wire::emit_digest(&me, false, &answers).into();
            self.sends.push_back(Send { to, body, stream: false });
        }
    }

    fn send_summary<'a>(&mut self, to: NodeName, networks: impl Iterator<Item = &'a NetworkId>) {
        let body = wire::emit_summary(&self.me, networks.map(|n| (n, self.store.hash(n)))).into();
        self.sends.push_back(Send { to, body, stream: false });
    }

    fn digest(&self, network: &NetworkId) -> NetworkDigest {
        let owners = self
            .store
            .owners(network)
            .map(|(owner, rows)| (owner.clone(), self.epoch_of(owner), rows.hash()))
            .collect();
        NetworkDigest { network: network.clone(), owners }
    }
}

/// In a cluster of more, only about so many nodes greet a newcomer.
const CROWD: u32 = 4;
/// How many nodes are asked for a network's records on joining it.
const PULL: usize = 3;
