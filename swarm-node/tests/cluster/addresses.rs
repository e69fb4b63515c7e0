//! Addresses run out, come back and become more, while leaders come and go; networks keep clear of the hosts' own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use overlay_linux::{
    link::{Desired, Link, LinkName, Netlink, Scope},
    netns::NetNs,
};
use serde_json::json;
use swarm_node::{InitRequest, LocalState};
use swarm_state::{
    Action, NetworkId, NodeId, ServiceId, State, TaskId,
    object::TaskState,
    spec::{IpamConfig, ServiceSpec},
};

use crate::{
    scenarios::{SOON, quiet},
    world::{World, get, unique, until},
};

/// Longer than nodes need to forget, and much less than addresses rest without their word (30 and 60 s).
const FORGOTTEN: Duration = Duration::from_secs(10);

/// A network of 16 addresses is filled, emptied a little, and grows; its leader is lost in the middle.
pub fn full_and_grown() {
    let mut world = World::new(3);
    world.init();
    world.join(1, true);
    world.join(2, true);
    let small = world.network(json!({"Name": "small", "Driver": "overlay",
        "IPAM": {"Config": [{"Subnet": "10.7.0.0/28"}]}}));
    let web = world.service(quiet("web", small.as_str(), 3));
    until("web runs", SOON, || world.running(0, web) == 3);
    // Network, broadcast, gateway; a virtual IP, three tasks, three nodes: six are left, two for each of these.
    let fillers: Vec<ServiceId> =
        (1..=3).map(|i| world.service(quiet(&format!("filler{i}"), small.as_str(), 1))).collect();
    until("the fillers run", SOON, || fillers.iter().all(|filler| world.running(0, *filler) == 1));
    assert_eq!(free(&world, small), 0);

    let began = Instant::now();
    let refused = create(&world, 1, quiet("more", small.as_str(), 1)).unwrap_err();
    println!("refused after {:?}: {refused}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(refused.contains("could not find an available IP while allocating VIP"), "{refused}");
    assert!(refused.contains("network small has no free IPv4 address (13 in use, 0 resting"), "{refused}");

    leader_comes_back(&mut world);
    assert!(create(&world, 2, quiet("more", small.as_str(), 1)).is_err(), "still full");

    world.propose(1, Action::RemoveService { id: fillers[0] }).unwrap();
    let mut again = None;
    let took = until("there is room", FORGOTTEN, || {
        again = create(&world, 1, quiet("again", small.as_str(), 1)).ok();
        again.is_some()
    });
    let again = again.unwrap();
    let ran = until("it runs", FORGOTTEN, || world.running(1, again) == 1);
    println!("room {took:?} after the removal, and the next task runs {ran:?} after that");

    // A task that is added when the network is full says so, and gets its address when there is one.
    scale(&world, 1, web, 4);
    until("the task says why it does not start", SOON, || {
        world.read(1, |state| !complaint(state, web).is_empty())
    });
    println!("status: {}", world.read(1, |state| complaint(state, web)));
    another_leader(&mut world);
    let before = addresses(&world, 1);
    let subnet = Box::new(IpamConfig { subnet: "10.7.0.0/27".to_owned(), ..IpamConfig::default() });
    world.propose(1, Action::GrowNetwork { id: small, subnet }).unwrap();
    assert_eq!(hosts(&addresses(&world, 1)), hosts(&before), "no address changes");
    until("the task that waited runs", SOON, || world.running(1, web) == 4);
    scale(&world, 1, web, 10);
    until("ten run", SOON, || world.running(1, web) == 10);
    both_halves_meet(&world, small, web);
}

/// Routes of hosts, old and new, are kept clear of.
pub fn host_routes() {
    let world = World::new(3);
    lan(&world.machines[2].netns, Some("10.0.1.7/24"));
    world.init();
    world.join(1, true);
    world.join(2, false);
    let subnet = |name: &str| {
        let id = world.network(json!({"Name": name, "Driver": "overlay"}));
        world.read(0, |state| state.network(id).unwrap().subnets[0].net.to_string())
    };
    assert_eq!(subnet("first"), "10.0.2.0/24", "10.0.1.0/24 is on the link of a node");
    let refuse = |subnet: &str| {
        let spec = json!({"Name": "wish", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": subnet}]}});
        let id = NetworkId::from_random(unique());
        let spec = Box::new(serde_json::from_value(spec).unwrap());
        world.propose(1, Action::CreateNetwork { id, spec })
    };
    let refused = refuse("10.0.1.0/25").unwrap_err();
    println!("{refused}");
    assert!(refused.starts_with("invalid pool request: Pool overlaps with other one on this address space"));
    assert!(refused.contains("node02") && refused.contains("10.0.1.0/24"), "{refused}");
    let gateway = refuse("172.18.9.0/24").unwrap_err();
    assert!(gateway.contains("172.18.0.0/16"), "the bridge to the outside would be hidden: {gateway}");

    // The LAN goes; a VPN comes, over a network that exists: nothing changes, the audit warns.
    lan(&world.machines[2].netns, None);
    let took = until("the route is forgotten", SOON, || refuse("10.0.1.0/24").is_ok());
    println!("a route that went is forgotten after {took:?}");
    lan(&world.machines[1].netns, Some("10.0.2.7/28"));
    let took = until("the overlap is known", SOON, || !world.read(0, State::overlaps).is_empty());
    let warnings = world.read(0, State::overlaps);
    println!("a route that came is known after {took:?}: {warnings:?}");
    assert!(warnings[0].contains("node01") && warnings[0].contains("10.0.2.0/28"), "{warnings:?}");
    assert!(warnings[0].contains("first"), "{warnings:?}");
    assert_eq!(world.read(0, State::audit), Vec::<String>::new(), "a warning is no finding");
}

/// The founder's own LAN is where ingress would be, which is on the hosts themselves.
pub fn founders_lan() {
    let world = World::new(1);
    lan(&world.machines[0].netns, Some("10.0.0.7/24"));
    world.init();
    let ingress = world.read(0, |state| state.ingress().unwrap().subnets[0].net);
    assert_eq!(ingress.to_string(), "10.0.1.0/24");
    assert_eq!(world.read(0, State::overlaps), Vec::<String>::new());
    world.leave(0);

    lan(&world.machines[0].netns, Some("10.0.0.7/8"));
    let found = |default_pools: Vec<IpNet>| {
        let node = world.machines[0].node.clone();
        let request = InitRequest { advertise_addr: "eth1".into(), default_pools, ..InitRequest::default() };
        world.run(0, async move { node.init(request).await })
    };
    let refused = found(Vec::new()).unwrap_err().message;
    println!("{refused}");
    assert!(refused.contains("give others with --default-addr-pool"), "{refused}");
    assert_eq!(world.machines[0].node.local().state, LocalState::Inactive, "nothing is left behind");
    found(vec!["172.16.0.0/12".parse().unwrap()]).unwrap();
    for name in ["a", "b"] {
        world.network(json!({"Name": name, "Driver": "overlay"}));
    }
    assert_eq!(world.read(0, State::overlaps), Vec::<String>::new());
}

/// The leader's daemon crashes and starts again.
fn leader_comes_back(world: &mut World) {
    let at = leader(world, 1).expect("somebody leads");
    let before = addresses(world, (at + 1) % 3);
    world.crash_daemon(at);
    std::thread::sleep(Duration::from_millis(300));
    world.restart_daemon(at);
    nothing_changed(world, at, &before);
}

/// The leader's daemon crashes and is away until another one leads.
fn another_leader(world: &mut World) {
    let at = leader(world, 1).expect("somebody leads");
    let other = (at + 1) % 3;
    let before = addresses(world, other);
    world.crash_daemon(at);
    let took = until("another one leads", SOON, || leader(world, other).is_some_and(|now| now != at));
    world.restart_daemon(at);
    println!("another leader after {took:?}");
    nothing_changed(world, at, &before);
}

fn nothing_changed(world: &World, returned: usize, before: &Addresses) {
    until("all are ready", SOON, || ready(world, returned));
    let began = Instant::now();
    while addresses(world, returned) != *before && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(20)); // until it has the log
    }
    std::thread::sleep(Duration::from_secs(3)); // who wanted to replace something would have begun
    for machine in 0..3 {
        assert_eq!(addresses(world, machine), *before, "no address changes");
    }
}

fn ready(world: &World, machine: usize) -> bool {
    let all = |state: &State| state.nodes().values().all(|node| !node.loses_tasks());
    world.machines[machine].node.read(all).unwrap_or(false) && leader(world, machine).is_some()
}

/// Which machine leads, as another one says.
fn leader(world: &World, asked: usize) -> Option<usize> {
    let managers = world.machines[asked].node.managers();
    let leader = managers.into_iter().find(|(_, health)| health.leader).map(|(id, _)| id)?;
    world.machines.iter().position(|machine| machine.node.local().node_id == Some(leader))
}

/// A task with an address of the old half and one of the new half reach each other, across nodes.
fn both_halves_meet(world: &World, small: NetworkId, web: ServiceId) {
    let tasks: Vec<(NodeId, u32, IpNet)> = world.read(1, |state| {
        let running = state.tasks_of(web).filter(|task| task.status.state == TaskState::Running);
        let place = running.map(|task| {
            let pid = task.status.container.as_ref().unwrap().pid;
            (task.node_id.unwrap(), pid, task.attachment(small).unwrap().addresses[0])
        });
        place.collect()
    });
    assert!(tasks.iter().all(|(.., addr)| addr.prefix_len() == 27), "{tasks:?}");
    let half: IpNet = "10.7.0.0/28".parse().unwrap();
    let (old, new): (Vec<_>, Vec<_>) = tasks.iter().partition(|(.., addr)| half.contains(&addr.addr()));
    assert!(!old.is_empty() && !new.is_empty(), "{tasks:?}");
    for (here, pid, addr) in &tasks {
        let netns = NetNs::of_process(*pid).unwrap();
        let follows = || {
            let interfaces = Netlink::open_in(&netns).unwrap().interfaces().unwrap();
            let own: Vec<IpNet> = interfaces.iter().flat_map(|it| it.addresses.clone()).collect();
            own.contains(addr) && !own.iter().any(|it| it.addr() == addr.addr() && it != addr)
        };
        until("the interface has the longer network", SOON, follows);
        let far = if half.contains(&addr.addr()) { &new } else { &old };
        for (there, _, peer) in far {
            let to = SocketAddr::new(peer.addr(), 8080);
            let what = format!("{addr} on {here} reaches {peer} on {there}");
            let mut answer = None;
            until(&what, SOON, || {
                answer = get(&netns, to).ok();
                answer.is_some()
            });
            assert_eq!(answer.unwrap()["client"], addr.addr().to_string());
        }
    }
    let pairs = old.len() * new.len() * 2;
    println!("{} tasks in the old half, {} in the new one: {pairs} ways pass", old.len(), new.len());
}

fn create(world: &World, machine: usize, spec: serde_json::Value) -> Result<ServiceId, String> {
    let id = ServiceId::from_random(unique());
    let spec = Box::new(serde_json::from_value(spec).unwrap());
    world.propose(machine, Action::CreateService { id, spec }).map(|()| id)
}

fn scale(world: &World, machine: usize, id: ServiceId, replicas: u64) {
    let (version, mut spec): (u64, ServiceSpec) = world.read(machine, |state| {
        let service = state.service(id).unwrap();
        (service.meta.version, service.spec.clone())
    });
    spec.mode = serde_json::from_value(json!({"Replicated": {"Replicas": replicas}})).unwrap();
    let update = Action::UpdateService { id, version, spec: Box::new(spec), rollback: false };
    world.propose(machine, update).unwrap();
}

/// What a task of the service that waits for an address says.
fn complaint(state: &State, service: ServiceId) -> String {
    let mut waiting = state.tasks_of(service).filter(|task| task.status.state < TaskState::Assigned);
    waiting
        .find_map(|task| (!task.status.err.is_empty()).then(|| task.status.err.clone()))
        .unwrap_or_default()
}

fn free(world: &World, network: NetworkId) -> u128 {
    world.read(0, |state| state.network_usage(network).iter().map(|subnet| subnet.free).sum())
}

/// Who has which address: tasks, services, nodes.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Addresses {
    tasks: BTreeMap<TaskId, Vec<IpNet>>,
    vips: BTreeMap<ServiceId, Vec<IpNet>>,
    nodes: BTreeMap<NodeId, Vec<IpNet>>,
}

fn addresses(world: &World, machine: usize) -> Addresses {
    world.read(machine, |state| {
        let tasks = state.tasks().values().filter(|task| !task.has_ended());
        let of_task = |task: &swarm_state::object::Task| {
            let all: Vec<IpNet> = task.networks.iter().flat_map(|at| at.addresses.clone()).collect();
            (!all.is_empty()).then_some((task.id, all)) // others wait for one
        };
        Addresses {
            tasks: tasks.filter_map(of_task).collect(),
            vips: state
                .services()
                .values()
                .map(|it| (it.id, it.endpoint.virtual_ips.iter().map(|vip| vip.addr).collect()))
                .collect(),
            nodes: state
                .nodes()
                .values()
                .map(|node| (node.id, node.attachments.values().flatten().copied().collect()))
                .collect(),
        }
    })
}

/// The same without the lengths of the prefixes.
fn hosts(addresses: &Addresses) -> Vec<IpAddr> {
    let Addresses { tasks, vips, nodes } = addresses;
    tasks.values().chain(vips.values()).chain(nodes.values()).flatten().map(IpNet::addr).collect()
}

/// Gives a machine an interface into another network, or takes it away.
fn lan(netns: &NetNs, address: Option<&str>) {
    let mut desired = Desired::default();
    if let Some(address) = address {
        let link = Link::bridge().with_address(address.parse::<IpNet>().unwrap());
        desired.links.insert(LinkName::new("lan0").unwrap(), link);
    }
    let report = Netlink::open_in(netns).unwrap().converge(&Scope::links(["lan0"]), &desired).unwrap();
    assert!(report.is_clean(), "{report}");
}
