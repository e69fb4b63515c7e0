//! What each machine's tables show of an endpoint, over time.

use std::collections::BTreeMap;

use overlay_gossip::{NetworkId, Phase, Record};

use super::Violation;
use crate::Machine;

/// What was shown so far, by machine and network.
#[derive(Debug, Default)]
pub(crate) struct TableCheck {
    shown: BTreeMap<(Machine, NetworkId), BTreeMap<String, Shown>>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    phase: Phase,
    version: u64,
    /// It was there and is not any more.
    vanished: bool,
}

impl TableCheck {
    /// Compares with what was shown before. A task runs once, so its endpoint never comes back.
    pub(crate) fn look(
        &mut self,
        machine: Machine,
        network: &NetworkId,
        records: &[Record],
    ) -> Result<(), Violation> {
        let shown = self.shown.entry((machine, network.clone())).or_default();
        for record in records {
            let next = Shown { phase: record.phase, version: record.version, vanished: false };
            let Some(last) = shown.insert(record.key.clone(), next) else { continue };
            let (network, task) = (network.to_string(), record.key.clone());
            if last.vanished {
                return Err(Violation::EndpointReturned { machine, network, task, phase: record.phase });
            }
            let (from, to) = (last.phase, record.phase);
            if from > to {
                return Err(Violation::PhaseBackwards { machine, network, task, from, to });
            }
            let (from, to) = (last.version, record.version);
            if from > to {
                return Err(Violation::VersionBackwards { machine, network, task, from, to });
            }
        }
        for (key, last) in shown.iter_mut() {
            last.vanished |= !records.iter().any(|record| record.key == *key);
        }
        Ok(())
    }

    /// The machine has left the network and forgets what it knew of it.
    pub(crate) fn left(&mut self, machine: Machine, network: &NetworkId) {
        self.shown.remove(&(machine, network.clone()));
    }

    /// The power was cut.
    pub(crate) fn stopped(&mut self, machine: Machine) {
        self.shown.retain(|(watcher, _), _| *watcher != machine);
    }
}
