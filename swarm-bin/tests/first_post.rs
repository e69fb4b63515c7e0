//! The first blog post, typed verbatim into the unmodified `docker` command on three machines.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::too_many_lines, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use common::{Machines, User, one_at_a_time, present, until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_first_post_works_as_root() {
    let _turn = one_at_a_time();
    the_post(User::Root);
}

#[test]
fn the_first_post_works_as_an_ordinary_user() {
    let _turn = one_at_a_time();
    the_post(User::Ordinary);
}

fn the_post(user: User) {
    if !present(&["docker", "curl", "nsenter"]) {
        return;
    }
    let Some(machines) = Machines::start(user, 3) else { return };
    // # before: no ingress and no docker_gwbridge
    let names = |machine| machines.docker(machine, "network ls --format {{.Name}}").must();
    assert!(!names(0).contains("ingress") && !names(0).contains("docker_gwbridge"), "{}", names(0));
    machines.docker(0, "network ls").must();

    let init = machines.docker(0, "swarm init --advertise-addr eth1").must();
    assert!(init.starts_with("Swarm initialized: current node ("), "{init}");
    let networks = machines.docker(0, "network ls").must();
    let row = |name: &str| {
        let line = networks.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("ingress"), ["ingress", "overlay", "swarm"], "{networks}");
    assert_eq!(row("docker_gwbridge"), ["docker_gwbridge", "bridge", "local"], "{networks}");
    let nodes = machines.docker(0, "node ls").must();
    assert!(nodes.contains("master") && nodes.contains("Ready") && nodes.contains("Leader"), "{nodes}");

    let hint = machines.docker(0, "swarm join-token worker").must();
    let line =
        hint.lines().map(str::trim).find(|line| line.starts_with("docker swarm join --token")).unwrap();
    assert!(line.ends_with(" 192.168.99.100:2377"), "{line}");
    let joined = line.strip_prefix("docker ").unwrap();
    for machine in [1, 2] {
        let said = machines.docker(machine, joined).must();
        assert_eq!(said.trim(), "This node joined a swarm as a worker.");
        assert!(names(machine).contains("ingress") && names(machine).contains("docker_gwbridge"));
    }
    let nodes = machines.docker(0, "node ls").must();
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    let peers = || machines.docker_args(0, &["network", "inspect", "ingress", "-f", "{{.Peers}}"]).must();
    until("three peers", SOON, || peers().matches("192.168.99.").count() == 3);

    let create = "service create --mode replicated --replicas 2 --name helloworld -p 8080:8080 --endpoint-mode vip huyinghuan/helloworld:latest";
    let created = machines.docker(0, create).must();
    assert!(created.contains("converged"), "{created}");
    let list = machines.docker(0, "service ls").must();
    assert!(list.contains("2/2") && list.contains("*:8080->8080/tcp"), "{list}");
    let tasks = machines.docker(0, "service ps helloworld").must();
    assert_eq!(
        tasks.lines().filter(|line| line.contains("helloworld.") && line.contains("Running ")).count(),
        2,
        "{tasks}"
    );

    // # repeatedly: answers of different nodes
    for machine in &machines.nodes {
        let answers: BTreeSet<String> =
            (0..10).map(|_| machines.curl(machine.pid, "localhost:8080").must()).collect();
        let from = |task: &str| answers.iter().any(|answer| answer.contains(task));
        assert!(from("helloworld.1") && from("helloworld.2"), "{}: {answers:?}", machine.name);
    }
    clients_are_seen(&machines);

    machines.docker(0, "network create -d overlay helloNet").must();
    machines
        .docker(0, "network create -d overlay --subnet 172.19.0.1/24 --gateway 172.19.0.1 helloNew")
        .must();
    names_stay_in_their_network(&machines);
    an_encrypted_network_carries(&machines);
}

/// 200 requests from the client through each machine.
fn clients_are_seen(machines: &Machines) {
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for machine in &machines.nodes {
        let url = format!("http://{}:8080/json#[1-200]", machine.addr);
        let curl = ["curl", "-s", "-S", "-m", "8", "-H", "Connection: close", "-w", "\n", &url];
        let answers = machines.inside(machines.client_pid, &curl).must();
        let lines: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 200);
        for line in lines {
            let answer: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(answer["client"], "192.168.99.10", "{line}");
            *shares.entry(answer["task"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    println!("600 of 600 answered with the client's address, shares {shares:?}");
    assert_eq!(shares.len(), 2);
    assert!(shares.values().all(|share| (240..=360).contains(share)), "{shares:?}");
}

fn names_stay_in_their_network(machines: &Machines) {
    let hello = "huyinghuan/helloworld:latest";
    machines
        .docker(0, &format!("service create -d --name web --replicas 2 --network helloNet {hello}"))
        .must();
    machines.docker(0, &format!("service create --name far --network helloNew {hello}")).must();
    let format = "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}";
    let vip = machines.docker_args(0, &["service", "inspect", "web", "--format", format]).must();
    let vip = vip.trim().strip_suffix("/24").expect("one address of web");
    let ask = |name: &str, network: &str| {
        let once = format!(
            "echo by name; curl -s -S -m 2 http://web:8080/; echo by address; curl -s -S -m 2 {vip}:8080; echo"
        );
        let program = format!("for i in 1 2 3 4 5 6 7 8; do {once}; sleep 0.5; done 2>&1; sleep 60");
        let create = [
            "service",
            "create",
            "-d",
            "--name",
            name,
            "--network",
            network,
            "host:///bin/sh",
            "-c",
            &program,
        ];
        machines.docker_args(0, &create).must();
    };
    until("web runs", SOON, || machines.docker(0, "service ls").must().matches("2/2").count() == 2);
    ask("near", "helloNet");
    ask("stranger", "helloNew");
    let logs = |name: &str| {
        let said = machines.docker(0, &format!("service logs --raw {name}"));
        format!("{}{}", said.out, said.err)
    };
    until("web answers by name", SOON, || {
        let logs = logs("near");
        logs.contains("hello from web.1") && logs.contains("hello from web.2")
    });
    until("web answers by its address", SOON, || {
        after(&logs("near"), "by address").iter().any(|answer| answer.contains("hello from web."))
    });
    until("the stranger has tried both", SOON, || logs("stranger").matches("by name").count() >= 3);
    let heard = logs("stranger");
    assert!(!heard.contains("hello from") && heard.contains("Could not resolve host"), "{heard}");
    assert!(after(&heard, "by address").iter().all(|answer| answer.contains("curl: ")), "{heard}");
}

/// The same, but what passes between the nodes is encrypted.
fn an_encrypted_network_carries(machines: &Machines) {
    let hello = "huyinghuan/helloworld:latest";
    machines.docker(0, "network create -d overlay --opt encrypted vault").must();
    let options = machines.docker_args(0, &["network", "inspect", "vault", "-f", "{{.Options}}"]).must();
    assert!(options.contains("encrypted:"), "{options}");
    machines.docker(0, &format!("service create --name keeper --replicas 3 --network vault {hello}")).must();
    let ask =
        "for i in $(seq 40); do curl -s -S -m 2 http://keeper:8080/; echo; sleep 0.2; done 2>&1; sleep 60";
    let create =
        ["service", "create", "-d", "--name", "asker", "--network", "vault", "host:///bin/sh", "-c", ask];
    machines.docker_args(0, &create).must();
    until("each keeper answers", SOON, || {
        let said = machines.docker(0, "service logs --raw asker").out;
        (1..=3).all(|task| said.contains(&format!("hello from keeper.{task}")))
    });
    let denied =
        machines.docker(0, "network create -d overlay --opt encrypted --opt plane=kernel both").refused();
    assert!(denied.contains("--opt plane=kernel"), "{denied}");
}

/// What a log says right after each of these marks.
fn after<'a>(log: &'a str, mark: &str) -> Vec<&'a str> {
    log.split(mark).skip(1).filter_map(|rest| rest.trim_start().lines().next()).collect()
}

#[test]
fn bad_input_gets_dockers_own_words() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "bash"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    let docker = |machine: usize, line: &str| machines.docker(machine, line);
    let nowhere = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    assert_eq!(docker(0, "node ls").refused(), nowhere);
    assert_eq!(docker(0, "network create -d overlay early").refused(), nowhere);
    assert_eq!(docker(0, "swarm leave").refused(), "This node is not part of a swarm");
    assert_eq!(
        docker(0, "swarm init --advertise-addr nope0").refused(),
        "advertise address must be a non-zero IP address or network interface (with optional port number)"
    );
    docker(0, "swarm init --advertise-addr eth1").must();
    assert_eq!(
        docker(0, "swarm init --advertise-addr eth1").refused(),
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one."
    );
    joins_are_refused(&machines);
    let token = docker(0, "swarm join-token -q worker").must();
    docker(1, &format!("swarm join --token {} 192.168.99.100:2377", token.trim())).must();
    assert_eq!(
        docker(1, "node ls").refused(),
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager."
    );
    networks_and_services_are_refused(&machines);
    let id = docker(0, "node inspect self --format {{.ID}}").must();
    assert_eq!(
        docker(0, "node demote self").refused(),
        "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm"
    );
    assert!(docker(0, &format!("node rm {}", id.trim())).refused().contains("FailedPrecondition"));
    assert_eq!(
        docker(0, "swarm leave").refused(),
        "You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message."
    );
    garbage_changes_nothing(&machines);
    docker(1, "swarm leave").must();
    docker(0, "swarm leave --force").must();
    let left = machines.inside(machines.nodes[0].pid, &["ip", "-o", "link"]);
    if left.ok {
        assert!(!left.out.contains("docker_gwbridge") && !left.out.contains("ofabric"), "{}", left.out);
    }
}

fn joins_are_refused(machines: &Machines) {
    let join =
        |token: &str, addr: &str| machines.docker(1, &format!("swarm join --token {token} {addr}")).refused();
    let token = machines.docker(0, "swarm join-token -q worker").must().trim().to_owned();
    assert_eq!(join("SWMTKN-1-abc", "192.168.99.100:2377"), "invalid join token");
    let (head, _) = token.rsplit_once('-').unwrap();
    assert_eq!(
        join(&format!("{head}-{}", "0".repeat(25)), "192.168.99.100:2377"),
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
    );
    let foreign = "SWMTKN-1-53jepeqm8u868bc2lqob0po1kup1j8993edtqs4ythxtq7pmrh-9cg0o2atvfu8d5ykhhffv06t6";
    let said = join(foreign, "192.168.99.100:2377");
    assert!(said.starts_with("remote CA does not match fingerprint. Expected: "), "{said}");
    assert_eq!(
        join(&token, "192.168.99.101:2377"),
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp 192.168.99.101:2377: connect: connection refused\""
    );
}

fn networks_and_services_are_refused(machines: &Machines) {
    let docker = |line: &str| machines.docker(0, line);
    docker("network create -d overlay helloNet").must();
    assert_eq!(
        docker("network create -d overlay helloNet").refused(),
        "network with name helloNet already exists"
    );
    let overlap = docker("network create -d overlay --subnet 10.0.1.0/25 other").refused();
    assert!(overlap.contains("Pool overlaps with other one on this address space"), "{overlap}");
    assert!(overlap.contains("helloNet"), "the holder is named: {overlap}");
    let hello = "huyinghuan/helloworld:latest";
    let id =
        docker(&format!("service create -d -q --name web --network helloNet -p 8080:8080 {hello}")).must();
    let id = id.trim();
    assert_eq!(
        docker(&format!("service create -d --name two -p 8080:80 {hello}")).refused(),
        format!(
            "rpc error: code = InvalidArgument desc = port '8080' is already in use by service 'web' ({id}) as an ingress port"
        )
    );
    assert_eq!(
        docker(&format!("service create -d --name web {hello}")).refused(),
        "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists"
    );
    let network = docker("network inspect helloNet --format {{.Id}}").must();
    assert!(docker("network rm helloNet").refused().contains(&format!(
        "rpc error: code = FailedPrecondition desc = network {} is in use by ",
        network.trim()
    )));
    assert!(docker("network rm nope").refused().contains("network nope not found"));
    docker("service create -d --name lost nosuch/image:latest").must();
    until("the image is unknown", SOON, || {
        docker("service ps --no-trunc --format {{.Error}} lost")
            .must()
            .contains("No such image: nosuch/image:latest")
    });
}

/// Bytes that mean nothing, at every port that is open to the network.
fn garbage_changes_nothing(machines: &Machines) {
    let script = r#"
        for i in 1 2 3 4 5 6 7 8; do
          head -c 3000 /dev/urandom > /dev/tcp/192.168.99.100/2377
          head -c 3000 /dev/urandom > /dev/tcp/192.168.99.100/7946
          for size in 1 8 50 900 1400; do
            head -c $size /dev/urandom > /dev/udp/192.168.99.100/7946
            head -c $size /dev/urandom > /dev/udp/192.168.99.100/4789
          done
        done 2>/dev/null; true"#;
    machines.inside(machines.client_pid, &["bash", "-c", script]).must();
    let nodes = machines.docker(0, "node ls").must();
    assert_eq!(nodes.matches(" Ready ").count(), 2, "{nodes}");
    machines.docker(0, "network create -d overlay after-garbage").must();
    let socket = machines.nodes[0].docker_host.strip_prefix("unix://").unwrap();
    let asked = std::process::Command::new("curl")
        .args(["-s", "-m", "5", "--unix-socket", socket, "http://daemon/counters"])
        .output()
        .unwrap();
    let counters: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    let of = |name: &str| counters[name].as_u64().unwrap();
    assert!(of("manager_bad_handshake") >= 8, "{counters}");
    assert!(of("gossip_undecryptable") + of("gossip_malformed") >= 20, "{counters}");
    if present(&["nft"]) {
        let chain = ["nft", "list", "chain", "ip", "swarm-gateway", "tunnels"];
        let listed = machines.inside(machines.nodes[0].pid, &chain).must();
        assert!(listed.contains("counter packets") && !listed.contains("counter packets 0 "), "{listed}");
    }
}
