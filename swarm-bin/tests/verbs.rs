//! Services are changed with `docker`, and with the same verbs of `swarm-bin`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::too_many_lines, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{Machines, Said, User, failures, one_at_a_time, present, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn services_are_updated_scaled_read_and_removed() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "curl"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 3) else { return };
    machines.swarm("worker");
    let docker = |line: &str| machines.docker(0, line);
    docker("service create -d --name web --replicas 2 -p 8080:8080 --update-delay 100ms huyinghuan/helloworld:latest")
        .must();
    let url = format!("{}:8080", machines.nodes[2].addr);
    let ask = || machines.curl(machines.client_pid, &url);
    until("it is served", SOON, || replicas(&machines) == "2/2" && ask().ok);

    // Another image, one task after the other, while clients ask.
    let before: BTreeSet<String> = task_ids(&machines);
    let flow = machines.flow(&[0, 1, 2]);
    let updated = docker("service update --image swarm/hello:2 web").must();
    assert!(updated.contains("converged"), "{updated}");
    let requests = flow.end();
    let failed = failures(&requests, 0, u64::MAX);
    println!("update: {} of {} requests failed", failed.len(), requests.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(docker("service inspect web --format {{.UpdateStatus.State}}").must().trim(), "completed");
    let images = docker("service ps web --filter desired-state=running --format {{.Image}}").must();
    assert_eq!(images.lines().collect::<Vec<_>>(), ["swarm/hello:2", "swarm/hello:2"]);
    assert!(task_ids(&machines).is_disjoint(&before), "other tasks");

    // An image that nobody has pauses the update; the way back is open.
    docker("service update -d --image nosuch/image:1 web").must();
    until("it is paused", SOON, || {
        docker("service inspect web --format {{.UpdateStatus.State}}").out.trim() == "paused"
    });
    assert!(
        docker("service ps web --no-trunc --format {{.Error}}")
            .must()
            .contains("No such image: nosuch/image:1")
    );
    assert!(ask().must().contains("web."), "a task of the old image still serves");
    docker("service rollback -d web").must();
    until("it is as before", SOON, || {
        replicas(&machines) == "2/2"
            && docker("service inspect web --format {{.Spec.TaskTemplate.ContainerSpec.Image}}").out.trim()
                == "swarm/hello:2"
    });

    docker("service update -d --replicas 3 web").must();
    until("three run", SOON, || replicas(&machines) == "3/3");
    let scaled = docker("service scale web=5").must();
    assert!(scaled.contains("web scaled to 5") && scaled.contains("converged"), "{scaled}");
    assert_eq!((replicas(&machines).as_str(), machines.hello_processes().len()), ("5/5", 5));
    let answered: BTreeSet<String> = (0..60).map(|_| who(&ask().must())).collect();
    assert_eq!(answered, (1..=5).map(|slot| format!("web.{slot}")).collect(), "all five answer");

    // What tasks wrote to stderr comes out of stderr.
    let logs = docker("service logs web").err;
    for slot in 1..=5 {
        let of_slot = |line: &str| line.starts_with(&format!("web.{slot}.")) && line.contains(" | web.");
        let told = logs.lines().any(|line| of_slot(line) && line.contains("listens on port 8080"));
        assert!(told, "{slot}: {logs}");
    }
    let last = docker("service logs --raw --tail 1 web");
    assert!(last.ok && last.out.is_empty(), "{last:?}");
    assert!(
        last.err.lines().count() >= 5 && last.err.lines().all(|line| line.starts_with("web.")),
        "{last:?}"
    );

    docker("service scale -d web=1").must();
    until("one is left", SOON, || replicas(&machines) == "1/1" && machines.hello_processes().len() == 1);
    let answered: BTreeSet<String> = (0..20).map(|_| who(&ask().must())).collect();
    assert_eq!(answered.len(), 1, "{answered:?}");
    assert_eq!(docker("service rm web").must().trim(), "web");
    until("nothing is left", SOON, || machines.hello_processes().is_empty());
    until("nobody listens", SOON, || !ask().ok);
    assert_eq!(docker("service rm web").refused(), "service web not found");
    assert_eq!(docker("service ps web").refused(), "no such service: web");
    assert_eq!(docker("service logs web").refused(), "no such task or service: web");
}

#[test]
fn a_stack_is_deployed_changed_and_removed() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "curl"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    machines.swarm("worker");
    let docker = |line: &str| machines.docker(0, line);
    let file = machines.seat().home.join("stack.yml");
    let stack = |replicas: u8| {
        format!(
            r#"
version: "3.8"
services:
  web:
    image: huyinghuan/helloworld:latest
    ports: ["8080:8080"]
    networks: [front]
    deploy: {{ replicas: {replicas} }}
  ask:
    image: huyinghuan/helloworld:latest
    entrypoint: ["/bin/sh", "-c", "while true; do curl -s -S -m 2 http://web:8080/; echo; sleep 0.3; done"]
    networks: [front]
networks:
  front:
"#
        )
    };
    let deploy = format!("stack deploy --detach=true --resolve-image never -c {} app", file.display());
    std::fs::write(&file, stack(2)).unwrap();
    let said = docker(&deploy).must();
    assert!(
        said.contains("Creating network app_front") && said.contains("Creating service app_web"),
        "{said}"
    );
    let runs = |count: usize| machines.hello_processes().len() == count;
    until("two run", SOON, || runs(2));
    until("it is asked by its short name", SOON, || {
        docker("service logs --raw app_ask").out.contains("app_web.")
    });
    std::fs::write(&file, stack(3)).unwrap();
    let before = task_ids_of(&machines, "app_web");
    assert!(docker(&deploy).must().contains("Updating service app_web"));
    until("three run", SOON, || runs(3));
    assert!(before.is_subset(&task_ids_of(&machines, "app_web")), "a task that need not change does not");
    assert!(docker("stack ls").must().contains("app"));
    assert_eq!(docker("stack services app --format {{.Name}}").must().lines().count(), 2);
    docker("stack rm app").must();
    until("nothing is left", SOON, || runs(0) && !docker("network ls").out.contains("app_front"));
}

#[test]
fn the_verbs_of_swarm_bin_do_and_show_what_docker_does() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "curl"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    let verb = |machine: usize, line: &str| -> Said {
        machines.seat().swarm_bin(&format!("-H {} {line}", machines.nodes[machine].docker_host))
    };
    let docker = |line: &str| machines.docker(0, line);
    let nowhere = docker("node ls").refused();
    assert!(verb(0, "node ls").refused().contains(&nowhere));

    let said = verb(0, "swarm init --advertise-addr eth1").must();
    assert!(said.starts_with("Swarm initialized: current node ("), "{said}");
    for role in ["worker", "manager"] {
        let token = verb(0, &format!("swarm join-token -q {role}")).must();
        assert_eq!(token, docker(&format!("swarm join-token -q {role}")).must());
    }
    let hint = verb(0, "swarm join-token worker").must();
    let line = hint.lines().find_map(|line| line.trim().strip_prefix("swarm-bin ")).expect("a line to type");
    assert_eq!(verb(1, line).must().trim(), "This node joined a swarm as a worker.");
    let twice = machines.docker(1, line).refused();
    assert!(verb(1, line).refused().contains(&twice));

    verb(0, "network create -d overlay --subnet 172.19.0.1/24 --gateway 172.19.0.1 helloNew").must();
    let duplicate = docker("network create -d overlay helloNew").refused();
    assert!(verb(0, "network create -d overlay helloNew").refused().contains(&duplicate));
    assert_eq!(verb(0, "network grow helloNew 172.19.0.0/23").must().trim(), "helloNew");
    let grown = docker("network inspect helloNew --format {{.IPAM.Config}}").must();
    assert!(grown.contains("172.19.0.0/23"), "{grown}");
    verb(0, "network create --opt encrypted enc").must();
    assert_eq!(verb(0, "network rotate-keys --grace 5 enc").must().trim(), "enc");
    let plain = verb(0, "network rotate-keys helloNew").refused();
    assert!(plain.contains("network helloNew is not encrypted"), "{plain}");
    let options = docker("network inspect enc --format {{.Options}}").must();
    assert!(options.contains("encrypted: ") || options.contains("encrypted:]"), "{options}");
    verb(0, "network rm enc").must();
    verb(
        0,
        "service create --name web --replicas 2 --network helloNew -p 8080:8080 huyinghuan/helloworld:latest",
    )
    .must();
    for node in &machines.nodes {
        let answer = machines.curl(machines.client_pid, &format!("{}:8080", node.addr)).must();
        assert!(answer.contains("web."), "{answer}");
    }
    until("both nodes are peers", SOON, || {
        docker("network inspect helloNew --format {{.Peers}}").must().matches("192.168.99.").count() == 2
    });

    for list in ["node ls", "network ls", "service ls"] {
        assert_eq!(cells(&verb(0, list).must()), cells(&docker(list).must()), "{list}");
    }
    let ps = |text: String| cells(&text).into_iter().map(|row| row[..5].to_vec()).collect::<Vec<_>>();
    assert_eq!(ps(verb(0, "service ps web").must()), ps(docker("service ps web").must()));
    for object in
        ["node inspect self", "network inspect helloNew", "network inspect ingress", "service inspect web"]
    {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&verb(0, object).must()), value(&docker(object).must()), "{object}");
    }
    let nodes: Value = serde_json::from_str(&verb(0, "node ls --json").must()).unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 2);
    let lines = |said: Said| said.err.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    for line in ["service logs web", "service logs --timestamps web", "service logs --raw web"] {
        let logs = lines(docker(line));
        assert!(logs.iter().any(|line| line.contains("listens on port 8080")), "{logs:?}");
        assert_eq!(lines(verb(0, line)), logs);
    }
    let missing = verb(0, "service inspect nope").refused();
    assert!(missing.contains("no such service: nope"), "{missing}");

    verb(0, "service scale web=3").must();
    assert_eq!(replicas(&machines), "3/3");
    verb(0, "service update --replicas 1 --image swarm/hello:2 web").must();
    assert_eq!(replicas(&machines), "1/1");
    assert_eq!(
        docker("service inspect web --format {{.Spec.TaskTemplate.ContainerSpec.Image}}").must().trim(),
        "swarm/hello:2"
    );
    let used = docker("network rm helloNew").refused();
    let used = used.lines().next().unwrap();
    assert!(verb(0, "network rm helloNew").refused().contains(used.split(" by ").next().unwrap()));
    verb(0, "service rm web").must();
    until("it is gone", SOON, || machines.hello_processes().is_empty());
    until("the network is free", SOON, || verb(0, "network rm helloNew").ok);
    assert!(!docker("network ls").must().contains("helloNew"));
    assert!(verb(0, "swarm leave").refused().contains("Use `--force` to ignore this message"));
    verb(1, "swarm leave").must();
    verb(0, "swarm leave --force").must();
    assert_eq!(docker("info --format {{.Swarm.LocalNodeState}}").must().trim(), "inactive");
}

/// The task in an answer.
fn who(answer: &str) -> String {
    let start = answer.find("web.").unwrap_or_else(|| panic!("{answer}"));
    answer[start..]
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .next()
        .unwrap()
        .chars()
        .take(5)
        .collect()
}

/// How many tasks of the only service run, of how many.
fn replicas(machines: &Machines) -> String {
    machines.docker(0, "service ls --format {{.Replicas}}").must().trim().to_owned()
}

fn task_ids(machines: &Machines) -> BTreeSet<String> {
    task_ids_of(machines, "web")
}

fn task_ids_of(machines: &Machines, service: &str) -> BTreeSet<String> {
    let ids =
        machines.docker(0, &format!("service ps -q --no-trunc --filter desired-state=running {service}"));
    ids.must().lines().map(str::to_owned).collect()
}

/// The rows of a table, with cells that two blanks or more separate, but for its head.
fn cells(table: &str) -> Vec<Vec<String>> {
    let row = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    table.lines().skip(1).map(row).collect()
}
