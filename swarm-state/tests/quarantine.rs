//! What is freed rests until nobody can have it in mind: 30 s or 60 s, or when all nodes have said so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use support::{World, web};
use swarm_state::object::TaskState;
use swarm_state::spec::NodeState;
use swarm_state::{Action, Assignment, AttachContainer, NetworkId, NodeId, State, TaskId, assignment};

#[test]
fn an_address_is_free_again_when_all_who_knew_it_have_forgotten_it() {
    let mut world = World::new(3);
    let network = world.create_network(r#"{"Name":"apps","Attachable":true}"#);
    let [first, second, stranger] = world.nodes[..] else { panic!() };
    attach(&mut world, network, first, None).unwrap();
    let (other, _) = attach(&mut world, network, second, None).unwrap();
    let (mine, address) = attach(&mut world, network, first, Some("10.0.1.77")).unwrap();
    world.ok(Action::DetachContainer { id: mine });

    let refused = attach(&mut world, network, first, Some("10.0.1.77")).unwrap_err();
    assert!(refused.contains("10.0.1.77 in network apps was freed recently; 10.0.1.6 is free"), "{refused}");
    assert!(refused.ends_with("or when all nodes have forgotten it"), "{refused}");

    for node in [first, second] {
        let told = assignment(&world.state, node).unwrap();
        assert_eq!(
            (told.resting.len(), told.resting[0].network, told.resting[0].addr),
            (1, network, address)
        );
        assert_eq!((told.mark, told.leaving.len()), (told.resting[0].mark, 0));
    }
    let told = assignment(&world.state, stranger).unwrap();
    assert_eq!((told.mark, told.resting.len()), (0, 0), "it is not in the network");

    assert_eq!(world.acknowledge_by(&[first]), 0, "nothing is written down that frees nothing");
    assert_eq!(world.acknowledge_by(&[first, second]), 2);
    attach(&mut world, network, first, Some("10.0.1.77")).unwrap();
    assert_eq!(world.acknowledge(), 0);

    // who leaves the network is asked until nothing of it is left
    world.ok(Action::DetachContainer { id: other });
    let told = assignment(&world.state, second).unwrap();
    assert_eq!((told.leaving.len(), told.leaving[0].network), (1, network));
    assert!(!told.attachments.contains_key(&network) && told.resting.len() == 2 && told.mark > 0);
    assert!(told.leaving[0].vnis.is_empty());
    assert_eq!(world.acknowledge(), 2);
    assert_eq!(assignment(&world.state, second).unwrap().mark, 0);
    assert_eq!(world.state.ipam().settled(), world.state.ipam().mark());
}

#[test]
fn a_node_that_is_down_holds_nothing_back_and_forgets_when_it_returns() {
    let mut world = World::new(2);
    let network = world.create_network(r#"{"Name":"apps","Attachable":true}"#);
    let [first, second] = world.nodes[..] else { panic!() };
    attach(&mut world, network, second, None).unwrap();
    let (mine, _) = attach(&mut world, network, first, Some("10.0.1.77")).unwrap();
    world.ok(Action::DetachContainer { id: mine });
    assert_eq!(world.acknowledge_by(&[first]), 0);
    world.set_node(second, NodeState::Down);
    assert_eq!(assignment(&world.state, second).unwrap().mark, 0, "nobody waits for it");
    assert_eq!(world.acknowledge_by(&[first]), 1);
    let (mine, _) = attach(&mut world, network, first, Some("10.0.1.77")).unwrap();
    world.ok(Action::DetachContainer { id: mine });
    world.set_node(second, NodeState::Ready);
    let told = assignment(&world.state, second).unwrap();
    assert_eq!(told.resting.iter().filter(|resting| resting.addr.to_string() == "10.0.1.77").count(), 1);
    assert_eq!(world.acknowledge(), 2);
    let snapshot = State::from_json(&world.state.to_json()).unwrap();
    assert_eq!(snapshot, world.state);
}

#[test]
fn what_no_node_has_needs_nobody() {
    let mut world = World::new(2);
    world.create_network(r#"{"Name":"small","IPAM":{"Config":[{"Subnet":"10.9.0.0/30"}]}}"#);
    let idle = world.create_service(&web("idle", 0, 0, &["small"]));
    world.ok(Action::RemoveService { id: idle });
    world.create_service(&web("next", 0, 0, &["small"])); // the one address that there is
    assert_eq!(world.state.ipam().settled(), world.state.ipam().mark());
}

#[test]
fn an_assignment_tells_of_the_oldest_only() {
    let mut world = World::new(1);
    world.create_network(r#"{"Name":"large","IPAM":{"Config":[{"Subnet":"10.64.0.0/20"}]}}"#);
    let service = world.create_service(&web("web", 1100, 0, &["large"]));
    world.settle();
    world.scale(service, 0);
    world.settle();
    let told = assignment(&world.state, world.nodes[0]).unwrap();
    assert!(told.resting.len() <= 1024 && told.resting.is_sorted_by_key(|resting| resting.mark));
    assert_eq!(told.mark, told.resting.last().unwrap().mark);
    assert!(told.mark < world.state.ipam().mark());
    assert_eq!(world.acknowledge(), 1);
    let told = assignment(&world.state, world.nodes[0]).unwrap();
    assert!(told.resting.len() < 100 && told.resting.len() > 50);
    assert!(told.is_same_work(&assignment(&world.state, world.nodes[0]).unwrap()));
    assert_eq!(world.acknowledge(), 1);
    assert_eq!(world.acknowledge(), 0);
    assert!(assignment(&world.state, world.nodes[0]).unwrap().is_same_work(&told));
}

#[test]
fn a_removed_networks_subnet_and_vni_rest_too() {
    let mut world = World::with(1, |cluster| cluster.default_pools = vec!["10.0.0.0/23".parse().unwrap()]);
    let first = world.create_network(r#"{"Name":"first"}"#);
    world.create_service(&web("web", 1, 0, &["first"]));
    world.settle();
    let service = *world.state.services().keys().next().unwrap();
    world.ok(Action::RemoveService { id: service });
    world.ok(Action::RemoveNetwork { id: first }); // while its task is still shutting down
    let told = assignment(&world.state, world.nodes[0]).unwrap();
    assert_eq!((told.leaving[0].network, told.leaving[0].vnis[0].get()), (first, 4097));

    let refused = world.create_network_or(r#"{"Name":"next"}"#).unwrap_err();
    assert!(
        refused.message.starts_with("all predefined address pools have been fully subnetted"),
        "{refused}"
    );
    let named = r#"{"Name":"named","IPAM":{"Config":[{"Subnet":"10.77.0.0/24"}]}}"#;
    let named = world.create_network(named);
    assert_eq!(world.state.network(named).unwrap().vni.get(), 4098);
    world.settle();
    assert_eq!(world.acknowledge(), 1);
    let next = world.create_network(r#"{"Name":"next"}"#);
    assert_eq!((world.subnet(next).as_str(), world.acknowledge()), ("10.0.1.0/24", 0));

    // no node has had this one
    world.ok(Action::RemoveNetwork { id: next });
    world.create_network(r#"{"Name":"at-once"}"#);
}

#[test]
fn a_vni_is_nobodys_until_its_rest_is_over_however_few_are_left() {
    let mut world = World::new(1);
    let first = world.create_network(r#"{"Name":"first"}"#);
    world.create_network(r#"{"Name":"second"}"#);
    let service = world.create_service(&web("web", 1, 0, &["first"]));
    world.settle();
    world.edit(|image| image["vnis"]["last"] = 4098.into());
    world.ok(Action::RemoveService { id: service });
    world.settle();
    world.ok(Action::RemoveNetwork { id: first });
    let refused = world.create_network_or(r#"{"Name":"third"}"#).unwrap_err();
    let text = "no VXLAN id is left (2 in use, 1 resting until 2026-09-21T14:14:20Z)";
    assert_eq!(refused.message, format!("rpc error: code = ResourceExhausted desc = {text}"));
    assert_eq!(State::from_json(&world.state.to_json()).unwrap(), world.state);

    let mut patient = world.clone();
    patient.run_for(Duration::from_secs(61));
    let third = patient.create_network(r#"{"Name":"third"}"#);
    assert_eq!(patient.state.network(third).unwrap().vni.get(), 4097);

    let mut asked = world.clone();
    let body = r#"{"Name":"third","Options":{"com.docker.network.driver.overlay.vxlanid_list":"4097"}}"#;
    asked.create_network(body); // by name it is granted, as a subnet is

    assert_eq!(world.acknowledge(), 1);
    let third = world.create_network(r#"{"Name":"third"}"#);
    assert_eq!(world.state.network(third).unwrap().vni.get(), 4097);
}

#[test]
fn a_task_that_finds_no_address_says_so_and_runs_as_soon_as_there_is_one() {
    let mut world = World::new(2);
    let network = world.create_network(r#"{"Name":"tiny","IPAM":{"Config":[{"Subnet":"10.9.0.0/29"}]}}"#);
    let service = world.create_service(&web("web", 1, 0, &["tiny"]));
    world.settle(); // 6 addresses: gateway, virtual IP, node and task; two are left
    world.scale(service, 9);
    world.settle();
    // more tasks than addresses: some run, the others say why they do not
    let runs = world.running(service).len();
    assert!((2..=3).contains(&runs), "{runs} run");
    let waiting: Vec<_> = world.state.tasks_of(service).filter(|task| task.node_id.is_none()).collect();
    assert_eq!(waiting.len(), 9 - runs);
    let reason = "could not find an available IP: network tiny has no free IPv4 address (";
    for task in &waiting {
        assert_eq!(task.status.state, TaskState::New);
        assert!(task.status.err.starts_with(reason), "{}", task.status.err);
    }

    // one fails: its successor gets an address when the old one is forgotten
    let failed = world.running(service)[0].id;
    world.report(failed, TaskState::Failed);
    world.settle();
    assert_eq!(world.running(service).len(), runs - 1);
    assert!(world.acknowledge() > 0);
    world.settle();
    world.run_for(Duration::from_secs(6)); // the delay of its restart
    assert_eq!(world.running(service).len(), runs);

    // or when it has rested
    let failed = world.running(service)[0].id;
    world.report(failed, TaskState::Failed);
    world.run_for(Duration::from_secs(29));
    assert_eq!(world.running(service).len(), runs - 1);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.running(service).len(), runs);

    // or when the network has grown
    world.grow(network, "10.9.0.0/28").unwrap();
    world.settle();
    assert_eq!(world.running(service).len(), 9);
}

#[test]
fn tasks_leave_an_address_for_the_node_that_shall_run_them() {
    let mut world = World::new(3);
    world.create_network(r#"{"Name":"tiny","IPAM":{"Config":[{"Subnet":"10.9.0.0/29"}]}}"#);
    let service = world.create_service(&web("web", 9, 0, &["tiny"]));
    world.settle();
    assert_eq!(world.running(service).len(), 3);
}

#[test]
fn what_is_in_a_network_is_counted() {
    let mut world = World::new(2);
    let body = r#"{"Name":"counted","Attachable":true,"EnableIPv6":true,"IPAM":{"Config":[
        {"Subnet":"10.9.0.0/24","IPRange":"10.9.0.128/25","AuxiliaryAddresses":{"router":"10.9.0.7"}}]}}"#;
    let network = world.create_network(body);
    let service = world.create_service(&web("web", 3, 0, &["counted"]));
    world.settle();
    world.scale(service, 2);
    world.settle();
    let [v4, v6] = &world.state.network_usage(network)[..] else { panic!() };
    assert_eq!((v4.subnet.to_string().as_str(), v4.capacity, v4.edges), ("10.9.0.0/24", 256, 2));
    assert_eq!((v4.gateways, v4.aux, v4.vips, v4.nodes), (1, 1, 1, 2));
    assert_eq!((v4.tasks, v4.delegated, v4.resting), (2, 0, 1));
    assert_eq!((v4.free, v4.available, v4.unavailable()), (246, 120, 10));
    assert_eq!((v6.capacity, v6.edges, v6.tasks, v6.resting), (1 << 64, 1, 2, 1));
    let later = world.state.network_usage_at(network, world.now.plus(Duration::from_secs(30)));
    assert_eq!((later[0].resting, later[0].free), (0, 247));
    assert!(world.state.network_usage(NetworkId::from_random([1; 16])).is_empty());
}

#[test]
fn assignments_and_snapshots_from_before_are_read() {
    let mut world = World::new(1);
    world.create_network(r#"{"Name":"apps"}"#);
    let told = assignment(&world.state, world.nodes[0]).unwrap();
    let mut image = serde_json::to_value(&told).unwrap();
    for field in ["resting", "leaving", "mark"] {
        image.as_object_mut().unwrap().remove(field).unwrap();
    }
    assert_eq!(serde_json::from_value::<Assignment>(image).unwrap(), told);
    let snapshot: serde_json::Value = serde_json::from_slice(&world.state.to_json()).unwrap();
    for field in ["leaving", "awaited"] {
        assert!(snapshot.get(field).is_none(), "{field} is written only if there is any");
    }
    // a manager of before had no nodes in the allocator: the first acknowledgement makes up for it
    world.edit(|image| {
        let mut ipam = overlay_ipam::Ipam::deserialize(&image["ipam"]).unwrap();
        ipam.apply(0, &overlay_ipam::Command::SetNodes { nodes: Vec::new() }).unwrap();
        image["ipam"] = serde_json::to_value(ipam).unwrap();
    });
    assert_eq!(world.state.ipam().nodes().count(), 0);
    world.ok(Action::AckAddresses { acks: Vec::new() });
    assert_eq!(world.state.ipam().nodes().count(), 1);
}

/// A container with an address in the network: its attachment and the address.
fn attach(
    world: &mut World,
    network: NetworkId,
    node: NodeId,
    address: Option<&str>,
) -> Result<(TaskId, IpAddr), String> {
    let id = TaskId::from_random(world.bits());
    let address = address.map(|address| address.parse().unwrap());
    let (container, name, aliases) = ("c".repeat(64), format!("c{}", world.log.len()), Vec::new());
    let attach = AttachContainer { id, network, node, container, name, address, aliases };
    world.apply(Action::AttachContainer(attach)).map_err(|rejection| rejection.message)?;
    Ok((id, world.state.containers()[&id].attachment.addresses[0].addr()))
}
