use std::hash::{BuildHasherDefault, Hasher};

/// Builds the hasher of tables whose keys are told, not heard: nobody on the wire can choose what is in them, so they
/// need no secret, and a lookup costs a few instructions. What is learnt from datagrams has the standard hasher.
pub(super) type Quick = BuildHasherDefault<Mix>;

/// Folds each word into the sum with one wide multiplication.
#[derive(Debug, Default)]
pub(super) struct Mix(u64);

impl Mix {
    #[inline]
    const fn add(&mut self, word: u64) {
        let product = (self.0 ^ word ^ SEED) as u128 * MULTIPLIER as u128;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        {
            self.0 = product as u64 ^ (product >> 64) as u64;
        }
    }
}

impl Hasher for Mix {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_ne_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.add(u64::from_ne_bytes(word));
        }
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    /// The length of an array, which is always the same.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    use super::*;
    use crate::MacAddr;

    #[test]
    fn neighbouring_addresses_are_spread_over_both_ends_of_the_word() {
        let hashes = (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| MacAddr::new([2, 0x42, 10, 0, a, b])));
        let hashes: Vec<u64> = hashes.map(|mac| Quick::default().hash_one(mac)).collect();
        let distinct =
            |part: fn(u64) -> u64| hashes.iter().map(|hash| part(*hash)).collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(|hash| hash), 65_536);
        // Thrown at random, 65536 balls leave 37 % of 65536 boxes empty.
        assert!(distinct(|hash| hash & 0xffff) > 40_000);
        assert!(distinct(|hash| hash >> 48) > 40_000);
    }
}
