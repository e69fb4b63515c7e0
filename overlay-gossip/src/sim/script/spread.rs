//! How news spread: of nodes and of records.

use std::time::Duration;

use rand::Rng;

use super::{Outcome, Plan, count, outcome, per_node, run, seconds};
use crate::sim::World;
use crate::{Event, NetworkId, Phase, Publish};

/// All nodes are told to join the first one, at once.
pub(super) fn join_storm(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = World::new(seed, plan.nodes, &plan.config);
    world.network.loss = plan.loss;
    world.everyone_joins(0);
    let before = world.traffic;
    let few = plan.nodes * plan.nodes / 100;
    let most = run(&mut world, Duration::from_secs(300), progress, |w| w.disagreements() <= few);
    let rest = most.and_then(|most| {
        let last = run(&mut world, Duration::from_secs(300), progress, World::agree)?;
        Some(most + last)
    });
    let time = world.elapsed();
    let bytes = per_node(&world, before, Duration::from_secs(1).max(time));
    outcome(&world, [seconds("p99_of_pairs", most), seconds("last_pair", rest)].into_iter().chain(bytes))
}

/// One node joins a settled cluster.
pub(super) fn newcomer(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes - 1);
    run(&mut world, Duration::from_secs(5), progress, |_| false);
    let i = world.add();
    let to = world.rng().random_range(0..i);
    let before = world.traffic;
    world.join(i, to);
    let took = run(&mut world, Duration::from_secs(300), progress, World::agree);
    run(&mut world, Duration::from_secs(10), progress, |_| false);
    let cost = world.traffic.datagram_bytes - before.datagram_bytes + world.traffic.stream_bytes
        - before.stream_bytes;
    let per_node = usize::try_from(cost).unwrap_or(usize::MAX) / plan.nodes.max(1);
    let mut bytes = count("bytes_per_node", per_node);
    bytes.unit = "B";
    outcome(&world, [seconds("last_knows", took), bytes])
}

/// Many records are created at once on one node.
pub(super) fn burst(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes);
    let network = NetworkId::new("burst").expect("a short name");
    for i in 0..plan.nodes {
        world.with(i, |machine, now| machine.join_network(now, &network));
    }
    run(&mut world, Duration::from_secs(5), progress, |_| false);
    let before = world.traffic;
    world.with(0, |machine, now| {
        for k in 0..plan.records {
            let at = Publish { network: &network, table: "endpoints", key: &format!("endpoint-{k}") };
            let done = machine.publish(now, at, Phase::Ready, vec![b'x'; 60].into());
            debug_assert!(done.is_ok());
        }
    });
    let start = world.elapsed();
    let mut half = None;
    let all = loop {
        world.run_for(Duration::from_millis(5));
        let mut held: Vec<usize> = (0..plan.nodes)
            .filter_map(|i| world.machine(i))
            .map(|m| m.records(&network, "endpoints").len())
            .collect();
        held.sort_unstable();
        let took = world.elapsed() - start;
        if half.is_none() && held.iter().sum::<usize>() * 2 >= plan.nodes * plan.records {
            half = Some(took);
        }
        if held.first().is_some_and(|least| *least == plan.records) {
            break Some(took);
        }
        if took > Duration::from_secs(120) {
            break None;
        }
    };
    let bytes = world.traffic.datagram_bytes - before.datagram_bytes + world.traffic.stream_bytes
        - before.stream_bytes;
    let bytes = count("bytes", usize::try_from(bytes).unwrap_or(usize::MAX));
    outcome(&world, [seconds("half", half), seconds("all", all), bytes])
}

/// Nothing happens.
pub(super) fn idle(plan: &Plan, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
    let mut world = plan.settled(seed, plan.nodes);
    run(&mut world, Duration::from_secs(20), progress, |_| false);
    let (before, time) = (world.traffic, Duration::from_secs(60));
    run(&mut world, time, progress, |_| false);
    let bytes = per_node(&world, before, time);
    let happened = |what: fn(&Event) -> bool| {
        (0..plan.nodes).flat_map(|i| world.events(i)).filter(|(_, event)| what(event)).count()
    };
    let suspicions = count("suspicions", happened(|event| matches!(event, Event::MemberSuspect { .. })));
    let deaths = count("false_deaths", happened(|event| matches!(event, Event::MemberDown { .. })));
    outcome(&world, bytes.into_iter().chain([suspicions, deaths]))
}
