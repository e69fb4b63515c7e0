use std::collections::BTreeMap;

/// A table of `len` entries in which each key has a share that follows its weight ([Maglev §3.4]).
///
/// A flow with hash `h` goes to entry `h % len`. The table depends on nothing but its arguments, so every node builds the
/// same one. When a key comes, goes or changes its weight, few entries but its own change hands.
///
/// Shares are exact up to rounding; a key of positive weight has at least one entry if there are entries enough, a key
/// of weight zero has none. Without any positive weight the table is empty. Takes about `len · log len` steps.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let table = overlay_lb::slots(&BTreeMap::from([("a", 3), ("b", 1), ("idle", 0)]), 16);
/// assert_eq!(table.iter().filter(|key| **key == "a").count(), 12);
/// assert_eq!(table.iter().filter(|key| **key == "b").count(), 4);
/// ```
///
/// [Maglev §3.4]: https://research.google/pubs/pub44824/
#[must_use]
pub fn slots<K: Ord + Clone + AsRef<[u8]>>(weights: &BTreeMap<K, u32>, len: usize) -> Vec<K> {
    let mut turns: Vec<Turns<'_, K>> = shares(weights, len)
        .into_iter()
        .map(|(key, share)| Turns { key, share, preferred: Walk::new(key.as_ref(), len) })
        .collect();
    let rounds = turns.iter().map(|turn| turn.share).max().unwrap_or(0);
    let mut table: Vec<Option<&K>> = vec![None; if rounds == 0 { 0 } else { len }];
    for round in 0..rounds {
        for turn in turns.iter_mut().filter(|turn| turn.is_on(round, rounds)) {
            // The shares add up to `len` and a walk visits every entry, so there is a free one ahead.
            while let Some(entry) = table.get_mut(turn.preferred.step()) {
                if entry.is_none() {
                    *entry = Some(turn.key);
                    break;
                }
            }
        }
    }
    table.into_iter().flatten().cloned().collect()
}

/// One key that fills its share of the table, entry by entry.
struct Turns<'a, K> {
    key: &'a K,
    share: usize,
    preferred: Walk,
}

impl<K> Turns<'_, K> {
    /// Spreads the key's `share` turns evenly over all rounds.
    const fn is_on(&self, round: usize, rounds: usize) -> bool {
        let (round, share, rounds) = (round as u64, self.share as u64, rounds as u64);
        (round + 1) * share / rounds > round * share / rounds
    }
}

/// Visits every entry once before it begins again: the order in which a key wants entries.
struct Walk {
    next: usize,
    skip: usize,
    len: usize,
}

impl Walk {
    fn new(key: &[u8], len: usize) -> Self {
        let reduce = |hash: u64| usize::try_from(hash % (len as u64).max(1)).unwrap_or(0);
        let mut skip = reduce(hash(SKIP, key)).max(1);
        while gcd(skip, len) > 1 {
            skip += 1;
        }
        Self { next: reduce(hash(OFFSET, key)), skip, len }
    }

    const fn step(&mut self) -> usize {
        let here = self.next;
        self.next = (here + self.skip) % self.len;
        here
    }
}

/// How many entries each key of positive weight gets: its fair share rounded by the largest remainder, and at least one.
fn shares<K: Ord>(weights: &BTreeMap<K, u32>, len: usize) -> Vec<(&K, usize)> {
    let weights: Vec<(&K, u128)> = weights
        .iter()
        .filter(|(_, weight)| **weight > 0)
        .map(|(key, weight)| (key, (*weight).into()))
        .collect();
    let total: u128 = weights.iter().map(|(_, weight)| weight).sum::<u128>().max(1);
    let fair = |weight: u128| (weight * len as u128 / total, weight * len as u128 % total);
    let mut shares: Vec<(&K, usize)> =
        weights.iter().map(|(key, weight)| (*key, usize::try_from(fair(*weight).0).unwrap_or(len))).collect();
    let mut by_remainder: Vec<(usize, u128)> =
        weights.iter().map(|(_, weight)| fair(*weight).1).enumerate().collect();
    by_remainder.sort_by_key(|(index, remainder)| (std::cmp::Reverse(*remainder), *index));
    let missing = len.saturating_sub(shares.iter().map(|(_, share)| share).sum());
    for (index, _) in by_remainder.into_iter().take(missing) {
        if let Some((_, share)) = shares.get_mut(index) {
            *share += 1;
        }
    }
    while shares.len() <= len && shares.iter().any(|(_, share)| *share == 0) {
        move_one_to_the_poorest(&mut shares);
    }
    shares
}

fn move_one_to_the_poorest<K: Ord>(shares: &mut [(&K, usize)]) {
    // The first of the richest and the first of the poorest: the same ones on every node.
    if let Some((_, richest)) = shares.iter_mut().rev().max_by_key(|(_, share)| *share) {
        *richest -= 1;
    }
    if let Some((_, poorest)) = shares.iter_mut().min_by_key(|(_, share)| *share) {
        *poorest += 1;
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// FNV-1a with the finish of SplitMix64: the same number on every machine and in every release.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = fnv.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

const OFFSET: u64 = 1;
const SKIP: u64 = 2;
