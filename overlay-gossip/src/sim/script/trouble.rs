//! What is noticed when nodes die or stand still, and what is noticed wrongly.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;

use super::{Outcome, Plan, Script, count, outcome, per_node, run, seconds};
use crate::Event;
use crate::sim::deliver::number;
use crate::sim::{Traffic, World};

/// A process is killed, or its host falls silent.
pub(super) fn death(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes);
    let warm = Duration::from_secs(if plan.nodes <= 300 { 60 } else { 15 });
    let phase = Duration::from_millis(world.rng().random_range(0..2000));
    run(&mut world, warm + phase, progress, |_| false);
    let victim = world.rng().random_range(0..plan.nodes);
    if plan.script == Script::Crash {
        world.kill(victim);
    } else {
        world.power_off(victim);
    }
    let (all, limit) = (world.believers(victim), Duration::from_secs(120));
    let first = run(&mut world, limit, progress, |w| w.believers(victim) < all);
    let rest = run(&mut world, limit, progress, |w| w.believers(victim) == 0);
    let last = first.zip(rest).map(|(first, rest)| first + rest);
    let wrong = deaths(&world, |subject| subject != victim).into_iter().sum();
    outcome(
        &world,
        [seconds("first_knows", first), seconds("last_knows", last), count("false_deaths", wrong)],
    )
}

/// Some nodes stand still most of the time.
pub(super) fn slow_nodes(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes);
    world.keep_events = true;
    run(&mut world, Duration::from_secs(15), progress, |_| false);
    let cycle = plan.stall_time + Duration::from_millis(1024);
    let end = world.elapsed() + Duration::from_secs(120);
    // Who stands still next, and when.
    let mut next: BTreeSet<(Duration, usize)> = BTreeSet::new();
    for i in 0..plan.slow {
        let phase =
            if plan.in_step { Duration::ZERO } else { cycle.mul_f64(world.rng().random_range(0.0..1.0)) };
        next.insert((world.elapsed() + phase, i));
    }
    while let Some((at, i)) = next.pop_first().filter(|(at, _)| *at < end) {
        let wait = at.saturating_sub(world.elapsed());
        run(&mut world, wait, progress, |_| false);
        world.stall(i, plan.stall_time, plan.stall);
        next.insert((at + cycle, i));
    }
    let left = end.saturating_sub(world.elapsed());
    run(&mut world, left, progress, |_| false);
    let wrong = deaths(&world, |subject| subject >= plan.slow);
    let slow = deaths(&world, |subject| subject < plan.slow);
    let healed = run(&mut world, Duration::from_secs(120), progress, World::agree);
    let figures = [
        count("false_deaths", wrong.iter().sum()),
        count("false_deaths_at_healthy", wrong.iter().skip(plan.slow).sum()),
        count("deaths_of_slow", slow.iter().sum()),
        seconds("agreed_after", healed),
    ];
    outcome(&world, figures)
}

/// The cluster is cut in halves for a while.
pub(super) fn partition(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes);
    run(&mut world, Duration::from_secs(15), progress, |_| false);
    world.part(plan.nodes / 2);
    run(&mut world, Duration::from_secs(60), progress, |_| false);
    world.heal();
    let before = world.traffic;
    let healed = run(&mut world, Duration::from_secs(600), progress, World::agree);
    let bytes =
        per_node(&world, before, healed.unwrap_or(Duration::from_secs(600)).max(Duration::from_secs(1)));
    outcome(&world, [seconds("agreed_after_healing", healed)].into_iter().chain(bytes))
}

/// Nodes join and die during 40 of 60 seconds.
pub(super) fn churn(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let (joins, deaths) = plan.churn;
    let mut world = plan.settled(seed, plan.nodes - joins);
    let before = Traffic::default();
    let mut schedule: Vec<(u64, bool)> =
        (0..joins + deaths).map(|n| (world.rng().random_range(1000..40_000), n < joins)).collect();
    schedule.sort_unstable();
    let mut victims: Vec<usize> = (0..plan.nodes - joins).collect();
    for (n, (at, join)) in schedule.iter().enumerate() {
        let wait = Duration::from_millis(*at).saturating_sub(world.elapsed());
        run(&mut world, wait, progress, |_| false);
        if *join {
            let i = world.add();
            let to = victims[world.rng().random_range(0..victims.len())];
            world.join(i, to);
        } else {
            let place = world.rng().random_range(0..victims.len());
            let victim = victims.swap_remove(place);
            if n % 2 == 0 { world.kill(victim) } else { world.power_off(victim) }
        }
    }
    let last = world.elapsed();
    let end = Duration::from_secs(60);
    let agreed = run(&mut world, end.saturating_sub(last), progress, World::agree);
    let wrong = world.disagreements();
    let left = end.saturating_sub(world.elapsed());
    run(&mut world, left, progress, |_| false);
    let bytes = per_node(&world, before, end);
    let figures = [seconds("agreed_after_last_change", agreed), count("pairs_that_differ", wrong)];
    outcome(&world, figures.into_iter().chain(bytes))
}

/// How often each observer declared a node dead that `counts`.
fn deaths(world: &World, counts: impl Fn(usize) -> bool) -> Vec<usize> {
    let dead =
        |event: &Event| matches!(event, Event::MemberDown { name, .. } if number(name).is_some_and(&counts));
    (0..world.len()).map(|i| world.events(i).iter().filter(|(_, event)| dead(event)).count()).collect()
}
