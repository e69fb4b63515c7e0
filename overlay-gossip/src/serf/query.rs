//! Questions: asked by this node, whose answers are collected, and asked by others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{filter, pattern, wire};
use crate::{Event, NodeName};

/// A question to all members, or to some of them.
///
/// ```
/// use overlay_gossip::serf::Query;
///
/// let mut query = Query::new("uptime", "in seconds");
/// query.tags.insert("role".into(), "^(web|db)$".into());
/// query.ack = true;
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// What is asked. Names that begin with `_serf_` are serf's own.
    pub name: String,
    /// More about it.
    pub payload: Bytes,
    /// Only these nodes are asked; empty: all.
    pub nodes: Vec<NodeName>,
    /// Only nodes are asked whose tags match: tag and regular expression, in RE2's syntax as Go has it. A tag that a
    /// node does not have counts as empty.
    pub tags: BTreeMap<String, String>,
    /// Whether all that are asked shall say that the question arrived: [`Event::QueryAck`].
    pub ack: bool,
    /// How many other members shall carry each answer, too, in case that datagrams get lost. Takes no effect in a
    /// cluster that has not more members than that.
    pub relay: u8,
    /// How long answers are collected. None: as serf, 16 gossip intervals for each digit of the number of members.
    pub timeout: Option<Duration>,
}

/// Names a question of this node's.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueryId {
    pub(super) ltime: u64,
    pub(super) id: u32,
}

/// A question that somebody asks this node, which may be this node itself; answered by
/// [`Membership::answer_query`](crate::Membership::answer_query).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// What is asked.
    pub name: String,
    /// More about it.
    pub payload: Bytes,
    /// Who asks, if it says so (before serf 0.9 nobody did).
    pub asker: Option<NodeName>,
    /// Until when an answer is of use.
    pub deadline: Instant,
    pub(super) id: QueryId,
    pub(super) to: SocketAddr,
    pub(super) relay: u8,
}

/// Why a question was not asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum QueryError {
    /// serf nodes would not ask it, either.
    #[error("the query takes {len} bytes, more than {max}")]
    TooLong { len: usize, max: usize },
    /// Nobody could say whether the expression matches.
    #[error("{expression:?} for the tag {tag} is no regular expression of RE2, or too large")]
    Expression { tag: String, expression: String },
    /// More of them would be read by nobody.
    #[error("{count} filters are more than {max}")]
    Filters { count: usize, max: usize },
    /// Answers are still being collected for so many others.
    #[error("{running} queries are running already")]
    Busy { running: usize },
    /// This node does not speak serf.
    #[error("this node does not speak serf")]
    NoSerf,
    /// The agent's task has ended.
    #[error("this node has been shut down")]
    Stopped,
}

/// Why an answer was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum AnswerError {
    /// serf nodes refuse longer ones.
    #[error("the answer takes {len} bytes, more than {max}")]
    TooLong { len: usize, max: usize },
    /// Nobody waits for it any more.
    #[error("the time for answers is over")]
    Late,
    /// This node does not speak serf.
    #[error("this node does not speak serf")]
    NoSerf,
}

impl Query {
    /// A question to all, without acknowledgements.
    #[must_use]
    pub fn new(name: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { name: name.into(), payload: payload.into(), ..Self::default() }
    }

    /// The filters as the wire has them, if others can make sense of them.
    pub(super) fn filters(&self) -> Result<Vec<u8>, QueryError> {
        let count = self.tags.len() + usize::from(!self.nodes.is_empty());
        let max = usize::try_from(filter::MAX_FILTERS).unwrap_or(usize::MAX);
        if count > max {
            return Err(QueryError::Filters { count, max });
        }
        if let Some((tag, expression)) = self.tags.iter().find(|(_, expr)| !pattern::is_valid(expr)) {
            return Err(QueryError::Expression { tag: tag.clone(), expression: expression.clone() });
        }
        Ok(filter::to_vec(&self.nodes, &self.tags))
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ltime, self.id)
    }
}

impl Question {
    pub(super) fn new(now: Instant, query: &wire::Query<'_>, to: SocketAddr) -> Self {
        Self {
            name: query.name.to_owned(),
            payload: Bytes::copy_from_slice(query.payload),
            asker: NodeName::new(query.asker).ok(),
            deadline: now + query.timeout.min(MAX_TIMEOUT),
            id: QueryId { ltime: query.ltime, id: query.id },
            to,
            relay: query.relay.min(MAX_RELAY),
        }
    }

    /// What it asks of serf itself, if it does.
    pub(crate) fn internal(&self) -> Option<&str> {
        self.name.strip_prefix("_serf_")
    }

    /// Where the answer goes to, how many others shall carry it, too, and what the asker is called.
    pub(crate) fn way_back(&self) -> (SocketAddr, u8, &str) {
        (self.to, self.relay, self.asker.as_ref().map_or("", NodeName::as_str))
    }
}

/// Questions of this node's whose time is not over.
#[derive(Debug, Default)]
pub(super) struct Running(BTreeMap<QueryId, Replies>);

#[derive(Debug)]
struct Replies {
    deadline: Instant,
    wants_acks: bool,
    /// Most replies of a kind to take.
    most: usize,
    acks: BTreeSet<NodeName>,
    answers: BTreeSet<NodeName>,
}

impl Running {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: QueryId) -> bool {
        self.0.contains_key(&id)
    }

    /// Collects what is said to a question from now on. `members`: how many can be expected to say something.
    pub(super) fn begin(&mut self, id: QueryId, deadline: Instant, wants_acks: bool, members: usize) {
        let (acks, answers) = (BTreeSet::new(), BTreeSet::new());
        // Of some members this node may not know yet.
        let most = members + members / 4 + 16;
        self.0.insert(id, Replies { deadline, wants_acks, most, acks, answers });
    }

    /// What a response says, if it is the first of its sender.
    pub(super) fn take(&mut self, now: Instant, response: &wire::Response<'_>) -> Option<Event> {
        let query = QueryId { ltime: response.ltime, id: response.id };
        let replies = self.0.get_mut(&query).filter(|replies| now <= replies.deadline)?;
        let from = NodeName::new(response.from).ok()?;
        let known = match response.payload {
            Some(_) => &mut replies.answers,
            None if replies.wants_acks => &mut replies.acks,
            None => return None,
        };
        if known.len() >= replies.most || !known.insert(from.clone()) {
            return None;
        }
        Some(match response.payload {
            Some(payload) => Event::QueryAnswer { query, from, payload: Bytes::copy_from_slice(payload) },
            None => Event::QueryAck { query, from },
        })
    }

    /// When the first of them is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|replies| replies.deadline).min()
    }

    /// Ends those whose time is over.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Event> {
        let mut ended = Vec::new();
        self.0.retain(|query, replies| {
            let over = replies.deadline <= now;
            if over {
                let (acks, answers) = (replies.acks.len(), replies.answers.len());
                ended.push(Event::QueryEnded { query: *query, acks, answers });
            }
            !over
        });
        ended
    }
}

/// Longest query and longest response, as serf.
pub(crate) const MAX_MESSAGE: usize = 1024;
/// Most questions at once.
pub(super) const MAX_RUNNING: usize = 64;
/// Longest time for answers.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Most members that one answer is sent through.
const MAX_RELAY: u8 = 8;
