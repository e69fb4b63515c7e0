//! What waits to be gossiped: each message is sent a limited number of times, the least sent one first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::message::{Alive, Claim, IpBytes, Message};
use crate::{Member, NodeName};

/// The queue. A newer message about a member replaces older ones. Messages are written when they leave: ten thousand
/// queues of one process need not hold a thousand messages each.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// Objections first; then by times sent, then the longest, then the newest.
    order: BTreeMap<Rank, u32>,
    index: BTreeMap<Subject, u32>,
    items: Vec<Option<Item>>,
    free: Vec<u32>,
    newest: u64,
    /// Of all messages together.
    bytes: usize,
}

/// What is said about a member.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Alive(Arc<Member>),
    Suspect { incarnation: u32, by: NodeName, refused: bool, probed: bool },
    Dead { incarnation: u32, by: NodeName },
}

type Rank = (Tier, Reverse<usize>, Reverse<u64>);
/// Whether it can wait, and how often it was sent.
type Tier = (bool, u32);
/// Whom it is about and, for suspicions, who says so.
type Subject = (NodeName, Option<NodeName>);

#[derive(Debug)]
struct Item {
    name: NodeName,
    news: News,
    rank: Rank,
}

impl News {
    pub(crate) fn emit(&self, name: &NodeName, out: &mut Vec<u8>) {
        match self {
            Self::Alive(member) => emit_alive(member, out),
            Self::Suspect { incarnation, by, refused, probed } => {
                let (refused, probed) = (*refused, *probed);
                let claim = Claim {
                    incarnation: *incarnation,
                    node: name.as_str(),
                    from: by.as_str(),
                    refused,
                    probed,
                };
                Message::Suspect(claim).emit(out);
            }
            Self::Dead { incarnation, by } => {
                let (refused, probed) = (false, false);
                let claim = Claim {
                    incarnation: *incarnation,
                    node: name.as_str(),
                    from: by.as_str(),
                    refused,
                    probed,
                };
                Message::Dead(claim).emit(out);
            }
        }
    }
}

/// The message that tells of a member.
pub(crate) fn emit_alive(member: &Member, out: &mut Vec<u8>) {
    let ip = IpBytes::new(member.addr.ip());
    Message::Alive(Alive {
        incarnation: member.incarnation,
        node: member.name.as_str(),
        addr: ip.as_slice(),
        port: member.addr.port(),
        meta: Some(&member.meta),
        vsn: Some(member.vsn),
    })
    .emit(out);
}

impl Broadcasts {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many bytes it takes to send each message once.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether different things are said about the state of one member.
    #[cfg(feature = "sim")]
    pub(crate) fn contradicts_itself(&self) -> bool {
        let mut names = std::collections::BTreeSet::new();
        let verdicts = self.items.iter().flatten().filter(|item| !matches!(item.news, News::Suspect { .. }));
        verdicts.into_iter().any(|item| !names.insert(&item.name))
    }

    /// Whether nothing waits that was sent less than `times`.
    pub(crate) fn all_sent(&self, times: u32) -> bool {
        let waits =
            |can_wait| self.order.range(((can_wait, 0), Reverse(usize::MAX), Reverse(u64::MAX))..).next();
        [false, true].into_iter().filter_map(waits).all(|(((_, sent), ..), _)| *sent >= times)
    }

    /// Queues a message that makes all others about `name` obsolete.
    pub(crate) fn replace(&mut self, name: &NodeName, news: News) {
        self.forget_all(name);
        self.push((name.clone(), None), news, true);
    }

    /// As [`replace`](Self::replace), and goes before all else: while it waits, somebody may die of it.
    pub(crate) fn replace_first(&mut self, name: &NodeName, news: News) {
        self.forget_all(name);
        self.push((name.clone(), None), news, false);
    }

    /// Queues a message of `by` about `name` beside those of others.
    pub(crate) fn add(&mut self, name: &NodeName, by: &NodeName, news: News) {
        let subject = (name.clone(), Some(by.clone()));
        self.forget(&subject);
        self.push(subject, news, true);
    }

    /// Queues a message beside those that it makes obsolete: a rule is broken.
    pub(crate) fn keep_beside(&mut self, name: &NodeName, news: News) {
        self.newest += 1;
        let by = NodeName::new(format!("{name} {}", self.newest)).unwrap_or_else(|_| name.clone());
        self.push((name.clone(), Some(by)), news, true);
    }

    /// Shares the description of a member with whoever holds an equal one.
    pub(crate) fn share(&mut self, member: &Arc<Member>) {
        let id = self.index.get(&(member.name.clone(), None)).copied();
        if let Some(News::Alive(mine)) = id.and_then(|id| self.item_mut(id)).map(|item| &mut item.news)
            && mine == member
        {
            *mine = Arc::clone(member);
        }
    }

    /// Takes messages for one datagram: at most `free` bytes, each with `overhead` more, and counts them as sent.
    /// Messages that have been sent `limit` times are dropped.
    pub(crate) fn take(&mut self, free: usize, overhead: usize, limit: u32) -> Vec<Bytes> {
        let taken = self.choose(free, overhead);
        let mut bytes = Vec::with_capacity(taken.iter().map(|((_, Reverse(len), _), _)| len).sum());
        for (rank, id) in &taken {
            if let Some(item) = self.item(*id) {
                item.news.emit(&item.name, &mut bytes);
            }
            self.sent(*rank, *id, limit);
        }
        let bytes = Bytes::from(bytes);
        let mut at = 0;
        let mut messages = Vec::with_capacity(taken.len());
        for ((_, Reverse(len), _), _) in taken {
            messages.push(bytes.slice(at..at + len));
            at += len;
        }
        messages
    }

    /// The least sent that fit, the longest of them first; out of the order.
    fn choose(&mut self, mut free: usize, overhead: usize) -> Vec<(Rank, u32)> {
        let mut taken: Vec<(Rank, u32)> = Vec::new();
        let mut next = self.order.keys().next().map(|(tier, ..)| *tier);
        while let Some(tier) = next {
            while let Some(room) = free.checked_sub(overhead).filter(|_| taken.len() < 255) {
                if room < SHORTEST {
                    return taken;
                }
                let start = (tier, Reverse(room), Reverse(u64::MAX));
                let end = (tier, Reverse(0), Reverse(0));
                let Some((rank, id)) = self.order.range(start..=end).next().map(|(r, id)| (*r, *id)) else {
                    break;
                };
                self.order.remove(&rank);
                let (_, Reverse(len), _) = rank;
                free = room - len;
                taken.push((rank, id));
            }
            let after = ((tier.0, tier.1 + 1), Reverse(usize::MAX), Reverse(u64::MAX));
            next = self.order.range(after..).next().map(|((tier, ..), _)| *tier);
        }
        taken
    }

    fn sent(&mut self, ((can_wait, sent), length, age): Rank, id: u32, limit: u32) {
        let rank = ((can_wait, sent + 1), length, age);
        if sent + 1 < limit {
            self.order.insert(rank, id);
            if let Some(item) = self.item_mut(id) {
                item.rank = rank;
            }
        } else if let Some(item) = self.remove_item(id) {
            self.index.remove(&subject_of(&item));
        }
    }

    fn push(&mut self, subject: Subject, news: News, can_wait: bool) {
        self.newest += 1;
        let mut bytes = Vec::with_capacity(160);
        news.emit(&subject.0, &mut bytes);
        self.bytes += bytes.len();
        let rank = ((can_wait, 0), Reverse(bytes.len()), Reverse(self.newest));
        let item = Item { name: subject.0.clone(), news, rank };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.items.get_mut(place(id)) {
                    *slot = Some(item);
                }
                id
            }
            None => {
                let Ok(id) = u32::try_from(self.items.len()) else { return };
                self.items.push(Some(item));
                id
            }
        };
        self.index.insert(subject, id);
        self.order.insert(rank, id);
    }

    fn forget_all(&mut self, name: &NodeName) {
        let from = (name.clone(), None);
        while let Some((subject, _)) = self.index.range(from.clone()..).next()
            && subject.0 == *name
        {
            let subject = subject.clone();
            self.forget(&subject);
        }
    }

    fn forget(&mut self, subject: &Subject) {
        let removed = self.index.remove(subject).and_then(|id| self.remove_item(id));
        if let Some(item) = removed {
            self.order.remove(&item.rank);
        }
    }

    fn item(&self, id: u32) -> Option<&Item> {
        self.items.get(place(id))?.as_ref()
    }

    fn item_mut(&mut self, id: u32) -> Option<&mut Item> {
        self.items.get_mut(place(id))?.as_mut()
    }

    fn remove_item(&mut self, id: u32) -> Option<Item> {
        let item = self.items.get_mut(place(id))?.take()?;
        let (_, Reverse(len), _) = item.rank;
        self.bytes -= len;
        self.free.push(id);
        if self.free.len() == self.items.len() {
            (self.items, self.free) = (Vec::new(), Vec::new());
        }
        Some(item)
    }
}

fn subject_of(item: &Item) -> Subject {
    let by = match &item.news {
        News::Suspect { by, .. } => Some(by.clone()),
        News::Alive(_) | News::Dead { .. } => None,
    };
    (item.name.clone(), by)
}

fn place(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// No message of membership is shorter.
const SHORTEST: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: &str) -> NodeName {
        NodeName::new(n).unwrap()
    }

    fn dead(by: &str) -> News {
        News::Dead { incarnation: 1, by: name(by) }
    }

    fn suspect(by: &str) -> News {
        News::Suspect { incarnation: 1, by: name(by), refused: false, probed: false }
    }

    #[test]
    fn a_message_is_sent_a_limited_number_of_times_and_never_over_the_size() {
        let mut queue = Broadcasts::default();
        for n in ["a", "b", "c"] {
            queue.replace(&name(n), dead("someone"));
        }
        let mut sent = 0;
        for _ in 0..10 {
            let taken = queue.take(100, 2, 2);
            assert!(taken.iter().map(|m| m.len() + 2).sum::<usize>() <= 100);
            sent += taken.len();
        }
        assert_eq!(sent, 6);
        assert!(queue.is_empty() && queue.index.is_empty() && queue.items.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn news_replace_what_was_said_about_a_member() {
        let mut queue = Broadcasts::default();
        queue.add(&name("a"), &name("x"), suspect("x"));
        queue.add(&name("a"), &name("y"), suspect("y"));
        queue.add(&name("b"), &name("y"), suspect("y"));
        queue.replace(&name("a"), dead("x"));
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.take(1000, 2, 1).len(), 2);
        assert!(queue.is_empty());
    }
}
