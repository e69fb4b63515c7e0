//! A number that is the same wherever the same members are up.

use std::sync::Arc;

use super::Members;
use super::index::hash_addr;
use crate::{Member, MemberState, NodeName};

impl Members {
    /// The digest in parts: member by member, each belongs to the part that its name says.
    pub(crate) fn buckets(&self, count: usize) -> Vec<u32> {
        let mut buckets = vec![0u32; count];
        for known in self.known.iter().filter(|k| k.member.state.is_up()) {
            if let Some(bucket) = buckets.get_mut(bucket_of(&known.member.name, count)) {
                let [a, b, c, d, ..] = fingerprint(&known.member).to_be_bytes();
                *bucket = bucket.wrapping_add(u32::from_be_bytes([a, b, c, d]));
            }
        }
        buckets
    }

    pub(super) fn count(&mut self, member: &Member) {
        if member.state.is_up() {
            self.up += 1;
            self.kin += usize::from(member.vsn.has_tables());
            self.digest = self.digest.wrapping_add(fingerprint(member));
        } else if member.state == MemberState::Dead {
            self.dead.insert(member.name.clone());
        }
    }

    pub(super) fn discount(&mut self, id: u32, moved: bool) {
        let Some(old) = self.slot(id).map(|k| Arc::clone(&k.member)) else { return };
        if moved {
            let hash = hash_addr(self.salt, old.addr);
            if let Ok(entry) = self.by_addr.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
        }
        if old.state.is_up() {
            self.up -= 1;
            self.kin -= usize::from(old.vsn.has_tables());
            self.digest = self.digest.wrapping_sub(fingerprint(&old));
        } else if old.state == MemberState::Dead {
            self.dead.remove(&old.name);
        }
    }
}

/// Which of `count` parts of the digest a member belongs to.
pub(crate) fn bucket_of(name: &NodeName, count: usize) -> usize {
    let hash = crate::table::hash(&[name.as_str().as_bytes()]);
    usize::try_from(hash >> 32).unwrap_or(0) % count.max(1)
}

fn fingerprint(member: &Member) -> u64 {
    crate::table::hash(&[member.name.as_str().as_bytes(), &member.incarnation.to_be_bytes()])
}
