//! What must hold in a cluster.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::json;

use swarm_state::{
    State,
    object::TaskState,
    spec::{NodeRole, NodeSpec},
};

use crate::{
    addresses,
    asked::{ask, kind},
    dual, planes,
    world::{CLIENT, Datagrams, World, fetch, get, get_within, until},
};

pub const ALL: &[(&str, fn())] = &[
    ("published_port_is_served_on_every_node_with_the_clients_address", published_port),
    ("services_find_each_other_by_name_on_the_same_network_only", names_and_isolation),
    ("dual_stack_networks_have_both_addresses_behind_a_name", dual_stack),
    ("power_cut_of_a_worker_moves_its_tasks_and_requests_go_on", power_cut),
    ("daemon_restart_keeps_tasks_flows_and_cluster", daemon_restart),
    ("three_managers_survive_the_loss_of_the_leader", leader_loss),
    ("a_killed_task_is_replaced", killed_task),
    ("large_answers_pass_the_mesh_and_the_overlay", bulk),
    ("datagrams_of_one_client_follow_the_tasks", datagrams),
    ("a_program_gets_what_its_service_says_and_its_output_is_kept", program),
    ("a_worker_is_promoted_and_the_leader_is_demoted", roles),
    ("leaving_leaves_nothing_behind_and_a_new_swarm_can_begin", leave),
    ("tasks_are_closed_to_the_outside_but_for_published_ports", closed),
    ("an_unknown_image_is_refused_slowly_and_ports_of_the_swarm_at_once", refusals),
    ("a_network_on_the_user_plane_carries_streams_and_datagrams_of_both_families", planes::user_plane),
    ("a_network_in_dockers_layout_carries_the_same", planes::bridge_layout),
    ("a_listener_between_the_nodes_reads_nothing_of_an_encrypted_network", planes::sealed),
    ("keys_of_an_encrypted_network_rotate_without_loss", planes::rotation),
    ("ipv6_without_a_subnet_is_served_on_every_plane_and_nothing_is_flooded", dual::planes),
    ("names_have_the_addresses_of_their_networks_families", dual::names),
    ("published_ports_are_served_over_ipv6_with_the_clients_address", dual::mesh),
    ("leaving_takes_away_what_ipv6_needed", dual::leave),
    ("datagrams_of_one_client_follow_the_tasks_over_ipv6", dual::datagrams),
    ("a_node_without_ipv6_gets_no_flows_of_it", dual::with_and_without),
    ("a_host_without_ipv6_misses_nothing_else", dual::without),
    (
        "a_full_network_is_emptied_and_grown_while_leaders_change_and_no_address_does",
        addresses::full_and_grown,
    ),
    ("networks_keep_clear_of_what_hosts_reach", addresses::host_routes),
    ("ingress_keeps_clear_of_the_founders_own_network", addresses::founders_lan),
    ("a_program_that_ended_without_a_daemon_has_ended", ended_meanwhile),
];

pub const SOON: Duration = Duration::from_secs(10);

pub fn three_nodes() -> World {
    let world = World::new(3);
    world.init();
    world.join(1, false);
    world.join(2, false);
    world
}

pub fn hello(replicas: u32) -> serde_json::Value {
    json!({
        "Name": "helloworld",
        "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}},
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {"Mode": "vip", "Ports": [
            {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 8080, "PublishMode": "ingress"}]},
    })
}

fn published_port() {
    let world = three_nodes();
    let ingress = world.read(0, |state| state.ingress().unwrap().id);
    until("three peers in ingress", SOON, || world.machines[0].node.peers(ingress).len() == 3);
    let service = world.service(hello(2));
    let took = until("two tasks run", SOON, || world.running(0, service) == 2);
    println!("create to 2 running: {took:?}");
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr, 8080);
        until("the port answers", SOON, || get(&world.client, to).is_ok());
        for _ in 0..200 {
            let answer = get(&world.client, to).unwrap_or_else(|error| panic!("{to}: {error}"));
            assert_eq!(answer["client"], CLIENT, "the client's own address");
            *shares.entry(answer["task"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        until("localhost answers", SOON, || get(&machine.netns, local).is_ok());
        let both: std::collections::BTreeSet<String> = (0..8)
            .map(|i| {
                get(&machine.netns, local).unwrap_or_else(|e| panic!("{i} {}: {e}", machine.addr))["task"]
                    .to_string()
            })
            .collect();
        assert_eq!(both.len(), 2, "both tasks answer on localhost");
        for other in &world.machines {
            for _ in 0..8 {
                let to = SocketAddr::new(other.addr, 8080);
                get(&machine.netns, to).unwrap_or_else(|e| panic!("from {} to {to}: {e}", machine.addr));
            }
        }
    }
    println!("shares: {shares:?}");
    assert!(shares.len() == 2 && shares.values().all(|share| (240..=360).contains(share)), "{shares:?}");
}

/// A service on one network.
pub fn quiet(name: &str, network: &str, replicas: u32) -> serde_json::Value {
    json!({
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {"Image": "huyinghuan/helloworld:latest"},
            "Networks": [{"Target": network}],
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
    })
}

fn names_and_isolation() {
    let world = three_nodes();
    let green = world.network(json!({"Name": "green", "Driver": "overlay"}));
    let blue = world.network(json!({"Name": "blue", "Driver": "overlay"}));
    let web = world.service(quiet("web", green.as_str(), 3));
    let db = world.service(quiet("db", green.as_str(), 1));
    let other = world.service(quiet("other", blue.as_str(), 1));
    for (service, replicas) in [(web, 3), (db, 1), (other, 1)] {
        until("the tasks run", SOON, || world.running(0, service) == replicas);
    }
    let from = world.netns_of(0, db);
    until("web has a name", SOON, || !resolve(&from, "web").is_empty());
    until("all tasks have names", SOON, || resolve(&from, "tasks.web").len() == 3);
    let vip = world.read(0, |state| state.service(web).unwrap().virtual_ip(green).unwrap().addr());
    assert_eq!(resolve(&from, "web"), [vip]);
    for task in resolve(&from, "tasks.web") {
        until("each task answers", SOON, || get(&from, SocketAddr::new(task, 8080)).is_ok());
    }
    let own = world.read(0, |state| {
        let task = state.tasks_of(db).next().unwrap();
        task.attachment(green).unwrap().addresses[0].addr()
    });
    let mut nodes = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let answer = get(&from, SocketAddr::new(vip, 8080)).unwrap();
        assert_eq!(answer["client"], own.to_string(), "the server sees the task's own address");
        nodes.insert(answer["node"].to_string());
    }
    assert_eq!(nodes.len(), 3, "tasks on all nodes answer behind one address: {nodes:?}");
    assert!(resolve(&from, "other").is_empty(), "names do not cross networks");
    let stranger = world.netns_of(0, other);
    assert!(resolve(&stranger, "web").is_empty());
    assert!(get(&stranger, SocketAddr::new(vip, 8080)).is_err(), "addresses do not cross networks");
    assert!(get(&stranger, SocketAddr::new(own, 8080)).is_err());
}

fn dual_stack() {
    let world = three_nodes();
    let both = world.network(json!({"Name": "both", "Driver": "overlay", "EnableIPv6": true,
        "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd00:9::/64"}]}}));
    let web = world.service(quiet("web", both.as_str(), 3));
    let asker = world.service(quiet("asker", both.as_str(), 1));
    until("the tasks run", SOON, || world.running(0, web) == 3 && world.running(0, asker) == 1);
    let from = world.netns_of(0, asker);
    let vips: Vec<std::net::IpAddr> = world.read(0, |state| {
        state.service(web).unwrap().endpoint.virtual_ips.iter().map(|vip| vip.addr.addr()).collect()
    });
    assert_eq!(vips.iter().map(std::net::IpAddr::is_ipv4).collect::<Vec<_>>(), [true, false], "{vips:?}");
    for vip in vips {
        let to = SocketAddr::new(vip, 8080);
        until("the address answers", SOON, || get(&from, to).is_ok());
        let mut nodes = BTreeMap::new();
        until("tasks on all nodes answer", SOON, || {
            if let Ok(answer) = get(&from, to) {
                nodes.insert(answer["node"].to_string(), answer["client"].to_string());
            }
            nodes.len() == 3
        });
        assert!(nodes.values().all(|client| client.contains(':') == vip.is_ipv6()), "{nodes:?}");
    }
}

fn power_cut() {
    let mut world = three_nodes();
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    let victim = (1..3).find(|m| !world.shims(*m).is_empty()).unwrap();
    let id = world.machines[victim].node.local().node_id.unwrap();
    let target = SocketAddr::new(world.machines[3 - victim].addr, 8080);
    until("the port answers", SOON, || get(&world.client, target).is_ok());
    world.power_off(victim);
    let down = |world: &World| world.read(0, |state| state.node(id).unwrap().loses_tasks());
    let mut failed = 0;
    let start = std::time::Instant::now();
    let (mut noticed, mut replaced) = (None, None);
    while start.elapsed() < Duration::from_secs(20) && replaced.is_none() {
        failed += u32::from(get(&world.client, target).is_err());
        if noticed.is_none() && down(&world) {
            noticed = Some(start.elapsed());
        }
        if noticed.is_some() && world.running(0, service) == 2 {
            let elsewhere = world.read(0, |state| {
                state.tasks_of(service).filter(|t| t.is_wanted()).all(|t| t.node_id != Some(id))
            });
            replaced = elsewhere.then(|| start.elapsed());
        }
    }
    println!("noticed after {noticed:?}, replaced after {replaced:?}, {failed} requests failed");
    assert!(noticed.unwrap() < Duration::from_secs(5) && replaced.unwrap() < Duration::from_secs(8));
    for _ in 0..20 {
        get(&world.client, target).unwrap();
    }
}

fn daemon_restart() {
    let mut world = three_nodes();
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    let target = SocketAddr::new(world.machines[0].addr, 8080);
    until("the port answers", SOON, || get(&world.client, target).is_ok());
    let tasks = |world: &World| {
        world.read(0, |state| state.tasks_of(service).map(|t| (t.id, t.status.state)).collect::<Vec<_>>())
    };
    let before = tasks(&world);
    for machine in [2, 1, 0] {
        let shims = world.shims(machine);
        world.stop_daemon(machine);
        for _ in 0..20 {
            get(&world.client, target).expect("served without the daemon");
        }
        if machine == 1 {
            std::thread::sleep(Duration::from_secs(3)); // long enough to be called dead by the gossip
        }
        world.restart_daemon(machine);
        until("the node is back", SOON, || {
            let up = |state: &State| state.nodes().values().all(|node| !node.loses_tasks());
            world.machines[0].node.read(up).unwrap_or(false)
        });
        for _ in 0..20 {
            get(&world.client, target).expect("served after the restart");
        }
        assert_eq!(world.shims(machine), shims, "the same processes");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(tasks(&world), before, "no task was replaced");
}

fn leader_loss() {
    let mut world = World::new(3);
    world.init();
    world.join(1, true);
    world.join(2, true);
    let service = world.service(hello(3));
    until("three tasks run", SOON, || world.running(1, service) == 3);
    let leader = |world: &World, at: usize| {
        let managers = world.machines[at].node.managers();
        managers.into_iter().find(|(_, health)| health.leader).map(|(id, _)| id)
    };
    let first = world.machines[0].node.local().node_id;
    until("everyone knows the leader", SOON, || (0..3).all(|m| leader(&world, m) == first));
    // Followers serve commands.
    let network = serde_json::from_value(json!({"Name": "through-a-follower", "Driver": "overlay"})).unwrap();
    let id = swarm_state::NetworkId::from_random(crate::world::unique());
    world.propose(2, swarm_state::Action::CreateNetwork { id, spec: Box::new(network) }).unwrap();
    assert!(world.read(2, |state| state.network(id).is_some()), "read your own write");
    world.power_off(0);
    let target = SocketAddr::new(world.machines[1].addr, 8080);
    let elected = until("another leader", SOON, || leader(&world, 1).is_some_and(|id| Some(id) != first));
    let moved = until("the tasks moved", Duration::from_secs(20), || {
        let gone = |task: &swarm_state::object::Task| task.node_id == first;
        world.running(1, service) == 3
            && world.read(1, |state| state.tasks_of(service).filter(|t| t.is_wanted()).all(|t| !gone(t)))
    });
    println!("new leader after {elected:?}, tasks moved after {:?}", elected + moved);
    until("the port answers", SOON, || get(&world.client, target).is_ok());
    let network = serde_json::from_value(json!({"Name": "after-the-loss", "Driver": "overlay"})).unwrap();
    let id = swarm_state::NetworkId::from_random(crate::world::unique());
    world.propose(1, swarm_state::Action::CreateNetwork { id, spec: Box::new(network) }).unwrap();
}

fn killed_task() {
    let world = World::new(1);
    world.init();
    let service = world.service(hello(1));
    until("the task runs", SOON, || world.running(0, service) == 1);
    world.kill_tasks(0);
    let failed = |state: &State| state.tasks_of(service).any(|task| task.status.state == TaskState::Failed);
    let noticed = until("the failure is known", SOON, || world.read(0, failed));
    let replaced = until("another task runs", SOON, || world.running(0, service) == 1);
    println!("failure known after {noticed:?}, replaced {replaced:?} later (restart delay 5 s)");
    let target = SocketAddr::new(world.machines[0].addr, 8080);
    until("the port answers", SOON, || get(&world.client, target).is_ok());
}

fn bulk() {
    let world = three_nodes();
    let green = world.network(json!({"Name": "green", "Driver": "overlay"}));
    let mut spec = hello(1);
    spec["TaskTemplate"]["Networks"] = json!([{"Target": green.as_str()}]);
    let server = world.service(spec);
    let client = world.service(quiet("client", green.as_str(), 3));
    until("the tasks run", SOON, || world.running(0, server) == 1 && world.running(0, client) == 3);
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr, 8080);
        until("the port answers", SOON, || get(&world.client, to).is_ok());
        assert_eq!(fetch(&world.client, to, 20 << 20).unwrap(), 20 << 20, "through {}", machine.addr);
    }
    let vip = world.read(0, |state| state.service(server).unwrap().virtual_ip(green).unwrap().addr());
    for netns in world.all_netns_of(0, client) {
        until("the service answers", SOON, || get(&netns, SocketAddr::new(vip, 8080)).is_ok());
        assert_eq!(fetch(&netns, SocketAddr::new(vip, 8080), 20 << 20).unwrap(), 20 << 20);
    }
}

/// One socket keeps asking, through a published port and through a virtual IP, while the task is replaced.
fn datagrams() {
    let world = three_nodes();
    let green = world.network(json!({"Name": "green", "Driver": "overlay"}));
    let mut spec = hello(1);
    spec["TaskTemplate"]["Networks"] = json!([{"Target": green.as_str()}]);
    spec["TaskTemplate"]["RestartPolicy"] = json!({"Condition": "any", "Delay": 100_000_000});
    spec["EndpointSpec"]["Ports"] = json!([{"Protocol": "udp", "TargetPort": 8080, "PublishedPort": 9000}]);
    let server = world.service(spec);
    let asker = world.service(quiet("asker", green.as_str(), 1));
    until("the tasks run", SOON, || world.running(0, server) == 1 && world.running(0, asker) == 1);
    let vip = world.read(0, |state| state.service(server).unwrap().virtual_ip(green).unwrap().addr());
    let inside = world.netns_of(0, asker);
    let mut clients: Vec<(String, Datagrams)> =
        vec![("the virtual IP".into(), Datagrams::new(&inside, SocketAddr::new(vip, 8080)))];
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr, 9000);
        clients.push((to.to_string(), Datagrams::new(&world.client, to)));
    }
    for (what, client) in &clients {
        until(&format!("{what} answers"), SOON, || client.ask().is_some());
    }
    assert!(clients[1].1.ask().unwrap().ends_with(&format!("you are {CLIENT}")));
    let before = world.read(0, |state| state.tasks_of(server).find(|task| task.is_wanted()).unwrap().id);
    (0..3).filter(|m| world.has_task(*m, before)).for_each(|m| world.kill_task(m, before));
    let replaced = |state: &State| {
        state.tasks_of(server).any(|task| task.id != before && task.status.state == TaskState::Running)
    };
    until("another task runs", SOON, || world.read(0, replaced));
    for (what, client) in &clients {
        let took = until(&format!("{what} answers again"), SOON, || client.ask().is_some());
        println!("{what} answers the same socket again after {took:?}");
    }
}

fn program() {
    let world = World::new(1);
    world.init();
    let script = r#"echo "$GREETING $1 $(hostname) $(pwd)"; cat /etc/resolv.conf; echo problem >&2
        trap 'echo stopped by USR1; exit 0' USR1; while :; do sleep 0.05; done"#;
    let service = world.service(json!({
        "Name": "talker",
        "TaskTemplate": {"ContainerSpec": {
            "Image": "host:///bin/sh", "Args": ["-c", script, "sh", "argument"],
            "Env": ["GREETING=hello"], "Hostname": "talking", "Dir": "/tmp",
            "StopSignal": "SIGUSR1", "StopGracePeriod": 5_000_000_000_u64,
        }},
        "Mode": {"Replicated": {"Replicas": 1}},
    }));
    until("the task runs", SOON, || world.running(0, service) == 1);
    let task = world.read(0, |state| state.tasks_of(service).next().unwrap().id);
    let text = |lines: Vec<(bool, String)>, errors: bool| {
        lines.into_iter().filter(|(stderr, _)| *stderr == errors).map(|(_, line)| line).collect::<String>()
    };
    until("it has spoken", SOON, || text(world.logs(0, task), true) == "problem\n");
    let said = text(world.logs(0, task), false);
    assert!(said.starts_with("hello argument talking /tmp\n"), "{said}");
    assert!(said.contains("nameserver 127.0.0.11"), "{said}");
    let mut spec = world.read(0, |state| state.service(service).unwrap().spec.clone());
    spec.mode = serde_json::from_value(json!({"Replicated": {"Replicas": 0}})).unwrap();
    let version = world.read(0, |state| state.service(service).unwrap().meta.version);
    let update =
        swarm_state::Action::UpdateService { id: service, version, spec: Box::new(spec), rollback: false };
    world.propose(0, update).unwrap();
    let gone = |state: &State| state.tasks_of(service).all(|task| task.has_ended());
    let took = until("it has stopped", SOON, || world.read(0, gone));
    assert!(took < Duration::from_secs(4), "by its signal, not by force: {took:?}");
}

fn roles() {
    let world = three_nodes();
    let service = world.service(hello(3));
    until("three tasks run", SOON, || world.running(0, service) == 3);
    let shims: Vec<Vec<i32>> = (0..3).map(|machine| world.shims(machine)).collect();
    let id = |machine: usize| world.machines[machine].node.local().node_id.unwrap();
    let ids = [id(0), id(1), id(2)];
    let give = |by: usize, machine: usize, role: NodeRole| {
        let (version, spec) = world.read(by, |state| {
            let node = state.node(ids[machine]).unwrap();
            (node.meta.version, NodeSpec { role, ..node.spec.clone() })
        });
        world.propose(by, swarm_state::Action::UpdateNode { id: ids[machine], version, spec }).unwrap();
    };
    for machine in [1, 2] {
        give(0, machine, NodeRole::Manager);
        let took = until("a manager more", SOON, || {
            world.machines[machine].node.local().is_manager
                && world.machines[0].node.managers().len() == machine + 1
        });
        println!("promoted after {took:?}");
    }
    give(0, 0, NodeRole::Worker);
    let took = until("the leader has become a worker", Duration::from_secs(20), || {
        !world.machines[0].node.local().is_manager && world.machines[1].node.managers().len() == 2
    });
    println!("the leader was demoted after {took:?}");
    until("three tasks run on", SOON, || world.running(1, service) == 3);
    let after: Vec<Vec<i32>> = (0..3).map(|machine| world.shims(machine)).collect();
    assert_eq!(after, shims, "the same processes");
    let ready = |state: &State| state.nodes().values().all(|node| !node.loses_tasks());
    until("all nodes are ready", SOON, || world.read(2, ready));
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr, 8080);
        until("the port answers", SOON, || get(&world.client, to).is_ok());
    }
}

fn leave() {
    let mut world = three_nodes();
    let service = world.service(hello(3));
    until("three tasks run", SOON, || world.running(0, service) == 3);
    let id = world.machines[1].node.local().node_id.unwrap();
    world.leave(1);
    let down = |state: &State| state.node(id).unwrap().loses_tasks();
    let took = until("the manager knows", SOON, || world.read(0, down));
    println!("a leave is known after {took:?}");
    for machine in [1, 2, 0] {
        if machine != 1 {
            world.leave(machine);
        }
        assert_eq!(world.links(machine), ["eth1", "lo"], "links of {machine}");
        assert_eq!(world.tables(machine), "", "tables of {machine}");
        assert!(world.shims(machine).is_empty(), "tasks of {machine}");
    }
    world.init();
    world.join(1, false);
    let again = world.service(hello(1));
    until("a new swarm works", SOON, || world.running(0, again) == 1);
    world.power_off(1);
}

fn closed() {
    let world = World::new(1);
    world.init();
    let service = world.service(hello(1));
    until("the task runs", SOON, || world.running(0, service) == 1);
    let published = SocketAddr::new(world.machines[0].addr, 8080);
    until("the port answers", SOON, || get(&world.client, published).is_ok());
    let task = get(&world.client, published).unwrap()["address"].as_str().unwrap().parse().unwrap();
    world.route_from_client("172.18.0.0/16", world.machines[0].addr);
    let direct = get_within(&world.client, SocketAddr::new(task, 8080), Duration::from_secs(1));
    assert!(direct.is_err(), "{direct:?}");
}

fn refusals() {
    let world = World::new(1);
    world.init();
    let mut spec = hello(1);
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = "nosuch/image:latest".into();
    let service = world.service(spec);
    let error = |state: &State| {
        let tasks = state.tasks_of(service);
        tasks.filter(|task| task.status.err == "No such image: nosuch/image:latest").count()
    };
    until("the reason is told", SOON, || world.read(0, error) > 0);
    std::thread::sleep(Duration::from_secs(2));
    assert!(world.read(0, error) <= 2, "not again and again: {}", world.read(0, error));
    let mut greedy = hello(1);
    greedy["Name"] = "greedy".into();
    greedy["EndpointSpec"]["Ports"][0]["PublishedPort"] = 2377.into();
    let spec = Box::new(serde_json::from_value(greedy).unwrap());
    let id = swarm_state::ServiceId::from_random(crate::world::unique());
    let refused = world.propose(0, swarm_state::Action::CreateService { id, spec }).unwrap_err();
    assert!(refused.contains("port '2377' is needed by the swarm itself"), "{refused}");
}

fn ended_meanwhile() {
    let mut world = World::new(1);
    world.init();
    let service = world.service(json!({
        "Name": "once",
        "TaskTemplate": {
            "ContainerSpec": {"Image": "host:///bin/sh", "Args": ["-c", "sleep 1; exit 3"]},
            "RestartPolicy": {"Condition": "none"},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
    }));
    until("the task runs", SOON, || world.running(0, service) == 1);
    world.crash_daemon(0);
    std::thread::sleep(Duration::from_millis(1500));
    world.restart_daemon(0);
    let code = |state: &State| {
        let task = state.tasks_of(service).next()?;
        task.has_ended().then(|| task.status.err.clone())
    };
    until("its end is known", SOON, || world.read(0, code).is_some());
    assert_eq!(world.read(0, code).unwrap(), "task: non-zero exit (3)");
}

/// Asks the task's name server for IPv4 addresses.
fn resolve(from: &overlay_linux::netns::NetNs, name: &str) -> Vec<std::net::IpAddr> {
    ask(from, name, kind(true)).1.into_iter().collect()
}
