//! The demo, as a stranger starts it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::too_many_lines, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Machines, Said, Seat, User, all_namespaces, namespaces, one_at_a_time, present, runs, until};
use serde_json::Value;

#[test]
fn every_step_of_the_demo_holds_as_root() {
    let _turn = one_at_a_time();
    every_step_holds(User::Root);
}

#[test]
fn every_step_of_the_demo_holds_as_an_ordinary_user() {
    let _turn = one_at_a_time();
    every_step_holds(User::Ordinary);
}

#[test]
fn a_kept_demo_is_entered_and_ended_as_it_says_as_root() {
    let _turn = one_at_a_time();
    kept_and_ended(User::Root);
}

#[test]
fn a_kept_demo_is_entered_and_ended_as_it_says_as_an_ordinary_user() {
    let _turn = one_at_a_time();
    kept_and_ended(User::Ordinary);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let _turn = one_at_a_time();
    let Some(seat) = Seat::take(User::this()) else { return };
    for (after, signal) in [(300, "INT"), (2500, "TERM")] {
        let script = format!(
            "'{}' demo --json & demo=$!; sleep {}; kill -{signal} $demo; wait $demo; echo $?",
            seat.program.display(),
            f64::from(after) / 1000.0,
        );
        // Job control, or else the shell makes its children deaf to an interrupt.
        let said = Said::of(seat.command("sh").args(["-m", "-c", &script])).must();
        assert_eq!(said.trim(), "1");
        assert_eq!(left_in(&seat), Vec::<String>::new(), "after {after} ms");
    }
}

fn every_step_holds(user: User) {
    let Some(seat) = Seat::take(user) else { return };
    let said = seat.swarm_bin("demo --json --requests 200");
    if user == User::Ordinary && is_forbidden(&said) {
        return;
    }
    let figures: Value = serde_json::from_str(&said.must()).expect("one JSON object");
    println!("{figures}");
    let seconds = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64).expect(pointer);
    let count = |pointer: &str| figures.pointer(pointer).and_then(Value::as_u64).expect(pointer);
    assert_eq!(count("/nodes"), 3);
    assert_eq!((count("/requests/sent"), count("/requests/answered")), (600, 600));
    assert_eq!(count("/requests/client_address_seen"), 600);
    for (task, share) in figures["requests"]["by_task"].as_object().unwrap() {
        let share = share.as_u64().unwrap();
        assert!((240..=360).contains(&share), "{task} gave {share} of 600 answers");
    }
    assert_eq!(figures["requests"]["by_task"].as_object().unwrap().len(), 2);
    assert!(seconds("/kill/detected_s") <= 5.0);
    assert!(seconds("/kill/replaced_s") <= 8.0);
    assert_eq!(count("/kill/failed_after_detection"), 0);
    assert!(count("/kill/requests/sent") > 100, "the flow went on");
    // A request that a dead task had accepted is lost; others wait for the next attempt of their connection.
    assert!(count("/kill/requests/failed") <= 3);
    assert!(seconds("/total_s") <= 45.0);
    assert_eq!(left_in(&seat), Vec::<String>::new());
}

fn kept_and_ended(user: User) {
    if !present(&["nsenter", "sh"]) {
        return;
    }
    let Some(seat) = Seat::take(user) else { return };
    let before = all_namespaces();
    // In a shell's `$(...)`: whoever runs on must not hold the output open.
    let script = format!("told=$('{}' demo --keep --json) && echo \"$told\"", seat.program.display());
    let said = Said::of(seat.command("sh").args(["-c", &script]));
    if user == User::Ordinary && is_forbidden(&said) {
        return;
    }
    let machines = Machines::of(seat, &said.must());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert!(keys(&machines.told).iter().eq(["client", "nodes", "stop"]), "{}", machines.told);
    assert!(keys(&machines.told["client"]).iter().eq(["pid"]));
    for node in machines.told["nodes"].as_array().unwrap() {
        assert!(keys(node).iter().eq(["daemon_pid", "docker_host", "name", "pid"]), "{node}");
    }
    let names: Vec<&str> = machines.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["master", "node01", "node02"]);

    let seat = machines.seat();
    let args = |args: &'static [&'static str]| args;
    for node in &machines.nodes {
        assert_eq!(seat.inside_all(node.pid, args(&["uname", "-n"])).must().trim(), node.name);
        assert_eq!(seat.inside_all(node.daemon_pid, args(&["uname", "-n"])).must().trim(), node.name);
        let wire = seat.inside(node.pid, args(&["cat", "/proc/net/fib_trie"])).must();
        assert!(wire.contains(&node.addr), "{}: {wire}", node.name);
        let own = seat.inside_all(node.pid, args(&["cat", "/proc/1/cmdline"])).must();
        assert!(own.contains("demo-node"), "{own}");
        assert!(seat.swarm_bin(&format!("-H {} info", node.docker_host)).must().contains(&node.name));
        let answer = machines.curl(machines.client_pid, &format!("{}:8080", node.addr)).must();
        assert!(answer.contains("helloworld.") && answer.contains("192.168.99.10"), "{answer}");
    }

    let processes = machines.processes();
    assert!(processes.len() >= 10, "a supervisor, four machines, three daemons, two tasks: {processes:?}");
    let mine: BTreeSet<_> = namespaces(&processes).difference(&before).cloned().collect();
    assert!(mine.len() > 16, "four machines with four namespaces each, and the tasks: {mine:?}");
    let stop = machines.told["stop"].as_str().unwrap().to_owned();
    Said::of(seat.command("sh").args(["-c", &stop])).must();
    until("no process is left", Duration::from_secs(2), || !processes.iter().copied().any(runs));
    until("no namespace is left", Duration::from_secs(2), || mine.is_disjoint(&all_namespaces()));
    assert_eq!(left_in(seat), Vec::<String>::new());
    let again = Said::of(seat.command("sh").args(["-c", &stop])).refused();
    assert!(again.contains("no directory of a demo that runs"), "{again}");
}

fn is_forbidden(said: &Said) -> bool {
    let forbidden = !said.ok && said.err.contains("user namespace");
    if forbidden {
        println!("skipped: user namespaces are not allowed here: {}", said.err);
    }
    forbidden
}

/// What demos left in their directory.
fn left_in(seat: &Seat) -> Vec<String> {
    let names = std::fs::read_dir(&seat.home).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("swarm-demo")).collect()
}
