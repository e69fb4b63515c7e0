//! Full exchanges over TCP: to join, to repair what gossip missed, to find back after a partition.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::Membership;
use crate::wire::WireError;
use crate::wire::message::{Alive, Claim, IpBytes, Message, Ping, Source};
use crate::wire::stream::{self, NodeState, PushPull, StreamMessage};
use crate::{Action, DialFailure, DialId, Event, InputError, MemberState, NodeName, Output};

/// What an outgoing TCP exchange is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialled {
    Ping {
        seq: u32,
    },
    PushPull {
        seed: Option<SocketAddr>,
    },
    /// To a member that was dead.
    Call {
        to: SocketAddr,
    },
    Watch,
    User,
}

/// Somebody to ask for entry.
#[derive(Debug, Default)]
pub(super) struct Seed {
    /// It has answered once.
    answered: bool,
    /// An exchange is under way.
    busy: bool,
}

impl Membership {
    pub(super) fn add_seed(&mut self, now: Instant, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if peer == self.config.advertise || (self.seeds.len() >= MAX_SEEDS && !self.seeds.contains_key(&peer))
        {
            return;
        }
        self.seeds.entry(peer).or_default().answered = false;
        self.dial_seed(peer);
        self.next_reconnect = self.next_reconnect.or(after(now, self.config.reconnect_interval));
    }

    pub(super) fn run_push_pull(&mut self, now: Instant) {
        if self.next_push_pull.is_some_and(|at| at <= now) {
            self.next_push_pull = after(now, self.config.push_pull_interval * scale(self.members.up()));
            let names = self.members.pick(&mut self.rng, 1, |k| k.member.state == MemberState::Alive);
            // Nodes of this kind compare with each ping: they exchange only what differs.
            names.iter().for_each(|name| self.compare_parts(now, name));
        }
        while let Some((at, name)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.compare_parts(now, &name);
        }
        while let Some((at, name)) = self.soon.first().cloned() {
            if at > now {
                break;
            }
            self.soon.pop_first();
            self.push_pull_with(&name);
        }
        if self.next_reconnect.is_some_and(|at| at <= now) {
            self.next_reconnect = after(now, self.config.reconnect_interval);
            self.reconnect();
        }
    }

    /// All that this node knows, as a message; with what it holds in tables if the other side understands that.
    pub(super) fn push_pull_state(&self, join: bool, tables: bool) -> Vec<u8> {
        let user = self.user_state(tables);
        let ips: Vec<IpBytes> = self.members.iter().map(|k| IpBytes::new(k.member.addr.ip())).collect();
        let nodes = self.members.iter().zip(&ips).map(|(known, ip)| {
            let member = &known.member;
            NodeState {
                name: member.name.as_str(),
                addr: ip.as_slice(),
                port: member.addr.port(),
                meta: Some(&member.meta),
                incarnation: member.incarnation,
                state: member.state,
                vsn: Some(member.vsn),
            }
        });
        PushPull { join, nodes: nodes.collect(), user: &user }.to_vec()
    }

    /// Takes over what another node knows. It is never trusted to say that somebody is dead, only suspect.
    pub(super) fn merge_push_pull(
        &mut self,
        now: Instant,
        theirs: &PushPull<'_>,
        joining: bool,
    ) -> Result<(), WireError> {
        if !self.compatible(theirs) {
            return Err(WireError::Malformed);
        }
        let me = self.config.name.clone();
        for node in &theirs.nodes {
            let claim =
                |from| Claim { incarnation: node.incarnation, node: node.name, from, ..Claim::default() };
            match node.state {
                MemberState::Alive => {
                    let alive = Alive {
                        incarnation: node.incarnation,
                        node: node.name,
                        addr: node.addr,
                        port: node.port,
                        meta: node.meta,
                        vsn: node.vsn,
                    };
                    self.on_alive(now, &alive);
                }
                MemberState::Left => self.on_dead(now, &claim(node.name)),
                MemberState::Dead | MemberState::Suspect => self.on_suspect(now, &claim(me.as_str())),
            }
        }
        if !theirs.user.is_empty() {
            self.on_user_state(now, theirs.user, joining);
        }
        Ok(())
    }

    pub(super) fn handle_replied(
        &mut self,
        now: Instant,
        id: DialId,
        payload: &[u8],
    ) -> Result<(), InputError> {
        let dialled = self.dials.remove(&id).ok_or(InputError::Unasked)?;
        let result = match dialled {
            Dialled::User => Ok(()),
            Dialled::Watch => {
                self.on_watch_ended(now, id, false);
                Ok(())
            }
            Dialled::Ping { .. } | Dialled::PushPull { .. } | Dialled::Call { .. } => {
                self.read_reply(now, id, dialled, payload)
            }
        };
        self.flush_tables(now);
        result.map_err(|error| {
            self.stats.count(error);
            if let Dialled::PushPull { seed: Some(peer) } = dialled {
                self.event(Event::JoinFailed { peer, failure: DialFailure::Broken });
            }
            error.into()
        })
    }

    pub(super) fn handle_dial_failed(
        &mut self,
        now: Instant,
        id: DialId,
        failure: DialFailure,
    ) -> Result<(), InputError> {
        let dialled = self.dials.remove(&id).ok_or(InputError::Unasked)?;
        self.stats.dials_failed += 1;
        match dialled {
            Dialled::Ping { seq } => self.on_tcp_ping_failed(now, seq, failure),
            Dialled::PushPull { seed: Some(peer) } => {
                if let Some(seed) = self.seeds.get_mut(&peer) {
                    seed.busy = false;
                }
                self.event(Event::JoinFailed { peer, failure });
            }
            Dialled::Watch => self.on_watch_ended(now, id, failure != DialFailure::TimedOut),
            Dialled::PushPull { seed: None } | Dialled::Call { .. } | Dialled::User => {}
        }
        Ok(())
    }

    /// Asks for a TCP exchange.
    pub(super) fn dial(
        &mut self,
        to: SocketAddr,
        message: &[u8],
        what: Dialled,
        timeout: Duration,
    ) -> DialId {
        self.next_dial += 1;
        let id = DialId(self.next_dial);
        self.stats.dials += 1;
        self.dials.insert(id, what);
        let payload = self.envelope.wrap_stream(message, true, &mut self.rng);
        let reply = !matches!(what, Dialled::User);
        self.outputs.push_back(Output::Action(Action::Dial { id, to, payload, reply, timeout }));
        id
    }

    /// Sends a message of the tables by TCP.
    pub(super) fn dial_user(&mut self, _now: Instant, to: SocketAddr, body: &[u8]) {
        let message = stream::user_message(body);
        self.dial(to, &message, Dialled::User, self.config.tcp_timeout);
    }

    fn read_reply(
        &mut self,
        now: Instant,
        id: DialId,
        dialled: Dialled,
        payload: &[u8],
    ) -> Result<(), WireError> {
        if let Dialled::PushPull { seed: Some(peer) } = dialled
            && let Some(seed) = self.seeds.get_mut(&peer)
        {
            seed.busy = false;
        }
        let plain = self.envelope.unwrap_stream(payload, false, self.config.max_stream)?;
        match (dialled, StreamMessage::parse(&plain, self.config.max_members)?) {
            (Dialled::Ping { .. }, StreamMessage::Message(Message::Ack(ack))) => {
                self.on_stream_ack(now, id, &ack);
                Ok(())
            }
            (Dialled::Call { to }, StreamMessage::Message(Message::Ack(_))) => {
                if let Some(name) = self.members.by_addr(to).cloned() {
                    self.push_pull_with(&name);
                }
                Ok(())
            }
            (Dialled::PushPull { seed }, StreamMessage::PushPull(theirs)) => {
                self.merge_push_pull(now, &theirs, seed.is_some())?;
                if let Some(peer) = seed {
                    self.joined(now, peer, theirs.nodes.len());
                }
                Ok(())
            }
            _ => Err(WireError::Malformed),
        }
    }

    /// A seed answered. What others joined at the same moment, it may not have known: ask two more, a bit later.
    fn joined(&mut self, now: Instant, peer: SocketAddr, members: usize) {
        if let Some(seed) = self.seeds.get_mut(&peer) {
            seed.answered = true;
        }
        self.event(Event::Joined { peer, members });
        self.on_joined(now);
        self.announce();
        let more = self.config.join_more;
        let more = self.members.pick(&mut self.rng, more, |k| k.member.state == MemberState::Alive);
        for name in more {
            let at = now
                + self.config.gossip_interval * 2
                + jitter(&mut self.rng, self.config.probe_interval * 3 / 4);
            self.later.insert((at, name));
        }
    }

    fn push_pull_with(&mut self, name: &NodeName) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        let (to, tables) = (known.member.addr, known.member.vsn.has_tables());
        let message = self.push_pull_state(false, tables);
        self.dial(to, &message, Dialled::PushPull { seed: None }, self.config.tcp_timeout);
    }

    fn dial_seed(&mut self, peer: SocketAddr) {
        let Some(seed) = self.seeds.get_mut(&peer).filter(|seed| !seed.busy) else { return };
        seed.busy = true;
        self.tables.before_join();
        let message = self.push_pull_state(true, true);
        self.dial(peer, &message, Dialled::PushPull { seed: Some(peer) }, self.config.tcp_timeout);
    }

    /// Tries seeds that never answered (all of them when alone) and one dead member.
    fn reconnect(&mut self) {
        let alone = self.members.up() <= 1;
        let waiting: Vec<SocketAddr> =
            self.seeds.iter().filter(|(_, s)| alone || !s.answered).map(|(peer, _)| *peer).collect();
        for peer in waiting {
            self.dial_seed(peer);
        }
        // A dead member is called by a few, however many there are.
        let (dead, up) = (self.members.dead(), self.members.up().max(1));
        if self.rng.random_range(0..up) < dead.saturating_mul(CALLERS)
            && let Some(name) = self.members.pick_dead(&mut self.rng)
        {
            self.call(&name);
        }
    }

    /// Asks a dead member by TCP whether it is there, before all is told to it.
    fn call(&mut self, name: &NodeName) {
        let Some(to) = self.members.get(name.as_str()).map(|k| k.member.addr) else { return };
        let ping = Ping::new(0, name.as_str(), Source::default());
        self.dial(to, &Message::Ping(ping).to_vec(), Dialled::Call { to }, self.config.tcp_timeout);
    }

    /// Whether every live node of both sides speaks versions that all others understand.
    fn compatible(&self, theirs: &PushPull<'_>) -> bool {
        let theirs = theirs.nodes.iter().filter(|n| n.state == MemberState::Alive).filter_map(|n| n.vsn);
        let ours = self.members.iter().filter(|k| k.member.state == MemberState::Alive).map(|k| k.member.vsn);
        let all: Vec<_> = theirs.chain(ours).filter(|v| v.is_sane()).collect();
        let protocol_min = all.iter().map(|v| v.protocol_min).max().unwrap_or(0);
        let protocol_max = all.iter().map(|v| v.protocol_max).min().unwrap_or(u8::MAX);
        let delegate_min = all.iter().map(|v| v.delegate_min).max().unwrap_or(0);
        let delegate_max = all.iter().map(|v| v.delegate_max).min().unwrap_or(u8::MAX);
        all.iter().all(|v| {
            (protocol_min..=protocol_max).contains(&v.protocol)
                && (delegate_min..=delegate_max).contains(&v.delegate)
        })
    }
}

/// Nothing, or a moment after `now`; an interval of zero means never.
pub(super) fn after(now: Instant, interval: Duration) -> Option<Instant> {
    (!interval.is_zero()).then(|| now + interval)
}

/// A random part of an interval.
pub(super) fn jitter(rng: &mut StdRng, interval: Duration) -> Duration {
    interval.mul_f64(rng.random_range(0.0..1.0))
}

/// Exchanges get rarer from 32 members on.
fn scale(members: usize) -> u32 {
    let members = f64::from(u32::try_from(members).unwrap_or(u32::MAX)).max(1.0);
    let doublings = (members.log2() - 5.0).ceil().clamp(0.0, 32.0);
    (0..=32u32).take_while(|n| f64::from(*n) <= doublings).last().unwrap_or(0) + 1
}

const MAX_SEEDS: usize = 64;

/// How many members call a dead one in each reconnect interval, about.
const CALLERS: usize = 4;
