//! Objects of a simulated cluster look like the recorded ones of Docker.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use support::{KEY_BYTES, World, recorded};
use swarm_docker::view::{
    ClusterView, ConfigView, NetworkView, NodeView, SecretView, ServiceView, SwarmView, TaskView,
};
use swarm_node::ManagerHealth;
use swarm_state::spec::NetworkTarget;
use swarm_state::{Action, ConfigId, NetworkId, SecretId, ServiceId, assignment};

#[test]
fn the_swarm_is_as_recorded() {
    let world = World::recorded();
    let cluster = world.state.cluster().unwrap();
    let swarm = recorded("swarm_init", "/swarm");
    assert_eq!(scrubbed(&SwarmView::new(cluster)), scrub(swarm.clone()));
    let info = recorded("info_manager", "/info")["Swarm"]["Cluster"].clone();
    let mut ours = scrubbed(&ClusterView::new(cluster));
    ours["TLSInfo"] = info["TLSInfo"].clone(); // of another throw-away cluster
    assert_eq!(ours, scrub(info));
}

#[test]
fn nodes_are_as_recorded_but_for_plugins() {
    let world = World::recorded();
    let health = ManagerHealth { leader: true, reachable: true };
    let health = BTreeMap::from([(world.nodes[0], health)]);
    let node = |number: usize| {
        let node = world.state.node(world.nodes[number]).unwrap();
        scrubbed(&NodeView::new(&world.state, node, &health))
    };
    let mut master = scrub(recorded("swarm_init", "/nodes/"));
    let engine = master["Description"]["Engine"].take();
    master["Description"]["Engine"] = json!({});
    assert_eq!(node(0), master);
    assert!(
        engine["Plugins"].is_array(),
        "the engine of a node names its version and plugins; ours has no plugins"
    );

    let listed = recorded("node_ls_2", "/nodes");
    let mut worker = scrub(listed[0].clone());
    assert_eq!(worker["Description"]["Hostname"], "node01");
    worker["Description"]["Engine"] = json!({});
    worker["Description"]["TLSInfo"] = node(1)["Description"]["TLSInfo"].clone();
    assert_eq!(node(1), worker);
}

#[test]
fn an_encrypted_network_is_shown_as_docker_does_and_without_its_keys() {
    let mut world = World::recorded();
    // `docker network create -d overlay --opt encrypted enc`
    let id = world.create_network(json!({"Name": "enc", "Driver": "overlay", "Scope": "",
        "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Options": {"encrypted": ""},
        "CheckDuplicate": true}));
    world.ok(Action::RotateNetworkKeys { id, grace: None });
    let network = world.state.network(id).unwrap();
    assert_eq!(network.keys.as_ref().unwrap().seal.keys[&2].0, KEY_BYTES[..16], "there are keys to hide");
    let service = world.create_service(json!({"Name": "s", "TaskTemplate": {"ContainerSpec": {"Image": "i"},
        "Networks": [{"Target": "enc"}]}}));
    let network = world.state.network(id).unwrap();
    let view = NetworkView::new(network).with_containers(&world.state, network, Some(world.nodes[0]));
    let options = serde_json::to_value(&view).unwrap()["Options"].clone();
    assert_eq!(options["encrypted"], "");
    let service = ServiceView::new(world.state.service(service).unwrap());
    let cluster = ClusterView::new(world.state.cluster().unwrap());
    let assigned = assignment(&world.state, world.nodes[0]).unwrap().networks;
    let assigned: Vec<NetworkView> = assigned.iter().map(NetworkView::assigned).collect();
    let all = json!([view, service, cluster, assigned]).to_string();
    for shown in [all, format!("{view:?} {assigned:?}")] {
        let shown = shown.to_lowercase();
        for secret in ["abab", "171,171", "171, 171", "q6ur", "\"keys\"", "seal"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn networks_are_as_recorded() {
    let mut world = World::recorded();
    let hello =
        world.create_network(json!({"Name": "helloNet", "Driver": "overlay", "CheckDuplicate": true}));
    let master = world.nodes[0];
    let inspected = |id: NetworkId| {
        let network = world.state.network(id).unwrap();
        NetworkView::new(network).with_containers(&world.state, network, Some(master))
    };
    let mut ingress = scrub(recorded("network_inspect_ingress", "/networks/ingress"));
    let peers = ingress.as_object_mut().unwrap().remove("Peers").unwrap();
    assert_eq!(scrubbed(&inspected(world.state.ingress().unwrap().id)), ingress);
    assert_eq!(peers[0], json!({"IP": "192.168.99.100", "Name": "7623a4d7dbac"}), "peers come from the node");

    let mut theirs = scrub(recorded("net_inspect_helloNet", "/networks/helloNet"));
    assert!(
        theirs["Containers"].is_null() && theirs["Labels"].is_null(),
        "absent and empty are the same here"
    );
    theirs["Containers"] = json!({});
    theirs["Labels"] = json!({});
    assert_eq!(scrubbed(&inspected(hello)), theirs);

    let listed = recorded("network_ls_post", "/networks");
    let mut theirs = scrub(listed[0].clone());
    theirs["Labels"] = json!({});
    assert_eq!(scrubbed(&NetworkView::new(world.state.ingress().unwrap())), theirs);
}

#[test]
fn a_subnet_is_echoed_as_it_was_asked_for() {
    let mut world = World::recorded();
    let id = world.create_network(json!({
        "Name": "helloNew", "Driver": "overlay",
        "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "172.19.0.1/24", "Gateway": "172.19.0.1"}]},
    }));
    let view = scrubbed(&NetworkView::new(world.state.network(id).unwrap()));
    assert_eq!(view["IPAM"]["Config"], json!([{"Subnet": "172.19.0.1/24", "Gateway": "172.19.0.1"}]));
    assert_eq!(view["IPAM"]["Options"], Value::Null);
}

#[test]
fn services_are_as_recorded() {
    let mut world = World::recorded();
    let id = helloworld(&mut world);
    world.run_for(Duration::from_secs(60));
    let service = world.state.service(id).unwrap();
    let listed = recorded("service_ls", "/services");
    let theirs =
        listed.as_array().unwrap().iter().find(|service| service["Spec"]["Name"] == "helloworld").unwrap();
    let ours = ServiceView::new(service).with_status(&world.state, service);
    assert_eq!(scrubbed(&ours), scrub(theirs.clone()));

    let hello = world.create_network(json!({"Name": "helloNet", "Driver": "overlay"}));
    let target = NetworkTarget { target: hello.to_string(), ..Default::default() };
    world.update_service(id, |spec| spec.task_template.networks = vec![target]);
    world.run_for(Duration::from_secs(120));
    let ours = ServiceView::new(world.state.service(id).unwrap()).with_defaults();
    let theirs = recorded("service_inspect", "/services/helloworld");
    assert_eq!(scrubbed(&ours), scrub(theirs));
}

#[test]
fn a_service_behind_dns_has_no_endpoint() {
    let mut world = World::recorded();
    let hello = world.create_network(json!({"Name": "helloNet", "Driver": "overlay"}));
    let mut spec = spec("rr");
    spec["EndpointSpec"] = json!({"Mode": "dnsrr"});
    spec["TaskTemplate"]["Networks"] = json!([{"Target": hello}]);
    let id = world.create_service(spec);
    let ours = scrubbed(&ServiceView::new(world.state.service(id).unwrap()));
    let theirs = recorded("svc_create_dnsrr", "/services/t9mtudwgsc69h66jmm79rm4q5");
    assert_eq!(ours, scrub(theirs));
}

#[test]
fn tasks_have_the_recorded_fields() {
    let mut world = World::recorded();
    let hello = world.create_network(json!({"Name": "helloNet", "Driver": "overlay"}));
    let id = helloworld(&mut world);
    let target = NetworkTarget { target: hello.to_string(), ..Default::default() };
    world.update_service(id, |spec| spec.task_template.networks = vec![target]);
    world.run_for(Duration::from_secs(120));
    let mut tasks = world.state.tasks_of(id).filter(|task| task.is_wanted());
    let ours = scrubbed(&TaskView::new(&world.state, tasks.next().unwrap()));
    let theirs = recorded("service_logs", "/tasks/");
    assert_eq!(
        missing(&scrub(theirs), &ours, ""),
        Vec::<String>::new(),
        "the driver of ingress is left out by Docker, the rest is the same"
    );
    assert_eq!(ours["Status"]["State"], "running");
}

#[test]
fn secrets_hide_their_data_and_configs_show_it() {
    let mut world = World::recorded();
    let (secret, config) = (SecretId::from_random(world.bits()), ConfigId::from_random(world.bits()));
    let labels = json!({"com.docker.stack.namespace": "sec"});
    let spec = json!({"Name": "sec_s1", "Labels": labels, "Data": "aGkK"});
    world.ok(Action::CreateSecret { id: secret, spec: serde_json::from_value(spec).unwrap() });
    let spec = json!({"Name": "mycfg", "Labels": {}, "Data": "aGkK"});
    world.ok(Action::CreateConfig { id: config, spec: serde_json::from_value(spec).unwrap() });
    let ours = SecretView::new(world.state.secret(secret).unwrap());
    assert_eq!(scrubbed(&ours), scrub(recorded("secret_ls", "/secrets")[0].clone()));
    let ours = ConfigView::new(world.state.config(config).unwrap());
    assert_eq!(scrubbed(&ours), scrub(recorded("config_inspect", "/configs/mycfg")));
}

/// The service of the recordings.
fn helloworld(world: &mut World) -> ServiceId {
    let mut spec = spec("helloworld");
    let port =
        json!({"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 8080, "PublishMode": "ingress"});
    spec["EndpointSpec"] = json!({"Mode": "vip", "Ports": [port]});
    world.create_service(spec)
}

fn spec(name: &str) -> Value {
    json!({
        "Name": name, "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "huyinghuan/helloworld:latest", "Init": false, "DNSConfig": {}},
            "Resources": {"Limits": {}, "Reservations": {}}, "Placement": {}, "ForceUpdate": 0,
        },
        "Mode": {"Replicated": {"Replicas": 2}},
    })
}

fn scrubbed(view: &impl Serialize) -> Value {
    scrub(serde_json::to_value(view).unwrap())
}

/// Without what differs by nature: ids, times, versions.
fn scrub(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let scrubbed = fields.into_iter().map(|(name, value)| {
                let value = if VARYING.contains(&name.as_str()) { json!("*") } else { scrub(value) };
                (name, value)
            });
            Value::Object(scrubbed.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(scrub).collect()),
        other => other,
    }
}

/// Fields that Docker has and we have not, or that are of another kind.
fn missing(theirs: &Value, ours: &Value, path: &str) -> Vec<String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => theirs
            .iter()
            .flat_map(|(name, value)| {
                let path = format!("{path}/{name}");
                ours.get(name).map_or_else(|| vec![path.clone()], |our| missing(value, our, &path))
            })
            .collect(),
        (Value::Array(theirs), Value::Array(ours)) => match (theirs.first(), ours.first()) {
            (Some(theirs), Some(ours)) => missing(theirs, ours, &format!("{path}/0")),
            (Some(_), None) => vec![format!("{path}/0")],
            (None, _) => Vec::new(),
        },
        _ if std::mem::discriminant(theirs) == std::mem::discriminant(ours) => Vec::new(),
        _ => vec![format!("{path} is {ours}, not {theirs}")],
    }
}

const VARYING: &[&str] = &[
    "CompletedAt",
    "ContainerID",
    "Created",
    "CreatedAt",
    "EndpointID",
    "ID",
    "Id",
    "Index",
    "NetworkID",
    "NodeID",
    "PID",
    "StartedAt",
    "Target",
    "Timestamp",
    "UpdatedAt",
    "ServiceID",
];
