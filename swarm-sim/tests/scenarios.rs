//! Stories that must end well.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use swarm_sim::{Config, Failure, Link, Machine, Processes, World};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A swarm with a service of so many replicas in a network of its own, settled.
fn swarm(config: Config, replicas: u64) -> Result<World, Failure> {
    let mut world = World::new(config);
    world.start();
    let network = world.create_network("net");
    world.create_service("web", replicas, &[network]);
    world.settle(secs(30))?;
    assert_eq!(world.running("web"), usize::try_from(replicas).unwrap());
    Ok(world)
}

fn with_managers(managers: u8, seed: u64, machines: u8) -> Config {
    Config { managers, ..Config::new(seed, machines) }
}

#[test]
fn a_swarm_is_founded_joined_and_serves() -> Result<(), Failure> {
    for seed in 0..3 {
        let world = swarm(Config::new(seed, 5), 6)?;
        assert_eq!(world.state().unwrap().nodes().len(), 5);
        assert!(world.elapsed() < secs(8), "{:?}", world.elapsed());
    }
    Ok(())
}

#[test]
fn tasks_of_a_worker_without_power_are_replaced_within_8_seconds() -> Result<(), Failure> {
    let mut worst = Duration::ZERO;
    for seed in 0..6 {
        let mut world = swarm(Config::new(seed, 4), 6)?;
        let victim = world.busiest().unwrap();
        world.cut_power(victim);
        assert!(world.running("web") < 6, "{victim} ran something");
        worst = worst.max(world.run_until(secs(8), |world| world.running("web") == 6)?);
        world.settle(secs(30))?;
        world.power_on(victim);
        world.settle(secs(30))?;
    }
    println!("replaced after {worst:?} at worst");
    Ok(())
}

#[test]
fn a_swarm_survives_its_leader() -> Result<(), Failure> {
    for seed in 0..4 {
        let mut world = swarm(with_managers(3, seed, 5), 5)?;
        let leader = world.leader().unwrap();
        world.cut_power(leader);
        world.run_until(secs(4), |world| world.leader().is_some())?;
        assert_ne!(world.leader(), Some(leader));
        world.run_until(secs(10), |world| world.running("web") == 5)?;
        world.scale("web", 7);
        world.settle(secs(30))?;
        assert_eq!(world.running("web"), 7);
        world.power_on(leader);
        world.settle(secs(30))?;
    }
    Ok(())
}

#[test]
fn an_island_without_majority_decides_nothing_and_comes_back() -> Result<(), Failure> {
    for seed in 0..4 {
        let mut world = swarm(with_managers(3, seed, 6), 6)?;
        let leader = world.leader().unwrap();
        world.split(&[leader, Machine(5)]);
        world.run_for(secs(12))?;
        assert_ne!(world.leader(), Some(leader), "the majority has a leader of its own");
        world.scale("web", 8);
        world.run_for(secs(5))?;
        world.heal();
        world.settle(secs(40))?;
        assert_eq!(world.running("web"), 8);
    }
    Ok(())
}

#[test]
fn a_power_cut_of_everything_loses_no_entry() -> Result<(), Failure> {
    for seed in 0..3 {
        let mut world = swarm(with_managers(3, seed, 4), 4)?;
        world.scale("web", 6);
        world.run_for(Duration::from_millis(400))?;
        for machine in world.machines() {
            world.cut_power(machine);
        }
        world.run_for(secs(2))?;
        for machine in world.machines() {
            world.power_on(machine);
        }
        world.settle(secs(60))?;
        assert_eq!(world.running("web"), 6);
    }
    Ok(())
}

#[test]
fn a_worker_that_is_heard_but_hears_nothing_comes_back() -> Result<(), Failure> {
    for seed in 0..3 {
        let mut world = swarm(Config::new(seed, 4), 4)?;
        for other in world.machines().filter(|machine| *machine != Machine(3)) {
            world.cut_one_way(other, Machine(3));
        }
        world.run_for(secs(15))?;
        world.heal();
        world.settle(secs(40))?;
    }
    Ok(())
}

#[test]
fn tasks_that_fail_and_a_bad_network_do_not_wear_a_swarm_out() -> Result<(), Failure> {
    for seed in 0..2 {
        let processes = Processes { rejects: 0.1, fails: 0.5, ..Processes::calm() };
        let mut world = World::new(Config { processes, link: Link::rough(), ..with_managers(3, seed, 4) });
        world.start();
        let network = world.create_network("net");
        world.create_service("web", 4, &[network]);
        world.run_for(secs(40))?;
        let tasks = world.state().unwrap().tasks().len();
        assert!(tasks > 4, "nothing was replaced, although half of the tasks fail");
        world.set_link(Link::calm());
        world.run_until(secs(60), |world| world.running("web") == 4)?;
    }
    Ok(())
}
