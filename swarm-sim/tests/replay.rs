//! One seed, one story.
#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

use swarm_sim::{Config, Failure, Trouble, World};

fn trace(seed: u64) -> Result<(String, u64, u64), Failure> {
    let config = Config { managers: 3, every_delivery: true, ..Config::new(seed, 4) };
    let mut world = World::new(config);
    world.start();
    world.create_service("web", 3, &[]);
    world.settle(Duration::from_secs(30))?;
    Trouble::new(seed).reign(&mut world, Duration::from_secs(12))?;
    let trace = world.trace();
    Ok((trace.text().to_owned(), trace.digest(), trace.deliveries()))
}

#[test]
fn the_same_seed_writes_the_same_bytes() -> Result<(), Failure> {
    let first = trace(3)?;
    assert!(first.2 > 1000, "{} deliveries", first.2);
    assert!(first == trace(3)?, "the traces differ");
    assert_ne!(first.1, trace(4)?.1);
    Ok(())
}
