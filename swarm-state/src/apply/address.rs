//! Addresses: the glue to the allocator.

use std::net::IpAddr;

use ipnet::IpNet;
use overlay_core::MacAddr;
use overlay_ipam::{Command as IpamCommand, Denied, Granted, Lease, NetworkKey, Owner, OwnerKey, Want};

use crate::object::{AttachedContainer, Attachment, Network, Service, VirtualIp};
use crate::spec::EndpointMode;
use crate::{NetworkId, NodeId, ServiceId, State, TaskId, Timestamp};

impl State {
    /// Takes addresses, all or none. Who has them already keeps them.
    pub(super) fn acquire(&mut self, wants: Vec<Want>) -> Result<Vec<Lease>, Denied> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        match self.ipam.apply(self.now.as_millis(), &IpamCommand::Acquire { wants })? {
            Granted::Leases(leases) => Ok(leases),
            Granted::Network(_) | Granted::Done => Ok(Vec::new()),
        }
    }

    /// Whether addresses can be had, all of them.
    pub(super) fn room_for(&self, wants: Vec<Want>) -> Result<(), Denied> {
        self.ipam.check(self.now.as_millis(), &IpamCommand::Acquire { wants })
    }

    /// A refusal in words that users know: names of networks, and when it would be granted.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are refused to who creates networks")]
    pub(super) fn in_words(&self, denied: &Denied) -> String {
        let (key, ready_ms) = match denied {
            Denied::AddressesExhausted { network, ready_ms, .. } => (network, *ready_ms),
            Denied::Held { network, ready_ms, .. } => (network, Some(*ready_ms)),
            Denied::InUse { network, .. } | Denied::OutsideSubnet { network, .. } => (network, None),
            _ => return denied.to_string(),
        };
        let known = key.as_str().parse().ok().and_then(|id: NetworkId| self.networks.get(&id));
        let text = match (denied, ready_ms) {
            (Denied::Held { addr, network, next_free, .. }, _) => {
                let hint = next_free.map(|free| format!("; {free} is free")).unwrap_or_default();
                format!("{addr} in network {network} was freed recently{hint}")
            }
            _ => denied.to_string(),
        };
        let text = known.map_or_else(|| text.clone(), |known| text.replace(key.as_str(), &known.spec.name));
        let ready = ready_ms.and_then(|ready| i64::try_from(ready).ok()).map(Timestamp::from_millis);
        let ready = ready.map(|at| format!("; it is free again at {at} or when all nodes have forgotten it"));
        text + &ready.unwrap_or_default()
    }

    /// Frees what the owner has in one network.
    pub(super) fn release(&mut self, network: NetworkId, owner: Owner) {
        let network = network_key(network);
        if let Some(lease) = self.ipam.lease(&network, &owner) {
            let command = IpamCommand::Release { network, owner, generation: lease.generation };
            let _ = self.ipam.apply(self.now.as_millis(), &command); // never refused
        }
    }

    /// Frees what the owner has in all networks.
    pub(super) fn release_all(&mut self, owner: Owner) {
        let _ = self.ipam.apply(self.now.as_millis(), &IpamCommand::ReleaseOwner { owner }); // never refused
    }

    /// The virtual addresses that the service should have, ingress first.
    pub(super) fn vip_wants(&self, service: &Service) -> Vec<Want> {
        if service.spec.endpoint().mode() == EndpointMode::Dnsrr {
            return Vec::new();
        }
        let owner = vip_owner(service.id);
        let wants = task_networks(self, service).into_iter().map(|(network, _)| network);
        wants
            .map(|network| Want { network: network_key(network), owner: owner.clone(), prefer: None })
            .collect()
    }

    /// Gives a node its own address in networks where it has none yet.
    pub(super) fn attach_node(&mut self, node: NodeId, networks: &[NetworkId]) -> Result<bool, Denied> {
        let leases = self.acquire(self.node_wants(node, networks))?;
        Ok(self.attached(node, networks, &leases))
    }

    /// A node's own addresses in networks where it has none yet.
    pub(super) fn node_wants(&self, node: NodeId, networks: &[NetworkId]) -> Vec<Want> {
        let Some(known) = self.nodes.get(&node) else { return Vec::new() };
        let missing = networks.iter().filter(|network| !known.attachments.contains_key(network));
        let owner = node_owner(node);
        missing
            .map(|network| Want { network: network_key(*network), owner: owner.clone(), prefer: None })
            .collect()
    }

    /// Writes down the node's own ones among leases; tells whether there were any.
    pub(super) fn attached(&mut self, node: NodeId, networks: &[NetworkId], leases: &[Lease]) -> bool {
        let owner = node_owner(node);
        let own: Vec<Lease> = leases.iter().filter(|lease| lease.owner == owner).cloned().collect();
        let Some(known) = self.nodes.get_mut(&node).filter(|_| !own.is_empty()) else { return false };
        for network in networks {
            let addresses = addresses_in(&own, *network);
            if !addresses.is_empty() {
                known.attachments.insert(*network, addresses);
            }
        }
        known.meta.touch(self.index, self.now);
        for network in networks {
            self.returned(node, *network);
        }
        true
    }

    /// Takes a node's own address in networks other than ingress where no task of it is left.
    pub(super) fn detach_node(&mut self, node: NodeId) -> bool {
        let Some(known) = self.nodes.get(&node) else { return false };
        let ingress = ingress_of(self).map(|network| network.id);
        let used = |network: NetworkId| {
            let here = self.tasks.values().filter(|task| task.node_id == Some(node) && !task.has_ended());
            let container = |c: &AttachedContainer| c.node_id == node && c.attachment.network_id == network;
            here.into_iter().any(|task| task.attachment(network).is_some())
                || self.containers.values().any(container)
        };
        let attached = known.attachments.keys().copied();
        let idle: Vec<NetworkId> =
            attached.filter(|network| Some(*network) != ingress && !used(*network)).collect();
        for network in &idle {
            self.release(*network, node_owner(node));
            self.left(node, *network, &[]);
            if let Some(known) = self.nodes.get_mut(&node) {
                known.attachments.remove(network);
                known.meta.touch(self.index, self.now);
            }
        }
        !idle.is_empty()
    }
}

/// The network of the routing mesh.
pub(crate) fn ingress_of(state: &State) -> Option<&Network> {
    state.networks.values().find(|network| network.is_ingress())
}

/// The addresses that a task of the service needs.
pub(crate) fn task_wants(state: &State, service: &Service, task: TaskId) -> Vec<Want> {
    let owner = task_owner(task);
    let networks = task_networks(state, service).into_iter();
    networks
        .map(|(network, _)| Want { network: network_key(network), owner: owner.clone(), prefer: None })
        .collect()
}

/// The same, and an address for a node in networks where no node has one yet: without it no task would run there.
pub(crate) fn first_task_wants(state: &State, service: &Service, task: TaskId) -> Vec<Want> {
    let mut wants = task_wants(state, service, task);
    let empty =
        |network: &NetworkId| !state.nodes.values().any(|node| node.attachments.contains_key(network));
    let networks = task_networks(state, service).into_iter().map(|(network, _)| network);
    let owner = Owner::Lb(OwnerKey::new("the first node"));
    wants.extend(networks.filter(empty).map(|network| Want {
        network: network_key(network),
        owner: owner.clone(),
        prefer: None,
    }));
    wants
}

/// The networks of a service's tasks with the aliases there: ingress first if a port is published through the mesh.
pub(super) fn task_networks(state: &State, service: &Service) -> Vec<(NetworkId, Vec<String>)> {
    let mut networks = Vec::new();
    if service.spec.endpoint().ingress_ports().next().is_some() {
        networks.extend(ingress_of(state).map(|ingress| (ingress.id, Vec::new())));
    }
    for target in service.spec.task_networks() {
        match target.target.parse::<NetworkId>() {
            Ok(id) if state.networks.contains_key(&id) && !networks.iter().any(|(known, _)| *known == id) => {
                networks.push((id, target.aliases.clone()));
            }
            Ok(_) | Err(_) => {} // removed in the meantime
        }
    }
    networks
}

/// Sorts the leases of a task by network.
pub(super) fn attachments(networks: &[(NetworkId, Vec<String>)], leases: &[Lease]) -> Vec<Attachment> {
    let attach = |(network, aliases): &(NetworkId, Vec<String>)| {
        let addresses = addresses_in(leases, *network);
        let mac = mac_of(addresses.first()?.addr());
        Some(Attachment { network_id: *network, addresses, mac, aliases: aliases.clone() })
    };
    networks.iter().filter_map(attach).collect()
}

/// The virtual addresses among leases, in their order.
pub(super) fn virtual_ips(state: &State, leases: &[Lease]) -> Vec<VirtualIp> {
    let vip = |lease: &Lease| {
        let network: NetworkId = lease.network.as_str().parse().ok()?;
        state.networks.contains_key(&network).then_some(VirtualIp { network, addr: net_of(lease) })
    };
    leases.iter().filter_map(vip).collect()
}

pub(crate) fn network_key(network: NetworkId) -> NetworkKey {
    NetworkKey::new(network.as_str())
}

pub(crate) fn node_key(node: NodeId) -> OwnerKey {
    OwnerKey::new(node.as_str())
}

pub(crate) fn vip_owner(service: ServiceId) -> Owner {
    Owner::Vip(OwnerKey::new(service.as_str()))
}

pub(crate) fn node_owner(node: NodeId) -> Owner {
    Owner::Lb(node_key(node))
}

pub(crate) fn task_owner(task: TaskId) -> Owner {
    Owner::Task(OwnerKey::new(task.as_str()))
}

fn addresses_in(leases: &[Lease], network: NetworkId) -> Vec<IpNet> {
    let here = leases.iter().filter(|lease| lease.network.as_str() == network.as_str());
    here.map(net_of).collect()
}

fn net_of(lease: &Lease) -> IpNet {
    IpNet::new(lease.addr, lease.prefix_len).unwrap_or_else(|_| IpNet::from(lease.addr))
}

/// 02:42 and the IPv4 address, or the last four bytes of the IPv6 one.
fn mac_of(addr: IpAddr) -> MacAddr {
    match addr {
        IpAddr::V4(v4) => MacAddr::from_ipv4(v4),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            MacAddr::new([0x02, 0x42, a, b, c, d])
        }
    }
}
