//! Many leases at once: stored first, found later.
//!
//! One by one, each lease would wait several times for memory at random places of the indices. Here both are filled in
//! the order of their slots.

use super::{Entry, Leases, Owner, Place, hash_grant, hash_owner, packed};
use crate::state::index::Index;

/// What is to be linked.
type Found = (u32, Entry);

impl Leases {
    /// Stores a lease that nothing finds before [`index_all`](Self::index_all).
    pub(crate) fn append(&mut self, owner: &Owner, place: Place) -> u32 {
        let owner = self.intern(owner);
        self.len += 1;
        self.store(Entry::new(owner, place))
    }

    /// Makes all leases found that were [appended](Self::append); there were none before. Stops at one that cannot be
    /// beside another one of its grant.
    pub(crate) fn index_all(&mut self, clash: impl Fn(&Entry, &Entry) -> bool) -> Result<(), Entry> {
        let (mut grants, mut owners) = (Vec::with_capacity(self.len), Vec::with_capacity(self.len));
        let mut fixed: Vec<Found> = Vec::new();
        for (number, entry) in (0..).zip(self.chunks.iter().flatten()) {
            grants.push((hash_grant(Some(entry)), number));
            if entry.is_fixed() {
                fixed.push((number, *entry));
            } else {
                owners.push((hash_owner(packed(entry)), number));
            }
        }
        let mut is_first = vec![true; grants.len()];
        self.link_all(fixed, &mut is_first, &clash)?;
        self.by_owner = Index::with_room(owners.len());
        for run in self.by_owner.in_order(owners).chunk_by(|(a, _), (b, _)| a == b) {
            if let [(hash, number)] = run {
                self.by_owner.push(*hash, *number);
            } else {
                let leases = run.iter().filter_map(|(_, number)| Some((*number, *self.get(*number)?)));
                self.link_all(leases.collect(), &mut is_first, &clash)?;
            }
        }
        self.by_grant = Index::with_room(grants.len());
        for (hash, number) in self.by_grant.in_order(grants) {
            if is_first.get(usize::try_from(number).unwrap_or(usize::MAX)) == Some(&true) {
                self.by_grant.push(hash, number);
            }
        }
        Ok(())
    }

    /// Links the leases of each owner, those of one network next to each other.
    fn link_all(
        &mut self,
        mut leases: Vec<Found>,
        is_first: &mut [bool],
        clash: impl Fn(&Entry, &Entry) -> bool,
    ) -> Result<(), Entry> {
        leases.sort_unstable_by_key(|(number, entry)| (entry.kind, entry.key, entry.network, *number));
        for of_owner in leases.chunk_by(|(_, a), (_, b)| packed(a) == packed(b)) {
            for grant in of_owner.chunk_by(|(_, a), (_, b)| a.network == b.network) {
                let [(_, first), others @ ..] = grant else { continue };
                let clashes = others.iter().find(|(_, other)| clash(first, other));
                // there are two families only
                let third = others.get(1).filter(|_| !first.is_fixed());
                if let Some((_, other)) = clashes.or(third) {
                    return Err(*other);
                }
                for (number, _) in others {
                    if let Some(is_first) = is_first.get_mut(usize::try_from(*number).unwrap_or(usize::MAX)) {
                        *is_first = false;
                    }
                }
                if first.is_fixed() {
                    self.chain_up(grant);
                }
            }
            if let [(number, first), ..] = of_owner
                && !first.is_fixed()
            {
                self.by_owner.push(hash_owner(packed(first)), *number);
                self.chain_up(of_owner);
            }
        }
        Ok(())
    }

    fn chain_up(&mut self, leases: &[Found]) {
        for pair in leases.windows(2) {
            if let [(before, _), (after, _)] = pair {
                self.set_next(*before, *after);
                self.set_prev(*after, *before);
            }
        }
    }
}
