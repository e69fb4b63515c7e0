//! Addresses, VNIs and ports are those that Docker would give.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use support::{World, web};
use swarm_state::object::TaskState;
use swarm_state::spec::{IpamConfig, ServiceSpec};
use swarm_state::{Action, NetworkId, ServiceId, State};

#[test]
fn ingress_goes_to_gateway_nodes_services_and_tasks_in_turn() {
    let mut world = World::new(3);
    let ingress = world.state.ingress().unwrap();
    assert_eq!((ingress.spec.name.as_str(), ingress.vni.get()), ("ingress", 4096));
    assert_eq!(ingress.subnets[0].net.to_string(), "10.0.0.0/24");
    assert_eq!(ingress.subnets[0].gateway.to_string(), "10.0.0.1");
    let ingress = ingress.id;
    let nodes =
        world.nodes.iter().map(|id| world.state.node(*id).unwrap().address(ingress).unwrap().to_string());
    assert_eq!(nodes.collect::<Vec<_>>(), ["10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24"]);

    let service = world.create_service(&web("helloworld", 2, 8080, &[]));
    world.settle();
    assert_eq!(world.state.service(service).unwrap().virtual_ip(ingress).unwrap().to_string(), "10.0.0.5/24");
    assert_eq!(addresses(&world, service, ingress), ["10.0.0.6/24", "10.0.0.7/24"]);
    let task = world.running(service)[0];
    assert_eq!(task.networks[0].mac.to_string(), "02:42:0a:00:00:06");
    assert_eq!((task.name.as_str(), task.status.state), ("helloworld.1", TaskState::Running));
}

#[test]
fn a_user_network_starts_with_the_virtual_ip() {
    let mut world = World::new(1);
    let network = world.create_network(r#"{"Name":"helloNet","Driver":"overlay"}"#);
    let known = world.state.network(network).unwrap();
    assert_eq!((known.vni.get(), known.subnets[0].net.to_string().as_str()), (4097, "10.0.1.0/24"));
    assert_eq!(known.driver_options()["com.docker.network.driver.overlay.vxlanid_list"], "4097");
    let first = world.create_service(&web("web", 1, 0, &["helloNet"]));
    world.settle();
    assert_eq!(world.state.service(first).unwrap().virtual_ip(network).unwrap().to_string(), "10.0.1.2/24");
    assert_eq!(addresses(&world, first, network), ["10.0.1.3/24"]);
    let node = world.state.node(world.nodes[0]).unwrap();
    assert_eq!(node.address(network).unwrap().to_string(), "10.0.1.4/24");
    let second = world.create_service(&web("db", 2, 0, &[network.as_str()]));
    world.settle();
    assert_eq!(world.state.service(second).unwrap().virtual_ip(network).unwrap().to_string(), "10.0.1.5/24");
    assert_eq!(addresses(&world, second, network), ["10.0.1.6/24", "10.0.1.7/24"]);
}

#[test]
fn the_commands_of_the_post_are_taken_and_corrected() {
    let mut world = World::new(1);
    let body = r#"{"Name":"helloNew","Driver":"overlay","IPAM":{"Config":[{"Subnet":"172.19.0.1/24","Gateway":"172.19.0.1"}]}}"#;
    let network = world.create_network(body);
    let known = world.state.network(network).unwrap();
    assert_eq!(known.subnets[0].net.to_string(), "172.19.0.0/24");
    assert_eq!(known.spec.subnets()[0].subnet, "172.19.0.1/24");
    assert_eq!(known.warning, "subnet 172.19.0.1/24 has host bits set: 172.19.0.0/24 is used");
    let next = world.create_network(r#"{"Name":"next","Driver":"overlay"}"#);
    assert_eq!(world.state.network(next).unwrap().subnets[0].net.to_string(), "10.0.1.0/24");
}

#[test]
fn dnsrr_has_no_virtual_ip_and_several_subnets_have_several_vnis() {
    let mut world = World::new(1);
    let body = r#"{"Name":"multi","IPAM":{"Config":[{"Subnet":"10.50.0.0/24"},{"Subnet":"10.51.0.0/24"}]}}"#;
    let network = world.create_network(body);
    let options = world.state.network(network).unwrap().driver_options();
    assert_eq!(options["com.docker.network.driver.overlay.vxlanid_list"], "4097,4098");
    let body = web("rr", 2, 0, &["multi"]).replace("\"vip\"", "\"dnsrr\"");
    let service = world.create_service(&body);
    world.settle();
    assert!(world.state.service(service).unwrap().endpoint.virtual_ips.is_empty());
    assert_eq!(addresses(&world, service, network), ["10.50.0.2/24", "10.50.0.3/24"]);
}

#[test]
fn both_families_are_given_together() {
    let mut world = World::new(1);
    let network = world.create_network(r#"{"Name":"dual","EnableIPv6":true}"#);
    let service = world.create_service(&web("web", 1, 0, &["dual"]));
    world.settle();
    let vips = &world.state.service(service).unwrap().endpoint.virtual_ips;
    assert_eq!((vips.len(), vips[0].addr.to_string().as_str()), (2, "10.0.1.2/24"));
    assert!(vips[1].addr.to_string().starts_with("fd") && vips[1].addr.prefix_len() == 64);
    assert_eq!(world.running(service)[0].attachment(network).unwrap().addresses.len(), 2);
}

#[test]
fn picked_ports_start_at_30000_and_stay_through_updates() {
    let mut world = World::new(1);
    let body =
        web("web", 1, 0, &[]).replace(r#""Ports":[]"#, r#""Ports":[{"TargetPort":80},{"TargetPort":81}]"#);
    let service = world.create_service(&body);
    let ports = |state: &State| -> Vec<u16> {
        state.service(service).unwrap().endpoint.ports.iter().map(|port| port.published_port).collect()
    };
    assert_eq!(ports(&world.state), [30_000, 30_001]);
    world.update_service(service, |spec| spec.task_template.force_update = 1);
    assert_eq!(ports(&world.state), [30_000, 30_001]);
    world.update_service(service, |spec| {
        spec.endpoint_spec.as_mut().unwrap().ports.remove(0);
    });
    assert_eq!(ports(&world.state), [30_001]);
    let other = world.create_service(&body.replace("\"web\"", "\"other\""));
    let picked = world.state.service(other).unwrap().endpoint.ports[0].published_port;
    assert_eq!(picked, 30_002);
}

#[test]
fn what_ends_gives_its_addresses_back() {
    let mut world = World::new(2);
    let network = world.create_network(r#"{"Name":"n"}"#);
    let in_use = |world: &World| -> u128 {
        let all = world.state.networks().keys();
        all.flat_map(|n| world.state.ipam().usage(&overlay_ipam::NetworkKey::new(n.as_str())))
            .map(|u| u.in_use)
            .sum()
    };
    let before = in_use(&world);
    let service = world.create_service(&web("web", 4, 8080, &["n"]));
    world.settle();
    assert_eq!(in_use(&world), before + 2 + 8 + 2); // virtual IPs, tasks in two networks, nodes in one
    world.ok(Action::RemoveService { id: service });
    world.settle();
    assert_eq!((in_use(&world), world.state.tasks().len()), (before, 0));
    assert!(world.state.nodes().values().all(|node| !node.attachments.contains_key(&network)));
    world.ok(Action::RemoveNetwork { id: network });
    world.create_service(&web("web", 1, 8080, &[]));
}

#[test]
fn a_network_that_is_full_says_so_and_goes_on_when_there_is_room() {
    let mut world = World::new(1);
    let body = r#"{"Name":"tiny","IPAM":{"Config":[{"Subnet":"10.9.0.0/29"}]}}"#;
    world.create_network(body); // 6 addresses: gateway, virtual IP, node, 3 tasks
    let service = world.create_service(&web("web", 5, 0, &["tiny"]));
    world.settle();
    let waiting: Vec<_> =
        world.state.tasks_of(service).filter(|task| task.status.state == TaskState::New).collect();
    assert!(!waiting.is_empty());
    assert!(waiting[0].status.err.starts_with("could not find an available IP"), "{}", waiting[0].status.err);
    world.update_service(service, |spec| {
        spec.mode = serde_json::from_str(r#"{"Replicated":{"Replicas":1}}"#).unwrap()
    });
    world.run_for(Duration::from_secs(3600));
    world.update_service(service, |spec| {
        spec.mode = serde_json::from_str(r#"{"Replicated":{"Replicas":3}}"#).unwrap()
    });
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.running(service).len(), 3);
}

#[test]
fn a_full_network_refuses_and_goes_on_when_it_grows_in_place() {
    let mut world = World::new(1);
    let network = world.create_network(r#"{"Name":"small","IPAM":{"Config":[{"Subnet":"10.9.0.0/28"}]}}"#);
    let names: Vec<String> = (0..14).map(|n| format!("s{n}")).collect();
    let made = names.iter().take_while(|name| {
        let id = ServiceId::from_random(world.bits());
        let spec = Box::new(serde_json::from_str(&web(name, 0, 0, &["small"])).unwrap());
        world.apply(Action::CreateService { id, spec }).is_ok()
    });
    assert_eq!(made.count(), 13, "a virtual IP for each, and the gateway");
    let id = ServiceId::from_random(world.bits());
    let spec: Box<ServiceSpec> = Box::new(serde_json::from_str(&web("late", 1, 0, &["small"])).unwrap());
    let refused = world.refused(Action::CreateService { id, spec: spec.clone() });
    assert!(refused.contains("could not find an available IP"), "{refused}");

    // one is removed: it works when its address has rested
    let first = *world.state.services().keys().next().unwrap();
    let kept = world.state.services().values().nth(1).unwrap().clone();
    world.ok(Action::RemoveService { id: first });
    world.run_for(Duration::from_secs(61));
    world.ok(Action::CreateService { id, spec: spec.clone() });
    world.settle();
    assert_eq!(world.running(id).len(), 0, "no address is left for the task");

    let grow = |subnet: &str| Action::GrowNetwork {
        id: network,
        subnet: Box::new(IpamConfig { subnet: subnet.to_owned(), ..IpamConfig::default() }),
    };
    world.ok(grow("10.9.0.0/27"));
    world.settle();
    let known = world.state.network(network).unwrap();
    assert_eq!((known.subnets.len(), known.subnets[0].net.to_string().as_str()), (1, "10.9.0.0/27"));
    assert_eq!(known.spec.subnets()[0].subnet, "10.9.0.0/27");
    let same = world.state.service(kept.id).unwrap().virtual_ip(network).unwrap();
    assert_eq!((same.addr(), same.prefix_len()), (kept.virtual_ip(network).unwrap().addr(), 27));
    assert_eq!(world.running(id).len(), 1);
    assert!(addresses(&world, id, network)[0].ends_with("/27"));

    // the neighbour is somebody else's: the answer names them, and another subnet is added
    world.create_network(r#"{"Name":"other","IPAM":{"Config":[{"Subnet":"10.9.0.32/27"}]}}"#);
    let refused = world.refused(grow("10.9.0.0/26"));
    assert!(refused.contains("10.9.0.0/26 overlaps 10.9.0.32/27 of network other"), "{refused}");
    assert!(refused.ends_with("/26 is free"), "{refused}");
    world.ok(grow("10.9.1.0/24"));
    let known = world.state.network(network).unwrap();
    assert_eq!((known.subnets.len(), known.vnis.len()), (2, 2));
    assert!(world.refused(grow("")).contains("no subnet is given"));
    let restored = State::from_json(&world.state.to_json()).unwrap();
    assert_eq!(restored, world.state);
    assert_eq!(restored.audit_addresses(), Vec::<String>::new());
}

fn addresses(world: &World, service: ServiceId, network: NetworkId) -> Vec<String> {
    let tasks = world.running(service);
    tasks.iter().map(|task| task.attachment(network).unwrap().addresses[0].to_string()).collect()
}
