//! Clusters on a virtual clock.
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

mod world;

use std::time::Duration;

use overlay_gossip::*;
use world::{World, joined, ms, name};

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

#[test]
fn everyone_knows_everyone_soon_after_joining_at_once() {
    for (count, seeds, limit) in [(3, 20, 1000), (10, 10, 2000), (50, 6, 3000), (100, 2, 4000)] {
        let mut worst = Duration::ZERO;
        for seed in 0..seeds {
            let mut world = World::new(seed, count, Profile::Lan);
            world.everyone_joins(0);
            let took = world.run_until(ms(60_000), World::all_agree).unwrap();
            worst = worst.max(took);
        }
        println!("{count} nodes join: {worst:?} at worst");
        assert!(worst < ms(limit), "{count} nodes took {worst:?}");
    }
}

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

#[test]
fn leaving_a_network_is_seen_even_if_the_withdrawals_are_lost() {
    let mut world = joined(6, 2, Profile::Fast);
    let network = NetworkId::new("net").unwrap();
    for i in 0..2 {
        world.publish(i, "net", "k", Phase::Ready, "v");
    }
    world.run_for(ms(500));
    assert_eq!(world.rows(0, "net").len(), 2);
    world.network.loss = 1.0;
    world.with(1, |m, now| m.leave_network(now, &network));
    world.run_for(ms(700));
    world.network.loss = 0.0;
    world.run_for(ms(4000));
    assert_eq!(world.rows(0, "net").len(), 1);
}

#[test]
fn a_partition_heals() {
    for seed in 0..4 {
        let mut world = joined(seed, 6, Profile::Fast);
        world.publish(0, "net", "a", Phase::Ready, "1");
        world.publish(5, "net", "b", Phase::Ready, "1");
        world.run_for(ms(1000));
        for a in 0..3 {
            for b in 3..6 {
                world.cut(a, b);
            }
        }
        world.run_for(ms(20_000));
        assert_eq!(world.state(0, 5), Some(MemberState::Dead), "seed {seed}");
        let hidden = world.rows(0, "net");
        assert_eq!(hidden.iter().filter(|r| r.3).count(), 1, "suspended, not gone: {hidden:?}");
        world.publish(5, "net", "b", Phase::Draining, "2");
        world.heal();
        let took = world.run_until(ms(30_000), World::all_agree).unwrap_or_else(|| panic!("seed {seed}"));
        println!("healed in {took:?}");
        let same = |w: &World| w.rows(0, "net") == w.rows(5, "net") && w.rows(0, "net").iter().all(|r| !r.3);
        assert!(world.run_until(ms(5000), same).is_some(), "seed {seed}: {:?}", world.rows(0, "net"));
        assert!(world.rows(0, "net").iter().any(|r| r.2 == "2"));
    }
}

#[test]
fn a_restarted_node_comes_back_under_its_name() {
    for seed in 0..5 {
        for pause in [100, 6000] {
            let mut world = joined(seed, 4, Profile::Fast);
            world.kill(3);
            world.run_for(ms(pause));
            world.boot(3);
            let to = world.addr(0);
            world.with(3, |m, now| m.join(now, to));
            let took = world.run_until(ms(5000), World::all_agree);
            assert!(took.is_some(), "seed {seed}, pause {pause}");
            world.run_for(ms(5000));
            assert!(world.all_agree(), "seed {seed}, pause {pause}");
        }
    }
}

#[test]
fn a_node_that_left_may_come_back_at_another_address() {
    let mut world = joined(1, 4, Profile::Fast);
    world.publish(3, "net", "old", Phase::Ready, "v");
    world.run_for(ms(500));
    world.with(3, |m, now| m.leave(now));
    world.run_for(ms(2000));
    let mut addr = world.addr(3);
    addr.set_port(7950);
    world.forget_lives(3); // and with an older clock
    world.move_to(3, addr);
    world.publish(3, "net", "k", Phase::Ready, "v");
    let to = world.addr(0);
    world.with(3, |m, now| m.join(now, to));
    assert!(world.run_until(ms(5000), World::all_agree).is_some());
    assert_eq!(world.machine(1).member(&name(3)).unwrap().addr, addr);
    world.publish(1, "net", "k", Phase::Ready, "v");
    world.run_for(ms(1000));
    assert_eq!(world.rows(1, "net").len(), 2);
}

#[test]
fn the_largest_incarnation_evicts_nobody_for_good() {
    let mut world = joined(1, 3, Profile::Fast);
    world.hostile = true;
    // A hand-made suspect{From: n0, Incarnation: u32::MAX, Node: n2}.
    let mut evil = vec![0x03, 0x83, 0xa4];
    evil.extend_from_slice(b"From\xa2n0\xabIncarnation\xce\xff\xff\xff\xff\xa4Node\xa2n2");
    let from = world.addr(0);
    for i in 0..3 {
        let input = Input::Datagram { from, payload: &evil };
        world.with(i, |m, now| m.handle_input(now, input)).unwrap();
    }
    world.run_for(ms(10_000));
    assert!(world.all_agree());
}

#[test]
fn a_record_reaches_the_others_in_a_blink() {
    for seed in 0..10 {
        let mut world = joined(seed, 3, Profile::Lan);
        let network = NetworkId::new("net").unwrap();
        for i in 0..3 {
            world.with(i, |m, now| m.join_network(now, &network));
        }
        world.run_for(ms(1000));
        assert_eq!(world.machine(1).peers(&network).len(), 3, "seed {seed}");
        world.publish(0, "net", "k", Phase::Ready, "v");
        let seen = |w: &World| (0..3).all(|i| w.rows(i, "net").len() == 1);
        let took = world.run_until(ms(250), seen);
        assert!(took.is_some_and(|t| t < ms(50)), "{took:?}, seed {seed}");
    }
}

#[test]
fn tables_converge_whatever_is_lost() {
    for seed in 0..4 {
        let mut world = joined(seed, 5, Profile::Lan);
        world.network.loss = 0.3;
        let network = NetworkId::new("net").unwrap();
        for i in 0..5 {
            world.with(i, |m, now| m.join_network(now, &network));
        }
        for round in 0..20 {
            for i in 0..5 {
                let phase = if round % 7 == 6 { Phase::Gone } else { Phase::Ready };
                world.publish(i, "net", &format!("k{}", round % 3), phase, &round.to_string());
            }
            world.run_for(ms(100));
        }
        let own: Vec<_> = (0..5)
            .flat_map(|i| world.rows(i, "net").into_iter().filter(move |r| r.0 == format!("n{i}")))
            .collect();
        let same = |w: &World| (0..5).all(|i| w.rows(i, "net") == own);
        assert!(world.run_until(ms(20_000), same).is_some(), "seed {seed}");
    }
}

#[test]
fn a_thousand_records_reach_ten_nodes_within_a_second() {
    let mut world = joined(5, 10, Profile::Lan);
    let network = NetworkId::new("net").unwrap();
    for i in 0..10 {
        world.with(i, |m, now| m.join_network(now, &network));
    }
    world.run_for(ms(1000));
    for k in 0..1000 {
        world.publish(0, "net", &format!("endpoint-{k}"), Phase::Ready, &"x".repeat(60));
    }
    let all = |w: &World| (0..10).all(|i| w.rows(i, "net").len() == 1000);
    let took = world.run_until(ms(5000), all).unwrap();
    println!("1000 records to 10 nodes in {took:?}");
    assert!(took < ms(1000));
}

#[test]
fn records_live_and_end_with_their_owner() {
    let mut world = joined(2, 4, Profile::Fast);
    for i in 0..4 {
        world.publish(i, "net", "k", Phase::Ready, &i.to_string());
        world.publish(i, "net", "old", Phase::Ready, &i.to_string());
    }
    world.run_for(ms(1000));
    assert_eq!(world.rows(0, "net").len(), 8);
    // Dead: suspended.
    world.power_off(3);
    world.run_for(ms(5000));
    assert_eq!(world.rows(0, "net").iter().filter(|r| r.3).count(), 2);
    assert_eq!(world.machine(0).peers(&NetworkId::new("net").unwrap()).len(), 3);
    // A new life: what is not published again vanishes.
    world.boot(3);
    let to = world.addr(1);
    world.with(3, |m, now| m.join(now, to));
    world.publish(3, "net", "k", Phase::Starting, "new");
    world.run_for(ms(1000));
    let rows = world.rows(0, "net");
    assert!(rows.contains(&("n3".into(), "k".into(), "new".into(), false)), "{rows:?}");
    assert!(rows.contains(&("n3".into(), "old".into(), "3".into(), true)), "{rows:?}");
    world.run_for(ms(30_000));
    assert_eq!(world.rows(0, "net").iter().filter(|r| r.0 == "n3").count(), 1);
    // A goodbye: gone.
    world.with(3, |m, now| m.leave(now));
    world.run_for(ms(2000));
    assert_eq!(world.rows(0, "net").iter().filter(|r| r.0 == "n3").count(), 0);
    // Leaving the network: gone, too.
    let network = NetworkId::new("net").unwrap();
    world.with(2, |m, now| m.leave_network(now, &network));
    world.run_for(ms(1000));
    assert_eq!(world.rows(0, "net").len(), 4);
    assert_eq!(world.rows(2, "net").len(), 0);
    assert_eq!(world.machine(0).peers(&network), vec![name(0), name(1)]);
}

#[test]
fn a_new_life_with_a_slow_clock_is_heard_as_well() {
    let mut world = joined(4, 3, Profile::Fast);
    world.publish(2, "net", "k", Phase::Draining, "old");
    world.publish(0, "net", "k", Phase::Ready, "0");
    world.run_for(ms(1000));
    world.kill(2);
    world.forget_lives(2); // the clock went back: the boot time is the same again
    world.boot(2);
    let to = world.addr(0);
    world.with(2, |m, now| m.join(now, to));
    world.publish(2, "net", "k2", Phase::Ready, "new");
    world.run_for(ms(20_000));
    let mine: Vec<_> = world.rows(0, "net").into_iter().filter(|r| r.0 == "n2").collect();
    assert_eq!(mine, vec![("n2".into(), "k2".into(), "new".into(), false)]);
}

#[test]
fn a_phase_never_goes_back() {
    let mut world = joined(1, 2, Profile::Fast);
    let network = NetworkId::new("net").unwrap();
    world.publish(0, "net", "k", Phase::Draining, "v");
    let at = Publish { network: &network, table: "t", key: "k" };
    let back = world.with(0, |m, now| m.publish(now, at, Phase::Ready, "v".into()));
    assert_eq!(back, Err(PublishError::Backwards { from: Phase::Draining, to: Phase::Ready }));
    world.publish(0, "net", "k", Phase::Gone, "");
    world.publish(0, "net", "k", Phase::Starting, "again");
    world.run_for(ms(500));
    assert_eq!(world.rows(1, "net"), Vec::new(), "not attached: nothing is kept");
    world.with(1, |m, now| m.join_network(now, &network));
    world.run_for(ms(200));
    assert_eq!(world.rows(1, "net").len(), 1);
}

#[test]
fn the_same_seed_is_the_same_history() {
    let run = |seed| {
        let mut world = World::new(seed, 8, Profile::Fast);
        world.network.loss = 0.2;
        world.everyone_joins(0);
        world.run_for(ms(10_000));
        world.power_off(3);
        world.run_for(ms(10_000));
        let events: Vec<_> = (0..world.len()).flat_map(|i| world.events(i).to_vec()).collect();
        (world.traffic, format!("{events:?}"))
    };
    assert!(run(9) == run(9));
    assert!(run(9) != run(10));
}

#[test]
fn after_any_trouble_all_agree_again() {
    use rand::Rng;
    let network = NetworkId::new("net").unwrap();
    for seed in 100..112 {
        let mut world = joined(seed, 6, Profile::Fast);
        let to = [world.addr(0), world.addr(1)];
        for step in 0..40 {
            let i = world.rng().random_range(0..6);
            let j = world.rng().random_range(0..6);
            world.network.loss = if world.rng().random_bool(0.3) { 0.3 } else { 0.0 };
            let runs = world.runs(i);
            match world.rng().random_range(0..9) {
                0 if runs => world.kill(i),
                1 if runs => world.power_off(i),
                2 => world.cut(i, j),
                3 => world.heal(),
                4 if runs => world.pause(i, ms(1500)),
                5 if runs => world.with(i, |m, now| m.leave_network(now, &network)),
                _ if !runs => {
                    world.boot(i);
                    to.iter().for_each(|to| world.with(i, |m, now| m.join(now, *to)));
                }
                _ => {
                    let phase = if step % 5 == 4 { Phase::Gone } else { Phase::Ready };
                    world.publish(i, "net", &format!("k{}", step % 3), phase, &step.to_string());
                }
            }
            let pause = world.rng().random_range(10..900);
            world.run_for(ms(pause));
        }
        world.network.loss = 0.0;
        world.heal();
        for i in 0..6 {
            if !world.runs(i) {
                world.boot(i);
            }
            to.iter().for_each(|to| world.with(i, |m, now| m.join(now, *to)));
            world.with(i, |m, now| m.join_network(now, &network));
        }
        let calm = world.run_until(ms(30_000), World::all_agree);
        assert!(calm.is_some(), "members differ, seed {seed}");
        world.run_for(ms(15_000));
        let own: Vec<_> = (0..6)
            .flat_map(|i| world.rows(i, "net").into_iter().filter(move |r| r.0 == format!("n{i}")))
            .collect();
        for i in 0..6 {
            assert_eq!(world.rows(i, "net"), own, "tables differ at n{i}, seed {seed}");
            assert_eq!(world.machine(i).peers(&network).len(), 6, "peers differ at n{i}, seed {seed}");
        }
    }
}
