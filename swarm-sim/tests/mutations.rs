//! Each check fires when the rule that it guards is broken.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use swarm_sim::{Config, Failure, Mutation, Unsettled, Violation, World};

/// Power cuts, new sizes and returns, with a broken rule.
fn live_with(mutation: Option<Mutation>) -> Result<(), Failure> {
    let mut world = World::new(Config { managers: 3, mutation, ..Config::new(11, 4) });
    world.start();
    let network = world.create_network("net");
    world.create_service("web", 4, &[network]);
    world.settle(Duration::from_secs(30))?;
    world.scale("web", 2);
    world.settle(Duration::from_secs(30))?;
    for machine in world.machines() {
        world.cut_power(machine);
    }
    for machine in world.machines() {
        world.power_on(machine);
    }
    world.scale("web", 5);
    world.settle(Duration::from_secs(60))?;
    let victim = world.busiest().unwrap();
    world.cut_power(victim);
    world.settle(Duration::from_secs(30))?;
    Ok(())
}

fn violation(mutation: Mutation) -> Violation {
    match live_with(Some(mutation)) {
        Err(Failure::Violated { violation, .. }) => violation,
        other => panic!("{mutation:?} is not noticed: {other:?}"),
    }
}

#[test]
fn nothing_is_wrong_without_a_mutation() {
    live_with(None).unwrap();
}

#[test]
fn a_disk_that_forgets_is_noticed() {
    let found = violation(Mutation::DiskForgets);
    let lost = matches!(found, Violation::EntryLost { .. } | Violation::EntryChanged { .. });
    assert!(lost, "{found}");
}

#[test]
fn an_address_with_two_holders_is_noticed() {
    let found = violation(Mutation::DoubleLease);
    assert!(matches!(found, Violation::LeasedTwice { .. }), "{found}");
}

#[test]
fn a_task_that_goes_back_is_noticed() {
    let found = violation(Mutation::StateGoesBack);
    assert!(matches!(found, Violation::TaskBackwards { .. }), "{found}");
}

#[test]
fn an_endpoint_that_returns_is_noticed() {
    let found = violation(Mutation::EndpointsReturn);
    assert!(matches!(found, Violation::EndpointReturned { .. }), "{found}");
}

#[test]
fn an_endpoint_that_stays_is_noticed() {
    // Some tasks stay in the network on each machine: who leaves it, takes everything along.
    let mut world = World::new(Config { mutation: Some(Mutation::EndpointsStay), ..Config::new(11, 2) });
    world.start();
    let network = world.create_network("net");
    world.create_service("web", 6, &[network]);
    world.settle(Duration::from_secs(30)).unwrap();
    world.scale("web", 4);
    let found = world.settle(Duration::from_secs(30));
    let stays = matches!(&found, Err(Failure::Unsettled { what: Unsettled::Table { .. }, .. }));
    assert!(stays, "{found:?}");
}

#[test]
fn a_leader_that_does_not_hear_of_a_death_is_noticed() {
    let found = live_with(Some(Mutation::DeafLeader));
    let alive = matches!(&found, Err(Failure::Unsettled { what: Unsettled::NodeState { .. }, .. }));
    assert!(alive, "{found:?}");
}
