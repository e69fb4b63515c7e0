//! Proof that the addresses of all objects are those that the allocator has given.

use std::collections::BTreeSet;
use std::net::IpAddr;

use overlay_ipam::{NetworkKey, Owner};

use crate::apply::{node_owner, task_owner, vip_owner};
use crate::{NetworkId, State};

impl State {
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
