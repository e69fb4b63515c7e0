//! Whatever is refused is refused in Docker's words, and changes nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use support::{World, web};
use swarm_state::object::Cluster;
use swarm_state::spec::{NodeRole, NodeState};
use swarm_state::{
    Action, AttachContainer, ClusterId, ConfigId, NetworkId, NewNode, NodeId, RejectionKind, SecretId,
    ServiceId, State, TaskId, Timestamp,
};

#[test]
fn networks() {
    let mut world = World::new(1);
    let ingress = world.state.ingress().unwrap().id;
    let hello = world.create_network(r#"{"Name":"helloNet","Driver":"overlay"}"#);
    let mut refused = |body: &str| {
        let before = world.state.clone();
        let id = NetworkId::from_random(world.bits());
        let text =
            world.refused(Action::CreateNetwork { id, spec: Box::new(serde_json::from_str(body).unwrap()) });
        assert_eq!(world.state.networks(), before.networks());
        text
    };
    assert_eq!(refused(r#"{"Name":"helloNet"}"#), "network with name helloNet already exists");
    assert_eq!(
        refused(r#"{"Name":"bad/name"}"#),
        "rpc error: code = InvalidArgument desc = name must be valid as a DNS name component"
    );
    assert_eq!(
        refused(r#"{"Name":"my-ingress","Ingress":true}"#),
        format!("rpc error: code = AlreadyExists desc = ingress network ({ingress}) is already present")
    );
    assert_eq!(
        refused(r#"{"Name":"bad","IPAM":{"Config":[{"Subnet":"10.0.16.0/40"}]}}"#),
        "Invalid subnet 10.0.16.0/40 : invalid CIDR address: 10.0.16.0/40"
    );
    assert_eq!(
        refused(r#"{"Name":"overlap","IPAM":{"Config":[{"Subnet":"10.0.1.128/25"}]}}"#),
        "invalid pool request: Pool overlaps with other one on this address space: \
         10.0.1.128/25 overlaps 10.0.1.0/24 of network helloNet; 10.0.2.0/25 is free"
    );
    assert_eq!(
        refused(r#"{"Name":"gw","IPAM":{"Config":[{"Subnet":"10.9.0.0/24","Gateway":"10.8.0.1"}]}}"#),
        "invalid network config:\ninvalid gateway 10.8.0.1: parent subnet 10.9.0.0/24 doesn't contain this address"
    );
    for (subnet, purpose) in [
        ("127.0.0.0/24", "the host itself"),
        ("0.1.0.0/16", "the host itself"),
        ("169.254.7.0/24", "a single link"),
        ("192.0.0.0/2", "groups"),
        ("fe80::/64", "a single link"),
        ("ff05::/64", "groups"),
    ] {
        let body = format!(r#"{{"Name":"nowhere","IPAM":{{"Config":[{{"Subnet":"{subnet}"}}]}}}}"#);
        let text =
            format!("invalid network config:\ninvalid subnet {subnet}: it has addresses for {purpose}");
        assert_eq!(refused(&body), text);
    }
    let config = |config: &str| format!(r#"{{"Name":"gw","IPAM":{{"Config":[{config}]}}}}"#);
    assert_eq!(
        refused(&config(
            r#"{"Subnet":"10.9.0.0/28","Gateway":"10.9.0.1","AuxiliaryAddresses":{"a":"10.9.0.1"}}"#
        )),
        "invalid network config:\n10.9.0.1 is in use by the gateway; 10.9.0.2 is free"
    );
    assert_eq!(
        refused(&config(r#"{"Subnet":"10.9.0.0/32","AuxiliaryAddresses":{"a":"10.9.0.0"}}"#)),
        "invalid network config:\nno IPv4 address is left for the gateway"
    );
    let service = world.create_service(&web("web", 1, 0, &["helloNet"]));
    let in_use =
        format!("rpc error: code = FailedPrecondition desc = network {hello} is in use by service {service}");
    assert_eq!(world.refused(Action::RemoveNetwork { id: hello }), in_use);
    let next = world.create_network(r#"{"Name":"after"}"#);
    assert_eq!(world.state.network(next).unwrap().vni.get(), 4098, "the refused ones took no VNI");
}

#[test]
fn services() {
    let mut world = World::new(1);
    let hello = world.create_service(&web("helloworld", 2, 8080, &[]));
    let mut refused = |body: &str| {
        let before = world.state.clone();
        let id = ServiceId::from_random(world.bits());
        let text =
            world.refused(Action::CreateService { id, spec: Box::new(serde_json::from_str(body).unwrap()) });
        assert_eq!(world.state.services(), before.services());
        text
    };
    assert_eq!(
        refused(&web("web2", 1, 8080, &[])),
        format!(
            "rpc error: code = InvalidArgument desc = port '8080' is already in use by service 'helloworld' ({hello}) as an ingress port"
        )
    );
    assert_eq!(
        refused(&web("rr2", 1, 9090, &[]).replace("\"vip\"", "\"dnsrr\"")),
        "rpc error: code = InvalidArgument desc = EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
    );
    assert_eq!(
        refused(&web("helloworld", 1, 0, &[])),
        "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service helloworld already exists"
    );
    assert_eq!(refused(&web("web", 1, 0, &["nope"])), "network nope not found");
    assert_eq!(
        refused(&web("web", 1, 0, &["ingress"])),
        "rpc error: code = InvalidArgument desc = Service cannot be explicitly attached to the ingress network \"ingress\""
    );
    assert_eq!(
        refused(r#"{"Name":"x","TaskTemplate":{"ContainerSpec":{}}}"#),
        "rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided"
    );
    assert_eq!(
        refused(
            r#"{"Name":"x","TaskTemplate":{"ContainerSpec":{"Image":"i"},"Placement":{"Constraints":["node"]}}}"#
        ),
        "rpc error: code = InvalidArgument desc = constraint expected one operator from ==, !="
    );
    assert_eq!(world.state.find_service("nope").unwrap_err().message, "service nope not found");
}

#[test]
fn updates_name_the_version_they_read() {
    let mut world = World::new(1);
    let id = world.create_service(&web("web", 1, 0, &[]));
    let service = world.state.service(id).unwrap().clone();
    let spec = || Box::new(service.spec.clone());
    let version = service.meta.version;
    let stale = Action::UpdateService { id, version: version - 1, spec: spec(), rollback: false };
    let rejection = world.apply(stale).unwrap_err();
    assert_eq!(rejection.message, "rpc error: code = Unknown desc = update out of sequence");
    assert_eq!((rejection.kind, rejection.kind.http_status()), (RejectionKind::OutOfSequence, 500));
    let mut renamed = spec();
    renamed.name = "other".to_owned();
    let text = world.refused(Action::UpdateService { id, version, spec: renamed, rollback: false });
    assert_eq!(text, "rpc error: code = Unimplemented desc = renaming services is not supported");
    let mut global = spec();
    global.mode = serde_json::from_str(r#"{"Global":{}}"#).unwrap();
    let text = world.refused(Action::UpdateService { id, version, spec: global, rollback: false });
    assert_eq!(text, "rpc error: code = Unimplemented desc = service mode change is not allowed");
    let text = world.refused(Action::UpdateService { id, version, spec: spec(), rollback: true });
    assert_eq!(
        text,
        format!("rpc error: code = FailedPrecondition desc = service {id} does not have a previous spec")
    );
}

#[test]
fn a_service_that_publishes_needs_ingress() {
    let mut world = World::new(2);
    let ingress = world.state.ingress().unwrap().id;
    world.ok(Action::RemoveNetwork { id: ingress });
    let id = ServiceId::from_random(world.bits());
    let spec = Box::new(serde_json::from_str(&web("web", 1, 80, &[])).unwrap());
    assert_eq!(
        world.refused(Action::CreateService { id, spec }),
        "rpc error: code = FailedPrecondition desc = service needs ingress network, but no ingress network is present"
    );
    let new = world.create_network(r#"{"Name":"my-ingress","Ingress":true}"#);
    assert!(world.state.nodes().values().all(|node| node.address(new).is_some()));
}

#[test]
fn nodes() {
    let mut world = World::new(2);
    let (manager, worker) = (world.nodes[0], world.nodes[1]);
    let node = world.state.node(manager).unwrap();
    let (version, mut spec) = (node.meta.version, node.spec.clone());
    spec.role = NodeRole::Worker;
    assert_eq!(
        world.refused(Action::UpdateNode { id: manager, version, spec }),
        "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm"
    );
    assert_eq!(
        world.refused(Action::RemoveNode { id: worker, force: false }),
        format!("rpc error: code = FailedPrecondition desc = node {worker} is not down and can't be removed")
    );
    let text = world.refused(Action::RemoveNode { id: manager, force: true });
    assert!(text.ends_with("It must be demoted to worker before removal"), "{text}");
    world.set_node(worker, NodeState::Down);
    world.ok(Action::RemoveNode { id: worker, force: false });
    let again = NewNode {
        id: worker,
        role: NodeRole::Worker,
        availability: Default::default(),
        hostname: String::new(),
        addr: None,
    };
    assert!(world.refused(Action::JoinNode { node: again }).contains("was removed from the swarm"));
    assert_eq!(world.state.find_node("nope").unwrap_err().message, "node nope not found");
    assert_eq!(world.state.find_node("n1").unwrap().id, manager);
}

#[test]
fn containers_outside_of_services() {
    let mut world = World::new(1);
    let closed = world.create_network(r#"{"Name":"helloNet"}"#);
    let open = world.create_network(r#"{"Name":"open","Attachable":true}"#);
    let (id, node) = (TaskId::from_random([5; 16]), world.nodes[0]);
    let attach = |network| {
        let (container, name) = ("c".repeat(64), "box".to_owned());
        Action::AttachContainer(AttachContainer {
            id,
            network,
            node,
            container,
            name,
            address: None,
            aliases: vec![],
        })
    };
    assert_eq!(
        world.refused(attach(closed)),
        "rpc error: code = PermissionDenied desc = network helloNet not manually attachable"
    );
    world.ok(attach(open));
    let work = swarm_state::assignment(&world.state, node).unwrap();
    assert_eq!(work.containers[0].attachment.addresses[0].to_string(), "10.0.2.2/24");
    assert!(work.attachments.contains_key(&open));
    assert_eq!(
        world.refused(Action::RemoveNetwork { id: open }),
        format!("rpc error: code = FailedPrecondition desc = network {open} is in use by task {id}")
    );
    world.ok(Action::DetachContainer { id });
    assert!(world.state.node(node).unwrap().address(open).is_none());
    world.ok(Action::RemoveNetwork { id: open });
}

#[test]
fn secrets_and_configs() {
    let mut world = World::new(1);
    let (secret, config) = (SecretId::from_random([1; 16]), ConfigId::from_random([2; 16]));
    let spec = |name: &str| serde_json::from_str(&format!(r#"{{"Name":"{name}","Data":"aGkK"}}"#)).unwrap();
    world.ok(Action::CreateSecret { id: secret, spec: spec("sec_s1") });
    let twice = Action::CreateSecret { id: SecretId::from_random([3; 16]), spec: spec("sec_s1") };
    assert_eq!(world.refused(twice), "rpc error: code = AlreadyExists desc = secret sec_s1 already exists");
    let file = r#"{"Name":"cfg","Data":"aGkK"}"#;
    world.ok(Action::CreateConfig { id: config, spec: serde_json::from_str(file).unwrap() });
    let body = serde_json::json!({"Name": "sec_web", "TaskTemplate": {"ContainerSpec": {"Image": "i",
        "Secrets": [{"SecretID": secret, "SecretName": "sec_s1"}], "Configs": [{"ConfigID": config, "ConfigName": "cfg"}]}}});
    world.create_service(&body.to_string());
    assert_eq!(
        world.refused(Action::RemoveSecret { id: secret }),
        "rpc error: code = InvalidArgument desc = secret 'sec_s1' is in use by the following service: sec_web"
    );
    assert!(world.refused(Action::RemoveConfig { id: config }).contains("config 'cfg' is in use"));
    world.settle();
    let assignment = swarm_state::assignment(&world.state, world.nodes[0]).unwrap();
    assert_eq!((assignment.secrets.len(), assignment.configs.len()), (1, 1));
    assert!(!format!("{:?}", assignment.secrets).contains("aGkK"), "secrets do not appear in logs");
}

#[test]
fn nothing_but_a_cluster_comes_first_and_only_once() {
    let mut state = State::new();
    let action = Action::RemoveService { id: ServiceId::from_random([1; 16]) };
    let rejection = state.apply(1, &action.at(Timestamp::default())).unwrap_err();
    assert!(rejection.message.starts_with("This node is not a swarm manager."), "{rejection}");
    assert_eq!(rejection.kind.http_status(), 503);
    let mut world = World::new(1);
    let node = NewNode {
        id: NodeId::from_random([1; 16]),
        role: NodeRole::Manager,
        availability: Default::default(),
        hostname: String::new(),
        addr: None,
    };
    let cluster = Box::new(Cluster::new(ClusterId::from_random([1; 16])));
    let again = Action::InitCluster { cluster, node, ingress: NetworkId::from_random([1; 16]) };
    assert!(world.refused(again).starts_with("This node is already part of a swarm."));
}

#[test]
fn prefixes_must_be_unique() {
    let mut world = World::new(1);
    let ids = [[1; 16], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]].map(ServiceId::from_random);
    for (id, name) in ids.iter().zip(["a", "b"]) {
        let spec = Box::new(serde_json::from_str(&web(name, 1, 0, &[])).unwrap());
        world.ok(Action::CreateService { id: *id, spec });
    }
    let common = &ids[0].as_str()[..10];
    let text = world.state.find_service(common).unwrap_err().message;
    assert_eq!(text, format!("service {common} is ambiguous (2 matches found)"));
    assert_eq!(world.state.find_service(ids[0].as_str()).unwrap().spec.name, "a");
    assert_eq!(world.state.find_service("b").unwrap().id, ids[1]);
}
