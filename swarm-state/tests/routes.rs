//! Networks keep clear of what hosts reach without the swarm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use ipnet::IpNet;
use support::{World, web};
use swarm_state::{Action, NodeId, RejectionKind, State};

#[test]
fn a_network_on_a_hosts_route_is_refused_with_the_host_the_route_and_the_next_free_prefix() {
    let mut world = World::new(2);
    let second = world.nodes[1];
    report(&mut world, second, &["172.19.0.0/16", "10.0.1.0/24", "10.0.2.53/32", "fd99::/64"]);

    let refused = world.create_network_or(&named("vpn", "172.19.5.0/24")).unwrap_err();
    assert_eq!((refused.kind, refused.kind.http_status()), (RejectionKind::PermissionDenied, 403));
    let overlap = "invalid pool request: Pool overlaps with other one on this address space";
    let reason = "172.19.5.0/24 overlaps 172.19.0.0/16, which node n2 uses; 10.0.3.0/24 is free";
    assert_eq!(refused.message, format!("{overlap}: {reason}"));
    let six = named("six", "fd99::/48").replace("\"IPAM\"", "\"EnableIPv6\":true,\"IPAM\"");
    assert!(world.create_network_or(&six).unwrap_err().message.contains("fd99::/64, which node n2 uses"));

    // what the swarm picks is elsewhere
    let picked = world.create_network(r#"{"Name":"picked"}"#);
    assert_eq!(world.subnet(picked), "10.0.3.0/24");
    // and so is growth
    let refused = world.grow(picked, "10.0.2.0/23").unwrap_err();
    assert!(refused.message.contains("10.0.2.0/23 overlaps 10.0.2.53/32, which node n2 uses"), "{refused}");
    assert_eq!(world.subnet(picked), "10.0.3.0/24");

    // a route that is gone is in nobody's way, nor is that of a node that is gone
    report(&mut world, second, &["10.0.1.0/24"]);
    world.create_network(&named("vpn", "172.19.5.0/24"));
    assert!(world.create_network_or(&named("lan", "10.0.1.0/24")).is_err());
    world.ok(Action::RemoveNode { id: second, force: true });
    world.create_network(&named("lan", "10.0.1.0/24"));
    assert_eq!(world.state.overlaps(), Vec::<String>::new());
}

#[test]
fn a_host_that_reaches_all_of_the_pool_is_named() {
    let mut world = World::new(2);
    let second = world.nodes[1];
    report(&mut world, second, &["10.0.0.0/8"]);
    let refused = world.create_network_or(r#"{"Name":"apps"}"#).unwrap_err();
    assert!(refused.message.starts_with("all predefined address pools have been fully subnetted: "));
    let reason = "; node n2 uses 10.0.0.0/8: name a subnet that no node uses";
    assert!(refused.message.ends_with(reason), "{refused}");
    world.create_network(&named("apps", "172.30.0.0/24"));
}

#[test]
fn a_route_that_comes_later_is_found_and_changes_nothing() {
    let mut world = World::new(2);
    let network = world.create_network(r#"{"Name":"apps"}"#);
    let service = world.create_service(&web("web", 2, 0, &["apps"]));
    world.settle();
    let before = world.state.network(network).unwrap().clone();
    let first = world.nodes[0];
    let reply = report(&mut world, first, &["10.0.0.0/16", "192.168.99.0/24"]);
    assert!(reply.changes.is_empty());
    assert_eq!(
        world.state.overlaps(),
        [
            "node n1 uses 10.0.0.0/16, which overlaps 10.0.0.0/24 of network ingress",
            "node n1 uses 10.0.0.0/16, which overlaps 10.0.1.0/24 of network apps",
        ]
    );
    assert_eq!(world.state.network(network), Some(&before));
    world.scale(service, 4); // addresses are given out as before
    world.settle();
    assert_eq!(world.running(service).len(), 4);
    world.grow(network, "10.0.0.0/23").unwrap_err(); // ingress
    let next = world.create_network(r#"{"Name":"next"}"#);
    assert_eq!(world.subnet(next), "10.1.0.0/24");
}

#[test]
fn what_every_host_has_is_left_out() {
    let mut world = World::new(1);
    let node = world.nodes[0];
    let common = [
        ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/8", "127.0.0.53/32", "169.254.0.0/16"],
        ["169.254.169.254/32", "224.0.0.0/4", "239.1.1.1/32", "255.255.255.255/32", "::/0", "2000::/3"],
        ["::1/128", "::/128", "fe80::/64", "fe80::1/128", "ff02::/16", "ff00::/8"],
    ];
    let mut all = common.concat();
    report(&mut world, node, &all);
    assert!(world.state.routes(node).is_empty(), "{:?}", world.state.routes(node));

    all.extend(["192.168.99.7/24", "192.168.99.0/24", "8.8.8.8/32"]);
    report(&mut world, node, &all);
    let kept: Vec<String> = world.state.routes(node).iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["8.8.8.8/32", "192.168.99.0/24"]);

    let before = world.state.clone();
    assert!(report(&mut world, node, &all).changes.is_empty());
    let same = |state: &State| (state.ipam().snapshot(), state.nodes().clone());
    assert_eq!(same(&world.state), same(&before));
    assert_eq!(State::from_json(&world.state.to_json()).unwrap(), world.state);
}

#[test]
fn a_route_inside_of_a_network_keeps_its_addresses_free_once_the_network_is_gone() {
    let mut world = World::new(1);
    let node = world.nodes[0];
    let apps = world.create_network(r#"{"Name":"apps"}"#);
    report(&mut world, node, &["10.0.1.7/32"]);
    assert_eq!(
        world.state.overlaps(),
        ["node n1 uses 10.0.1.7/32, which overlaps 10.0.1.0/24 of network apps"]
    );
    world.ok(Action::RemoveNetwork { id: apps });
    assert_eq!(world.state.overlaps(), Vec::<String>::new());
    assert!(world.create_network_or(&named("again", "10.0.1.0/24")).is_err());
    let next = world.create_network(r#"{"Name":"next"}"#);
    assert_eq!(world.subnet(next), "10.0.2.0/24");
}

#[test]
fn a_report_is_bounded_and_comes_from_a_node() {
    let mut world = World::new(1);
    let node = world.nodes[0];
    let many = |count: u32| -> Vec<IpNet> {
        (0..count)
            .map(|n| IpNet::new(std::net::Ipv4Addr::from(0xac10_0000 + n).into(), 32).unwrap())
            .collect()
    };
    world.ok(Action::ReportRoutes { node, nets: many(1024) });
    assert_eq!(world.state.routes(node).len(), 1024);
    let refused = world.refused(Action::ReportRoutes { node, nets: many(1025) });
    assert!(refused.ends_with("node n1 reports 1025 routes: at most 1024 are taken"), "{refused}");
    assert_eq!(world.state.routes(node).len(), 1024);
    let nobody = NodeId::from_random([9; 16]);
    let refused = world.apply(Action::ReportRoutes { node: nobody, nets: Vec::new() }).unwrap_err();
    assert_eq!(refused.kind, RejectionKind::NotFound);
}

fn report(world: &mut World, node: NodeId, nets: &[&str]) -> swarm_state::Reply {
    let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
    world.ok(Action::ReportRoutes { node, nets })
}

fn named(name: &str, subnet: &str) -> String {
    serde_json::json!({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}).to_string()
}
