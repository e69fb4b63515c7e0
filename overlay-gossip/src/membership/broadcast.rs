//! What waits to be gossiped: each message is sent a limited number of times, the least sent one first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::NodeName;

/// The queue. A newer message about a member replaces older ones.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// By times sent, then the longest, then the newest.
    order: BTreeMap<Rank, Item>,
    index: BTreeMap<Subject, Rank>,
    newest: u64,
}

type Rank = (u32, Reverse<usize>, Reverse<u64>);
/// Whom it is about and, for suspicions, who says so.
type Subject = (NodeName, Option<NodeName>);

#[derive(Debug)]
struct Item {
    subject: Subject,
    message: Bytes,
}

impl Broadcasts {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Queues a message that makes all others about `name` obsolete.
    pub(crate) fn replace(&mut self, name: &NodeName, message: Bytes) {
        let from = (name.clone(), None);
        let old: Vec<Subject> = self
            .index
            .range(from..)
            .take_while(|((subject, _), _)| subject == name)
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in old {
            self.forget(&subject);
        }
        self.push((name.clone(), None), message);
    }

    /// Queues a message of `by` about `name` beside those of others.
    pub(crate) fn add(&mut self, name: &NodeName, by: &NodeName, message: Bytes) {
        let subject = (name.clone(), Some(by.clone()));
        self.forget(&subject);
        self.push(subject, message);
    }

    /// Takes messages for one datagram: at most `free` bytes, each with `overhead` more, and counts them as sent.
    /// Messages that have been sent `limit` times are dropped.
    pub(crate) fn take(&mut self, mut free: usize, overhead: usize, limit: u32) -> Vec<Bytes> {
        let mut taken: Vec<(Rank, Item)> = Vec::new();
        let mut tier = self.order.keys().next().map(|(sent, ..)| *sent);
        while let Some(sent) = tier {
            // The longest of this tier that fits.
            while let Some(room) = free.checked_sub(overhead).filter(|_| taken.len() < 255) {
                let start = (sent, Reverse(room), Reverse(u64::MAX));
                let end = (sent, Reverse(0), Reverse(0));
                let Some(rank) = self.order.range(start..=end).next().map(|(rank, _)| *rank) else { break };
                let Some(item) = self.order.remove(&rank) else { break };
                free = room - item.message.len();
                taken.push((rank, item));
            }
            tier = self
                .order
                .range((sent + 1, Reverse(usize::MAX), Reverse(u64::MAX))..)
                .next()
                .map(|((sent, ..), _)| *sent);
        }
        let mut messages = Vec::with_capacity(taken.len());
        for ((sent, length, age), item) in taken {
            messages.push(item.message.clone());
            if sent + 1 >= limit {
                self.index.remove(&item.subject);
            } else {
                let rank = (sent + 1, length, age);
                self.index.insert(item.subject.clone(), rank);
                self.order.insert(rank, item);
            }
        }
        messages
    }

    fn push(&mut self, subject: Subject, message: Bytes) {
        self.newest += 1;
        let rank = (0, Reverse(message.len()), Reverse(self.newest));
        self.index.insert(subject.clone(), rank);
        self.order.insert(rank, Item { subject, message });
    }

    fn forget(&mut self, subject: &Subject) {
        if let Some(rank) = self.index.remove(subject) {
            self.order.remove(&rank);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: &str) -> NodeName {
        NodeName::new(n).unwrap()
    }

    #[test]
    fn a_message_is_sent_a_limited_number_of_times_and_never_over_the_size() {
        let mut queue = Broadcasts::default();
        for n in ["a", "b", "c"] {
            queue.replace(&name(n), Bytes::from(vec![0; 40]));
        }
        let mut sent = 0;
        for _ in 0..10 {
            let taken = queue.take(100, 2, 2);
            assert!(taken.iter().map(|m| m.len() + 2).sum::<usize>() <= 100);
            sent += taken.len();
        }
        assert_eq!(sent, 6);
        assert!(queue.is_empty());
    }

    #[test]
    fn news_replace_what_was_said_about_a_member() {
        let mut queue = Broadcasts::default();
        queue.add(&name("a"), &name("x"), Bytes::from_static(b"suspect"));
        queue.add(&name("a"), &name("y"), Bytes::from_static(b"suspect"));
        queue.add(&name("b"), &name("y"), Bytes::from_static(b"suspect"));
        queue.replace(&name("a"), Bytes::from_static(b"alive"));
        assert_eq!(queue.len(), 2);
    }
}
