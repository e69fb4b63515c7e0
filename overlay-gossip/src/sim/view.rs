//! Who believes whom to be up, kept so that agreement can be asked for at any step.

/// A bit for each observer and subject.
#[derive(Debug, Default)]
pub(super) struct Views {
    rows: Vec<Vec<u64>>,
    running: Vec<bool>,
    /// How many running observers hold the subject for up.
    believers: Vec<usize>,
    live: usize,
    /// Pairs of a running observer and a subject that the observer is wrong about.
    wrong: usize,
}

impl Views {
    pub(super) fn add(&mut self) {
        self.rows.push(Vec::new());
        self.running.push(false);
        self.believers.push(0);
    }

    /// A node runs now and believes in itself alone.
    pub(super) fn start(&mut self, i: usize) {
        self.rows[i].clear();
        self.running[i] = true;
        self.live += 1;
        // All others are wrong unless they believe in it already; it is wrong about all others that run.
        let others = self.live - 1;
        self.wrong = self.wrong + others - 2 * self.believers[i] + others;
        self.wrong += 1; // put right at once
        self.set(i, i, true);
    }

    /// A node runs no more.
    pub(super) fn stop(&mut self, i: usize) {
        for subject in 0..self.running.len() {
            let believed = self.get(i, subject);
            if believed {
                self.believers[subject] -= 1;
            }
            self.wrong -= usize::from(believed != self.running[subject]);
        }
        self.rows[i].clear();
        self.running[i] = false;
        self.live -= 1;
        // Those who do not believe in it were wrong and are right now.
        self.wrong = self.wrong + self.believers[i] - (self.live - self.believers[i]);
    }

    pub(super) fn set(&mut self, observer: usize, subject: usize, up: bool) {
        let (word, bit) = (subject / 64, 1u64 << (subject % 64));
        let row = &mut self.rows[observer];
        if row.len() <= word {
            row.resize(word + 1, 0);
        }
        if (row[word] & bit != 0) == up {
            return;
        }
        row[word] ^= bit;
        if up {
            self.believers[subject] += 1;
        } else {
            self.believers[subject] -= 1;
        }
        if up == self.running[subject] {
            self.wrong -= 1;
        } else {
            self.wrong += 1;
        }
    }

    /// Everybody runs and knows everybody.
    pub(super) fn all_know_all(&mut self) {
        let count = self.rows.len();
        for row in &mut self.rows {
            *row = vec![u64::MAX; count.div_ceil(64)];
            if let Some(last) = row.last_mut().filter(|_| !count.is_multiple_of(64)) {
                *last = (1u64 << (count % 64)) - 1;
            }
        }
        self.believers = vec![count; count];
        self.wrong = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn agree(&self) -> bool {
        self.wrong == 0
    }

    pub(super) fn wrong(&self) -> usize {
        self.wrong
    }

    pub(super) fn believers(&self, i: usize) -> usize {
        self.believers[i]
    }

    pub(super) fn get(&self, observer: usize, subject: usize) -> bool {
        self.rows[observer].get(subject / 64).is_some_and(|word| word & (1u64 << (subject % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_count_of_errors_is_what_counting_gives() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut views = Views::default();
        let count = 70;
        (0..count).for_each(|_| views.add());
        for _ in 0..4000 {
            let (i, j) = (rng.random_range(0..count), rng.random_range(0..count));
            match (rng.random_range(0..6), views.running[i]) {
                (0, true) => views.stop(i),
                (_, false) => views.start(i),
                (n, true) => views.set(i, j, n % 2 == 0),
            }
            let running: Vec<usize> = (0..count).filter(|i| views.running[*i]).collect();
            let wrong = |i: &usize| (0..count).filter(|j| views.get(*i, *j) != views.running[*j]).count();
            assert_eq!(views.wrong(), running.iter().map(wrong).sum::<usize>());
        }
    }
}
