//! Nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use swarm_node::ManagerHealth;
use swarm_state::object::Node;
use swarm_state::spec::{NodeDescription, NodeSpec, NodeState};
use swarm_state::{NodeId, State};

use super::{MetaView, TlsView};

/// A node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: NodeSpec,
    pub description: NodeDescription,
    pub status: NodeStatusView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager_status: Option<ManagerStatusView>,
}

/// How a node is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeStatusView {
    pub state: NodeState,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    pub addr: String,
}

/// How a manager is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ManagerStatusView {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leader: bool,
    pub reachability: &'static str,
    pub addr: String,
}

impl NodeView {
    /// `health` is what this manager knows of the others.
    pub fn new(state: &State, node: &Node, health: &BTreeMap<NodeId, ManagerHealth>) -> Self {
        let mut description = node.description.clone();
        let root = state.cluster().map_or("", |cluster| cluster.root_ca.certificate.as_str());
        let tls = serde_json::to_value(TlsView::new(root)).unwrap_or_default();
        description.extra.insert("TLSInfo".to_owned(), tls);
        let manager_status = node.manager.as_ref().map(|manager| {
            let known = health.get(&node.id);
            ManagerStatusView {
                leader: known.is_some_and(|known| known.leader),
                reachability: match known {
                    None => "unknown",
                    Some(known) if known.reachable => "reachable",
                    Some(_) => "unreachable",
                },
                addr: manager.addr.clone(),
            }
        });
        Self {
            meta: MetaView::new(&node.id, node.meta),
            spec: node.spec.clone(),
            description,
            status: NodeStatusView {
                state: node.status.state,
                message: node.status.message.clone(),
                addr: address(node),
            },
            manager_status,
        }
    }
}

/// A node's address; if it is not known, that of its manager.
fn address(node: &Node) -> String {
    let known = node.status.addr.filter(|addr| !addr.is_unspecified());
    let of_manager = || {
        let (host, _) = node.manager.as_ref()?.addr.rsplit_once(':')?;
        host.trim_matches(['[', ']']).parse::<IpAddr>().ok()
    };
    known.or_else(of_manager).or(node.status.addr).map(|addr| addr.to_string()).unwrap_or_default()
}
