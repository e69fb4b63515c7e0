//! What goes into a [`Membership`](crate::Membership) and what comes out.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::NodeName;

/// What the world tells the machine. Untrusted.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram {
        /// Who sent it, as the network says.
        from: SocketAddr,
        /// All of it.
        payload: &'a [u8],
    },
    /// Somebody connected and sent one whole message (see [`Frame`](crate::Frame)).
    Request {
        /// Chosen by the driver; named again by [`Action::Reply`].
        id: StreamId,
        /// Who connected, as the network says.
        from: SocketAddr,
        /// The message.
        payload: &'a [u8],
    },
    /// The whole reply to an [`Action::Dial`] arrived, or its message was delivered if no reply was asked for.
    Replied {
        /// The action's id.
        id: DialId,
        /// The message; empty if no reply was asked for.
        payload: &'a [u8],
    },
    /// An [`Action::Dial`] failed.
    DialFailed {
        /// The action's id.
        id: DialId,
        /// Why.
        failure: DialFailure,
    },
}

/// What the machine tells the world.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram; it may be lost.
    Transmit(Transmit),
    /// Something happened.
    Event(Event),
    /// Do something.
    Action(Action),
}

/// A datagram to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// All of it.
    pub payload: Bytes,
}

/// A request to the driver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Connect by TCP, write the payload, and read one message if a reply is wanted. Answered by [`Input::Replied`]
    /// or [`Input::DialFailed`].
    Dial {
        /// Named again in the answer.
        id: DialId,
        /// Where to.
        to: SocketAddr,
        /// What to write.
        payload: Bytes,
        /// Whether to wait for a message.
        reply: bool,
        /// How long all of it may take.
        timeout: Duration,
    },
    /// Write the answer to an [`Input::Request`] and close. Needs no answer.
    Reply {
        /// The request's id.
        id: StreamId,
        /// What to write; empty: just close.
        payload: Bytes,
    },
}

/// Names an outgoing TCP exchange.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DialId(pub(crate) u64);

/// Names an incoming TCP exchange; the driver counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u64);

/// Why a TCP exchange failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DialFailure {
    /// The host answered that nobody listens.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Anything else: unreachable, reset, cut short.
    Broken,
}

/// A fact about the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A member is alive: new, or back.
    MemberUp {
        /// Who.
        name: NodeName,
        /// Where.
        addr: SocketAddr,
    },
    /// A member has another address than before. If it was away in between, [`MemberUp`](Self::MemberUp) follows.
    AddrChanged {
        /// Who.
        name: NodeName,
        /// Where it was.
        was: SocketAddr,
        /// Where it is.
        addr: SocketAddr,
    },
    /// A member changed its metadata or versions.
    MemberUpdated {
        /// Who.
        name: NodeName,
        /// Where, now.
        addr: SocketAddr,
    },
    /// A member is suspected to be dead; it can still object.
    MemberSuspect {
        /// Who.
        name: NodeName,
        /// Who says so.
        by: NodeName,
    },
    /// A suspect objected.
    MemberRefuted {
        /// Who.
        name: NodeName,
    },
    /// A member is dead.
    MemberDown {
        /// Who.
        name: NodeName,
        /// Why this node believes so.
        evidence: Evidence,
    },
    /// A member said goodbye.
    MemberLeft {
        /// Who.
        name: NodeName,
    },
    /// Two nodes use one name; the newcomer is ignored.
    NameConflict {
        /// The name.
        name: NodeName,
        /// Where the known one is.
        known: SocketAddr,
        /// Where the other one claims to be.
        claimed: SocketAddr,
    },
    /// A seed answered; the cluster's members are known.
    Joined {
        /// The seed.
        peer: SocketAddr,
        /// How many members it told of.
        members: usize,
    },
    /// A seed did not answer. It is tried again.
    JoinFailed {
        /// The seed.
        peer: SocketAddr,
        /// Why.
        failure: DialFailure,
    },
    /// Somebody suspected this node, which objected.
    Accused {
        /// Who says so.
        by: NodeName,
        /// The incarnation of the objection.
        incarnation: u32,
    },
    /// A member answers TCP but not UDP.
    UdpBlocked {
        /// Who.
        name: NodeName,
    },
    /// Somebody told all members something (feature `serf`).
    #[cfg(feature = "serf")]
    UserEvent(crate::serf::UserEvent),
    /// Somebody asks this node something; [answer](crate::Membership::answer_query) it if you know the name (feature
    /// `serf`).
    #[cfg(feature = "serf")]
    Query(crate::serf::Question),
    /// A question of this node's arrived at a member that it was for (feature `serf`).
    #[cfg(feature = "serf")]
    QueryAck {
        /// The question.
        query: crate::serf::QueryId,
        /// Who got it.
        from: NodeName,
    },
    /// A member answered a question of this node's (feature `serf`).
    #[cfg(feature = "serf")]
    QueryAnswer {
        /// The question.
        query: crate::serf::QueryId,
        /// Who answers.
        from: NodeName,
        /// What it says.
        payload: Bytes,
    },
    /// The time for answers to a question of this node's is over (feature `serf`).
    #[cfg(feature = "serf")]
    QueryEnded {
        /// The question.
        query: crate::serf::QueryId,
        /// How many said that they got it.
        acks: usize,
        /// How many answered.
        answers: usize,
    },
    /// Somebody changed the keys of the cluster, as `serf keys` does (feature `serf`). The first seals, all open;
    /// they are in use already and should be stored where the node finds them after a restart.
    #[cfg(feature = "serf")]
    KeysChanged {
        /// All of them.
        keys: Vec<crate::Key>,
    },
    /// This node has left; nothing more will be said.
    Left,
}

/// Why a member was declared dead.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Evidence {
    /// It did not object to the suspicion in time.
    Silence {
        /// How many members suspected it, as far as they were counted.
        suspected_by: usize,
        /// How many members of this crate's kind asked it by UDP and TCP, in vain.
        asked_by: usize,
    },
    /// Its host refused connections.
    Refused {
        /// How many members were refused.
        reports: usize,
    },
    /// Another member said so.
    Hearsay {
        /// Who.
        by: NodeName,
    },
}
