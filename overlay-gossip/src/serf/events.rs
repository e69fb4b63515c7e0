//! User events: each is seen once, and of those that may be coalesced only the last of its name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::wire;
use super::{Options, UserEvent};
use crate::lamport::Lamport;
use crate::wire::Writer;

/// Why an event was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum EventError {
    /// serf nodes refuse longer ones.
    #[error("name and payload of an event take {len} bytes, more than {max}")]
    TooLong { len: usize, max: usize },
    /// This node does not speak serf.
    #[error("this node does not speak serf")]
    NoSerf,
}

/// The events of the last 512 ticks of the clock.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The next one's time.
    pub(super) clock: Lamport,
    /// Older ones were before our time.
    pub(super) min: u64,
    recent: BTreeMap<u64, Vec<Recent>>,
    bytes: usize,
    held: BTreeMap<String, Held>,
    held_bytes: usize,
    first_held: Option<Instant>,
    last_held: Option<Instant>,
}

#[derive(Debug, Eq, PartialEq)]
struct Recent {
    name: Box<str>,
    payload: Bytes,
}

#[derive(Debug)]
struct Held {
    ltime: u64,
    events: Vec<UserEvent>,
}

impl Held {
    fn size(&self) -> usize {
        self.events.iter().map(|event| event.name.len() + event.payload.len()).sum()
    }
}

impl Events {
    pub(super) fn new() -> Self {
        Self { clock: Lamport::starting_at(1), ..Self::default() }
    }

    /// Takes an event; says whether it was news.
    pub(super) fn note(&mut self, event: &wire::Event<'_>) -> bool {
        if !self.clock.witness(event.ltime)
            || event.ltime < self.min
            || event.ltime.saturating_add(SLOTS) < self.clock.now()
            || event.name.len() + event.payload.len() > MAX_RECEIVED
        {
            return false;
        }
        let known = self.recent.entry(event.ltime).or_default();
        let same = |r: &Recent| &*r.name == event.name && r.payload == event.payload;
        if known.len() >= MAX_AT_ONCE || known.iter().any(same) {
            return false;
        }
        self.bytes += event.name.len() + event.payload.len();
        known.push(Recent { name: event.name.into(), payload: Bytes::copy_from_slice(event.payload) });
        self.forget();
        true
    }

    /// Passes an event on, now or when it has been quiet for a while; now if too much is held already.
    pub(super) fn deliver(&mut self, now: Instant, event: UserEvent, options: &Options) -> Option<UserEvent> {
        let size = event.name.len() + event.payload.len();
        if !event.coalesce || options.quiescent.is_zero() || self.held_bytes + size > MAX_BYTES {
            return Some(event);
        }
        self.first_held.get_or_insert(now);
        self.last_held = Some(now);
        match self.held.get_mut(&event.name) {
            Some(held) if held.ltime > event.ltime => {}
            Some(held) if held.ltime == event.ltime => {
                self.held_bytes += size;
                held.events.push(event);
            }
            _ => {
                let held = Held { ltime: event.ltime, events: vec![event.clone()] };
                let outdated = self.held.insert(event.name, held).map_or(0, |held| held.size());
                self.held_bytes = self.held_bytes + size - outdated;
            }
        }
        None
    }

    /// When held events are due.
    pub(super) fn due(&self, options: &Options) -> Option<Instant> {
        let quiet = self.last_held? + options.quiescent;
        let most = self.first_held? + options.coalesce.max(Duration::from_millis(1));
        Some(quiet.min(most))
    }

    /// The held events, if they are due.
    pub(super) fn release(&mut self, now: Instant, options: &Options) -> Vec<UserEvent> {
        if self.due(options).is_none_or(|due| due > now) {
            return Vec::new();
        }
        (self.first_held, self.last_held, self.held_bytes) = (None, None, 0);
        std::mem::take(&mut self.held).into_values().flat_map(|held| held.events).collect()
    }

    /// Writes them as a full exchange has them: 512 slots, most of them empty.
    pub(super) fn emit(&self, w: &mut Writer<'_>) {
        w.array(usize::try_from(SLOTS).unwrap_or_default());
        let clock = self.clock.now();
        let base = clock / SLOTS * SLOTS;
        for slot in 0..SLOTS {
            // A slot is for one time of the last 512.
            let at = if base + slot < clock { base + slot } else { (base + slot).wrapping_sub(SLOTS) };
            let Some(events) = self.recent.get(&at).filter(|events| !events.is_empty()) else {
                w.optional(None);
                continue;
            };
            w.map(2);
            w.key("Events").array(events.len());
            for event in events {
                w.map(2);
                w.key("Name").raw(event.name.as_bytes());
                w.key("Payload").raw(&event.payload);
            }
            w.key("LTime").uint(at);
        }
    }

    /// Forgets what is too old, and the oldest if it is too much.
    fn forget(&mut self) {
        while let Some(first) = self.recent.first_entry() {
            if first.key().saturating_add(SLOTS) >= self.clock.now() && self.bytes <= MAX_BYTES {
                return;
            }
            self.min = self.min.max(first.key().saturating_add(1));
            let gone: usize = first.remove().iter().map(|e| e.name.len() + e.payload.len()).sum();
            self.bytes -= gone;
        }
    }
}

/// Whether serf nodes would take it.
pub(crate) fn check_event(name: &str, payload: &[u8]) -> Result<(), EventError> {
    let len = name.len() + payload.len();
    if len > MAX_EVENT { Err(EventError::TooLong { len, max: MAX_EVENT }) } else { Ok(()) }
}

/// Longest name and payload to send together, as serf.
const MAX_EVENT: usize = 512;
/// Longest to receive, as serf's limit that no configuration exceeds.
const MAX_RECEIVED: usize = 9 * 1024;
const SLOTS: u64 = 512;
/// Most different events of one tick.
const MAX_AT_ONCE: usize = 64;
const MAX_BYTES: usize = 256 << 10;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a moment to start from")]
mod tests {
    use super::*;

    fn event(ltime: u64, name: &str, payload: &str) -> UserEvent {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        UserEvent { ltime, name: name.into(), payload, coalesce: true }
    }

    fn noted(events: &mut Events, ltime: u64, payload: &str) -> bool {
        events.note(&wire::Event { ltime, name: "e", payload: payload.as_bytes(), coalesce: false })
    }

    #[test]
    fn an_event_is_news_once_and_never_after_512_others() {
        let mut events = Events::new();
        assert!(noted(&mut events, 1, "a"));
        assert!(!noted(&mut events, 1, "a"));
        assert!(noted(&mut events, 1, "b"));
        assert!(noted(&mut events, 600, "c"));
        assert!(!noted(&mut events, 2, "old"));
        assert_eq!(events.clock.now(), 601);
        for ltime in 0..100_000 {
            noted(&mut events, 600 + ltime, &"x".repeat(4000));
        }
        assert!(events.bytes <= MAX_BYTES);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let options = Options { quiescent: Duration::from_secs(1), ..Options::default() };
        let (now, mut events) = (Instant::now(), Events::new());
        let large = "x".repeat(4000);
        // Of one name, the last one is held.
        for ltime in 0..1000 {
            assert_eq!(events.deliver(now, event(ltime, "same", &large), &options), None);
        }
        for i in 0..1000 {
            events.deliver(now, event(1, &i.to_string(), &large), &options);
        }
        let held: usize = events.held.values().map(Held::size).sum();
        assert!(held == events.held_bytes && held <= MAX_BYTES, "{held}");
    }

    #[test]
    fn of_coalesced_events_the_last_one_of_each_name_is_delivered_when_it_is_quiet() {
        let options = Options {
            quiescent: Duration::from_secs(1),
            coalesce: Duration::from_secs(3),
            ..Options::default()
        };
        let (start, mut events) = (Instant::now(), Events::new());
        for (i, payload) in ["1", "2", "3"].into_iter().enumerate() {
            let at = start + Duration::from_millis(100) * u32::try_from(i).unwrap();
            let event = event(u64::try_from(i).unwrap(), "deploy", payload);
            assert_eq!(events.deliver(at, event, &options), None);
        }
        assert_eq!(events.deliver(start, event(1, "deploy", "late"), &options), None);
        assert_eq!(events.deliver(start, event(1, "other", "x"), &options), None);
        assert_eq!(events.release(start + Duration::from_millis(900), &options), []);
        let released = events.release(start + Duration::from_millis(1200), &options);
        let payloads: Vec<&[u8]> = released.iter().map(|e| &*e.payload).collect();
        assert_eq!(payloads, [b"3", b"x"]);
        assert_eq!(events.due(&options), None);
    }
}
