//! A dense set of up to 65,536 numbers: bits, and above them one bit for 64 full ones, twice.

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bitmap {
    /// Bit = number is present. Bits beyond the capacity are set.
    words: Vec<u64>,
    /// Bit = word is full.
    full_words: Vec<u64>,
    /// Bit = word of `full_words` is full.
    full: u64,
    count: u32,
}

impl Bitmap {
    /// The numbers `0..=last`.
    pub(crate) fn new(last: u16) -> Self {
        let words = usize::from(last >> 6) + 1;
        let groups = usize::from(last >> 12) + 1;
        let mut bitmap = Self { words: vec![0; words], full_words: vec![0; groups], full: 0, count: 0 };
        if let Some(tail) = bitmap.words.last_mut() {
            *tail = above(last & 63);
        }
        if let Some(tail) = bitmap.full_words.last_mut() {
            *tail = above(last >> 6 & 63);
        }
        bitmap.full = above(last >> 12);
        bitmap
    }

    pub(crate) fn contains(&self, n: u16) -> bool {
        self.words.get(usize::from(n >> 6)).is_none_or(|word| word & bit(n) != 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether it was absent.
    pub(crate) fn insert(&mut self, n: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(n >> 6)).filter(|word| **word & bit(n) == 0) else {
            return false;
        };
        *word |= bit(n);
        self.count += 1;
        if *word == u64::MAX
            && let Some(group) = self.full_words.get_mut(usize::from(n >> 12))
        {
            *group |= bit(n >> 6);
            if *group == u64::MAX {
                self.full |= bit(n >> 12);
            }
        }
        true
    }

    /// Whether it was present. The number must be within the capacity.
    pub(crate) fn remove(&mut self, n: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(n >> 6)).filter(|word| **word & bit(n) != 0) else {
            return false;
        };
        *word &= !bit(n);
        self.count -= 1;
        if let Some(group) = self.full_words.get_mut(usize::from(n >> 12)) {
            *group &= !bit(n >> 6);
        }
        self.full &= !bit(n >> 12);
        true
    }

    /// The lowest absent number from `n` on.
    pub(crate) fn next_absent(&self, n: u16) -> Option<u16> {
        let word = n >> 6;
        if let Some(found) = first_clear(self.words.get(usize::from(word)), n & 63) {
            return Some(word << 6 | found);
        }
        let group = word >> 6;
        if let Some(found) = first_clear(self.full_words.get(usize::from(group)), (word & 63) + 1) {
            return self.in_word(group << 6 | found);
        }
        let found = first_clear(Some(&self.full), group + 1)?;
        let word = first_clear(self.full_words.get(usize::from(found)), 0)?;
        self.in_word(found << 6 | word)
    }

    fn in_word(&self, word: u16) -> Option<u16> {
        first_clear(self.words.get(usize::from(word)), 0).map(|found| word << 6 | found)
    }
}

fn bit(n: u16) -> u64 {
    1 << (n & 63)
}

/// Ones above bit `n` (0..=63).
fn above(n: u16) -> u64 {
    u64::MAX.checked_shl(u32::from(n) + 1).unwrap_or(0)
}

/// The lowest clear bit from `from` on (64 is allowed).
fn first_clear(word: Option<&u64>, from: u16) -> Option<u16> {
    let below = u64::MAX.checked_shl(u32::from(from)).map_or(u64::MAX, |mask| !mask);
    let found = (word? | below).trailing_ones();
    u16::try_from(found).ok().filter(|found| *found < 64)
}
