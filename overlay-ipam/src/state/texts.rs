//! Names of owners that are no ids.

use std::{collections::BTreeMap, sync::Arc};

/// Keys that are no ids, each with how often it is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    numbers: BTreeMap<Arc<str>, u64>,
    texts: BTreeMap<u64, (Arc<str>, u32)>,
    last: u64,
}

impl Texts {
    pub(crate) fn find(&self, text: &str) -> Option<[u64; 2]> {
        self.numbers.get(text).map(|number| [0, *number])
    }

    pub(crate) fn text(&self, [_, number]: [u64; 2]) -> Arc<str> {
        self.texts.get(&number).map_or_else(|| "".into(), |(text, _)| text.clone())
    }

    pub(crate) fn add(&mut self, text: &Arc<str>) -> [u64; 2] {
        let number = self.numbers.get(text).copied().unwrap_or_else(|| {
            self.last += 1;
            self.numbers.insert(text.clone(), self.last);
            self.last
        });
        self.texts.entry(number).or_insert_with(|| (text.clone(), 0)).1 += 1;
        [0, number]
    }

    pub(crate) fn drop_one(&mut self, [_, number]: [u64; 2]) {
        let Some((text, uses)) = self.texts.get_mut(&number) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(text);
            self.texts.remove(&number);
        }
    }

    pub(crate) fn counts(&self, counts: &BTreeMap<u64, u32>) -> bool {
        let own = self.texts.iter().map(|(number, (_, uses))| (number, uses));
        own.eq(counts.iter()) && self.numbers.len() == self.texts.len()
    }
}
