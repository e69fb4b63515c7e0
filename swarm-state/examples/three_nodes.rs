//! A cluster of three nodes on paper: a service is created, planned, and its tasks are printed.
#![expect(clippy::print_stdout, reason = "this is what an example is for")]

use std::error::Error;

use swarm_state::object::Cluster;
use swarm_state::spec::{NodeDescription, NodeRole};
use swarm_state::{
    Action, ClusterId, NetworkId, NewNode, NodeId, ServiceId, State, TaskId, Timestamp, reconcile,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut swarm = Swarm { state: State::new(), index: 0 };
    for number in 1..=3_u8 {
        let (id, addr) = (NodeId::from_random([number; 16]), Some([192, 168, 99, number].into()));
        let role = if number == 1 { NodeRole::Manager } else { NodeRole::Worker };
        let node =
            NewNode { id, role, availability: Default::default(), hostname: format!("n{number}"), addr };
        if number == 1 {
            let cluster = Box::new(Cluster::new(ClusterId::from_random([1; 16])));
            let ingress = NetworkId::from_random([9; 16]);
            swarm.apply(Action::InitCluster { cluster, node, ingress })?;
        } else {
            swarm.apply(Action::JoinNode { node })?;
        }
        let description = Box::new(NodeDescription { hostname: format!("n{number}"), ..Default::default() });
        let addr = [192, 168, 99, number].into();
        swarm.apply(Action::RegisterNode { id, description, addr, data_path_addr: None })?;
    }
    let spec = Box::new(serde_json::from_str(
        r#"{"Name": "helloworld", "TaskTemplate": {"ContainerSpec": {"Image": "hello"}}, "Mode": {"Replicated": {"Replicas": 4}},
            "EndpointSpec": {"Ports": [{"TargetPort": 8080, "PublishedPort": 8080}]}}"#,
    )?);
    swarm.apply(Action::CreateService { id: ServiceId::from_random([8; 16]), spec })?;
    swarm.plan_until_nothing_is_left()?;
    for task in swarm.state.tasks().values() {
        let node = task.node_id.and_then(|id| swarm.state.node(id));
        let host = node.map_or("", |node| node.description.hostname.as_str());
        let addresses: Vec<String> =
            task.networks.iter().flat_map(|n| &n.addresses).map(ToString::to_string).collect();
        println!("{:12} {:8} on {host} with {}", task.name, task.status.state, addresses.join(" "));
    }
    Ok(())
}

struct Swarm {
    state: State,
    index: u64,
}

impl Swarm {
    fn apply(&mut self, action: Action) -> Result<(), Box<dyn Error>> {
        self.index += 1;
        self.state.apply(self.index, &action.at(Timestamp::from_millis(1_790_000_000_000)))?;
        Ok(())
    }

    fn plan_until_nothing_is_left(&mut self) -> Result<(), Box<dyn Error>> {
        for round in 0..u8::MAX {
            let mut ids = 0;
            let mut draw = || {
                ids += 1;
                TaskId::from_random([round, ids, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
            };
            let ops = reconcile::plan(&self.state, self.state.now(), &mut draw);
            if ops.is_empty() {
                break;
            }
            self.apply(Action::Plan { ops })?;
        }
        Ok(())
    }
}
