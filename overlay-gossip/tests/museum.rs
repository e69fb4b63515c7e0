//! Bugs that others had: each is a scenario here, named after what must hold.
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

use std::collections::BTreeMap;
use std::time::Duration;

use overlay_gossip::sim::Stall;
use overlay_gossip::sim::script::{Plan, Script};
use overlay_gossip::*;
use world::{World, joined, ms, name};

fn attach_all(world: &mut World, network: &NetworkId) {
    (0..world.len()).for_each(|i| world.with(i, |m, now| m.join_network(now, network)));
}

fn own_rows(world: &World, network: &str) -> Vec<(String, String, String, bool)> {
    let own = |i: usize| world.rows(i, network).into_iter().filter(move |r| r.0 == format!("n{i}"));
    let mut rows: Vec<_> = (0..world.len()).flat_map(own).collect();
    rows.sort();
    rows
}

fn tables_equal(world: &World, network: &str) -> bool {
    let own = own_rows(world, network);
    (0..world.len()).all(|i| {
        let mut rows = world.rows(i, network);
        rows.sort();
        rows == own
    })
}

/// moby#47728, PR 50342: leave, rejoin and create arrive in another order; a tombstone ties with a live record.
#[test]
fn what_a_node_says_last_about_itself_holds_in_whatever_order_it_arrives() {
    for seed in 0..6 {
        let mut world = joined(seed, 5, Profile::Lan);
        let network = NetworkId::new("net").unwrap();
        attach_all(&mut world, &network);
        world.run_for(ms(1000));
        (world.network.loss, world.network.duplicate, world.network.reorder) = (0.2, 0.4, 0.5);
        for round in 0..10 {
            world.with(1, |m, now| m.leave_network(now, &network));
            world.with(1, |m, now| m.join_network(now, &network));
            world.publish(1, "net", "k", Phase::Ready, &round.to_string());
            world.run_for(ms(37));
        }
        world.network = sim::Network::default();
        assert!(world.run_until(ms(15_000), |w| tables_equal(w, "net")).is_some(), "seed {seed}");
        assert_eq!(own_rows(&world, "net").len(), 1);
    }
}

/// moby#53437: the word of an attachment dies out, and the records that depend on it are refused for ever.
#[test]
fn a_lost_attachment_comes_with_the_next_comparison() {
    let mut world = joined(3, 15, Profile::Lan);
    let network = NetworkId::new("net").unwrap();
    (1..15).for_each(|i| world.with(i, |m, now| m.join_network(now, &network)));
    world.run_for(ms(1000));
    world.network.loss = 1.0;
    world.with(0, |m, now| m.join_network(now, &network));
    world.publish(0, "net", "k", Phase::Ready, "v");
    world.run_for(ms(1200));
    world.network.loss = 0.0;
    let peers = |w: &World| (0..15).all(|i| w.machine(i).peers(&network).len() == 15);
    assert!(world.run_until(ms(30_000), |w| peers(w) && tables_equal(w, "net")).is_some());
}

/// moby#53141: a node is cut off for a while; the others wipe its records and never learn them again.
#[test]
fn a_node_that_was_cut_off_has_its_records_back_without_a_restart() {
    for (seed, cut) in [(1, 10_000), (2, 20_000), (3, 30_000)] {
        let mut world = joined(seed, 6, Profile::Lan);
        (0..6).for_each(|i| world.publish(i, "net", "k", Phase::Ready, &i.to_string()));
        world.run_for(ms(1000));
        (1..6).for_each(|i| world.cut(0, i));
        world.run_for(ms(cut));
        assert_eq!(world.rows(1, "net").len(), 6, "suspended at most");
        world.heal();
        assert!(world.run_until(ms(20_000), World::all_agree).is_some(), "seed {seed}");
        assert!(world.run_until(ms(5000), |w| tables_equal(w, "net")).is_some(), "seed {seed}");
        assert!(world.rows(1, "net").iter().all(|row| !row.3));
    }
}

/// moby#49939: two queues fill one packet; its tail is cut off but counted as sent. (Every datagram's size is checked.)
#[test]
fn large_records_and_a_join_storm_fit_into_datagrams() {
    let mut world = World::new(5, 12, Profile::Lan);
    let network = NetworkId::new("net").unwrap();
    attach_all(&mut world, &network);
    for i in 0..12 {
        (0..20).for_each(|k| world.publish(i, "net", &format!("k{k}"), Phase::Ready, &"v".repeat(50 * k)));
    }
    world.everyone_joins(0);
    let done = |w: &World| w.all_agree() && w.rows(3, "net").len() == 240 && tables_equal(w, "net");
    assert!(world.run_until(ms(10_000), done).is_some());
}

/// moby#50230: an update reaches the driver as a deletion.
#[test]
fn replaying_the_changes_gives_the_state() {
    let mut world = joined(8, 4, Profile::Fast);
    let network = NetworkId::new("net").unwrap();
    attach_all(&mut world, &network);
    let mut watch = Watch::new(&network, "t");
    let mut replayed: BTreeMap<(NodeName, String), Record> = BTreeMap::new();
    let mut kinds = [0; 3];
    world.network.loss = 0.2;
    let phases = [Phase::Starting, Phase::Ready, Phase::Draining, Phase::Gone];
    for round in 0..120 {
        let i = round % 4;
        if world.runs(i) {
            world.publish(
                i,
                "net",
                &format!("k{}", round / 16 % 3),
                phases[round / 4 % 4],
                &round.to_string(),
            );
        }
        match round {
            60 => world.power_off(3),
            90 => {
                world.boot(3);
                world.join(3, 0);
                world.with(3, |m, now| m.join_network(now, &network));
            }
            _ => {}
        }
        world.run_for(ms(97));
        for change in watch.follow(world.machine(0).records(&network, "t")) {
            let id = |r: &Record| (r.owner.clone(), r.key.clone());
            match change {
                RecordChange::Appeared(r) => {
                    kinds[0] += 1;
                    assert!(replayed.insert(id(&r), r).is_none());
                }
                RecordChange::Changed { was, is } => {
                    kinds[1] += 1;
                    assert_eq!(replayed.insert(id(&is), is), Some(was));
                }
                RecordChange::Vanished(r) => {
                    kinds[2] += 1;
                    assert_eq!(replayed.remove(&id(&r)), Some(r));
                }
            }
        }
        assert!(replayed.values().eq(world.machine(0).records(&network, "t").iter()));
    }
    assert!(kinds.iter().all(|n| *n > 0), "{kinds:?}");
}

/// moby#41896: a sync brings an endpoint back that was draining.
#[test]
fn a_draining_record_is_never_ready_again() {
    for seed in 0..4 {
        let mut world = joined(seed, 6, Profile::Fast);
        let network = NetworkId::new("net").unwrap();
        attach_all(&mut world, &network);
        world.publish(0, "net", "k", Phase::Ready, "v");
        world.run_for(ms(500));
        world.part(3);
        world.publish(0, "net", "k", Phase::Draining, "v");
        world.run_for(ms(15_000));
        world.heal();
        let draining = |w: &World| {
            (0..6).all(|i| w.machine(i).records(&network, "t").iter().all(|r| r.phase == Phase::Draining))
        };
        assert!(world.run_until(ms(30_000), draining).is_some(), "seed {seed}");
        for _ in 0..200 {
            world.run_for(ms(50));
            assert!(draining(&world), "seed {seed}");
        }
    }
}

/// libnetwork#1836: leaving and joining quickly lists a node twice.
#[test]
fn a_node_that_leaves_and_joins_quickly_is_there_once() {
    let mut world = joined(4, 4, Profile::Lan);
    let network = NetworkId::new("net").unwrap();
    attach_all(&mut world, &network);
    for _ in 0..20 {
        world.with(2, |m, now| m.leave_network(now, &network));
        world.run_for(ms(3));
        world.with(2, |m, now| m.join_network(now, &network));
        world.run_for(ms(3));
    }
    world.run_for(ms(5000));
    for i in 0..4 {
        assert_eq!(world.machine(i).peers(&network), (0..4).map(name).collect::<Vec<_>>());
    }
}

/// memberlist#242: a node whose interface is down holds all others for alive, for ever.
#[test]
fn a_node_without_a_network_notices_and_comes_back() {
    let mut world = joined(2, 8, Profile::Lan);
    (1..8).for_each(|i| world.cut(0, i));
    let alone = |w: &World| (1..8).all(|i| w.state(0, i) == Some(MemberState::Dead));
    assert!(world.run_until(ms(180_000), alone).is_some());
    assert!((1..8).all(|i| world.state(i, 0) == Some(MemberState::Dead)));
    world.heal();
    assert!(world.run_until(ms(30_000), World::all_agree).is_some());
}

/// consul#5567: slow nodes accuse everybody.
#[test]
fn nodes_that_stand_still_accuse_nobody() {
    for stall in [Stall::Process, Stall::Traffic] {
        let mut plan = Plan::new(Script::SlowNodes, 48, Profile::Lan);
        (plan.slow, plan.stall) = (12, stall);
        for seed in 0..2 {
            let outcome = plan.run(seed, &mut |_| {});
            assert_eq!(outcome.violations, &[]);
            let wrong = outcome.figures.iter().find(|figure| figure.what == "false_deaths").unwrap();
            assert!(wrong.value <= 2.0, "{stall:?}, seed {seed}: {:?}", outcome.figures);
        }
    }
}

/// swarmkit#2198, #2199, consul#457: every node has another address after its restart.
#[test]
fn a_cluster_whose_nodes_all_move_is_the_same_cluster() {
    let mut world = joined(7, 5, Profile::Lan);
    for i in 0..5 {
        let mut addr = world.addr(i);
        addr.set_port(9000);
        world.move_to(i, addr);
        world.join(i, (i + 1) % 5);
        let known = |w: &World| (0..5).all(|j| w.machine(j).member(&name(i)).is_some_and(|m| m.addr == addr));
        let took = world.run_until(ms(60_000), |w| w.all_agree() && known(w));
        assert!(took.is_some(), "node {i}: {:?}", world.events(0).last());
    }
    let moved = |e: &Event| matches!(e, Event::AddrChanged { name, .. } if *name == self::name(3));
    assert!(world.events(0).iter().any(|(_, e)| moved(e)));
}

/// Two nodes under one name: the second one is told apart and changes nothing.
#[test]
fn a_second_node_of_the_same_name_is_reported_and_ignored() {
    let mut world = joined(9, 4, Profile::Lan);
    let mut twin = Membership::new(Config::new(name(2), Profile::Lan), std::time::Instant::now(), 1);
    let now = std::time::Instant::now();
    twin.join(now, "10.9.9.9:1".parse().unwrap());
    let Some(Output::Action(Action::Dial { payload, .. })) = twin.poll_output() else { panic!("no dial") };
    let from = world.addr(3);
    world.with(0, |m, now| {
        let input = Input::Request { id: StreamId(1 << 40), from, payload: &payload };
        m.handle_input(now, input).unwrap();
    });
    world.run_for(ms(10_000));
    assert!(world.all_agree());
    assert!(world.events(0).iter().any(|(_, e)| matches!(e, Event::NameConflict { .. })));
}

/// serf#216: UDP is blocked, TCP is open: members flap.
#[test]
fn blocked_udp_is_an_event_and_no_flapping() {
    let mut world = joined(6, 6, Profile::Lan);
    world.block_udp(0, 1);
    let blocked = |e: &Event| matches!(e, Event::UdpBlocked { name } if *name == self::name(1));
    let seen = |w: &World| w.events(0).iter().any(|(_, e)| blocked(e));
    assert!(world.run_until(ms(12_000), seen).is_some());
    world.run_for(ms(120_000));
    let down = |e: &Event| matches!(e, Event::MemberDown { .. } | Event::MemberSuspect { .. });
    assert!((0..6).all(|i| !world.events(i).iter().any(|(_, e)| down(e))));
    assert_eq!(world.events(0).iter().filter(|(_, e)| blocked(e)).count(), 1, "said once");
}

/// foca#15: a node that all others gave up never comes back by itself.
#[test]
fn a_node_that_was_given_up_comes_back_by_itself() {
    let mut world = joined(1, 5, Profile::Lan);
    (0..4).for_each(|i| world.cut(i, 4));
    world.run_for(ms(240_000));
    assert!((0..4).all(|i| world.state(i, 4) == Some(MemberState::Dead)));
    world.heal();
    assert!(world.run_until(ms(30_000), World::all_agree).is_some());
}

/// memberlist: after a join storm, 7 % of clusters of 100 wait for more than a minute until the last pair knows.
#[test]
fn nobody_waits_for_minutes_after_a_join_storm() {
    let plan = Plan::new(Script::JoinStorm, 100, Profile::Lan);
    for seed in 0..4 {
        let outcome = plan.run(seed, &mut |_| {});
        let last = outcome.figures.iter().find(|figure| figure.what == "last_pair").unwrap();
        assert!(last.value < 3.0, "seed {seed}: {} s", last.value);
        assert_eq!(outcome.violations, &[]);
    }
}

/// chitchat#161, foca#31: those who are gone for good are remembered for ever.
#[test]
fn the_long_gone_are_forgotten() {
    let mut world = joined(1, 4, Profile::Fast);
    world.with(3, |m, now| m.leave(now));
    world.run_for(ms(2000));
    world.kill(3);
    world.run_for(Duration::from_secs(660));
    assert!((0..3).all(|i| world.state(i, 3).is_none()));
}

/// A path that is open in one direction only: others vouch for both ends.
#[test]
fn a_one_way_cut_kills_nobody() {
    let mut world = joined(1, 8, Profile::Lan);
    world.cut_one_way(0, 1);
    world.run_for(ms(120_000));
    assert!(world.all_agree());
}
