//! The leader's side of the workers' sessions.

use std::time::Instant;

use swarm_state::spec::NodeDescription;
use swarm_state::{Action, Assignment, NodeId, assignment};

use super::{Manager, ManagerOutput, Moment, Purpose};
use crate::Machine;
use crate::message::{Down, Frame, Up};
use crate::worker::{HEARTBEAT, SILENCE};

/// One node's session, or what is known since it ended.
#[derive(Debug)]
pub(super) struct Session {
    machine: Machine,
    pub(super) number: u64,
    pub(super) heard: Instant,
    pub(super) open: bool,
    registered: bool,
    expected: u64,
    sent: u64,
    beat: Instant,
    told: Option<Assignment>,
}

impl Manager {
    pub(crate) fn handle_up(&mut self, moment: Moment, from: Machine, frame: Frame<Up>) {
        let (node, number) = (from.node_id(), frame.session);
        if !self.is_ready() {
            let leader = self.raft.status().leader.and_then(Machine::of_member);
            let leader = leader.filter(|leader| *leader != self.me);
            return self.answer(from, number, Down::Redirect(leader));
        }
        if matches!(frame.body, Up::Register) {
            return self.open(moment, from, number);
        }
        let session = self.sessions.get_mut(&node).filter(|session| session.open && session.number == number);
        let Some(session) = session else { return self.answer(from, number, Down::Closed) };
        if session.expected != frame.sequence {
            return self.close(node, number);
        }
        session.expected += 1;
        session.heard = moment.now;
        if let Up::Statuses(updates) = frame.body {
            let action = Action::UpdateTaskStatuses { node, updates };
            self.propose(moment, action, Purpose::Statuses(node, number));
        }
    }

    pub(super) fn registered(&mut self, node: NodeId, number: u64, accepted: bool) {
        if !accepted {
            return self.close(node, number);
        }
        if let Some(session) = self.sessions.get_mut(&node).filter(|session| session.number == number) {
            session.registered = true;
        }
    }

    /// Ends a session; the worker hears of it, if it can.
    pub(super) fn close(&mut self, node: NodeId, number: u64) {
        let session = self.sessions.get_mut(&node).filter(|session| session.number == number && session.open);
        if let Some(session) = session {
            session.open = false;
            let machine = session.machine;
            self.answer(machine, number, Down::Closed);
        }
    }

    pub(super) fn sweep_sessions(&mut self, now: Instant) {
        for session in self.sessions.values_mut().filter(|session| session.heard + SILENCE <= now) {
            session.open = false;
        }
    }

    pub(super) fn dismiss_sessions(&mut self) {
        let leader = self.raft.status().leader.and_then(Machine::of_member);
        for session in std::mem::take(&mut self.sessions).into_values().filter(|session| session.open) {
            self.answer(session.machine, session.number, Down::Redirect(leader));
        }
    }

    /// Sends what has changed for each node.
    pub(super) fn tell_sessions(&mut self, now: Instant) {
        for (node, session) in self.sessions.iter_mut().filter(|(_, s)| s.open && s.registered) {
            let next = assignment(&self.state, *node);
            let body = match next {
                Some(next) if session.told.as_ref() != Some(&next) => {
                    session.told = Some(next.clone());
                    Down::Assignment(Box::new(next))
                }
                Some(_) | None if session.beat <= now => Down::Heartbeat,
                Some(_) | None => continue,
            };
            session.beat = now + HEARTBEAT;
            let frame = Frame { session: session.number, sequence: session.sent, body };
            session.sent += 1;
            self.out.push_back(ManagerOutput::Send(session.machine, frame));
        }
    }

    fn open(&mut self, moment: Moment, from: Machine, number: u64) {
        let node = from.node_id();
        let session = Session {
            machine: from,
            number,
            heard: moment.now,
            open: true,
            registered: false,
            expected: 1,
            sent: 0,
            beat: moment.now,
            told: None,
        };
        self.sessions.insert(node, session);
        let description =
            Box::new(NodeDescription { hostname: from.to_string(), ..NodeDescription::default() });
        let register = Action::RegisterNode { id: node, description, addr: from.ip(), data_path_addr: None };
        self.propose(moment, register, Purpose::Register(node, number));
    }

    fn answer(&mut self, to: Machine, session: u64, body: Down) {
        self.out.push_back(ManagerOutput::Send(to, Frame { session, sequence: 0, body }));
    }
}
