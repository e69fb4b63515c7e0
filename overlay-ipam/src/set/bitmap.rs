//! A dense set of up to 2²⁴ numbers: bits in leaves of 4,096, and above them one bit for 64 full ones, three times.

/// ```text
///   full         1 word                 bit = 64 full leaves
///   full_leaves  1 word per 64 leaves   bit = leaf is full
///   full_words   1 word per leaf        bit = word is full
///   leaves       64 words each, made when the first bit is set
/// ```
///
/// What was never touched is absent, so an empty set costs nothing; the search reads at most seven words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap {
    leaves: Vec<Box<[u64]>>,
    full_words: Vec<u64>,
    full_leaves: Vec<u64>,
    full: u64,
    /// Words in a leaf: 64, or fewer if there is only one leaf.
    width: usize,
    count: u32,
}

impl Bitmap {
    /// The highest number that fits.
    pub(crate) const LAST: u32 = (1 << 24) - 1;

    /// The numbers `0..=last`; the caller never asks for others.
    pub(crate) fn new(last: u32) -> Self {
        Self { width: index(last >> 6).min(63) + 1, ..Self::default() }
    }

    #[inline]
    pub(crate) fn contains(&self, n: u32) -> bool {
        self.word(n >> 6) & bit(n) != 0
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether it was absent.
    #[inline]
    pub(crate) fn insert(&mut self, n: u32) -> bool {
        let Some(word) = self.word_mut(n >> 6).filter(|word| **word & bit(n) == 0) else { return false };
        *word |= bit(n);
        if *word == u64::MAX {
            self.word_is_full(n >> 6);
        }
        self.count += 1;
        true
    }

    /// Whether it was present.
    #[inline]
    pub(crate) fn remove(&mut self, n: u32) -> bool {
        let word = self.leaves.get_mut(index(n >> 12)).and_then(|leaf| leaf.get_mut(index(n >> 6 & 63)));
        let Some(word) = word.filter(|word| **word & bit(n) != 0) else { return false };
        let was_full = *word == u64::MAX;
        *word &= !bit(n);
        if was_full {
            self.word_has_room(n >> 6);
        }
        self.count -= 1;
        true
    }

    pub(crate) fn insert_range(&mut self, first: u32, last: u32) {
        for (number, mask) in words(first, last) {
            let Some(word) = self.word_mut(number) else { return };
            let added = mask & !*word;
            *word |= mask;
            if *word == u64::MAX {
                self.word_is_full(number);
            }
            self.count += added.count_ones();
        }
    }

    pub(crate) fn remove_range(&mut self, first: u32, last: u32) {
        for (number, mask) in words(first, last) {
            let present = self.word(number) & mask;
            if present != 0
                && let Some(word) = self.word_mut(number)
            {
                *word &= !mask;
                self.word_has_room(number);
                self.count -= present.count_ones();
            }
        }
    }

    /// How many of `first..=last` are present.
    pub(crate) fn count_range(&self, first: u32, last: u32) -> u32 {
        words(first, last).map(|(number, mask)| (self.word(number) & mask).count_ones()).sum()
    }

    /// The lowest absent number from `n` on; it may lie beyond the last one.
    #[inline]
    pub(crate) fn next_absent(&self, n: u32) -> Option<u32> {
        let word = n >> 6;
        if let Some(found) = first_clear(self.word(word), n & 63) {
            return Some(word << 6 | found);
        }
        let leaf = word >> 6;
        if let Some(found) = first_clear(at(&self.full_words, leaf), (word & 63) + 1) {
            return self.in_word(leaf << 6 | found);
        }
        let group = leaf >> 6;
        if let Some(found) = first_clear(at(&self.full_leaves, group), (leaf & 63) + 1) {
            return self.in_leaf(group << 6 | found);
        }
        let group = first_clear(self.full, group + 1)?;
        let leaf = first_clear(at(&self.full_leaves, group), 0)?;
        self.in_leaf(group << 6 | leaf)
    }

    /// The lowest present number from `n` on.
    pub(crate) fn next_present(&self, n: u32) -> Option<u32> {
        let mut word = n >> 6;
        let mut bits = self.word(word) & (u64::MAX << (n & 63));
        while bits == 0 {
            word += 1;
            let leaf = self.leaves.get(index(word >> 6))?;
            if leaf.is_empty() {
                word |= 63;
            } else {
                bits = self.word(word);
            }
        }
        Some(word << 6 | bits.trailing_zeros())
    }

    fn in_leaf(&self, leaf: u32) -> Option<u32> {
        first_clear(at(&self.full_words, leaf), 0).and_then(|word| self.in_word(leaf << 6 | word))
    }

    fn in_word(&self, word: u32) -> Option<u32> {
        first_clear(self.word(word), 0).map(|found| word << 6 | found)
    }

    #[inline]
    fn word(&self, number: u32) -> u64 {
        let leaf = self.leaves.get(index(number >> 6));
        leaf.and_then(|leaf| leaf.get(index(number & 63))).copied().unwrap_or(0)
    }

    /// Makes the leaf if it is not there. `None` beyond the last number.
    #[inline]
    fn word_mut(&mut self, number: u32) -> Option<&mut u64> {
        let leaf = index(number >> 6);
        if self.leaves.get(leaf).is_none_or(|leaf| leaf.is_empty()) {
            self.make_leaf(leaf);
        }
        self.leaves.get_mut(leaf)?.get_mut(index(number & 63))
    }

    #[cold]
    fn make_leaf(&mut self, leaf: usize) {
        if self.leaves.len() <= leaf {
            self.leaves.resize_with(leaf + 1, Box::default);
            self.full_words.resize(leaf + 1, 0);
            self.full_leaves.resize((leaf >> 6) + 1, 0);
        }
        if let Some(place) = self.leaves.get_mut(leaf) {
            *place = vec![0; self.width].into_boxed_slice();
        }
    }

    #[cold]
    fn word_is_full(&mut self, word: u32) {
        let (leaf, group) = (word >> 6, word >> 12);
        let Some(words) = self.full_words.get_mut(index(leaf)) else { return };
        *words |= bit(word);
        if *words == u64::MAX
            && let Some(leaves) = self.full_leaves.get_mut(index(group))
        {
            *leaves |= bit(leaf);
            if *leaves == u64::MAX {
                self.full |= bit(group);
            }
        }
    }

    fn word_has_room(&mut self, word: u32) {
        let (leaf, group) = (word >> 6, word >> 12);
        if let Some(words) = self.full_words.get_mut(index(leaf)) {
            *words &= !bit(word);
        }
        if let Some(leaves) = self.full_leaves.get_mut(index(group)) {
            *leaves &= !bit(leaf);
        }
        self.full &= !bit(group);
    }
}

impl PartialEq for Bitmap {
    /// A leaf that is clear is the same as one that was never made.
    fn eq(&self, other: &Self) -> bool {
        let leaves = u32::try_from(self.leaves.len().max(other.leaves.len())).unwrap_or(u32::MAX);
        self.count == other.count && (0..leaves << 6).all(|number| self.word(number) == other.word(number))
    }
}

impl Eq for Bitmap {}

#[inline]
fn bit(n: u32) -> u64 {
    1 << (n & 63)
}

/// Below 2²⁴, so it fits everywhere.
#[inline]
fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[inline]
fn at(words: &[u64], number: u32) -> u64 {
    words.get(index(number)).copied().unwrap_or(0)
}

/// The words of `first..=last`, each with the bits that belong to it.
fn words(first: u32, last: u32) -> impl Iterator<Item = (u32, u64)> {
    (first >> 6..=last >> 6).map(move |number| {
        let low = if number == first >> 6 { u64::MAX << (first & 63) } else { u64::MAX };
        let high = if number == last >> 6 { u64::MAX >> (63 - (last & 63)) } else { u64::MAX };
        (number, low & high)
    })
}

/// The lowest clear bit from `from` on (64 is allowed).
#[inline]
fn first_clear(word: u64, from: u32) -> Option<u32> {
    let below = u64::MAX.checked_shl(from).map_or(u64::MAX, |mask| !mask);
    Some((word | below).trailing_ones()).filter(|found| *found < 64)
}
