//! Both families: networks with IPv6 addresses, and published ports that are asked over IPv6.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use overlay_linux::netns::NetNs;
use serde_json::json;
use swarm_state::{
    NetworkId, ServiceId,
    object::{Task, TaskState},
};

use crate::{
    asked::{ask, backwards, kind},
    planes::Capture,
    scenarios::{SOON, hello, quiet},
    world::{CLIENT6, Datagrams, World, fetch, get, get_within, until},
};

fn two_nodes() -> World {
    let world = World::new(2);
    world.init();
    world.join(1, false);
    world
}

/// A network that names no subnets, with a service and somebody who asks.
struct Net {
    web: ServiceId,
    web_name: String,
    asker: ServiceId,
    vips: Vec<IpAddr>,
    tasks: Vec<Vec<IpAddr>>,
}

impl Net {
    fn new(world: &World, name: &str, mut spec: serde_json::Value) -> Self {
        spec["Name"] = name.into();
        spec["Driver"] = "overlay".into();
        let id = world.network(spec);
        let web_name = format!("web-{name}");
        let web = world.service(quiet(&web_name, id.as_str(), 2));
        let asker = world.service(quiet(&format!("asker-{name}"), id.as_str(), 2));
        until("the tasks run", SOON, || world.running(0, web) == 2 && world.running(0, asker) == 2);
        let vips = vips(world, web, id);
        let tasks = world.read(0, |state| {
            let attachments = state.tasks_of(web).filter_map(|task| task.attachment(id));
            attachments.map(|it| it.addresses.iter().map(ipnet::IpNet::addr).collect()).collect()
        });
        Self { web, web_name, asker, vips, tasks }
    }

    /// Every asker reaches every task and both of them behind each virtual IP, and is seen with its own address.
    fn is_served(&self, world: &World) {
        for from in world.all_netns_of(0, self.asker) {
            for task in self.tasks.iter().flatten() {
                let to = SocketAddr::new(*task, 8080);
                until(&format!("{to} answers"), SOON, || get(&from, to).is_ok());
            }
            for vip in &self.vips {
                let to = SocketAddr::new(*vip, 8080);
                until(&format!("{to} answers"), SOON, || get(&from, to).is_ok());
                let (mut nodes, mut clients) = (BTreeSet::new(), BTreeSet::new());
                until(&format!("both tasks stand behind {vip}"), SOON, || {
                    let answer = get(&from, to).unwrap();
                    nodes.insert(answer["node"].to_string());
                    clients.insert(answer["client"].as_str().unwrap().parse::<IpAddr>().unwrap());
                    nodes.len() == 2
                });
                assert!(clients.len() == 1 && clients.iter().all(|ip| ip.is_ipv4() == vip.is_ipv4()));
                assert_eq!(fetch(&from, to, 5 << 20).unwrap(), 5 << 20);
                let datagrams = Datagrams::new(&from, to);
                until("a datagram is answered", SOON, || datagrams.ask().is_some());
            }
        }
    }
}

fn vips(world: &World, service: ServiceId, network: NetworkId) -> Vec<IpAddr> {
    world.read(0, |state| {
        let all = &state.service(service).unwrap().endpoint.virtual_ips;
        all.iter().filter(|vip| vip.network == network).map(|vip| vip.addr.addr()).collect()
    })
}

/// `--ipv6` and nothing else: on every plane.
pub fn planes() {
    let world = two_nodes();
    let capture = Capture::start(&world);
    let options = [
        ("macvlan", json!({"plane": "kernel"})),
        ("bridge", json!({"plane": "kernel", "layout": "bridge"})),
        ("user", json!({"plane": "user"})),
        ("sealed", json!({"encrypted": ""})),
    ];
    for (name, options) in options {
        let net = Net::new(&world, name, json!({"EnableIPv6": true, "Options": options}));
        assert_eq!(families(&net.vips), (1, 1), "{name}: {:?}", net.vips);
        for task in &net.tasks {
            assert_eq!(families(task), (1, 1), "{name}: {task:?}");
            assert!(task.iter().all(|ip| matches!(ip, IpAddr::V4(_)) || is_unique_local(*ip)), "{task:?}");
        }
        net.is_served(&world);
    }
    let flooded = capture.stop().into_iter().filter(|frame| is_group_inside(frame)).count();
    assert_eq!(flooded, 0, "no frame to a group crosses the tunnels");
}

/// What names and addresses lead to, in a network with both families and in one with each alone.
pub fn names() {
    let world = two_nodes();
    let both = Net::new(&world, "both", json!({"EnableIPv6": true}));
    let old = Net::new(&world, "old", json!({}));
    let new = Net::new(&world, "new", json!({"EnableIPv4": false, "EnableIPv6": true}));
    new.is_served(&world);
    assert_eq!((families(&old.vips), families(&new.vips)), ((1, 0), (0, 1)));
    for net in [&both, &old, &new] {
        let from = world.netns_of(0, net.asker);
        assert_eq!(advised(&from), Vec::<String>::new(), "a task could be told routes by its neighbours");
        let per_task = |v4: bool| net.tasks.iter().flatten().filter(|ip| ip.is_ipv4() == v4).count();
        let name = &net.web_name;
        until("all tasks have names", SOON, || {
            let found = [true, false].map(|v4| ask(&from, &format!("tasks.{name}"), kind(v4)).1.len());
            found == [per_task(true), per_task(false)]
        });
        let task_name = world.read(0, |state| state.tasks_of(net.web).next().unwrap().container_name());
        for v4 in [true, false] {
            let of_family = |ips: &[IpAddr]| -> BTreeSet<IpAddr> {
                ips.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect()
            };
            // Without an address of that family: no error, no record.
            assert_eq!(ask(&from, name, kind(v4)), (ResponseCode::NoError, of_family(&net.vips)), "{name}");
            let all: Vec<IpAddr> = net.tasks.concat();
            let tasks = ask(&from, &format!("tasks.{name}"), kind(v4));
            assert_eq!(tasks, (ResponseCode::NoError, of_family(&all)), "{name}");
            let (code, task) = ask(&from, &task_name, kind(v4));
            assert_eq!((code, task.len()), (ResponseCode::NoError, per_task(v4) / 2), "{task_name}");
            for ip in task {
                assert_eq!(backwards(&from, ip), task_name, "{ip}");
            }
            for vip in of_family(&net.vips) {
                assert_eq!(backwards(&from, vip), *name, "{vip}");
            }
        }
    }
}

/// A published port answers at the second family of each node, whichever tasks serve.
pub fn mesh() {
    let mut world = two_nodes();
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr6, 8080);
        answered_by(&world, to, 2);
        for _ in 0..200 {
            let answer = get(&world.client, to).unwrap_or_else(|error| panic!("{to}: {error}"));
            assert_eq!(answer["client"], CLIENT6, "the client's own address");
            *shares.entry(answer["node"].to_string()).or_default() += 1;
        }
        assert_eq!(fetch(&world.client, to, 20 << 20).unwrap(), 20 << 20, "through {to}");
        for local in ["[::1]:8080".parse().unwrap(), to] {
            until("the node's own programs are served", SOON, || get(&machine.netns, local).is_ok());
            let mut nodes = BTreeSet::new();
            until("by both tasks", SOON, || {
                nodes.insert(get(&machine.netns, local).unwrap()["node"].to_string());
                nodes.len() == 2
            });
        }
    }
    assert!(shares.len() == 2 && shares.values().all(|share| (140..=260).contains(share)), "{shares:?}");
    for machine in 0..2 {
        let node = &world.machines[machine].node;
        assert!(node.data_plane_failures().is_empty(), "{:?}", node.data_plane_failures());
        // Routers are still heard on the cable, and not among the tasks.
        let heard = ["eth1", "docker_gwbridge", "ofabric"];
        let heard = heard.map(|device| world.ipv6_setting(machine, &format!("{device}/accept_ra")));
        assert_eq!(heard, ["2", "0", "0"]);
        assert_eq!(world.ipv6_setting(machine, "all/forwarding"), "1");
    }
    neighbours_ask(&world);
    over_ipv6_too(&world);

    // The other node is lost, and comes back.
    let victim = 1;
    let to = SocketAddr::new(world.machines[0].addr6, 8080);
    world.stop_daemon(victim);
    for _ in 0..20 {
        get(&world.client, to).expect("served without the daemon");
    }
    world.restart_daemon(victim);
    until("the node is back", SOON, || {
        world.read(0, |state| state.nodes().values().all(|node| !node.loses_tasks()))
    });
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr6, 8080);
        (0..20).for_each(|_| drop(get(&world.client, to).expect("served after the restart")));
    }
    world.power_off(victim);
    until("the tasks moved", Duration::from_secs(20), || {
        world.running(0, service) == 2
            && !world.shims(0).is_empty()
            && (0..10).all(|_| get(&world.client, to).is_ok())
    });
}

/// A node, and a task there, asks the other node: its packets might be hashed back to where they come from.
fn neighbours_ask(world: &World) {
    let service = world.service(json!({
        "Name": "asker", "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}},
        "Mode": {"Replicated": {"Replicas": 2}},
    }));
    until("the tasks run", SOON, || world.running(0, service) == 2);
    let tasks = world.all_netns_of(0, service);
    for machine in &world.machines {
        for to in [machine.addr, machine.addr6] {
            let to = SocketAddr::new(to, 8080);
            for from in world.machines.iter().map(|machine| &*machine.netns).chain(&tasks) {
                until("it answers", SOON, || get_within(from, to, Duration::from_secs(1)).is_ok());
                (0..8).for_each(|i| drop(get(from, to).unwrap_or_else(|error| panic!("{to} {i}: {error}"))));
            }
        }
    }
}

/// Datagrams through the mesh, and ports of one node.
fn over_ipv6_too(world: &World) {
    let datagrams = world.service(json!({
        "Name": "datagrams", "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}},
        "Mode": {"Replicated": {"Replicas": 2}},
        "EndpointSpec": {"Ports": [{"Protocol": "udp", "TargetPort": 8080, "PublishedPort": 9000}]},
    }));
    let host = world.service(json!({
        "Name": "host", "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}},
        "Mode": {"Global": {}},
        "EndpointSpec": {"Ports": [
            {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 9001, "PublishMode": "host"}]},
    }));
    until("the tasks run", SOON, || world.running(0, datagrams) == 2 && world.running(0, host) == 2);
    for machine in &world.machines {
        let client = Datagrams::new(&world.client, SocketAddr::new(machine.addr6, 9000));
        until("a datagram is answered", SOON, || client.ask().is_some());
        assert!(client.ask().unwrap().ends_with(&format!("you are {CLIENT6}")));
        let to = SocketAddr::new(machine.addr6, 9001);
        until("the node's port answers", SOON, || get(&world.client, to).is_ok());
        let answer = get(&world.client, to).unwrap();
        assert_eq!(answer["client"], CLIENT6);
        assert_eq!(answer["node"], machine.hostname(), "it is this node's own task");
    }
}

/// What a node made for the second family goes with it; tasks are as closed as in the first one.
pub fn leave() {
    let world = two_nodes();
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    let published = SocketAddr::new(world.machines[0].addr6, 8080);
    until("the port answers", SOON, || get(&world.client, published).is_ok());
    let task: IpAddr = get(&world.client, published).unwrap()["address"].as_str().unwrap().parse().unwrap();
    assert!(is_unique_local(task), "{task}");
    for machine in &world.machines {
        world.route_from_client(&format!("{task}/64"), machine.addr6);
        let direct = get_within(&world.client, SocketAddr::new(task, 8080), Duration::from_millis(500));
        assert!(direct.is_err(), "nobody outside routes to a task: {direct:?}");
    }
    for machine in 0..2 {
        assert!(world.ip6(machine, "rule").contains("147:"));
    }
    for machine in [1, 0] {
        world.leave(machine);
        assert_eq!(world.links(machine), ["eth1", "lo"], "links of {machine}");
        assert_eq!(world.tables(machine), "", "tables of {machine}");
        let rules = world.ip6(machine, "rule");
        assert!(!rules.contains("147:"), "{rules}");
        let routes = world.ip6(machine, "route show table all");
        assert!(
            routes.lines().all(|route| ["dev lo", "dev eth1"].iter().any(|dev| route.contains(dev))),
            "{routes}"
        );
    }
}

/// Where the host has no IPv6, everything else works, and nothing is reported as broken.
pub fn without() {
    let world = World::with(2, |_, netns| disable_ipv6(netns));
    world.init();
    world.join(1, false);
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    for machine in &world.machines {
        let to = SocketAddr::new(machine.addr, 8080);
        until("the port answers", SOON, || get(&world.client, to).is_ok());
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        until("localhost answers", SOON, || get(&machine.netns, local).is_ok());
        until("nothing fails", SOON, || machine.node.data_plane_failures().is_empty());
    }
    let both = Net::new(&world, "both", json!({"EnableIPv6": true}));
    both.is_served(&world); // a task's namespace is its own
}

/// A node without IPv6 is spared the flows of it; its tasks are reached over IPv4.
pub fn with_and_without() {
    let world = World::with(2, |machine, netns| {
        if machine == 1 {
            disable_ipv6(netns)
        }
    });
    world.init();
    world.join(1, false);
    let service = world.service(hello(2));
    until("two tasks run", SOON, || world.running(0, service) == 2);
    let first = &world.machines[0];
    for (to, nodes) in [(first.addr6, 1), (first.addr, 2)] {
        let to = SocketAddr::new(to, 8080);
        answered_by(&world, to, nodes);
        let answers = (0..30).map(|_| get(&world.client, to).unwrap()["node"].to_string());
        assert_eq!(answers.collect::<BTreeSet<String>>().len(), nodes, "{to}");
    }
}

/// One socket keeps asking, through a published port and a virtual IP, while the task is replaced.
pub fn datagrams() {
    let world = two_nodes();
    let both = world.network(json!({"Name": "both", "Driver": "overlay", "EnableIPv6": true}));
    let mut spec = quiet("server", both.as_str(), 1);
    spec["TaskTemplate"]["RestartPolicy"] = json!({"Condition": "any", "Delay": 100_000_000});
    spec["EndpointSpec"] = json!({"Ports": [{"Protocol": "udp", "TargetPort": 8080, "PublishedPort": 9000}]});
    let server = world.service(spec);
    let asker = world.service(quiet("asker", both.as_str(), 1));
    until("the tasks run", SOON, || world.running(0, server) == 1 && world.running(0, asker) == 1);
    let inside = world.netns_of(0, asker);
    let vip = *vips(&world, server, both).iter().find(|ip| ip.is_ipv6()).unwrap();
    let published = world.machines.iter().map(|machine| SocketAddr::new(machine.addr6, 9000));
    let mut clients: Vec<Datagrams> = published.map(|to| Datagrams::new(&world.client, to)).collect();
    clients.push(Datagrams::new(&inside, SocketAddr::new(vip, 8080)));
    for client in &clients {
        until("it answers", SOON, || client.ask().is_some());
    }
    let before = world.read(0, |state| state.tasks_of(server).find(|task| task.is_wanted()).unwrap().id);
    (0..2).filter(|machine| world.has_task(*machine, before)).for_each(|it| world.kill_task(it, before));
    until("another task runs", SOON, || {
        world.read(0, |state| {
            let running = |task: &Task| task.id != before && task.status.state == TaskState::Running;
            state.tasks_of(server).any(running)
        })
    });
    for client in &clients {
        until("the same socket is answered again", SOON, || client.ask().is_some());
    }
}

/// Waits until so many nodes' tasks answer the client.
fn answered_by(world: &World, to: SocketAddr, nodes: usize) {
    let mut seen = BTreeSet::new();
    until(&format!("{nodes} nodes answer at {to}"), SOON, || {
        seen.extend(get(&world.client, to).ok().map(|answer| answer["node"].to_string()));
        seen.len() == nodes
    });
}

/// The interfaces that believe routers.
fn advised(netns: &NetNs) -> Vec<String> {
    let look = || {
        let names = std::fs::read_dir("/proc/sys/net/ipv6/conf").unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let believes =
            |name: &String| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"));
        names.filter(|name| name.starts_with("eth") && believes(name).unwrap().trim() != "0").collect()
    };
    netns.run(look).unwrap()
}

fn disable_ipv6(netns: &NetNs) {
    netns.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")).unwrap().unwrap();
}

fn families(ips: &[IpAddr]) -> (usize, usize) {
    let v4 = ips.iter().filter(|ip| ip.is_ipv4()).count();
    (v4, ips.len() - v4)
}

fn is_unique_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unique_local())
}

/// A datagram between tunnels' ends whose frame is for an IPv6 group.
fn is_group_inside(frame: &[u8]) -> bool {
    let is_tunnel = frame.get(36..38) == Some(&4789_u16.to_be_bytes());
    is_tunnel && frame.get(50..52) == Some(&[0x33, 0x33])
}
