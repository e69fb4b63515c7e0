//! The audit is silent about every state that commands make; here it is shown others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use support::{World, web};
use swarm_state::Action;

#[test]
fn the_audit_finds_what_is_wrong() {
    let mut world = World::new(1);
    let (first, second) = (world.create_network(r#"{"Name":"a"}"#), world.create_network(r#"{"Name":"b"}"#));
    world.create_service(&web("x", 1, 8080, &["a"]));
    let other = world.create_service(&web("y", 1, 8081, &["a"]));
    world.settle();
    let node = world.nodes[0];
    world.ok(Action::ReportRoutes { node, nets: vec!["172.31.0.0/16".parse().unwrap()] });
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut world = world.clone();
        world.edit(change);
        world.state.audit()
    };
    assert_eq!(broken(&|_| {}), Vec::<String>::new());
    let same = broken(&|image| {
        image["networks"][second.as_str()]["vni"] = "4097".into();
        image["networks"][second.as_str()]["vnis"] = serde_json::json!(["4097"]);
    });
    assert!(same.iter().any(|found| found.contains("have the same VNI 4097")), "{same:?}");
    assert!(same.iter().any(|found| found.contains("not all of them are a network's")), "{same:?}");
    let free = broken(&|image| image["vnis"]["used"] = serde_json::json!([[4096, 4096], [4098, 4098]]));
    assert_eq!(free[0], "network a has VNI 4097, but it is not taken");
    let ports = broken(&|image| {
        image["services"][other.as_str()]["endpoint"]["ports"][0]["PublishedPort"] = 8080.into();
    });
    assert!(ports[0].contains("publish the same port 8080"), "{ports:?}");
    let gone = broken(&|image| {
        let node = image["nodes"].as_object_mut().unwrap().remove(node.as_str()).unwrap();
        assert!(node["attachments"].get(first.as_str()).is_some());
    });
    assert!(gone.iter().any(|found| found.contains("keeps prefixes out of new subnets, but is no node")));
    assert!(gone.iter().any(|found| found.contains("which does not exist")), "{gone:?}");
}
