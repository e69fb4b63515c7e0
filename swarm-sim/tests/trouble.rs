//! Random trouble over many seeds, 30 if nothing is said.
//!
//! `SWARM_SIM_SEEDS=1000..2000` runs these, `SWARM_SIM_SECONDS=60` gives each of them more trouble, and
//! `SWARM_SIM_SEEDS=17..18` prints the story of the one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::ops::Range;
use std::time::Duration;

use swarm_sim::{Config, Failure, Processes, Trouble, World};

#[test]
fn after_any_trouble_everything_is_as_it_should_be() {
    let seeds = seeds();
    let time = Duration::from_secs(number("SWARM_SIM_SECONDS").unwrap_or(12));
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        let mut world = world(seed);
        let result = live_through(&mut world, time);
        if seeds.clone().count() == 1 {
            println!("{}", world.trace().text());
        }
        failures.extend(result.err().map(|failure| failure.to_string()));
    }
    assert!(failures.is_empty(), "{} of {seeds:?} fail:\n{}", failures.len(), failures.join("\n"));
}

/// One, three or five managers; sometimes with tasks that fail.
fn world(seed: u64) -> World {
    let managers = [1, 3, 3, 3, 5][usize::try_from(seed % 5).unwrap()];
    let fails = if seed.is_multiple_of(7) { 0.3 } else { 0.0 };
    let processes = Processes { fails, ..Processes::calm() };
    World::new(Config { managers, processes, ..Config::new(seed, 5) })
}

fn live_through(world: &mut World, time: Duration) -> Result<(), Failure> {
    let seed = world.seed();
    world.start();
    if !seed.is_multiple_of(4) {
        let network = world.create_network("net");
        world.create_service("web", 4, &[network]);
        world.run_for(Duration::from_secs(1))?;
    }
    Trouble::new(seed).reign(world, time)?;
    world.settle(Duration::from_secs(120))?;
    Ok(())
}

fn seeds() -> Range<u64> {
    let text = std::env::var("SWARM_SIM_SEEDS").unwrap_or_else(|_| "0..30".to_owned());
    let (first, end) = text.split_once("..").unwrap_or(("0", &text));
    first.parse().unwrap()..end.parse().unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
