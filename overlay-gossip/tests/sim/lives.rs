//! Joining, coming back, and agreeing after trouble.

use std::time::Duration;

use overlay_gossip::*;

use crate::world::{World, joined, ms, name};

#[test]
fn everyone_knows_everyone_soon_after_joining_at_once() {
    for (count, seeds, limit) in
        [(3, 20, 1000), (10, 10, 2000), (50, 6, 2000), (100, 2, 2000), (300, 1, 3000)]
    {
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
