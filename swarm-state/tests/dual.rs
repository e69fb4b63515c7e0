//! Both families: every network, service, task and node has one of each, or nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use ipnet::IpNet;
use support::{World, web};
use swarm_state::object::TaskState;
use swarm_state::spec::{NodeRole, ServiceSpec};
use swarm_state::{
    Action, AttachContainer, ClusterId, NetworkId, NewNode, NodeId, ServiceId, SubnetUsage, TaskId,
};

#[test]
fn a_cluster_has_an_ipv6_prefix_of_its_own() {
    let ula = |seed: u8| {
        let mut world = World::with(1, |cluster| cluster.id = ClusterId::from_random([seed; 16]));
        let networks = ["a", "b"].map(|name| {
            let body = serde_json::json!({"Name": name, "EnableIPv6": true}).to_string();
            let network = world.create_network(&body);
            world.state.network(network).unwrap().clone()
        });
        let nets = networks.map(|network| {
            let [v4, v6] = &network.subnets[..] else { panic!("{network:?}") };
            assert!(v4.net.addr().is_ipv4() && v4.net.prefix_len() == 24, "IPv4 is there too");
            assert_eq!((v6.net.prefix_len(), network.vnis.len()), (64, 2));
            assert!(v6.net.to_string().starts_with("fd") && v6.net.contains(&v6.gateway));
            v6.net
        });
        let around = |net: IpNet| IpNet::new(net.addr(), 48).unwrap().trunc();
        assert_ne!(nets[0], nets[1]);
        assert_eq!(around(nets[0]), around(nets[1]));
        around(nets[0])
    };
    let prefixes: BTreeSet<IpNet> = (1..=20).map(ula).collect();
    assert_eq!(prefixes.len(), 20);
    assert_eq!(ula(1), ula(1));
}

#[test]
fn families_can_be_named_one_by_one() {
    let mut world = World::new(1);
    let families = |world: &mut World, body: &str| -> Vec<String> {
        let network = world.create_network(body);
        world.state.network(network).unwrap().subnets.iter().map(|subnet| subnet.net.to_string()).collect()
    };
    let only_v6 = families(&mut world, r#"{"Name":"a","EnableIPv6":true,"EnableIPv4":false}"#);
    assert!(only_v6.len() == 1 && only_v6[0].ends_with("::/64"), "{only_v6:?}");
    let named = r#"{"Name":"b","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"fd12::/64"}]}}"#;
    assert_eq!(families(&mut world, named), ["fd12::/64", "10.0.1.0/24"]);
    let named = r#"{"Name":"c","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"10.7.0.0/24"}]}}"#;
    let both = families(&mut world, named);
    assert!(both[0] == "10.7.0.0/24" && both[1].starts_with("fd"), "{both:?}");
}

#[test]
fn everybody_has_one_of_each() {
    let mut world = World::new(2);
    let network = world.create_network(r#"{"Name":"dual","EnableIPv6":true,"Attachable":true}"#);
    let service = world.create_service(&web("web", 4, 0, &["dual"]));
    world.settle();
    attach(&mut world, network, 0).unwrap();
    let families = |addresses: &[IpNet]| {
        let v6: Vec<bool> = addresses.iter().map(|net| net.addr().is_ipv6()).collect();
        assert_eq!(v6, [false, true]);
        assert_eq!((addresses[0].prefix_len(), addresses[1].prefix_len()), (24, 64));
    };
    let vips: Vec<IpNet> =
        world.state.service(service).unwrap().endpoint.virtual_ips.iter().map(|vip| vip.addr).collect();
    families(&vips);
    assert_eq!(world.running(service).len(), 4);
    for task in world.running(service) {
        families(&task.attachment(network).unwrap().addresses);
    }
    for node in world.state.nodes().values() {
        families(&node.attachments[&network]);
    }
    families(&world.state.containers().values().next().unwrap().attachment.addresses);
}

#[test]
fn if_one_family_is_exhausted_nothing_of_the_other_is_taken() {
    for (v4, v6) in [("10.9.0.0/24", "fd12::/126"), ("10.9.0.0/29", "fd12::/64")] {
        let mut world = World::new(1);
        let body = serde_json::json!({"Name": "dual", "EnableIPv6": true, "Attachable": true,
            "IPAM": {"Config": [{"Subnet": v4}, {"Subnet": v6}]}});
        let network = world.create_network(&body.to_string());
        let mut made = 0;
        let spec = |n: usize| -> Box<ServiceSpec> {
            Box::new(serde_json::from_str(&web(&format!("s{n}"), 1, 0, &["dual"])).unwrap())
        };
        // a virtual IP each, until one family is full
        let refused = loop {
            let id = ServiceId::from_random(world.bits());
            let before = used(&world, network);
            match world.apply(Action::CreateService { id, spec: spec(made) }) {
                Ok(_) => made += 1,
                Err(refused) => {
                    assert_eq!(used(&world, network), before, "nothing leaks");
                    break refused;
                }
            }
        };
        assert_eq!(made, if v6.ends_with("126") { 2 } else { 5 });
        assert_eq!(refused.kind.http_status(), 400);
        let full = if v6.ends_with("126") { "IPv6" } else { "IPv4" };
        let text = format!(
            "could not find an available IP while allocating VIP: network dual has no free {full} address"
        );
        assert!(refused.message.contains(&text), "{refused}");
        // the tasks get nothing either, and say so
        let before = used(&world, network);
        world.settle();
        assert_eq!(used(&world, network), before);
        assert!(world.state.tasks().values().all(|task| {
            task.status.state == TaskState::New && task.status.err.contains(&format!("has no free {full}"))
        }));
        // nor does a container, whose node needs an address as well
        let first = *world.state.services().keys().next().unwrap();
        world.ok(Action::RemoveService { id: first });
        world.plan();
        let before = used(&world, network);
        let refused = attach(&mut world, network, 0).unwrap_err();
        assert!(refused.contains(&format!("has no free {full}")), "{refused}");
        assert_eq!(used(&world, network), before);
    }
}

#[test]
fn a_new_node_gets_both_or_is_not_admitted() {
    let mut world = World::new(1);
    let ingress = world.state.ingress().unwrap().id;
    world.ok(Action::RemoveNetwork { id: ingress });
    let body = serde_json::json!({"Name": "in", "Ingress": true, "EnableIPv6": true,
        "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd12::/126"}]}});
    let ingress = world.create_network(&body.to_string());
    world.add_node(1);
    let before = used(&world, ingress);
    let node = NewNode {
        id: NodeId::from_random(world.bits()),
        role: NodeRole::Worker,
        availability: Default::default(),
        hostname: "late".to_owned(),
        addr: None,
    };
    let refused = world.refused(Action::JoinNode { node });
    assert!(refused.contains("no address for the node in the ingress network: network in has no free IPv6"));
    assert_eq!(used(&world, ingress), before);

    // an ingress network that is too small for the nodes leaves no trace
    world.ok(Action::RemoveNetwork { id: ingress });
    let tight = body.to_string().replace("fd12::/126", "fd13::/127").replace("10.9.", "10.8.");
    let before = world.state.ipam().snapshot();
    let refused = world.create_network_or(&tight).unwrap_err();
    assert!(refused.message.contains("has no free IPv6 address"), "{refused}");
    assert_eq!(world.state.ipam().snapshot(), before);
    let next = world.create_network(r#"{"Name":"next"}"#);
    assert_eq!(world.state.network(next).unwrap().vni.get(), 4099);
}

fn used(world: &World, network: NetworkId) -> Vec<(u128, u128)> {
    let each = |usage: &SubnetUsage| (usage.free, usage.resting);
    world.state.network_usage(network).iter().map(each).collect()
}

fn attach(world: &mut World, network: NetworkId, node: usize) -> Result<(), String> {
    let id = TaskId::from_random(world.bits());
    let (node, container, name) = (world.nodes[node], "c".repeat(64), "box".to_owned());
    let attach = AttachContainer { id, network, node, container, name, address: None, aliases: Vec::new() };
    world.apply(Action::AttachContainer(attach)).map(|_| ()).map_err(|rejection| rejection.message)
}
