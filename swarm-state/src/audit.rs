//! Proof that addresses, VNIs and ports of all objects are those that were given, each to one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use overlay_ipam::{NetworkKey, Owner, OwnerKey};

use crate::apply::{DYNAMIC_PORTS, node_owner, task_owner, vip_owner};
use crate::spec::PublishMode;
use crate::{NetworkId, NodeId, State};

impl State {
    /// What is wrong with the state, in words; nothing ever should be.
    ///
    /// Addresses ([`audit_addresses`](Self::audit_addresses)); VNIs: each network has its own, they are claimed, those
    /// that rest are nobody's; published ports: no two services have the same; what keeps prefixes out of new subnets
    /// is a node that exists.
    pub fn audit(&self) -> Vec<String> {
        let mut findings = self.audit_addresses();
        self.audit_vnis(&mut findings);
        self.audit_ports(&mut findings);
        self.audit_nodes(&mut findings);
        findings
    }

    /// Which hosts are on a network with addresses of one of the swarm's own, in words. Such a network cannot be
    /// created, but the host may have come later; its tasks cannot reach those hosts, or those hosts its tasks.
    pub fn overlaps(&self) -> Vec<String> {
        let mut overlaps = Vec::new();
        for (by, routes) in self.ipam.exclusions() {
            let node = self.node_name(by);
            for route in routes {
                for (subnet, network) in self.ipam.overlapping(*route) {
                    let Some(network) = network else { continue };
                    let name = self.name_of(network);
                    overlaps
                        .push(format!("node {node} uses {route}, which overlaps {subnet} of network {name}"));
                }
            }
        }
        overlaps
    }

    /// What is wrong with the addresses, in words; nothing ever should be.
    ///
    /// The allocator's own books are proved ([`overlay_ipam::Ipam::audit`]), then compared with the objects in both
    /// directions: every address of a node, task, container or service is a lease of exactly that owner, and every
    /// lease belongs to an object that has the address.
    pub fn audit_addresses(&self) -> Vec<String> {
        let mut findings: Vec<String> =
            self.ipam.audit().err().map(|error| error.to_string()).into_iter().collect();
        for network in self.networks.values() {
            let key = NetworkKey::new(network.id.as_str());
            if self.ipam.subnets(&key) != network.subnets {
                findings.push(format!(
                    "network {}: its subnets are not those of the allocator",
                    network.spec.name
                ));
            }
        }
        for key in self.ipam.networks() {
            let known = key.as_str().parse().is_ok_and(|id: NetworkId| self.networks.contains_key(&id));
            if !known {
                findings.push(format!("the allocator has a network {key} that does not exist"));
            }
        }
        let held = self.held();
        for (network, owner, addr) in &held {
            if self.ipam.holder(network, *addr).as_ref() != Some(owner) {
                findings.push(format!("{owner} has {addr} in network {network}, but not from the allocator"));
            }
        }
        for key in self.ipam.networks() {
            for lease in self.ipam.all_leases(key).filter(|lease| !lease.owner.is_fixed()) {
                if !held.contains(&(key.clone(), lease.owner.clone(), lease.addr)) {
                    let (owner, addr) = (lease.owner, lease.addr);
                    findings
                        .push(format!("{addr} in network {key} is held by {owner}, which does not have it"));
                }
            }
        }
        findings
    }

    fn audit_vnis(&self, findings: &mut Vec<String>) {
        let mut holders = BTreeMap::new();
        for network in self.networks.values() {
            let name = network.spec.name.as_str();
            if network.vnis.first() != Some(&network.vni) || network.vnis.len() != network.subnets.len() {
                findings.push(format!("network {name}: its VNIs are not one for each subnet"));
            }
            for vni in network.vnis.iter().map(|vni| vni.get()) {
                if let Some(other) = holders.insert(vni, name) {
                    findings.push(format!("networks {other} and {name} have the same VNI {vni}"));
                }
                if !self.vnis.contains(vni) || self.vnis.is_resting(vni) {
                    findings.push(format!("network {name} has VNI {vni}, but it is not taken"));
                }
            }
        }
        let taken = usize::try_from(self.vnis.count()).unwrap_or(usize::MAX);
        if taken != holders.len() + self.vnis.resting().count() {
            findings.push(format!("{taken} VNIs are taken, but not all of them are a network's or rest"));
        }
    }

    fn audit_ports(&self, findings: &mut Vec<String>) {
        let mut holders = BTreeMap::new();
        for service in self.services.values() {
            let ports = service.endpoint.ports.iter();
            for port in ports.filter(|port| port.mode() == PublishMode::Ingress) {
                let (protocol, number) = (port.protocol(), port.published_port);
                if let Some(other) = holders.insert((protocol, number), service.spec.name.as_str()) {
                    let name = &service.spec.name;
                    findings.push(format!("services {other} and {name} publish the same port {number}"));
                }
            }
        }
        for (protocol, space) in &self.ports {
            let here = holders.keys().filter(|(of, _)| of == protocol).map(|(_, port)| u32::from(*port));
            let picked: Vec<u32> = here.filter(|port| DYNAMIC_PORTS.contains(port)).collect();
            let taken = usize::try_from(space.count()).unwrap_or(usize::MAX);
            if picked.len() != taken || !picked.iter().all(|port| space.contains(*port)) {
                findings
                    .push(format!("{taken} ports of {protocol:?} are taken, {} are published", picked.len()));
            }
        }
    }

    fn audit_nodes(&self, findings: &mut Vec<String>) {
        let known =
            |key: &OwnerKey| key.to_string().parse().is_ok_and(|id: NodeId| self.nodes.contains_key(&id));
        for (by, _) in self.ipam.exclusions().filter(|(by, _)| !known(by)) {
            findings.push(format!("{by} keeps prefixes out of new subnets, but is no node"));
        }
        for (node, _) in self.ipam.nodes().filter(|(node, _)| !known(node)) {
            findings.push(format!("addresses wait for node {node}, which does not exist"));
        }
        for node in self.leaving.keys().filter(|node| !self.nodes.contains_key(node)) {
            findings.push(format!("node {node} leaves networks, but does not exist"));
        }
    }

    fn name_of<'a>(&'a self, network: &'a NetworkKey) -> &'a str {
        let known = network.as_str().parse().ok().and_then(|id: NetworkId| self.networks.get(&id));
        known.map_or(network.as_str(), |known| known.spec.name.as_str())
    }

    /// All addresses that objects have.
    fn held(&self) -> BTreeSet<(NetworkKey, Owner, IpAddr)> {
        let key = |network: NetworkId| NetworkKey::new(network.as_str());
        let mut held = BTreeSet::new();
        for node in self.nodes.values() {
            for (network, addresses) in &node.attachments {
                let addrs =
                    addresses.iter().map(|address| (key(*network), node_owner(node.id), address.addr()));
                held.extend(addrs);
            }
        }
        let tasks = self.tasks.values().flat_map(|task| task.networks.iter().map(|at| (task.id, at)));
        let containers = self.containers.values().map(|container| (container.id, &container.attachment));
        for (id, attachment) in tasks.chain(containers) {
            let network = key(attachment.network_id);
            held.extend(attachment.addresses.iter().map(|net| (network.clone(), task_owner(id), net.addr())));
        }
        for service in self.services.values() {
            let vips = service.endpoint.virtual_ips.iter();
            held.extend(vips.map(|vip| (key(vip.network), vip_owner(service.id), vip.addr.addr())));
        }
        held
    }
}
