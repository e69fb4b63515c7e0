//! Time passes, and what the machines want done is done.

use std::time::Instant;

use overlay_gossip::{Action, Membership, Output, Publish, Transmit};
use overlay_raft::Consensus;

use super::{Failure, World};
use crate::Machine;
use crate::check::{Applied, Violation};
use crate::manager::ManagerOutput;
use crate::message::Parcel;
use crate::node::{ENDPOINTS, Parts};
use crate::worker::WorkerOutput;

impl World {
    /// Goes to the next thing that happens; says whether there is one before `end`.
    pub(super) fn advance(&mut self, end: Instant) -> Result<bool, Failure> {
        self.failed()?;
        let parcel = self.queue.keys().next().map(|(at, _)| *at);
        let wakes = self.nodes.iter().filter_map(crate::node::Node::poll_timeout);
        let ask = self.poll_ask();
        let next = wakes.chain(parcel).chain(ask).min().filter(|next| *next < end);
        self.now = self.now.max(next.unwrap_or(end));
        if next.is_none() {
            return Ok(false);
        }
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, parcel) = entry.remove();
            self.deliver(from, to, parcel);
        }
        self.ask_next();
        let now = self.now;
        for machine in self.machines() {
            if self.node(machine).poll_timeout().is_some_and(|at| at <= now) {
                let moment = self.moment();
                self.node_mut(machine).handle_timeout(moment);
                self.pump(machine);
            }
        }
        Ok(true)
    }

    /// Drains a machine until it wants nothing more.
    pub(super) fn pump(&mut self, machine: Machine) {
        loop {
            let moment = self.moment();
            let Some(parts) = &mut self.node_mut(machine).parts else { return };
            if let Some(output) = parts.worker.poll_output() {
                self.do_for_worker(machine, output);
            } else if let Some(output) = parts.manager.as_mut().and_then(|m| m.poll_output(moment)) {
                self.do_for_manager(machine, output);
            } else if let Some(output) = parts.gossip.as_mut().and_then(Membership::poll_output) {
                self.do_for_gossip(machine, output);
            } else if !self.follow_changes(machine) {
                return;
            }
        }
    }

    /// Lets worker, manager and checks see what the gossip has learned; says whether that may have outputs.
    fn follow_changes(&mut self, machine: Machine) -> bool {
        let moment = self.moment();
        let Some(parts) = &mut self.node_mut(machine).parts else { return false };
        if parts.manager.as_ref().is_some_and(|manager| manager.is_due(moment.now)) {
            let members = parts.members();
            if let Some(manager) = &mut parts.manager {
                manager.lead(moment, &members);
            }
            return true;
        }
        let Some(gossip) = &mut parts.gossip else { return false };
        let changes = gossip.take_changes();
        if !changes.members && changes.tables.is_empty() {
            return false;
        }
        let dead = parts.dead_managers();
        parts.worker.follow_gossip(moment.now, dead);
        if changes.members {
            self.follow_assignment(machine);
        }
        for (network, table) in changes.tables {
            if table == ENDPOINTS {
                self.look_at(machine, &network);
            }
        }
        true
    }

    fn look_at(&mut self, machine: Machine, network: &overlay_gossip::NetworkId) {
        let Some(gossip) = self.node(machine).gossip() else { return };
        let records = gossip.records(network, ENDPOINTS);
        let looked = self.tables.look(machine, network, &records);
        self.check(looked);
    }

    fn follow_assignment(&mut self, machine: Machine) {
        let now = self.now;
        let left = match &mut self.node_mut(machine).parts {
            Some(parts) => parts.follow_assignment(machine, now),
            None => return,
        };
        for network in left {
            self.tables.left(machine, &network);
        }
    }

    fn do_for_worker(&mut self, machine: Machine, output: WorkerOutput) {
        match output {
            WorkerOutput::Send(to, frame) => self.send(machine, to, Parcel::Up(frame)),
            WorkerOutput::Assigned => self.follow_assignment(machine),
            WorkerOutput::Publish { network, task, phase, value } => {
                let now = self.now;
                let gossip =
                    self.node_mut(machine).parts.as_mut().and_then(|parts: &mut Parts| parts.gossip.as_mut());
                let (Some(gossip), Ok(network)) = (gossip, overlay_gossip::NetworkId::new(network.as_str()))
                else {
                    return;
                };
                let key = Publish { network: &network, table: ENDPOINTS, key: task.as_str() };
                let published = gossip.publish(now, key, phase, value);
                // Looked at each time, since the change would only be seen after the next one.
                self.look_at(machine, &network);
                let refused = |error: overlay_gossip::PublishError| Violation::Unpublishable {
                    machine,
                    task,
                    reason: error.to_string(),
                };
                self.check(published.map_err(refused));
            }
            WorkerOutput::Began { task, addresses } => {
                let began = self.states.began(machine, task, &addresses);
                self.check(began);
            }
            WorkerOutput::Ended { task } => self.states.ended(task),
            WorkerOutput::Note(text) => self.note(text),
        }
    }

    fn do_for_manager(&mut self, machine: Machine, output: ManagerOutput) {
        match output {
            ManagerOutput::Raft(transmit) => {
                if let Some(to) = Machine::of_member(transmit.to) {
                    self.send_datagram(machine, to, &Parcel::Raft { message: transmit.message });
                }
            }
            ManagerOutput::Send(to, frame) => self.send(machine, to, Parcel::Down(frame)),
            ManagerOutput::Answer(ticket, result) => self.answered(ticket, result),
            ManagerOutput::Applied { index, command, reply, tasks_changed } => {
                let at = machine.index();
                let manager = self.nodes.get(at).and_then(crate::node::Node::manager);
                let Some(manager) = manager else { return };
                let term = manager.raft().term_of(index).unwrap_or(0);
                let entry = Applied { index, term, command: &command, reply: &reply, tasks_changed };
                let applied = self.states.applied(machine, entry, manager.state());
                self.check(applied);
            }
            ManagerOutput::Leads { term } => {
                self.note(format!("{machine} leads in term {term}"));
                let Some(manager) = self.nodes.get(machine.index()).and_then(crate::node::Node::manager)
                else {
                    return;
                };
                let raft: &Consensus = manager.raft();
                let holds = |index| raft.term_of(index).is_some() || raft.snapshot_index() >= index;
                let leads = self.states.leads(machine, term, holds);
                self.check(leads);
            }
            ManagerOutput::Restored { index } => {
                let restored = self.states.restored(machine, index);
                self.check(restored);
            }
            ManagerOutput::Note(text) => self.note(text),
        }
    }

    fn do_for_gossip(&mut self, machine: Machine, output: Output) {
        match output {
            Output::Event(_) => {}
            Output::Transmit(Transmit { to, payload }) => {
                if let Some(to) = Machine::of_ip(to.ip()) {
                    let from = machine.gossip_addr();
                    self.send_datagram(machine, to, &Parcel::Datagram { from, payload });
                }
            }
            Output::Action(Action::Dial { id, to, payload, reply, timeout }) => {
                if let Some(to) = Machine::of_ip(to.ip()) {
                    self.dial(machine, to, (id, timeout), (payload, reply));
                }
            }
            Output::Action(Action::Reply { id, payload }) => self.reply(machine, id, payload),
        }
    }
}
