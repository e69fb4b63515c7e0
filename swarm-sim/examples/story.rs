//! A swarm loses its leader, a worker and a cable within half a minute; the clock is virtual.
//!
//! `cargo run -p swarm-sim --example story -- --seed 7 --nodes 5`
#![expect(clippy::print_stdout, reason = "this is what an example is for")]

use std::time::Duration;

use swarm_sim::{Config, Failure, Machine, World};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes = number("--nodes")?.unwrap_or(5).clamp(4, 50);
    let config = Config { managers: 3, ..Config::new(number("--seed")?.unwrap_or(1), u8::try_from(nodes)?) };
    let mut world = World::new(config);
    let ending = story(&mut world);
    print!("{}", world.trace().text());
    ending?;
    println!(
        "seed {}: {} deliveries, digest {:016x}",
        world.seed(),
        world.trace().deliveries(),
        world.trace().digest()
    );
    Ok(())
}

fn story(world: &mut World) -> Result<(), Failure> {
    let seconds = Duration::from_secs;
    world.note("--- a swarm is founded, and a service created".to_owned());
    world.start();
    let network = world.create_network("shop");
    world.create_service("web", 4, &[network]);
    let took = world.settle(seconds(30))?;
    world.note(format!("--- settled after {took:.1?}"));

    let worker = world.busiest().unwrap_or(Machine(3));
    world.cut_power(worker);
    let took = world.run_until(seconds(8), |world| world.running("web") == 4)?;
    world.note(format!("--- all four run again after {took:.1?}"));

    world.power_on(worker);
    world.settle(seconds(30))?;
    let leader = world.leader().unwrap_or(Machine(0));
    world.cut_power(leader);
    let took = world.run_until(seconds(8), |world| world.leader().is_some())?;
    world.note(format!("--- a new leader after {took:.1?}"));
    world.scale("web", 6);
    world.settle(seconds(30))?;

    world.power_on(leader);
    world.settle(seconds(30))?;
    let leader = world.leader().unwrap_or(Machine(0));
    world.split(&[leader]);
    world.run_for(seconds(6))?;
    world.heal();
    let took = world.settle(seconds(40))?;
    world.note(format!("--- one swarm again after {took:.1?}: every check holds, every table is the same"));
    Ok(())
}

/// The number behind a word of the command line.
fn number(word: &str) -> Result<Option<u64>, std::num::ParseIntError> {
    let value = std::env::args().skip_while(|argument| argument != word).nth(1);
    value.map(|text| text.parse()).transpose()
}
