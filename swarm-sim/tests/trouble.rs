//! Random trouble over many seeds: `SWARM_SIM_SEEDS=1000 cargo test -p swarm-sim --release --test trouble`.
//!
//! `SWARM_SIM_SEED=17` runs one seed and prints its story.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use swarm_sim::{Config, Failure, Trouble, World};

fn run(seed: u64) -> Result<World, (Failure, World)> {
    let managers = if seed % 3 == 0 { 1 } else { 3 };
    let mut world = World::new(Config { managers, ..Config::new(seed, 5) });
    world.start();
    let mut through = || -> Result<(), Failure> {
        world.run_for(Duration::from_secs(seed % 4))?;
        Trouble::new(seed).reign(&mut world, Duration::from_secs(12))?;
        world.settle(Duration::from_secs(120))?;
        Ok(())
    };
    match through() {
        Ok(()) => Ok(world),
        Err(failure) => Err((failure, world)),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn after_any_trouble_everything_is_as_it_should_be() {
    let only = number("SWARM_SIM_SEED");
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..number("SWARM_SIM_SEEDS").unwrap_or(30),
    };
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        match run(seed) {
            Ok(world) if only.is_some() => println!("{}", world.trace().text()),
            Ok(_) => {}
            Err((failure, world)) => {
                if only.is_some() {
                    println!("{}", world.trace().text());
                }
                failures.push(failure.to_string());
            }
        }
    }
    assert!(failures.is_empty(), "{} of {seeds:?} fail:\n{}", failures.len(), failures.join("\n"));
}
