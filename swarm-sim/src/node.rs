//! One machine: what runs on it, and what its disks keep.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use overlay_gossip::{MemberState, Membership, NetworkId, Profile};
use rand::Rng;
use rand::rngs::StdRng;
use swarm_state::NodeId;

use crate::manager::{Manager, ManagerDisk, Moment};
use crate::message::Life;
use crate::worker::{Worker, WorkerDisk};
use crate::{Config, Machine};

/// The table of endpoints in each network's tables.
pub(crate) const ENDPOINTS: &str = "endpoints";

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) life: u64,
    joined: bool,
    /// What the disks hold while the power is off.
    worker_disk: WorkerDisk,
    manager_disk: Option<ManagerDisk>,
    pub(crate) parts: Option<Parts>,
}

/// What runs while the power is on.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) worker: Worker,
    pub(crate) manager: Option<Manager>,
    pub(crate) gossip: Option<Membership>,
    pub(crate) networks: BTreeSet<NetworkId>,
    seed: u64,
    boot: u64,
}

impl Node {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            life: 0,
            joined: false,
            worker_disk: WorkerDisk::default(),
            manager_disk: None,
            parts: None,
        }
    }

    /// Prepares the disks for its first start.
    pub(crate) fn set_up(&mut self, managers: Vec<Machine>, manager: Option<ManagerDisk>) {
        self.joined = true;
        self.worker_disk.managers = managers;
        self.manager_disk = manager;
    }

    pub(crate) fn power_on(&mut self, config: &Config, moment: Moment, rng: &mut StdRng) {
        if self.parts.is_some() || !self.joined {
            return;
        }
        self.life += 1;
        let (worker_seed, manager_seed, seed) = (u64::from(rng.random::<u32>()), rng.random(), rng.random());
        let worker_disk = std::mem::take(&mut self.worker_disk);
        let rules = (config.processes, config.mutation);
        let worker = Worker::new(self.machine, worker_disk, rules, moment.now, worker_seed);
        let manager = self.manager_disk.take().map(|disk| {
            let rules = (config.snapshot_every, config.mutation);
            Manager::new(self.machine, disk, rules, moment.now, manager_seed)
        });
        let boot = moment.at.as_millis();
        self.parts = Some(Parts { worker, manager, gossip: None, networks: BTreeSet::new(), seed, boot });
    }

    pub(crate) fn power_off(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        self.worker_disk = parts.worker.into_disk();
        self.manager_disk = parts.manager.map(Manager::into_disk);
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.parts.is_some()
    }

    pub(crate) const fn has_joined(&self) -> bool {
        self.joined
    }

    pub(crate) const fn now_living(&self) -> Life {
        Life { machine: self.machine, life: self.life }
    }

    pub(crate) fn worker(&self) -> Option<&Worker> {
        self.parts.as_ref().map(|parts| &parts.worker)
    }

    pub(crate) fn manager(&self) -> Option<&Manager> {
        self.parts.as_ref()?.manager.as_ref()
    }

    pub(crate) fn gossip(&self) -> Option<&Membership> {
        self.parts.as_ref()?.gossip.as_ref()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let parts = self.parts.as_ref()?;
        let gossip = parts.gossip.as_ref().and_then(Membership::poll_timeout);
        let manager = parts.manager.as_ref().and_then(Manager::poll_timeout);
        [gossip, manager, parts.worker.poll_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, moment: Moment) {
        let Some(parts) = &mut self.parts else { return };
        parts.worker.handle_timeout(moment.now, moment.at);
        if let Some(manager) = &mut parts.manager {
            manager.handle_timeout(moment.now);
        }
        if let Some(gossip) = &mut parts.gossip {
            gossip.handle_timeout(moment.now);
        }
    }
}

impl Parts {
    /// Lets the gossip follow the assignment: peers, networks. Returns the networks that were left.
    pub(crate) fn follow_assignment(&mut self, me: Machine, now: Instant) -> Vec<NetworkId> {
        let Some(assignment) = self.worker.assignment() else { return Vec::new() };
        let gossip = self.gossip.get_or_insert_with(|| {
            let mut config = overlay_gossip::Config::new(me.name(), Profile::Fast);
            config.advertise = me.gossip_addr();
            config.boot = self.boot;
            Membership::new(config, now, self.seed)
        });
        let up: BTreeSet<&str> = gossip
            .members()
            .filter(|member| member.state.is_up())
            .map(|member| member.name.as_str())
            .collect();
        let others = assignment.peers.iter().filter(|peer| !peer.down && peer.id != me.node_id());
        let missing = others.filter(|peer| !up.contains(peer.id.as_str()));
        let addrs: Vec<SocketAddr> =
            missing.filter_map(|peer| Some(Machine::of_ip(peer.addr?)?.gossip_addr())).collect();
        for addr in addrs {
            gossip.join(now, addr);
        }
        let ids = assignment.networks.iter();
        let wanted: BTreeSet<NetworkId> =
            ids.filter_map(|network| NetworkId::new(network.id.as_str()).ok()).collect();
        for network in wanted.difference(&self.networks) {
            gossip.join_network(now, network);
        }
        let left: Vec<NetworkId> = self.networks.difference(&wanted).cloned().collect();
        for network in &left {
            gossip.leave_network(now, network);
        }
        self.networks = wanted;
        left
    }

    /// What the gossip says of each node.
    pub(crate) fn members(&self) -> BTreeMap<NodeId, MemberState> {
        let members = self.gossip.iter().flat_map(Membership::members);
        members.filter_map(|member| Some((member.name.as_str().parse().ok()?, member.state))).collect()
    }

    /// Managers that the gossip calls dead.
    pub(crate) fn dead_managers(&self) -> BTreeSet<Machine> {
        let Some(gossip) = &self.gossip else { return BTreeSet::new() };
        let managers = self.worker.assignment().into_iter().flat_map(|assignment| &assignment.managers);
        let machines = managers.filter_map(|(_, addr)| Machine::of_manager(addr));
        machines.filter(|m| gossip.member(&m.name()).is_some_and(|member| !member.state.is_up())).collect()
    }
}
