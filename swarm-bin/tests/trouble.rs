//! Daemons, leaders and tasks are killed; what is left serves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::too_many_lines, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{
    Background, Machines, User, end, failures, kill_9, one_at_a_time, present, runs, unix_millis, until,
};

const SOON: Duration = Duration::from_secs(20);
const HELLO: &str = "-p 8080:8080 huyinghuan/helloworld:latest";

#[test]
fn followers_say_of_the_managers_what_the_leader_says() {
    let _turn = one_at_a_time();
    if !present(&["docker"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 3) else { return };
    machines.swarm("manager");
    let status = |machine| machines.docker(machine, "node ls --format {{.Hostname}}={{.ManagerStatus}}").out;
    until("all can lead", SOON, || status(0).matches("=Reachable").count() == 2);
    until("all say the same", Duration::from_secs(5), || (1..3).all(|machine| status(machine) == status(0)));
}

#[test]
fn tasks_outlive_their_daemon_and_the_next_one_adopts_them_as_root() {
    let _turn = one_at_a_time();
    tasks_outlive_their_daemon(User::Root);
}

#[test]
fn tasks_outlive_their_daemon_and_the_next_one_adopts_them_as_an_ordinary_user() {
    let _turn = one_at_a_time();
    tasks_outlive_their_daemon(User::Ordinary);
}

fn tasks_outlive_their_daemon(user: User) {
    if !present(&["docker", "nsenter"]) {
        return;
    }
    let Some(machines) = Machines::start(user, 3) else { return };
    machines.swarm("worker");
    machines.docker(0, &format!("service create -d --name web --replicas 3 {HELLO}")).must();
    until("every node runs a task", SOON, || placed(&machines, "web", "Running").len() == 3);
    let victim = 1;
    let node = &machines.nodes[victim];
    until("every node serves", SOON, || {
        machines
            .nodes
            .iter()
            .all(|node| machines.curl(machines.client_pid, &format!("{}:8080", node.addr)).ok)
    });
    let containers = container_pids(&machines, "web");
    let tasks = placed(&machines, "web", "Running");
    let programs = machines.hello_processes();
    assert_eq!((containers.len(), programs.len()), (3, 3));

    // A daemon that comes back at once, as after a crash under a service supervisor.
    let flow = machines.flow(&[0, 1, 2]);
    std::thread::sleep(Duration::from_millis(500));
    let killed = unix_millis();
    kill_9(node.daemon_pid);
    until("it is gone", SOON, || !runs(node.daemon_pid));
    let started = Instant::now();
    start_daemon(&machines, victim);
    until("the daemon answers", SOON, || machines.docker(victim, "version").ok);
    let answers = started.elapsed();
    until("it is in the swarm", SOON, || {
        machines.docker(victim, "info --format {{.Swarm.LocalNodeState}}").out.trim() == "active"
    });
    std::thread::sleep(Duration::from_millis(4000)); // long enough for whoever wanted to replace the tasks
    assert_eq!(state_of(&machines, victim), "Ready");
    let requests = flow.end();
    let in_first_second = failures(&requests, killed, killed + 1000);
    assert!(in_first_second.is_empty(), "{in_first_second:?}");
    let all = failures(&requests, 0, u64::MAX);
    println!(
        "{user:?}: daemon killed: the next one answers after {answers:.2?}; 0 requests failed in the first second, {} of {} in all",
        all.len(),
        requests.len(),
    );
    assert!(all.is_empty(), "{all:?}");
    assert_eq!(placed(&machines, "web", "Running"), tasks, "the same tasks at the same places");
    assert_eq!(container_pids(&machines, "web"), containers);
    assert_eq!(machines.hello_processes(), programs);
    // It takes orders again, and its tasks are in the load balancing.
    machines.docker(0, "service scale -d web=6").must();
    let two_each =
        || placed(&machines, "web", "Running").iter().filter(|(_, at)| *at == node.name).count() == 2;
    until("two tasks on each node", SOON, two_each);
    assert!(programs.is_subset(&machines.hello_processes()));

    // A daemon that stays away until its tasks have been replaced.
    let second = inside_daemon(&machines, victim);
    let before = machines.hello_processes();
    let flow = machines.flow(&[0, 1, 2]);
    std::thread::sleep(Duration::from_millis(300));
    let killed = unix_millis();
    kill_9(second);
    let down = until("it is Down", SOON, || state_of(&machines, victim) == "Down");
    let replaced = down
        + until("six tasks on two nodes", SOON, || {
            let running = placed(&machines, "web", "Running");
            running.len() == 6 && running.iter().all(|(_, at)| *at != node.name)
        });
    std::thread::sleep(Duration::from_millis(500));
    assert!(before.is_subset(&machines.hello_processes()), "without a daemon the tasks are still there");
    let requests = flow.end();
    let (first, all) = (failures(&requests, killed, killed + 1000), failures(&requests, 0, u64::MAX));
    println!("{user:?}: daemon away: {} of {} requests failed", all.len(), requests.len());
    assert!(first.is_empty(), "{first:?}");
    assert!(all.is_empty(), "{all:?}");
    let started = Instant::now();
    start_daemon(&machines, victim);
    until("it is Ready again", SOON, || state_of(&machines, victim) == "Ready");
    let ready = started.elapsed();
    until("what was replaced has ended", SOON, || machines.hello_processes().len() == 6);
    println!(
        "{user:?}: daemon away: Down after {down:.2?}, replaced after {replaced:.2?}; back: Ready after {ready:.2?}"
    );
    let flow = machines.flow(&[0, 1, 2]);
    std::thread::sleep(Duration::from_millis(600));
    let requests = flow.end();
    assert!(failures(&requests, 0, u64::MAX).is_empty(), "{requests:?}");
}

#[test]
fn daemons_that_are_told_to_end_and_started_again_drop_no_flow_and_no_task() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter", "curl"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    machines.swarm("worker");
    machines.docker(0, &format!("service create -d --name web --replicas 2 {HELLO}")).must();
    let url = format!("{}:8080", machines.nodes[1].addr);
    until("both run", SOON, || placed(&machines, "web", "Running").len() == 2);
    until("it is served", SOON, || machines.curl(machines.client_pid, &url).ok);
    let (containers, programs) = (container_pids(&machines, "web"), machines.hello_processes());
    let peers = || machines.docker_args(0, &["network", "inspect", "ingress", "-f", "{{len .Peers}}"]).must();
    let swarm = machines.docker(0, "info --format {{.Swarm.Cluster.ID}}").must();

    // One connection with a request twice a second, and connections of their own beside it.
    let count = 20;
    let long = ["curl", "-s", "-S", "--rate", "120/m", "-w", " %{num_connects}\n"];
    let long_url = format!("http://{url}/json#[1-{count}]");
    let long = machines.seat().start_inside(machines.client_pid, &[&long[..], &[&long_url]].concat());
    let flow = machines.flow(&[0, 1]);
    std::thread::sleep(Duration::from_millis(500));
    for machine in [0, 1] {
        end(machines.nodes[machine].daemon_pid);
        until("it ended", SOON, || !runs(machines.nodes[machine].daemon_pid));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(machines.hello_processes(), programs);
        start_daemon(&machines, machine);
        let took = until("it is a node again", SOON, || {
            let nodes = machines.docker(0, "node ls --format {{.Status}}");
            let info = machines.docker(machine, "info --format {{.Swarm.LocalNodeState}}");
            nodes.out.matches("Ready").count() == 2 && info.out.trim() == "active"
        });
        println!("{} is back {took:.2?} after its start", machines.nodes[machine].name);
    }
    std::thread::sleep(Duration::from_millis(4000));
    let requests = flow.end();
    let answers = long.finished().must();
    let connections: Vec<&str> =
        answers.lines().filter_map(|line| line.rsplit_once("} ")).map(|line| line.1).collect();
    assert_eq!(connections.len(), count, "{answers}");
    assert_eq!(connections.iter().filter(|made| **made != "0").count(), 1, "one connection: {answers}");
    let failed = failures(&requests, 0, u64::MAX);
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), requests.len());
    assert_eq!(machines.docker(0, "info --format {{.Swarm.Cluster.ID}}").must(), swarm);
    assert_eq!((container_pids(&machines, "web"), machines.hello_processes()), (containers, programs));
    until("both are peers", SOON, || peers().trim() == "2");
    machines.docker(0, "service scale -d web=4").must();
    until("four run", SOON, || machines.hello_processes().len() == 4);
}

#[test]
fn two_managers_of_three_go_on_without_the_leader() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 3) else { return };
    machines.swarm("manager");
    until("all can lead", SOON, || {
        machines.docker(0, "node ls --format {{.ManagerStatus}}").must().matches("Reachable").count() == 2
    });
    machines.docker(2, &format!("service create -d --name web --replicas 3 {HELLO}")).must();
    until("every node runs a task", SOON, || placed(&machines, "web", "Running").len() == 3);
    std::thread::sleep(Duration::from_millis(300));
    let flow = machines.flow(&[1, 2]);
    std::thread::sleep(Duration::from_millis(500));

    let killed = Instant::now();
    kill_9(machines.nodes[0].pid);
    let leads = |machine: usize| {
        machines.docker(machine, "node ls --format {{.Hostname}}={{.ManagerStatus}}").out.contains("=Leader")
            && !machines
                .docker(machine, "node ls --format {{.Hostname}}={{.ManagerStatus}}")
                .out
                .contains("master=Leader")
    };
    until("the others have a leader", SOON, || leads(1) && leads(2));
    let led = killed.elapsed();
    machines.docker(1, "network create -d overlay after").must();
    let written = killed.elapsed();
    assert!(machines.docker(2, "network ls").must().contains(" after "), "what one wrote the other reads");
    until("the leader of old is Down", SOON, || {
        machines.docker(2, "node ls --format {{.Hostname}}={{.Status}}").out.contains("master=Down")
    });
    let down = killed.elapsed();
    until("three tasks on two nodes", SOON, || {
        let text = machines.docker(2, "service ps web --format {{.Node}}={{.CurrentState}}").out;
        text.lines().filter(|line| line.contains("=Running") && !line.starts_with("master")).count() == 3
    });
    let replaced = killed.elapsed();
    let late = unix_millis();
    std::thread::sleep(Duration::from_millis(500));
    let requests = flow.end();
    let (all, late) = (failures(&requests, 0, u64::MAX), failures(&requests, late, u64::MAX));
    println!(
        "leader's node killed: another leads after {led:.2?}, a network is made after {written:.2?}, Down after {down:.2?}, \
         replaced after {replaced:.2?}; {} of {} requests failed, {} after that",
        all.len(),
        requests.len(),
        late.len(),
    );
    assert!(down < Duration::from_secs(5) && replaced < Duration::from_secs(8));
    assert!(late.is_empty(), "{late:?}");
    assert!(all.len() <= 3, "{all:?}");
    let status = machines.docker(1, "node ls --format {{.Hostname}}={{.ManagerStatus}}").must();
    assert!(status.contains("master=Unreachable") || status.contains("master=Unknown"), "{status}");
    machines.docker(1, "service scale -d web=4").must();
    until("four tasks", SOON, || machines.docker(2, "service ls").must().contains("4/4"));
    machines.docker(2, "service rm web").must();
}

#[test]
fn a_task_that_is_killed_is_replaced_and_the_others_serve() {
    let _turn = one_at_a_time();
    if !present(&["docker", "nsenter"]) {
        return;
    }
    let Some(machines) = Machines::start(User::this(), 2) else { return };
    machines.swarm("worker");
    machines
        .docker(0, &format!("service create -d --name web --replicas 2 --restart-delay 500ms {HELLO}"))
        .must();
    until("both run", SOON, || placed(&machines, "web", "Running").len() == 2);
    std::thread::sleep(Duration::from_millis(300));
    let flow = machines.flow(&[0, 1]);
    std::thread::sleep(Duration::from_millis(300));
    let killed = (unix_millis(), Instant::now());
    let before = machines.hello_processes();
    kill_9(*before.first().unwrap());
    let again = || {
        let now = machines.hello_processes();
        now.len() == 2 && now != before && placed(&machines, "web", "Running").len() == 2
    };
    until("another one runs", SOON, again);
    let replaced = killed.1.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let requests = flow.end();
    let (all, late) = (failures(&requests, 0, u64::MAX), failures(&requests, killed.0 + 1000, u64::MAX));
    println!(
        "task killed: replaced after {replaced:.2?}; {} of {} requests failed",
        all.len(),
        requests.len()
    );
    assert!(late.is_empty(), "{late:?}");
    assert!(all.len() <= 10, "only until every node has heard of it: {all:?}");
    let history = machines.docker(0, "service ps web --format {{.CurrentState}}={{.Error}}").must();
    assert!(history.contains("Failed") && history.contains("task: non-zero exit (137)"), "{history}");
}

/// The tasks of a service in that state: their names and nodes.
fn placed(machines: &Machines, service: &str, state: &str) -> Vec<(String, String)> {
    let line = format!(
        "service ps {service} --filter desired-state=running --format {{{{.Name}}}},{{{{.Node}}}},{{{{.CurrentState}}}}"
    );
    let said = machines.docker(0, &line).out;
    let rows = said.lines().filter_map(|line| {
        let mut cells = line.split(',');
        Some((cells.next()?.to_owned(), cells.next()?.to_owned(), cells.next()?.starts_with(state)))
    });
    let mut rows: Vec<_> = rows.filter(|row| row.2).map(|row| (row.0, row.1)).collect();
    rows.sort();
    rows
}

/// What the swarm knows of the processes of the tasks that should run: the id and its process's number on its node.
fn container_pids(machines: &Machines, service: &str) -> Vec<String> {
    let ids = machines
        .docker(0, &format!("service ps -q --no-trunc --filter desired-state=running {service}"))
        .must();
    let pid = |id: &str| {
        let format = "{{.ID}} {{.Status.ContainerStatus.ContainerID}} {{.Status.ContainerStatus.PID}}";
        machines.docker_args(0, &["inspect", "--type", "task", "--format", format, id]).must()
    };
    let mut pids: Vec<String> = ids.lines().map(pid).collect();
    pids.sort();
    pids
}

/// A node's status in `node ls`.
fn state_of(machines: &Machines, machine: usize) -> String {
    let nodes = machines.docker(0, "node ls --format {{.Hostname}}={{.Status}}").must();
    let name = format!("{}=", machines.nodes[machine].name);
    nodes.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default().to_owned()
}

/// Starts a machine's daemon as it was started before, from within.
fn start_daemon(machines: &Machines, machine: usize) -> Background {
    let node = &machines.nodes[machine];
    let socket = node.docker_host.strip_prefix("unix://").unwrap();
    let data = format!("{}/data", socket.strip_suffix("/docker.sock").unwrap());
    let program = machines.seat().program.to_str().unwrap();
    let args =
        [program, "daemon", "--hostname", &node.name, "--data-dir", &data, "--host", &node.docker_host];
    machines.seat().start_inside(node.pid, &args)
}

/// The number of the daemon that runs on a machine.
fn inside_daemon(machines: &Machines, machine: usize) -> u32 {
    let name = &machines.nodes[machine].name;
    let is_it = |pid: &u32| {
        let args = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args: Vec<&[u8]> = args.split(|byte| *byte == 0).collect();
        args.get(1) == Some(&b"daemon".as_slice()) && args.contains(&name.as_bytes())
    };
    let found: Vec<u32> = machines.processes().into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "one daemon on {name}");
    found[0]
}
