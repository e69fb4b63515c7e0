//! The log and the state that is folded from it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use serde_json::Value;
use swarm_state::object::TaskState;
use swarm_state::{NetworkId, State, TaskId};

use super::Violation;
use crate::{Machine, Mutation};

/// What is known of the log and of all processes.
#[derive(Debug, Default)]
pub(crate) struct StateCheck {
    /// Digests of command and reply of each entry, as first applied by anybody.
    entries: BTreeMap<u64, (u64, u64)>,
    /// The last entry of which it is known that it is committed, with its term.
    newest: (u64, u64),
    applied: BTreeMap<Machine, u64>,
    leaders: BTreeMap<u64, Machine>,
    /// The furthest state of each task; `None`: it was deleted.
    tasks: BTreeMap<TaskId, Option<TaskState>>,
    used: BTreeMap<(NetworkId, IpAddr), (Machine, TaskId)>,
}

/// An entry that was applied.
#[derive(Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) index: u64,
    /// The entry's term, if the log still has it.
    pub(crate) term: u64,
    pub(crate) command: &'a [u8],
    pub(crate) reply: &'a [u8],
    pub(crate) tasks_changed: bool,
}

impl StateCheck {
    pub(crate) fn applied(
        &mut self,
        machine: Machine,
        entry: Applied<'_>,
        state: &State,
    ) -> Result<(), Violation> {
        let index = entry.index;
        let last = self.applied.insert(machine, index).unwrap_or(0);
        if last >= index {
            return Err(Violation::Order { index, last, machine });
        }
        let digests = (digest(entry.command), digest(entry.reply));
        if let Some(known) = self.entries.get(&index) {
            return match *known {
                (command, _) if command != digests.0 => Err(Violation::EntryChanged { index, machine }),
                (_, reply) if reply != digests.1 => Err(Violation::EffectDiffers { index, machine }),
                _ => Ok(()),
            };
        }
        self.entries.insert(index, digests);
        if index > self.newest.0 {
            self.newest = (index, entry.term);
            if entry.tasks_changed {
                self.check_tasks(state)?;
                check_leases(state)?;
            }
        }
        Ok(())
    }

    /// The state was replaced by that of a snapshot.
    pub(crate) fn restored(&mut self, machine: Machine, index: u64) -> Result<(), Violation> {
        let last = self.applied.insert(machine, index).unwrap_or(0);
        if last > index { Err(Violation::Order { index, last, machine }) } else { Ok(()) }
    }

    /// `holds` says whether the leader has an entry.
    pub(crate) fn leads(
        &mut self,
        machine: Machine,
        term: u64,
        holds: impl Fn(u64) -> bool,
    ) -> Result<(), Violation> {
        let first = *self.leaders.entry(term).or_insert(machine);
        if first != machine {
            return Err(Violation::TwoLeaders { first, second: machine, term });
        }
        let (index, committed_in) = self.newest;
        if term > committed_in && index > 0 && !holds(index) {
            return Err(Violation::EntryLost { index, term, machine });
        }
        Ok(())
    }

    pub(crate) fn began(
        &mut self,
        machine: Machine,
        task: TaskId,
        addresses: &[(NetworkId, IpAddr)],
    ) -> Result<(), Violation> {
        for (network, address) in addresses {
            if let Some((_, first)) = self.used.insert((*network, *address), (machine, task)) {
                return Err(Violation::UsedTwice {
                    network: *network,
                    address: *address,
                    first,
                    second: task,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn ended(&mut self, task: TaskId) {
        self.used.retain(|_, (_, user)| *user != task);
    }

    /// The power was cut: its memory and its processes are gone.
    pub(crate) fn stopped(&mut self, machine: Machine) {
        self.applied.remove(&machine);
        self.used.retain(|_, (user, _)| *user != machine);
    }

    /// The last entry that anybody has applied.
    pub(crate) const fn newest(&self) -> u64 {
        self.newest.0
    }

    fn check_tasks(&mut self, state: &State) -> Result<(), Violation> {
        for (id, task) in state.tasks() {
            let to = task.status.state;
            match self.tasks.insert(*id, Some(to)) {
                Some(Some(from)) if from > to => {
                    return Err(Violation::TaskBackwards { task: *id, from, to });
                }
                Some(None) => {
                    return Err(Violation::TaskBackwards { task: *id, from: TaskState::Remove, to });
                }
                Some(Some(_)) | None => {}
            }
        }
        for (id, known) in &mut self.tasks {
            if !state.tasks().contains_key(id) {
                *known = None;
            }
        }
        Ok(())
    }
}

/// Tasks that have not ended, nodes and services: no address has two of them.
fn check_leases(state: &State) -> Result<(), Violation> {
    let tasks = state.tasks().values().filter(|task| !task.has_ended()).flat_map(|task| {
        let attachments = task.networks.iter();
        attachments.flat_map(move |a| {
            a.addresses.iter().map(move |net| (a.network_id, net.addr(), task.id.to_string()))
        })
    });
    let nodes = state.nodes().values().flat_map(|node| {
        let attachments = node.attachments.iter();
        attachments
            .flat_map(move |(id, nets)| nets.iter().map(move |net| (*id, net.addr(), node.id.to_string())))
    });
    let services = state.services().values().flat_map(|service| {
        let vips = service.endpoint.virtual_ips.iter();
        vips.map(move |vip| (vip.network, vip.addr.addr(), service.id.to_string()))
    });
    let mut holders = BTreeMap::new();
    for (network, address, holder) in tasks.chain(nodes).chain(services) {
        if let Some(first) = holders.insert((network, address), holder.clone()) {
            return Err(Violation::LeasedTwice { network, address, first, second: holder });
        }
    }
    state.ipam().audit().map_err(|error| Violation::Books { reason: error.to_string() })
}

/// Breaks a rule of the state, if the mutation is one of those.
pub(crate) fn tamper(state: &mut State, mutation: Mutation) {
    let broken = match mutation {
        Mutation::StateGoesBack => edit(state, |tasks| {
            let running =
                tasks.values_mut().find(|task| task.pointer("/status/state") == Some(&"running".into()));
            if let Some(found) = running.and_then(|task| task.pointer_mut("/status/state")) {
                *found = "accepted".into();
            }
        }),
        Mutation::DoubleLease => edit(state, |tasks| {
            let mut live = tasks.values_mut().filter(|task| task.pointer("/networks/0").is_some());
            if let (Some(one), Some(two)) = (live.next(), live.next())
                && let (Some(taken), Some(place)) = (one.get("networks"), two.get_mut("networks"))
            {
                *place = taken.clone();
            }
        }),
        Mutation::DiskForgets
        | Mutation::EndpointsReturn
        | Mutation::EndpointsStay
        | Mutation::DeafLeader => None,
    };
    if let Some(broken) = broken {
        *state = broken;
    }
}

fn edit(state: &State, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Option<State> {
    let mut image: Value = serde_json::from_slice(&state.to_json()).ok()?;
    change(image.get_mut("tasks")?.as_object_mut()?);
    State::from_json(&serde_json::to_vec(&image).ok()?).ok()
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
