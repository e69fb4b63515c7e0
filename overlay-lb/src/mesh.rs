use std::collections::BTreeMap;

use crate::{Endpoint, Protocol, View, slots};

/// What one node does with flows that hit a published port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MeshPlan {
    /// Every port that is published on every node, even while no task is ready.
    pub ports: BTreeMap<(Protocol, u16), PortPlan>,
}

/// Where the flows of one published port go.
///
/// The node that is hit takes the flow's hash modulo the number of [`slots`](PortPlan::slots): that names the node that
/// the packet is forwarded to, unmodified. The node that is named picks one of its [`local`](PortPlan::local) tasks. So
/// a task that is replaced on its node changes nothing anywhere else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortPlan {
    /// Id of the service that has the port.
    pub service: String,
    /// A node for each slot, in the proportion of ready tasks; [`slot_count`] of them, the same on every node.
    /// Empty while no task is ready: refuse at once.
    pub slots: Vec<String>,
    /// Ready tasks of this node with the port they listen on, by endpoint id.
    pub local: Vec<(String, u16)>,
}

impl View {
    /// The published ports as `this_node` handles them; only [`PortPlan::local`] differs from node to node.
    ///
    /// A port that two services publish belongs to one of them alone (see [`View::conflicts`]).
    #[must_use]
    pub fn mesh_plan(&self, this_node: &str) -> MeshPlan {
        let mut drafts: BTreeMap<(Protocol, u16), Draft<'_>> = BTreeMap::new();
        for (port, owner) in self.port_owners() {
            drafts.insert(port, Draft { service: owner, ..Draft::default() });
        }
        for endpoint in self.endpoints().filter(|endpoint| endpoint.takes_new_flows()) {
            for (port, target) in published(endpoint) {
                if let Some(draft) = drafts.get_mut(&port)
                    && draft.service == endpoint.service_id
                {
                    draft.add(endpoint, target, this_node);
                }
            }
        }
        MeshPlan { ports: drafts.into_iter().map(|(port, draft)| (port, draft.finish())).collect() }
    }
}

/// How many slots a table has when `nodes` nodes have ready tasks: a power of two, at least 16 for each node up to 256.
///
/// It has few steps, because a table of another size sends most flows elsewhere. A share is off by one slot at most.
#[must_use]
pub const fn slot_count(nodes: usize) -> usize {
    match nodes {
        0..=8 => 256,
        9..=64 => 1024,
        _ => 4096,
    }
}

#[derive(Default)]
struct Draft<'a> {
    service: &'a str,
    weights: BTreeMap<&'a str, u32>,
    local: Vec<(String, u16)>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, endpoint: &'a Endpoint, target: u16, this_node: &str) {
        let weight = self.weights.entry(&endpoint.node).or_default();
        *weight = weight.saturating_add(1);
        if endpoint.node == this_node {
            self.local.push((endpoint.id.clone(), target));
        }
    }

    fn finish(self) -> PortPlan {
        let table = slots(&self.weights, slot_count(self.weights.len()));
        PortPlan {
            service: self.service.to_owned(),
            slots: table.into_iter().map(str::to_owned).collect(),
            local: self.local,
        }
    }
}

/// The ports that a task serves, each once: if it names two targets for one port, the lower one counts.
pub(crate) fn published(endpoint: &Endpoint) -> BTreeMap<(Protocol, u16), u16> {
    let mut ports = BTreeMap::new();
    for port in &endpoint.ports {
        let target = ports.entry((port.protocol, port.published)).or_insert(port.target);
        *target = port.target.min(*target);
    }
    ports
}
