//! Plans bring the state to what is asked for, and then rest.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use support::{World, web};
use swarm_state::object::{TaskState, TaskStatus};
use swarm_state::spec::{Availability, NodeState};
use swarm_state::{Action, NodeId, ServiceId, TaskStatusUpdate, Value, assignment, reconcile};

#[test]
fn replicas_spread_and_scaling_keeps_the_balance() {
    let mut world = World::new(3);
    let service = world.create_service(&web("web", 6, 0, &[]));
    world.settle();
    assert_eq!(per_node(&world, service), [2, 2, 2]);
    world.scale(service, 3);
    world.settle();
    assert_eq!(per_node(&world, service), [1, 1, 1]);
    assert_eq!(slots(&world, service), [1, 2, 3]);
    world.scale(service, 0);
    world.settle();
    assert_eq!(world.state.tasks_of(service).count(), 0);
    world.scale(service, 2);
    world.settle();
    assert_eq!(slots(&world, service), [1, 2]);
    let counts = world.state.service_counts(world.state.service(service).unwrap());
    assert_eq!((counts.running, counts.desired), (2, 2));
}

#[test]
fn a_global_service_has_a_task_on_each_node() {
    let mut world = World::new(2);
    let service = world.create_service(
        r#"{"Name":"glob","Mode":{"Global":{}},"TaskTemplate":{"ContainerSpec":{"Image":"i"}}}"#,
    );
    world.settle();
    assert_eq!(per_node(&world, service), [1, 1]);
    let late = world.add_node(2);
    world.settle();
    assert_eq!(per_node(&world, service), [1, 1, 1]);
    assert_eq!(world.running(service).iter().filter(|t| t.name == format!("glob.{late}")).count(), 1);
    set_availability(&mut world, late, Availability::Drain);
    world.settle();
    assert_eq!(per_node(&world, service), [1, 1]);
    set_availability(&mut world, late, Availability::Active);
    world.settle();
    assert_eq!(per_node(&world, service), [1, 1, 1]);
    world.set_node(late, NodeState::Down);
    world.settle();
    world.ok(Action::RemoveNode { id: late, force: false });
    world.settle();
    assert!(world.state.tasks().values().all(|task| task.node_id != Some(late)));
}

#[test]
fn a_failed_task_starts_again_after_its_delay() {
    let mut world = World::new(1);
    let service = world.create_service(&web("web", 1, 0, &[]));
    world.settle();
    let first = world.running(service)[0].id;
    world.report(first, TaskState::Failed);
    world.settle();
    assert!(world.running(service).is_empty());
    let next = world.state.tasks_of(service).find(|task| task.is_wanted()).unwrap();
    assert_eq!((next.status.state, next.desired_state, next.slot), (TaskState::Ready, TaskState::Ready, 1));
    let deadline = reconcile::next_deadline(&world.state, world.now).unwrap();
    assert_eq!(deadline.since(world.now), Duration::from_secs(5));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.running(service).len(), 1);
    assert_eq!(world.state.task(first).unwrap().desired_state, TaskState::Shutdown);
}

#[test]
fn restarts_end_with_the_policy() {
    for (policy, end, runs) in [
        (r#"{"Condition":"none"}"#, TaskState::Failed, 1),
        (r#"{"Condition":"on-failure","Delay":0}"#, TaskState::Complete, 1),
        (r#"{"Condition":"on-failure","MaxAttempts":3}"#, TaskState::Failed, 4),
        (r#"{"MaxAttempts":1,"Delay":0}"#, TaskState::Complete, 2),
    ] {
        let mut world = World::new(1);
        let body = web("web", 1, 0, &[])
            .replace("\"TaskTemplate\":{", &format!("\"TaskTemplate\":{{\"RestartPolicy\":{policy},"));
        let service = world.create_service(&body);
        world.settle();
        let mut ran = BTreeSet::new();
        for _ in 0..8 {
            if let Some(task) = world.running(service).first().map(|task| task.id) {
                ran.insert(task);
                world.report(task, end);
            }
            world.run_for(Duration::from_secs(30));
        }
        assert_eq!(ran.len(), runs, "{policy}");
    }
}

#[test]
fn five_tasks_of_a_slot_are_remembered() {
    let mut world = World::new(1);
    let service = world.create_service(&web("web", 1, 0, &[]));
    for _ in 0..9 {
        world.run_for(Duration::from_secs(6));
        let task = world.running(service)[0].id;
        world.report(task, TaskState::Failed);
    }
    world.run_for(Duration::from_secs(6));
    assert_eq!(world.state.tasks_of(service).count(), 5);
}

#[test]
fn tasks_of_a_dead_node_are_replaced_at_once_and_its_addresses_kept() {
    let mut world = World::new(3);
    let network = world.create_network(r#"{"Name":"n"}"#);
    let service = world.create_service(&web("web", 3, 0, &["n"]));
    world.settle();
    let dead = world.nodes[2];
    let lost = world.running(service).iter().find(|task| task.node_id == Some(dead)).unwrap().id;
    let addr = world.state.task(lost).unwrap().attachment(network).unwrap().addresses[0];
    world.set_node(dead, NodeState::Down);
    world.settle();
    assert_eq!((world.running(service).len(), slots(&world, service)), (3, vec![1, 2, 3]));
    let task = world.state.task(lost).unwrap();
    assert_eq!((task.status.state, task.desired_state), (TaskState::Running, TaskState::Shutdown));
    assert_eq!(task.attachment(network).unwrap().addresses[0], addr);

    let mut back = world.clone();
    back.set_node(dead, NodeState::Ready);
    back.settle();
    assert_eq!(back.state.task(lost).unwrap().status.state, TaskState::Shutdown);

    world.run_for(Duration::from_secs(25 * 3600));
    assert_eq!(world.state.task(lost).unwrap().status.state, TaskState::Orphaned);
    assert!(world.state.task(lost).unwrap().networks.is_empty());
    assert_eq!(world.running(service).len(), 3);
}

#[test]
fn draining_moves_tasks_and_they_stay_there() {
    let mut world = World::new(2);
    let drained = world.nodes[1];
    let service = world.create_service(&web("web", 4, 0, &[]));
    world.settle();
    set_availability(&mut world, drained, Availability::Drain);
    world.settle();
    assert_eq!(per_node(&world, service), [4]);
    set_availability(&mut world, drained, Availability::Active);
    world.settle();
    assert_eq!(per_node(&world, service), [4]);
}

#[test]
fn placement_is_obeyed_and_explained() {
    let mut world = World::new(3);
    let body = |constraint: &str| {
        let placement = format!("\"TaskTemplate\":{{\"Placement\":{{\"Constraints\":[\"{constraint}\"]}},");
        web("web", 2, 0, &[]).replace("\"TaskTemplate\":{", &placement)
    };
    let nowhere = world.create_service(&body("node.labels.zone==moon"));
    world.settle();
    let errs = world.state.tasks_of(nowhere).map(|task| task.status.err.clone());
    let expected = "no suitable node (scheduling constraints not satisfied on 3 nodes)";
    assert!(errs.into_iter().all(|err| err == expected));
    world.ok(Action::RemoveService { id: nowhere });
    let manager = world.create_service(&body("node.role == manager"));
    world.settle();
    let here = world.nodes[0];
    assert!(world.running(manager).iter().all(|task| task.node_id == Some(here)));
    assert_eq!(world.running(manager).len(), 2);
    let greedy = web("big", 1, 0, &[]).replace(
        "\"TaskTemplate\":{",
        r#""TaskTemplate":{"Resources":{"Reservations":{"NanoCPUs":9000000000}},"#,
    );
    let greedy = world.create_service(&greedy);
    world.settle();
    let err = &world.state.tasks_of(greedy).next().unwrap().status.err;
    assert_eq!(err, "no suitable node (insufficient resources on 3 nodes)");
}

#[test]
fn only_the_node_of_a_task_reports_about_it_and_not_without_bound() {
    let mut world = World::new(2);
    let service = world.create_service(&web("web", 1, 0, &[]));
    world.settle();
    let task = world.running(service)[0].clone();
    let other = *world.nodes.iter().find(|node| Some(**node) != task.node_id).unwrap();
    let status = TaskStatus { state: TaskState::Failed, err: "x".repeat(1 << 20), ..task.status.clone() };
    let updates = vec![TaskStatusUpdate { task: task.id, status }];
    let reply = world.ok(Action::UpdateTaskStatuses { node: other, updates: updates.clone() });
    assert_eq!((reply.value, reply.changes.len()), (Value::Skipped(1), 0));
    world.ok(Action::UpdateTaskStatuses { node: task.node_id.unwrap(), updates });
    let failed = world.state.task(task.id).unwrap();
    assert_eq!((failed.status.state, failed.status.err.len()), (TaskState::Failed, 1024));
}

#[test]
fn a_job_runs_until_enough_tasks_have_completed() {
    let mut world = World::new(2);
    let body = r#"{"Name":"job","Mode":{"ReplicatedJob":{"MaxConcurrent":2,"TotalCompletions":5}},
        "TaskTemplate":{"ContainerSpec":{"Image":"i"},"RestartPolicy":{"Condition":"on-failure"}}}"#;
    let service = world.create_service(body);
    for _ in 0..4 {
        world.settle();
        let running: Vec<_> = world.running(service).iter().map(|task| task.id).collect();
        assert!(running.len() <= 2);
        running.into_iter().for_each(|task| world.report(task, TaskState::Complete));
    }
    world.settle();
    let counts = world.state.service_counts(world.state.service(service).unwrap());
    assert_eq!((counts.completed, counts.running), (5, 0));
}

#[test]
fn an_assignment_has_all_that_a_worker_needs() {
    let mut world = World::new(3);
    let network = world.create_network(r#"{"Name":"app"}"#);
    let web_service = world.create_service(&web("web", 1, 8080, &["app"]));
    world.create_service(&web("db", 1, 0, &["app"]));
    world.create_service(&web("elsewhere", 1, 0, &[]));
    world.settle();
    let node = world.running(web_service)[0].node_id.unwrap();
    let work = assignment(&world.state, node).unwrap();
    assert_eq!(work.tasks.len(), 1);
    assert_eq!((work.tasks[0].service_name.as_str(), work.tasks[0].task.networks.len()), ("web", 2));
    let names = |work: &swarm_state::Assignment| -> Vec<String> {
        let mut names: Vec<_> = work.services.iter().map(|service| service.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&work), ["db", "web"]);
    let vnis: BTreeMap<_, _> = work.networks.iter().map(|n| (n.name.as_str(), n.vni.get())).collect();
    assert_eq!(vnis, BTreeMap::from([("app", 4097), ("ingress", 4096)]));
    assert!(work.attachments.contains_key(&network));
    assert_eq!((work.peers.len(), work.managers.len()), (3, 1));
    assert_eq!(work.managers[0].1, "192.168.99.100:2377");
    let other = world
        .nodes
        .iter()
        .find(|id| world.state.tasks_on(**id).all(|task| task.networks.is_empty()))
        .unwrap();
    assert_eq!(
        names(&assignment(&world.state, *other).unwrap()),
        ["web"],
        "every node carries published ports"
    );
    let json = serde_json::to_string(&work).unwrap();
    assert_eq!(serde_json::from_str::<swarm_state::Assignment>(&json).unwrap(), work);
}

fn per_node(world: &World, service: ServiceId) -> Vec<usize> {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for task in world.running(service) {
        *counts.entry(task.node_id.unwrap()).or_default() += 1;
    }
    counts.into_values().collect()
}

fn slots(world: &World, service: ServiceId) -> Vec<u64> {
    world.running(service).iter().map(|task| task.slot).collect()
}

fn set_availability(world: &mut World, id: NodeId, availability: Availability) {
    let node = world.state.node(id).unwrap();
    let (version, mut spec) = (node.meta.version, node.spec.clone());
    spec.availability = availability;
    world.ok(Action::UpdateNode { id, version, spec });
}
