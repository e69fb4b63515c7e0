//! Endpoint records: what a node's tables say about a task, and the views that follow from them.
//!
//! One source, three readers: the forwarding tables, the balancer and the names come from the same records.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use overlay_core::MacAddr;
use overlay_gossip::{Record, tokio::Agent};
use overlay_lb::{Endpoint, Phase, Protocol, PublishedPort, View};
use serde::{Deserialize, Serialize};
use swarm_state::{AssignedTask, Assignment, NetworkId, spec::PublishMode};

use crate::dataplane::scene::RemoteEndpoint;

/// The table in each network's tables.
pub(crate) const TABLE: &str = "endpoints";

/// What the owner says about its task in one network; the key is the task's id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct EndpointRecord {
    service_id: String,
    service: String,
    task: String,
    addresses: Vec<IpNet>,
    mac: MacAddr,
    vtep: IpAddr,
    #[serde(default)]
    vips: Vec<IpAddr>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    ports: Vec<PublishedPort>,
}

impl EndpointRecord {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The records that a node publishes for a task, one per network.
pub(crate) fn records(
    task: &AssignedTask,
    assignment: &Assignment,
    vtep: IpAddr,
) -> Vec<(NetworkId, EndpointRecord)> {
    let service = assignment.services.iter().find(|service| service.id == task.task.service_id);
    let record = |attachment: &swarm_state::object::Attachment| {
        let network = attachment.network_id;
        let ingress = assignment.networks.iter().any(|n| n.id == network && n.ingress);
        let vips = service.iter().flat_map(|service| &service.virtual_ips);
        let ports = service.iter().filter(|_| ingress).flat_map(|service| &service.ports);
        let record = EndpointRecord {
            service_id: task.task.service_id.to_string(),
            service: task.service_name.clone(),
            task: task.task.container_name(),
            addresses: attachment.addresses.clone(),
            mac: attachment.mac,
            vtep,
            vips: vips.filter(|vip| vip.network == network).map(|vip| vip.addr.addr()).collect(),
            aliases: attachment.aliases.clone(),
            ports: ports.filter_map(published).collect(),
        };
        (network, record)
    };
    task.task.networks.iter().map(record).collect()
}

fn published(port: &swarm_state::spec::PortConfig) -> Option<PublishedPort> {
    if port.mode() != PublishMode::Ingress {
        return None;
    }
    let protocol: Protocol = port.protocol().to_string().parse().ok()?;
    Some(PublishedPort { protocol, published: port.published_port, target: port.target_port })
}

/// What the tables say, read once for all readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// For the balancer and the names.
    pub(crate) views: BTreeMap<NetworkId, Arc<View>>,
    /// For the forwarding tables: endpoints on other nodes, those of suspended nodes included.
    pub(crate) remote: BTreeMap<NetworkId, BTreeSet<RemoteEndpoint>>,
}

/// Reads the tables of these networks.
pub(crate) fn read(agent: &Agent, assignment: &Assignment) -> Tables {
    let mut tables = Tables::default();
    for network in &assignment.networks {
        let Ok(id) = overlay_gossip::NetworkId::new(network.id.as_str()) else { continue };
        let records = agent.records(&id, TABLE);
        let decoded: Vec<(&Record, EndpointRecord)> = records
            .iter()
            .filter_map(|record| Some((record, serde_json::from_slice(&record.value).ok()?)))
            .collect();
        let me = assignment.node.to_string();
        let elsewhere = decoded.iter().filter(|(record, _)| record.owner.as_str() != me);
        tables.remote.insert(network.id, elsewhere.flat_map(|(_, value)| remote(value)).collect());
        let usable = decoded.into_iter().filter(|(record, _)| !record.suspended);
        let view = View::new(usable.map(|(record, value)| endpoint(record, value)));
        tables.views.insert(network.id, Arc::new(view.named(network.name.clone())));
    }
    tables
}

fn remote(value: &EndpointRecord) -> impl Iterator<Item = RemoteEndpoint> {
    let (mac, vtep) = (value.mac, value.vtep);
    value.addresses.iter().map(move |address| RemoteEndpoint { ip: address.addr(), mac, vtep })
}

fn endpoint(record: &Record, value: EndpointRecord) -> Endpoint {
    Endpoint {
        id: record.key.clone(),
        service_id: value.service_id,
        service_name: value.service,
        task_name: value.task,
        node: record.owner.to_string(),
        addresses: value.addresses.iter().map(IpNet::addr).collect(),
        vips: value.vips,
        aliases: value.aliases,
        ports: value.ports,
        phase: match record.phase {
            overlay_gossip::Phase::Starting => Phase::Starting,
            overlay_gossip::Phase::Ready => Phase::Ready,
            overlay_gossip::Phase::Draining => Phase::Draining,
            overlay_gossip::Phase::Gone => Phase::Gone,
        },
    }
}
