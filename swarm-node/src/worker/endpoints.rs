//! Endpoint records: what a node's tables say about a task, and the views that follow from them.
//!
//! One source, three readers: the forwarding tables, the balancer and the names come from the same records.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use overlay_core::MacAddr;
use overlay_gossip::{Record, tokio::Agent};
use overlay_lb::{Endpoint, Phase, Protocol, PublishedPort, View};
use serde::{Deserialize, Serialize};
use swarm_state::{
    AssignedNetwork, AssignedTask, Assignment, NetworkId, ServiceId,
    object::Attachment,
    spec::{PortConfig, PublishMode},
};

use crate::dataplane::scene::RemoteEndpoint;

/// The table in each network's tables.
pub(crate) const TABLE: &str = "endpoints";

/// What the owner says about its task in one network; the key is the task's id.
///
/// Only what the owner alone knows. Virtual IPs, published ports and tunnel ends are the managers' word and come from the
/// assignment: a node that lies in its records can harm its own tasks only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct EndpointRecord {
    service_id: ServiceId,
    service: String,
    task: String,
    addresses: Vec<IpNet>,
    mac: MacAddr,
    #[serde(default)]
    aliases: Vec<String>,
}

impl EndpointRecord {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The records that a node publishes for a task, one per network.
pub(crate) fn records(task: &AssignedTask) -> Vec<(NetworkId, EndpointRecord)> {
    let record = |attachment: &Attachment| {
        let record = EndpointRecord {
            service_id: task.task.service_id,
            service: task.service_name.clone(),
            task: task.task.container_name(),
            addresses: attachment.addresses.clone(),
            mac: attachment.mac,
            aliases: attachment.aliases.clone(),
        };
        (attachment.network_id, record)
    };
    task.task.networks.iter().map(record).collect()
}

fn published(port: &PortConfig) -> Option<PublishedPort> {
    if port.mode() != PublishMode::Ingress {
        return None;
    }
    let protocol: Protocol = port.protocol().to_string().parse().ok()?;
    Some(PublishedPort { protocol, published: port.published_port, target: port.target_port })
}

/// What the tables say, read once for all readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// The assignment with which they were read.
    pub(crate) of: Option<Arc<Assignment>>,
    /// For the balancer and the names.
    pub(crate) views: BTreeMap<NetworkId, Arc<View>>,
    /// For the forwarding tables: endpoints on other nodes, those of suspended nodes included.
    pub(crate) remote: BTreeMap<NetworkId, BTreeSet<RemoteEndpoint>>,
}

/// Reads the tables of these networks. Records of nodes that the managers do not know, addresses outside of the network and
/// MAC addresses of groups are not there, and of records that claim the same address all but [one](holders).
pub(crate) fn read(agent: &Agent, assignment: &Arc<Assignment>) -> Tables {
    let mut tables = Tables { of: Some(Arc::clone(assignment)), ..Tables::default() };
    let down: BTreeSet<&str> =
        assignment.peers.iter().filter(|peer| peer.down).map(|peer| peer.id.as_str()).collect();
    let vteps: BTreeMap<&str, IpAddr> = assignment
        .peers
        .iter()
        .filter_map(|peer| Some((peer.id.as_str(), peer.data_path_addr.or(peer.addr)?)))
        .collect();
    for network in &assignment.networks {
        let Ok(id) = overlay_gossip::NetworkId::new(network.id.as_str()) else { continue };
        let records = agent.records(&id, TABLE);
        let decoded: Vec<(&Record, EndpointRecord)> = records
            .iter()
            .filter(|record| vteps.contains_key(record.owner.as_str()))
            .filter_map(|record| {
                Some((record, plausible(serde_json::from_slice(&record.value).ok()?, network)?))
            })
            .collect();
        let decoded = holders(decoded, |record| match record.owner.as_str() {
            me if me == assignment.node.as_str() => Standing::Here,
            lost if record.suspended || down.contains(lost) => Standing::Lost,
            _ => Standing::There,
        });
        let elsewhere =
            decoded.iter().filter(|(record, _)| record.owner.as_str() != assignment.node.as_str());
        let remote =
            elsewhere.filter_map(|(record, value)| Some(remote(value, *vteps.get(record.owner.as_str())?)));
        tables.remote.insert(network.id, remote.flatten().collect());
        let usable = decoded.into_iter().filter(|(record, _)| !record.suspended);
        let endpoints = usable.map(|(record, value)| endpoint(record, value, (assignment, network)));
        tables.views.insert(network.id, Arc::new(View::new(endpoints).named(network.name.clone())));
    }
    tables
}

/// How much a node's word counts where two nodes claim the same address.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Standing {
    /// This node's own.
    Here,
    /// A node that is alive.
    There,
    /// A node that is gone as far as is known. Its tasks may run on, but their addresses may be others' by now.
    Lost,
}

/// One record for each address and each MAC address: the kernel takes one place only. Of a node's own records the last
/// one counts.
fn holders(
    mut records: Vec<(&Record, EndpointRecord)>,
    standing: impl Fn(&Record) -> Standing,
) -> Vec<(&Record, EndpointRecord)> {
    records.sort_by_key(|(record, _)| (standing(record), &record.owner, Reverse(record.version)));
    let (mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new());
    records.retain(|(_, value)| {
        let ips = || value.addresses.iter().map(IpNet::addr);
        let free = !macs.contains(&value.mac) && !ips().any(|ip| addresses.contains(&ip));
        if free {
            macs.insert(value.mac);
            addresses.extend(ips());
        }
        free
    });
    records
}

fn plausible(value: EndpointRecord, network: &AssignedNetwork) -> Option<EndpointRecord> {
    let inside = |address: &IpNet| network.subnets.iter().any(|subnet| subnet.net.contains(&address.addr()));
    (value.mac.is_unicast() && value.addresses.iter().all(inside)).then_some(value)
}

fn remote(value: &EndpointRecord, vtep: IpAddr) -> impl Iterator<Item = RemoteEndpoint> {
    let mac = value.mac;
    value.addresses.iter().map(move |address| RemoteEndpoint { ip: address.addr(), mac, vtep })
}

fn endpoint(
    record: &Record,
    value: EndpointRecord,
    (assignment, network): (&Assignment, &AssignedNetwork),
) -> Endpoint {
    let service = assignment.services.iter().find(|service| service.id == value.service_id);
    let vips = service.iter().flat_map(|service| &service.virtual_ips);
    let ports = service.iter().filter(|_| network.ingress).flat_map(|service| &service.ports);
    Endpoint {
        id: record.key.clone(),
        service_id: value.service_id.to_string(),
        service_name: service.map_or(value.service, |service| service.name.clone()),
        task_name: value.task,
        node: record.owner.to_string(),
        addresses: value.addresses.iter().map(IpNet::addr).collect(),
        vips: vips.filter(|vip| vip.network == network.id).map(|vip| vip.addr.addr()).collect(),
        aliases: value.aliases,
        ports: ports.filter_map(published).collect(),
        phase: match record.phase {
            overlay_gossip::Phase::Starting => Phase::Starting,
            overlay_gossip::Phase::Ready => Phase::Ready,
            overlay_gossip::Phase::Draining => Phase::Draining,
            overlay_gossip::Phase::Gone => Phase::Gone,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_the_mac_address_of_a_group_is_not_believed() {
        let network = AssignedNetwork {
            id: NetworkId::from_random([1; 16]),
            name: "green".to_owned(),
            vni: overlay_core::Vni::MAX,
            subnets: Vec::new(),
            options: Default::default(),
            ingress: false,
            internal: false,
            attachable: false,
            plane: Default::default(),
            seal: None,
        };
        let record = |mac: [u8; 6]| EndpointRecord {
            service_id: ServiceId::from_random([2; 16]),
            service: "web".to_owned(),
            task: "web.1".to_owned(),
            addresses: Vec::new(),
            mac: mac.into(),
            aliases: Vec::new(),
        };
        let believed = |mac| plausible(record(mac), &network).is_some();
        assert!(believed([2, 0x42, 10, 0, 0, 3]));
        // One of these in a forwarding table, and the whole of it would be refused.
        assert!(!believed([1, 0, 0x5e, 0, 0, 1]) && !believed([0xff; 6]) && !believed([0; 6]));
    }

    #[test]
    fn a_lost_nodes_addresses_belong_to_who_was_given_them_since() {
        let record = |owner: &str, version| Record {
            network: overlay_gossip::NetworkId::new("green").unwrap(),
            table: TABLE.to_owned(),
            key: format!("{owner}-{version}"),
            owner: overlay_gossip::NodeName::new(owner).unwrap(),
            version,
            phase: overlay_gossip::Phase::Ready,
            value: Default::default(),
            suspended: owner == "dead",
        };
        let value = |last: u8| EndpointRecord {
            service_id: ServiceId::from_random([2; 16]),
            service: "web".to_owned(),
            task: "web.1".to_owned(),
            addresses: vec![format!("10.0.1.{last}/24").parse().unwrap()],
            mac: [2, 0x42, 10, 0, 1, last].into(),
            aliases: Vec::new(),
        };
        let records =
            [record("dead", 9), record("me", 1), record("there", 2), record("there", 3), record("a", 5)];
        let claims = [7, 8, 7, 9, 8].map(value);
        let kept = holders(records.iter().zip(claims).collect(), |record| match record.owner.as_str() {
            "me" => Standing::Here,
            "dead" => Standing::Lost,
            _ => Standing::There,
        });
        let kept: Vec<&str> = kept.iter().map(|(record, _)| record.key.as_str()).collect();
        assert_eq!(kept, ["me-1", "there-3", "there-2"]);
        let again = [record("there", 1), record("there", 2)];
        let kept = holders(again.iter().zip([7, 7].map(value)).collect(), |_| Standing::There);
        assert_eq!(kept[0].0.version, 2);
        assert_eq!(kept.len(), 1);
    }
}
