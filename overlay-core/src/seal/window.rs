use super::stats::OpenError;

/// Which counters of a session were seen: the newest, and a bit for each of the [`Window::LEN`] below it.
///
/// A ring of words as in [RFC 6479]: moving forward clears whole words and shifts nothing.
///
/// [RFC 6479]: https://www.rfc-editor.org/rfc/rfc6479
#[derive(Clone, Debug)]
pub(super) struct Window {
    newest: u64,
    words: [u64; Self::WORDS],
}

impl Window {
    const WORDS: usize = 128;
    /// How far a datagram may be overtaken. One word is always being filled.
    pub(super) const LEN: u64 = (Self::WORDS as u64 - 1) * 64;

    /// Nothing was seen. Counters begin at 1.
    pub(super) const fn new() -> Self {
        Self { newest: 0, words: [0; Self::WORDS] }
    }

    /// Everything up to `newest` counts as seen.
    pub(super) fn resume(newest: u64) -> Self {
        let mut window = Self { newest, words: [u64::MAX; Self::WORDS] };
        if let Some(word) = window.word_mut(newest / 64) {
            *word = u64::MAX >> (63 - newest % 64);
        }
        window
    }

    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether the counter may still come.
    #[inline]
    pub(super) fn check(&self, counter: u64) -> Result<(), OpenError> {
        if counter > self.newest {
            return Ok(());
        }
        if counter == 0 || self.newest - counter >= Self::LEN {
            return Err(OpenError::Stale);
        }
        let word = self.words.get(Self::index(counter / 64)).copied().unwrap_or(u64::MAX);
        if word >> (counter % 64) & 1 == 1 { Err(OpenError::Replayed) } else { Ok(()) }
    }

    /// Notes a counter that passed [`Window::check`] and was authenticated.
    #[inline]
    pub(super) fn note(&mut self, counter: u64) {
        if counter > self.newest {
            let (from, to) = (self.newest / 64, counter / 64);
            for number in (from + 1..=to).take(Self::WORDS) {
                if let Some(word) = self.word_mut(number) {
                    *word = 0;
                }
            }
            self.newest = counter;
        }
        if let Some(word) = self.word_mut(counter / 64) {
            *word |= 1 << (counter % 64);
        }
    }

    fn word_mut(&mut self, number: u64) -> Option<&mut u64> {
        self.words.get_mut(Self::index(number))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 128")]
    const fn index(number: u64) -> usize {
        (number % Self::WORDS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_accepted_once_within_the_window_and_never_behind_it() {
        let mut window = Window::new();
        assert_eq!(window.check(0), Err(OpenError::Stale));
        for counter in [1, 3, 2, 64, 63, 8_000, 70] {
            assert_eq!(window.check(counter), Ok(()), "{counter}");
            window.note(counter);
            assert_eq!(window.check(counter), Err(OpenError::Replayed), "{counter}");
        }
        window.note(9_000);
        assert_eq!(window.check(9_000 - Window::LEN), Err(OpenError::Stale));
        assert_eq!(window.check(9_000 - Window::LEN + 1), Ok(()));
        assert_eq!(window.check(8_000), Err(OpenError::Replayed));
        assert_eq!(window.check(8_001), Ok(()));
    }

    #[test]
    fn a_jump_forgets_what_is_behind_it_and_nothing_else() {
        let mut window = Window::new();
        (1..=20_000).for_each(|counter| window.note(counter));
        window.note(u64::MAX);
        assert_eq!(window.check(u64::MAX - 1), Ok(()));
        assert_eq!(window.check(u64::MAX - Window::LEN + 1), Ok(()));
        assert_eq!(window.check(20_000), Err(OpenError::Stale));
    }

    #[test]
    fn a_resumed_window_accepts_what_is_newer_only() {
        for newest in [1, 63, 64, 100, 8_191, 8_192, 1 << 40] {
            let mut window = Window::resume(newest);
            assert!((1..=200).filter(|back| *back < newest).all(|back| window.check(newest - back).is_err()));
            assert!(window.check(newest).is_err());
            window.note(newest + 90);
            assert!((1..90).all(|ahead| window.check(newest + ahead).is_ok()), "{newest}");
        }
    }
}
