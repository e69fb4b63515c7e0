//! Disjoint prefixes in order.

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Prefixes of both families, each with a number that says whose it is.
///
/// Sorted arrays of at most 128 keys, and one sorted array of their first keys: two binary searches in a few
/// hundred bytes each, where a tree would wait for memory at every level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    v4: Sorted<u64>,
    v6: Sorted<(u128, u8)>,
}

impl Taken {
    pub(crate) fn len(&self) -> usize {
        self.v4.len + self.v6.len
    }

    /// The caller knows that nothing overlaps it.
    pub(crate) fn insert(&mut self, net: IpNet, whose: u32) {
        match net {
            IpNet::V4(net) => self.v4.insert(key4(net), whose),
            IpNet::V6(net) => self.v6.insert(key6(net), whose),
        }
    }

    pub(crate) fn remove(&mut self, net: IpNet) -> Option<u32> {
        match net {
            IpNet::V4(net) => self.v4.remove(key4(net)),
            IpNet::V6(net) => self.v6.remove(key6(net)),
        }
    }

    pub(crate) fn get(&self, net: IpNet) -> Option<u32> {
        match net {
            IpNet::V4(net) => self.v4.get(key4(net)),
            IpNet::V6(net) => self.v6.get(key6(net)),
        }
    }

    /// All in order, IPv4 first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.from(0).map(|(key, _)| net4(key));
        v4.chain(self.v6.from((0, 0)).map(|(key, _)| net6(key)))
    }

    /// Those that overlap `net`, in order.
    pub(crate) fn overlapping(&self, net: IpNet) -> Overlapping<'_> {
        match net {
            IpNet::V4(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                let key = key4(net);
                let covering = self.v4.before(key).filter(|(before, _)| net4_last(*before) >= first);
                Overlapping::V4(self.v4.starting(covering, key..=u64::from(last) << 8 | 0xff))
            }
            IpNet::V6(net) => {
                let key = key6(net);
                let covering = self.v6.before(key).filter(|(before, _)| {
                    before.0 | u128::MAX.checked_shr(before.1.into()).unwrap_or(0) >= key.0
                });
                Overlapping::V6(self.v6.starting(covering, key..=(net.broadcast().to_bits(), u8::MAX)))
            }
        }
    }
}

/// The prefixes that overlap one, with whose they are.
#[derive(Debug)]
pub(crate) enum Overlapping<'t> {
    V4(Run<'t, u64>),
    V6(Run<'t, (u128, u8)>),
}

impl Iterator for Overlapping<'_> {
    type Item = (IpNet, u32);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::V4(run) => run.next().map(|(key, whose)| (net4(key), whose)),
            Self::V6(run) => run.next().map(|(key, whose)| (net6(key), whose)),
        }
    }
}

#[derive(Clone, Debug)]
struct Sorted<K> {
    /// The first key of each chunk.
    firsts: Vec<K>,
    chunks: Vec<Chunk<K>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Chunk<K> {
    keys: Vec<K>,
    whose: Vec<u32>,
}

/// Entries from a place on, as long as their keys are not above `end`.
#[derive(Debug)]
pub(crate) struct Run<'s, K> {
    sorted: &'s Sorted<K>,
    covering: Option<(K, u32)>,
    place: (usize, usize),
    end: Option<K>,
}

impl<K: Copy + Ord> Sorted<K> {
    fn insert(&mut self, key: K, whose: u32) {
        self.len += 1;
        let (at, place) = self.locate(key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.firsts.push(key);
            self.chunks.push(Chunk { keys: vec![key], whose: vec![whose] });
            return;
        };
        chunk.keys.insert(place, key);
        chunk.whose.insert(place, whose);
        if place == 0
            && let Some(first) = self.firsts.get_mut(at)
        {
            *first = key;
        }
        if chunk.keys.len() > CHUNK {
            // what grows at its end leaves full chunks behind
            let cut = if place + 1 == chunk.keys.len() { place } else { chunk.keys.len() / 2 };
            let split = Chunk { keys: chunk.keys.split_off(cut), whose: chunk.whose.split_off(cut) };
            if let Some(first) = split.keys.first() {
                self.firsts.insert(at + 1, *first);
                self.chunks.insert(at + 1, split);
            }
        }
    }

    fn remove(&mut self, key: K) -> Option<u32> {
        let (at, place) = self.locate(key);
        let chunk = self.chunks.get_mut(at)?;
        chunk.keys.get(place).filter(|found| **found == key)?;
        chunk.keys.remove(place);
        let whose = chunk.whose.remove(place);
        self.len -= 1;
        match chunk.keys.first() {
            None => {
                self.chunks.remove(at);
                self.firsts.remove(at);
            }
            Some(key) => {
                if let Some(first) = self.firsts.get_mut(at) {
                    *first = *key;
                }
            }
        }
        Some(whose)
    }

    fn get(&self, key: K) -> Option<u32> {
        let place = self.locate(key);
        self.at(place).filter(|(found, _)| *found == key).map(|(_, whose)| whose)
    }

    /// The last entry below the key.
    fn before(&self, key: K) -> Option<(K, u32)> {
        let (at, place) = self.locate(key);
        match place.checked_sub(1) {
            Some(place) => self.at((at, place)),
            None => {
                let at = at.checked_sub(1)?;
                self.at((at, self.chunks.get(at)?.keys.len().checked_sub(1)?))
            }
        }
    }

    fn from(&self, key: K) -> Run<'_, K> {
        Run { sorted: self, covering: None, place: self.locate(key), end: None }
    }

    fn starting(&self, covering: Option<(K, u32)>, keys: RangeInclusive<K>) -> Run<'_, K> {
        let (start, end) = keys.into_inner();
        Run { sorted: self, covering, place: self.locate(start), end: Some(end) }
    }

    /// The place of the first key that is not below; in the last chunk it may be its end.
    fn locate(&self, key: K) -> (usize, usize) {
        let at = self.firsts.partition_point(|first| *first <= key).saturating_sub(1);
        let place = self.chunks.get(at).map_or(0, |chunk| chunk.keys.partition_point(|found| *found < key));
        (at, place)
    }

    fn at(&self, (at, place): (usize, usize)) -> Option<(K, u32)> {
        let chunk = self.chunks.get(at)?;
        Some((*chunk.keys.get(place)?, *chunk.whose.get(place)?))
    }
}

impl<K: Copy + Ord> Iterator for Run<'_, K> {
    type Item = (K, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(covering) = self.covering.take() {
            return Some(covering);
        }
        let (at, place) = self.place;
        let found = match self.sorted.at((at, place)) {
            Some(found) => {
                self.place = (at, place + 1);
                found
            }
            None => {
                let found = self.sorted.at((at + 1, 0))?;
                self.place = (at + 1, 1);
                found
            }
        };
        Some(found).filter(|(key, _)| self.end.is_none_or(|end| *key <= end))
    }
}

impl<K> Default for Sorted<K> {
    fn default() -> Self {
        Self { firsts: Vec::new(), chunks: Vec::new(), len: 0 }
    }
}

fn key4(net: Ipv4Net) -> u64 {
    u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len())
}

fn net4(key: u64) -> IpNet {
    let [.., a, b, c, d, len] = key.to_be_bytes();
    Ipv4Net::new([a, b, c, d].into(), len).unwrap_or_default().into()
}

fn net4_last(key: u64) -> u32 {
    let [.., a, b, c, d, len] = key.to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) | u32::MAX.checked_shr(len.into()).unwrap_or(0)
}

fn key6(net: Ipv6Net) -> (u128, u8) {
    (net.network().to_bits(), net.prefix_len())
}

fn net6((first, len): (u128, u8)) -> IpNet {
    Ipv6Net::new(first.into(), len).unwrap_or_default().into()
}

/// Keys in a chunk. Fewer make the upper array longer, more make an insertion move more.
const CHUNK: usize = 128;
