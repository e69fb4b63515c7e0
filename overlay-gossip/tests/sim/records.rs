//! Tables.

use overlay_gossip::*;

use crate::world::{World, joined, ms, name};

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
