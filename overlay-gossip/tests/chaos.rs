//! The checks themselves: under any trouble they are silent, and a broken rule makes them speak.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    dead_code,
    reason = "tests"
)]

use std::time::Duration;

use overlay_gossip::sim::{Network, Rule, Stall, World, name};
use overlay_gossip::*;
use rand::Rng;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn random_trouble_breaks_no_rule_and_ends_in_agreement() {
    for seed in 0..24 {
        if let Err(what) = chaos(seed, None) {
            panic!("seed {seed}: {what}");
        }
    }
}

#[test]
fn a_broken_rule_is_noticed() {
    let rules = [
        Rule::DeathNeedsNews,
        Rule::ObjectsToDeath,
        Rule::IncarnationsGrow,
        Rule::Refutes,
        Rule::NewsReplace,
        Rule::VersionsGrow,
        Rule::OwnersWrite,
        Rule::TablesSync,
    ];
    for rule in rules {
        let noticed = (0..40).find_map(|seed| chaos(seed, Some(rule)).err().map(|what| (seed, what)));
        let (seed, what) = noticed.unwrap_or_else(|| panic!("{rule:?} is broken and nobody notices"));
        println!("{rule:?}: seed {seed}: {what}");
    }
}

/// Random trouble, then calm: what was broken, if anything.
fn chaos(seed: u64, broken: Option<Rule>) -> Result<(), String> {
    let mut config = Config::new(name(0), Profile::Fast);
    config.broken = broken;
    let count = 6;
    let network = NetworkId::new("net").unwrap();
    let mut world = World::new(seed, count, &config);
    world.everyone_joins(0);
    world.run_for(ms(2000));
    for step in 0..40 {
        trouble(&mut world, step, &network);
        sound(&world)?;
    }
    calm(&mut world, &network);
    let agreed = world.run_until(ms(45_000), World::agree);
    sound(&world)?;
    agreed.ok_or_else(|| format!("{} pairs do not agree", world.disagreements()))?;
    world.run_for(ms(20_000));
    sound(&world)?;
    let rows = |i: usize| -> Vec<Record> { world.machine(i).unwrap().records(&network, "t") };
    let own: Vec<Record> =
        (0..count).flat_map(|i| rows(i).into_iter().filter(move |r| r.owner == name(i))).collect();
    for i in 0..count {
        if rows(i) != own {
            return Err(format!("tables differ at n{i}: {:?} and {own:?}", rows(i)));
        }
        let alive = world.machine(i).unwrap().members().filter(|m| m.state == MemberState::Alive).count();
        if alive != count {
            return Err(format!("n{i} holds {alive} for alive"));
        }
    }
    Ok(())
}

fn trouble(world: &mut World, step: usize, network: &NetworkId) {
    let (i, j) = (world.rng().random_range(0..6), world.rng().random_range(0..6));
    world.network.loss = if world.rng().random_bool(0.3) { 0.3 } else { 0.0 };
    world.network.duplicate = if world.rng().random_bool(0.3) { 0.3 } else { 0.0 };
    world.network.reorder = if world.rng().random_bool(0.3) { 0.3 } else { 0.0 };
    let runs = world.machine(i).is_some();
    let stall = if step.is_multiple_of(2) { Stall::Process } else { Stall::Traffic };
    match world.rng().random_range(0..11) {
        0 if runs => world.kill(i),
        1 if runs => world.power_off(i),
        2 => world.cut(i, j),
        3 => world.cut_one_way(i, j),
        4 => world.heal(),
        5 if runs => world.stall(i, ms(2500), stall),
        6 if runs => world.with(i, |m, now| m.leave_network(now, network)),
        7 => world.block_udp(i, j),
        8 if runs && step.is_multiple_of(4) => {
            let mut addr = world.addr(i);
            addr.set_port(u16::try_from(8000 + step).unwrap());
            world.move_to(i, addr);
            world.join(i, (i + 1) % 6);
        }
        _ if !runs => {
            world.boot(i);
            [0, 1, 2].into_iter().for_each(|to| world.join(i, to));
        }
        _ => {
            let phase = if step % 5 == 4 { Phase::Gone } else { Phase::Ready };
            let key = format!("k{}", step % 3);
            let at = Publish { network, table: "t", key: &key };
            world.with(i, |m, now| m.publish(now, at, phase, step.to_string().into()).unwrap());
        }
    }
    let pause = world.rng().random_range(10..900);
    world.run_for(ms(pause));
}

fn calm(world: &mut World, network: &NetworkId) {
    world.network = Network::default();
    world.heal();
    for i in 0..world.len() {
        if world.machine(i).is_none() {
            world.boot(i);
        }
        (0..3).filter(|to| *to != i).for_each(|to| world.join(i, to));
        world.with(i, |m, now| m.join_network(now, network));
    }
}

fn sound(world: &World) -> Result<(), String> {
    world.violations().first().map_or(Ok(()), |violation| Err(violation.to_string()))
}
