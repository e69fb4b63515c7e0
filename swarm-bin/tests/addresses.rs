//! What a user sees of addresses: how full networks are, why one cannot be had, and that none is used twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::too_many_lines, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Machines, User, one_at_a_time, present, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const HELLO: &str = "huyinghuan/helloworld:latest";

#[test]
fn a_full_network_says_so_and_can_be_emptied_and_grown() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    machines.swarm("manager");
    let docker = |line: &str| machines.docker(0, line);
    let verb = |line: &str| {
        machines.seat().swarm_bin(&format!("-H {} {line}", machines.nodes[1].docker_host)).must()
    };
    docker("network create -d overlay --subnet 10.7.0.0/28 small").must();
    let usage = |machine: usize| {
        let all: Value =
            serde_json::from_str(&machines.docker(machine, "network inspect small").must()).unwrap();
        let subnets = all[0]["Status"]["IPAM"]["Subnets"].as_object().unwrap().clone();
        let number = |subnet: &Value, what: &str| subnet[what].as_u64().unwrap();
        let row = |(net, subnet): (&String, &Value)| {
            (net.clone(), number(subnet, "IPsInUse"), number(subnet, "DynamicIPsAvailable"))
        };
        subnets.iter().map(row).collect::<Vec<_>>()
    };
    let of = |net: &str, used, free| vec![(net.to_owned(), used, free)];
    assert_eq!(usage(0), of("10.7.0.0/28", 3, 13), "network, broadcast, gateway");
    // A virtual IP, four tasks, two nodes; then a virtual IP and five tasks.
    docker(&format!("service create -d --name web --replicas 4 --network small {HELLO}")).must();
    docker(&format!("service create -d --name db --replicas 5 --network small {HELLO}")).must();
    let runs = |count: usize| machines.hello_processes().len() == count;
    until("all run", SOON, || runs(9));
    until("the follower knows", SOON, || usage(1) == of("10.7.0.0/28", 16, 0));
    let template = ["network", "inspect", "small", "--format", "{{json .Status}}"];
    println!(
        "docker network inspect --format '{{{{json .Status}}}}': {}",
        machines.docker_args(0, &template).out
    );

    let began = Instant::now();
    let refused = docker(&format!("service create -d --name more --network small {HELLO}")).refused();
    println!("docker service create, after {:.0?}: {refused}", began.elapsed());
    assert!(refused.starts_with(
        "rpc error: code = ResourceExhausted desc = could not find an available IP while allocating VIP: "
    ));
    assert!(refused.contains("network small has no free IPv4 address (13 in use"), "{refused}");
    docker("service scale -d web=5").must();
    let errors = || docker("service ps web --no-trunc --format {{.Error}}").out.trim().to_owned();
    until("the task says why it does not start", SOON, || {
        errors().contains("could not find an available IP")
    });
    println!("docker service ps: {}", errors());
    docker("service scale -d web=4").must();
    until("it is given up", SOON, || errors().is_empty());

    docker("service rm db").must();
    let began = Instant::now();
    until("there is room", Duration::from_secs(10), || {
        docker(&format!("service create -d --name more --network small {HELLO}")).ok
    });
    println!("room {:.1?} after a removal", began.elapsed());
    until("it runs", SOON, || runs(5));
    docker("service scale -d web=8").must();
    until("all run", SOON, || runs(9));
    docker("network create -d overlay --subnet 10.7.0.32/28 neighbour").must();
    verb("network grow small 10.7.0.0/27");
    docker("service scale -d web=14").must();
    until("more run than had room", SOON, || runs(15));
    // Both virtual IPs, 15 tasks, two nodes, gateway, network, broadcast.
    assert_eq!(usage(0), of("10.7.0.0/27", 22, 10));
    let taken = machines
        .seat()
        .swarm_bin(&format!("-H {} network grow small 10.7.0.0/26", machines.nodes[0].docker_host));
    assert!(taken.refused().contains("neighbour"), "the holder is named");

    let audit = verb("ipam audit");
    println!("{audit}");
    assert!(
        audit.starts_with("3 networks, 3 subnets, ") && audit.contains(": each has one holder"),
        "{audit}"
    );
    let audit: Value = serde_json::from_str(&verb("ipam audit --json")).unwrap();
    assert_eq!((audit["Findings"].as_array().unwrap().len(), audit["Vnis"].as_u64()), (0, Some(3)));
    let vip = "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}";
    let vip = machines.docker_args(0, &["service", "inspect", "web", "--format", vip]).must();
    let told = verb(&format!("ipam explain {}", vip.trim().strip_suffix("/27").unwrap()));
    println!("{told}");
    assert!(told.contains("network small") && told.contains("service web"), "{told}");
    docker("service rm more").must();
    until("a freed address rests, or has rested", SOON, || runs(14));
}

#[test]
fn networks_keep_clear_of_what_a_host_reaches() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "ip"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    let link = |args: &str| {
        let args: Vec<&str> = std::iter::once("ip").chain(args.split(' ')).collect();
        machines.inside(machines.nodes[1].pid, &args)
    };
    link("link add lan0 type bridge").must();
    link("address add 10.0.1.7/24 dev lan0").must();
    link("link set lan0 up").must();
    machines.swarm("worker");
    let docker = |line: &str| machines.docker(0, line);
    docker("network create -d overlay first").must();
    let subnet = ["network", "inspect", "first", "--format", "{{(index .IPAM.Config 0).Subnet}}"];
    assert_eq!(machines.docker_args(0, &subnet).must().trim(), "10.0.2.0/24", "10.0.1.0/24 is a node's");
    let refused = docker("network create -d overlay --subnet 10.0.1.0/24 second").refused();
    println!("docker network create: {refused}");
    assert!(
        refused.starts_with("invalid pool request: Pool overlaps with other one on this address space"),
        "{refused}"
    );
    let name = &machines.nodes[1].name;
    assert!(refused.contains(name) && refused.contains("10.0.1.0/24"), "{refused}");
    link("address add 10.0.2.7/24 dev lan0").must();
    let audit =
        || machines.seat().swarm_bin(&format!("-H {} ipam audit", machines.nodes[0].docker_host)).must();
    until("the overlap is told", SOON, || audit().contains("warning: "));
    let audit = audit();
    println!("{audit}");
    assert!(audit.contains(name) && audit.contains("10.0.2.0/24") && audit.contains("first"), "{audit}");
    let told =
        machines.seat().swarm_bin(&format!("-H {} ipam explain 10.0.1.9", machines.nodes[0].docker_host));
    let told = told.must();
    println!("{told}");
    assert!(told.contains(name), "{told}");
    let worker = machines.seat().swarm_bin(&format!("-H {} ipam audit", machines.nodes[1].docker_host));
    assert!(worker.refused().contains("not a swarm manager"));
}
