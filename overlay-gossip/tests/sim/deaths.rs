//! Who is declared dead, when, and who is not.

use std::time::Duration;

use overlay_gossip::*;

use crate::world::{World, joined, ms, name};

#[test]
fn a_silent_node_is_dead_for_all_in_time() {
    let three = times(20, 3, Profile::Fast, |w, i| w.power_off(i), MemberState::Dead);
    assert!(three[10] <= ms(2500) && three[19] <= ms(3500), "{three:?}");
    let ten = times(10, 10, Profile::Fast, |w, i| w.power_off(i), MemberState::Dead);
    assert!(ten[9] < ms(4000), "{ten:?}");
    let lan = times(4, 10, Profile::Lan, |w, i| w.power_off(i), MemberState::Dead);
    assert!(lan[3] < ms(12_000), "{lan:?}");
}

#[test]
fn a_killed_process_is_dead_sooner_because_its_host_refuses() {
    let three = times(20, 3, Profile::Fast, |w, i| w.kill(i), MemberState::Dead);
    assert!(three[10] <= ms(1300) && three[19] <= ms(2000), "{three:?}");
    let lan = times(8, 20, Profile::Lan, |w, i| w.kill(i), MemberState::Dead);
    assert!(lan[7] < ms(4000), "{lan:?}");
}

#[test]
fn outside_evidence_ends_a_node_at_once_but_a_live_one_objects() {
    let mut world = joined(3, 3, Profile::Fast);
    for i in 0..2 {
        world.with(i, |m, now| m.report_refused(now, &name(2)));
    }
    world.run_for(ms(3000));
    assert!(world.all_agree());
    assert!(world.machine(2).stats().refutations > 0);
    world.power_off(2);
    for i in 0..2 {
        world.with(i, |m, now| m.report_refused(now, &name(2)));
    }
    let dead = |w: &World| (0..2).all(|i| w.state(i, 2) == Some(MemberState::Dead));
    assert!(world.run_until(ms(1000), dead).is_some());
    let refused =
        |e: &Event| matches!(e, Event::MemberDown { evidence: Evidence::Refused { reports: 2 }, .. });
    assert!(world.events(0).iter().chain(world.events(1)).any(|(_, e)| refused(e)));
}

#[test]
fn a_goodbye_is_no_death() {
    let leave = |w: &mut World, i: usize| w.with(i, |m, now| m.leave(now));
    let times = times(10, 5, Profile::Fast, leave, MemberState::Left);
    assert!(times[9] < ms(1500), "{times:?}");
}

#[test]
fn nobody_dies_of_lost_datagrams() {
    for seed in 0..3 {
        let mut world = joined(seed, 10, Profile::Lan);
        world.network.loss = 0.25;
        world.run_for(ms(120_000));
        for i in 0..world.len() {
            let down = world.events(i).iter().any(|(_, e)| matches!(e, Event::MemberDown { .. }));
            assert!(!down, "a false death, seed {seed}");
        }
    }
}

#[test]
fn at_half_of_everything_lost_a_false_verdict_is_rare_and_stays_with_few() {
    for seed in 1..4 {
        let mut world = World::settled(seed, 60, Profile::Lan);
        world.network.loss = 0.5;
        world.run_for(ms(40_000));
        let down = |i| world.events(i).iter().filter(|(_, e)| matches!(e, Event::MemberDown { .. })).count();
        let deaths: usize = (0..world.len()).map(down).sum();
        assert!(deaths < 10, "{deaths} false deaths, seed {seed}");
    }
}

#[test]
fn a_stopped_process_does_not_accuse_the_others_when_it_wakes() {
    for seed in 0..5 {
        let mut world = joined(seed, 10, Profile::Lan);
        for round in 0..4 {
            for i in 0..2 {
                world.pause(i, ms(2000 + 3000 * round));
            }
            world.run_for(ms(15_000));
        }
        for i in 0..world.len() {
            for (_, event) in world.events(i) {
                if let Event::MemberDown { name: dead, .. } = event {
                    assert!([name(0), name(1)].contains(dead), "n{i} says {dead}, seed {seed}");
                }
            }
        }
        assert!(world.run_until(ms(30_000), World::all_agree).is_some(), "seed {seed}");
    }
}

/// How long until all others see a node in a state, over seeds, sorted.
fn times(
    seeds: u64,
    count: usize,
    profile: Profile,
    end: impl Fn(&mut World, usize),
    state: MemberState,
) -> Vec<Duration> {
    let mut all = Vec::new();
    for seed in 0..seeds {
        let mut world = joined(seed, count, profile);
        // Each has heard of each; the phase of the probes differs.
        world.run_for(ms(1000) * u32::try_from(count).unwrap() + ms(seed * 137 % 1000));
        let victim = count - 1;
        end(&mut world, victim);
        let seen = |w: &World| (0..victim).all(|i| w.state(i, victim) == Some(state));
        let took = world.run_until(ms(60_000), seen);
        all.push(took.unwrap_or_else(|| panic!("never seen, seed {seed}")));
        for i in 0..victim {
            for j in 0..victim {
                assert_ne!(world.state(i, j), Some(MemberState::Dead), "wrongly dead, seed {seed}");
            }
        }
    }
    all.sort();
    println!(
        "{count} nodes, {profile:?}, {state}: median {:?}, max {:?}",
        all[all.len() / 2],
        all[all.len() - 1]
    );
    all
}
