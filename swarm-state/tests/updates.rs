//! Changed services: tasks are replaced a few at a time, and what fails is noticed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{World, web};
use swarm_state::object::{TaskState, UpdateState};
use swarm_state::spec::ServiceSpec;
use swarm_state::{Action, ServiceId};

#[test]
fn an_update_replaces_one_task_at_a_time() {
    let mut world = World::new(2);
    let service = world.create_service(&web("web", 3, 0, &[]));
    world.settle();
    let before: BTreeSet<_> = world.running(service).iter().map(|task| task.id).collect();
    world.update_service(service, |spec| spec.task_template.force_update = 1);
    let mut fewest = usize::MAX;
    for _ in 0..200 {
        let moved = world.plan() > 0;
        if !world.work() && !moved {
            break;
        }
        fewest = fewest.min(world.running(service).len());
    }
    assert_eq!(fewest, 2);
    assert_eq!(update_state(&world, service), Some(UpdateState::Updating));
    world.run_for(Duration::from_secs(10));
    assert_eq!(update_state(&world, service), Some(UpdateState::Completed));
    assert!(world.running(service).iter().all(|task| !before.contains(&task.id)));
    assert!(world.running(service).iter().all(|task| world.state.is_up_to_date(task)));
}

#[test]
fn writing_out_defaults_replaces_no_task() {
    let mut world = World::new(1);
    let service = world.create_service(&web("web", 2, 8080, &[]));
    world.settle();
    let before: Vec<_> = world.running(service).iter().map(|task| task.id).collect();
    world.update_service(service, |spec| {
        let template = &mut spec.task_template;
        template.runtime = "container".to_owned();
        template.restart_policy =
            serde_json::from_str(r#"{"Condition":"any","Delay":5000000000,"MaxAttempts":0}"#).unwrap();
        template.placement = Some(Default::default());
        let container = template.container_spec.as_mut().unwrap();
        container.extra.insert("Isolation".to_owned(), "default".into());
        container.extra.insert(
            "Privileges".to_owned(),
            serde_json::json!({"CredentialSpec": null, "NoNewPrivileges": false}),
        );
        spec.endpoint_spec.as_mut().unwrap().ports[0].publish_mode = Some(Default::default());
        spec.update_config = serde_json::from_str(r#"{"Parallelism":2}"#).unwrap();
    });
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.running(service).iter().map(|task| task.id).collect::<Vec<_>>(), before);
    assert_eq!(update_state(&world, service), None);
}

#[test]
fn a_rollback_to_what_is_gone_pauses() {
    let mut world = World::new(1);
    let network = world.create_network(r#"{"Name":"old"}"#);
    let service = world.create_service(&web("web", 1, 0, &["old"]));
    world.settle();
    world.update_service(service, |spec| {
        spec.task_template.networks.clear();
        spec.update_config = serde_json::from_str(r#"{"Parallelism":1,"FailureAction":"rollback"}"#).unwrap();
    });
    world.settle();
    world.ok(Action::RemoveNetwork { id: network });
    let task = world.running(service)[0].id;
    world.report(task, TaskState::Failed);
    world.run_for(Duration::from_secs(30));
    let status = world.state.service(service).unwrap().update_status.clone().unwrap();
    assert_eq!(status.state, UpdateState::Paused);
    assert!(status.message.contains("cannot be rolled back: network"), "{}", status.message);
}

#[test]
fn start_first_never_has_fewer_tasks() {
    let mut world = World::new(2);
    let service = world.create_service(&web("web", 2, 0, &[]));
    world.settle();
    world.update_service(service, |spec| {
        spec.update_config = serde_json::from_str(r#"{"Parallelism":0,"Order":"start-first"}"#).unwrap();
        image(spec, "new");
    });
    for _ in 0..200 {
        let moved = world.plan() > 0;
        if !world.work() && !moved {
            break;
        }
        assert!(world.running(service).len() >= 2);
    }
    world.run_for(Duration::from_secs(10));
    assert_eq!(
        (world.running(service).len(), update_state(&world, service)),
        (2, Some(UpdateState::Completed))
    );
}

#[test]
fn a_failing_update_pauses_or_rolls_back() {
    for (action, end) in [("pause", UpdateState::Paused), ("rollback", UpdateState::RollbackCompleted)] {
        let mut world = World::new(2);
        let service = world.create_service(&web("web", 3, 0, &[]));
        world.settle();
        world.update_service(service, |spec| {
            let config = format!(r#"{{"Parallelism":1,"FailureAction":"{action}"}}"#);
            spec.update_config = serde_json::from_str(&config).unwrap();
            image(spec, "broken");
        });
        for _ in 0..20 {
            world.settle();
            let broken = |task: &&&swarm_state::object::Task| {
                task.spec.container_spec.as_ref().unwrap().image == "broken"
            };
            let broken: Vec<_> = world.running(service).iter().filter(broken).map(|task| task.id).collect();
            for task in broken {
                world.report(task, TaskState::Failed);
            }
            world.now = world.now.plus(Duration::from_secs(1));
        }
        world.run_for(Duration::from_secs(30));
        assert_eq!(update_state(&world, service), Some(end), "{action}");
        let status = world.state.service(service).unwrap().update_status.clone().unwrap();
        if action == "pause" {
            assert!(status.message.starts_with("update paused due to failure or early termination of task "));
        } else {
            assert_eq!(world.running(service).len(), 3);
            assert_eq!(status.message, "rollback completed");
        }
    }
}

fn image(spec: &mut ServiceSpec, image: &str) {
    spec.task_template.container_spec.as_mut().unwrap().image = image.to_owned();
}

fn update_state(world: &World, service: ServiceId) -> Option<UpdateState> {
    world.state.service(service).unwrap().update_status.as_ref().map(|status| status.state)
}
