//! Many nodes of ours in Docker's format, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use overlay_gossip::sim::{Network, World, name};
use overlay_gossip::*;
use rand::Rng;

const TABLE: &str = "t";

#[test]
fn nodes_agree_in_spite_of_loss() {
    for (seed, count) in [(1, 2), (2, 5), (3, 25)] {
        let mut world = joined(seed, count);
        world.network = Network { loss: 0.1, duplicate: 0.05, reorder: 0.1, ..world.network };
        for i in 0..count {
            publish(&mut world, i, &format!("a{i}"), Phase::Ready, "1");
            publish(&mut world, i, &format!("b{i}"), Phase::Ready, "1");
        }
        world.run_for(ms(500));
        for i in 0..count {
            publish(&mut world, i, &format!("a{i}"), Phase::Ready, "2");
            publish(&mut world, i, &format!("b{i}"), Phase::Gone, "");
        }
        let want: BTreeSet<_> = (0..count).map(|i| row(i, &format!("a{i}"), "2", false)).collect();
        let took = world.run_until(ms(120_000), |world| all(world, |w, i| rows(w, i) == want));
        println!("{count} nodes agree after {:?}", took.expect("agreement"));
        end(&world);
    }
}

#[test]
fn a_burst_does_not_wait_for_its_turn() {
    let mut world = joined(4, 10);
    for k in 0..1000 {
        publish(
            &mut world,
            3,
            &format!("k{k}"),
            Phase::Ready,
            "a value of about sixty bytes, as an endpoint's record has it..",
        );
    }
    let took = world.run_until(ms(60_000), |world| all(world, |w, i| rows(w, i).len() == 1000));
    println!("1000 entries at 10 nodes after {took:?}");
    assert!(took.unwrap() < ms(1000));
    let before = world.traffic.datagram_bytes;
    world.run_for(ms(60_000));
    println!("{} bytes of datagrams in the minute after", world.traffic.datagram_bytes - before);
    end(&world);
}

#[test]
fn who_leaves_takes_all_along_and_who_is_lost_comes_back() {
    let mut world = joined(5, 5);
    for i in 0..5 {
        publish(&mut world, i, &format!("k{i}"), Phase::Ready, "v");
    }
    agree(&mut world, 5, "all published");
    // Leaving a network: forgotten everywhere, nobody else's harmed.
    let net = net();
    world.with(0, |m, now| m.leave_network(now, &net));
    let took = world.run_until(ms(20_000), |w| (1..5).all(|i| rows(w, i).len() == 4 && peers(w, i) == 4));
    assert!(took.is_some());
    assert!(rows(&world, 0).is_empty());
    publish(&mut world, 0, "k0", Phase::Ready, "again");
    agree(&mut world, 5, "back in the network");
    // Leaving the cluster.
    world.with(1, Membership::leave);
    let took = world.run_until(ms(20_000), |w| [0, 2, 3, 4].iter().all(|i| rows(w, *i).len() == 4));
    assert!(took.is_some());
    world.kill(1);
    // Lost for a while: suspended, not forgotten, and new ones are heard of in the end.
    for i in [0, 2, 3] {
        world.cut(4, i);
    }
    let lost = |w: &World, at: usize, of: usize| rows(w, at).contains(&row(of, &format!("k{of}"), "v", true));
    let took = world.run_until(ms(60_000), |w| [0, 2, 3].iter().all(|i| lost(w, *i, 4)));
    assert!(took.is_some(), "suspended");
    publish(&mut world, 4, "new", Phase::Ready, "from here");
    publish(&mut world, 2, "other", Phase::Ready, "from there");
    publish(&mut world, 2, "k2", Phase::Gone, "");
    world.run_for(ms(30_000));
    world.heal();
    agree(&mut world, 5, "healed");
    assert!(rows(&world, 4).contains(&row(2, "other", "from there", false)));
    end(&world);
}

#[test]
fn whoever_left_the_cluster_and_comes_again_has_its_entries_again() {
    let mut world = joined(10, 4);
    for i in 0..4 {
        publish(&mut world, i, &format!("k{i}"), Phase::Ready, "v");
    }
    agree(&mut world, 4, "published");
    world.with(2, Membership::leave);
    let took = world.run_until(ms(20_000), |w| [0, 1, 3].iter().all(|i| rows(w, *i).len() == 3));
    assert!(took.is_some());
    world.run_for(ms(3000));
    world.join(2, 1);
    publish(&mut world, 2, "k2", Phase::Draining, "w");
    publish(&mut world, 2, "k2", Phase::Gone, "");
    publish(&mut world, 2, "k2", Phase::Ready, "v");
    agree(&mut world, 4, "back");
}

/// Whatever happens: when it is over, all hold what the owners said last.
#[test]
fn tables_are_what_their_owners_said_in_the_end() {
    for seed in 100..112 {
        let mut world = joined(seed, 5);
        world.network = Network { loss: 0.15, duplicate: 0.05, reorder: 0.1, ..world.network };
        let mut said: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); 5];
        for step in 0..80 {
            let (i, key) = (world.rng().random_range(0..5), world.rng().random_range(0..4));
            let (key, value) = (format!("k{i}-{key}"), format!("v{step}"));
            match world.rng().random_range(0..12) {
                0..=6 => {
                    publish(&mut world, i, &key, Phase::Ready, &value);
                    said[i].insert(key, value);
                }
                7 | 8 => {
                    publish(&mut world, i, &key, Phase::Gone, "");
                    said[i].remove(&key);
                }
                9 => {
                    let network = net();
                    world.with(i, |m, now| m.leave_network(now, &network));
                    said[i].clear();
                }
                10 => world.cut(i, (i + 1) % 5),
                _ => world.heal(),
            }
            let time = world.rng().random_range(0..1500);
            world.run_for(ms(time));
        }
        world.heal();
        world.network = Network::default();
        let network = net();
        (0..5).for_each(|i| world.with(i, |m, now| m.join_network(now, &network)));
        let said = said.into_iter().enumerate();
        let want: BTreeSet<Row> =
            said.flat_map(|(i, keys)| keys.into_iter().map(move |(k, v)| row(i, &k, &v, false))).collect();
        let took = world.run_until(ms(180_000), |w| all(w, |w, i| rows(w, i) == want));
        if took.is_none() {
            for i in 0..5 {
                let rows = rows(&world, i);
                println!("n{i} lacks {:?}", want.difference(&rows).collect::<Vec<_>>());
                println!("n{i} has {:?}", rows.difference(&want).collect::<Vec<_>>());
            }
            panic!("no agreement, seed {seed}");
        }
        println!("seed {seed}: {} entries after {took:?}", want.len());
        end(&world);
    }
}

#[test]
fn a_new_life_of_a_node_ends_what_the_old_one_said() {
    let mut world = joined(6, 4);
    publish(&mut world, 1, "old", Phase::Ready, "v");
    publish(&mut world, 1, "both", Phase::Ready, "before");
    publish(&mut world, 2, "else", Phase::Ready, "v");
    agree(&mut world, 3, "first life");
    world.hostile = true; // it begins to count anew, which looks like a lie to the checks
    world.kill(1);
    world.run_for(ms(300));
    world.boot(1);
    publish(&mut world, 1, "both", Phase::Ready, "after");
    world.join(1, 0);
    let took = world.run_until(ms(60_000), |w| {
        all(w, |w, i| {
            let rows = rows(w, i);
            rows.len() == 2 && rows.contains(&row(1, "both", "after", false))
        })
    });
    println!("the old life is over after {:?}", took.expect("the end of the old life"));
}

#[test]
fn another_node_at_the_same_address_harms_nobody() {
    let mut world = joined(7, 4);
    publish(&mut world, 1, "k1", Phase::Ready, "v");
    agree(&mut world, 1, "published");
    // A fifth node takes the address of the third for itself, for a moment.
    let newcomer = world.add();
    let taken = world.addr(3);
    world.move_to(newcomer, "10.9.9.9:7946".parse().unwrap());
    let network = net();
    world.with(newcomer, |m, now| m.join_network(now, &network));
    world.join(newcomer, 0);
    agree(&mut world, 1, "a newcomer");
    world.kill(3);
    world.move_to(newcomer, taken);
    world.with(newcomer, |m, now| m.join_network(now, &network));
    world.join(newcomer, 0);
    let took = world.run_until(ms(60_000), |w| [0, 1, 2, 4].iter().all(|i| peers(w, *i) == 4));
    assert!(took.is_some(), "the newcomer is a peer at its new address");
    assert!([0, 1, 2, 4].iter().all(|i| rows(&world, *i).contains(&row(1, "k1", "v", false))));
}

#[test]
fn whoever_comes_late_hears_everything_at_once() {
    let mut world = joined(8, 6);
    for k in 0..3000 {
        publish(&mut world, k % 6, &format!("k{k}"), Phase::Ready, "some value");
    }
    agree(&mut world, 3000, "six nodes");
    let late = world.add();
    world.join(late, 2);
    world.run_for(ms(1000));
    let network = net();
    world.with(late, |m, now| m.join_network(now, &network));
    let took = world.run_until(ms(30_000), |w| rows(w, late).len() == 3000);
    println!("3000 entries after {took:?}");
    assert!(took.unwrap() < ms(1000));
    assert_eq!(peers(&world, late), 7);
    end(&world);
}

#[test]
fn two_that_want_one_key_agree_on_one_of_them() {
    let mut world = joined(9, 6);
    for (i, value) in [(1, "one"), (4, "four")] {
        publish(&mut world, i, "k", Phase::Ready, value);
    }
    let took = world.run_until(ms(30_000), |w| {
        let first = rows(w, 0);
        first.len() == 1 && all(w, |w, i| rows(w, i) == first)
    });
    assert!(took.is_some());
    let owner = rows(&world, 0).first().unwrap().0.clone();
    let loser = if owner == "n1" { 4 } else { 1 };
    let network = net();
    let at = Publish { network: &network, table: TABLE, key: "k" };
    let refused = world.with(loser, |m, now| m.publish(now, at, Phase::Ready, Bytes::new()));
    assert!(matches!(refused, Err(PublishError::Taken { .. })), "{refused:?}");
    assert!(matches!(
        world.with(0, |m, now| m.publish(now, Publish { key: "a/b", ..at }, Phase::Ready, Bytes::new())),
        Err(PublishError::Slash { .. })
    ));
}

fn joined(seed: u64, count: usize) -> World {
    let mut config = Config::new(name(0), Profile::Lan);
    config.table_format = TableFormat::NetworkDb;
    let mut world = World::new(seed, count, &config);
    world.everyone_joins(0);
    let network = net();
    for i in 0..count {
        world.with(i, |m, now| m.join_network(now, &network));
    }
    let took = world.run_until(ms(60_000), |w| w.agree() && all(w, |w, i| peers(w, i) == count));
    assert!(took.is_some(), "not joined, seed {seed}");
    world
}

fn publish(world: &mut World, i: usize, key: &str, phase: Phase, value: &str) {
    let (network, value) = (net(), Bytes::copy_from_slice(value.as_bytes()));
    world.with(i, |m, now| {
        m.publish(now, Publish { network: &network, table: TABLE, key }, phase, value).unwrap();
    });
}

type Row = (String, String, String, bool);

fn row(owner: usize, key: &str, value: &str, suspended: bool) -> Row {
    (name(owner).to_string(), key.to_owned(), value.to_owned(), suspended)
}

fn rows(world: &World, i: usize) -> BTreeSet<Row> {
    let records = world.machine(i).unwrap().records(&net(), TABLE).into_iter();
    records
        .map(|r| (r.owner.to_string(), r.key, String::from_utf8(r.value.to_vec()).unwrap(), r.suspended))
        .collect()
}

fn peers(world: &World, i: usize) -> usize {
    world.machine(i).unwrap().peers(&net()).len()
}

fn all(world: &World, holds: impl Fn(&World, usize) -> bool) -> bool {
    (0..world.len()).filter(|i| world.machine(*i).is_some()).all(|i| holds(world, i))
}

/// Waits until all that run hold so many entries, the same, and none is suspended.
fn agree(world: &mut World, count: usize, what: &str) {
    let seed = world.seed();
    let mut looked = Duration::ZERO;
    let took = world.run_until(ms(90_000), |w| {
        if w.elapsed() < looked {
            return false;
        }
        looked = w.elapsed() + ms(20);
        let Some(first) = (0..w.len()).find(|i| w.machine(*i).is_some()) else { return false };
        let first = rows(w, first);
        first.len() == count && first.iter().all(|row| !row.3) && all(w, |w, i| rows(w, i) == first)
    });
    assert!(took.is_some(), "never: {what}, seed {seed}");
    println!("{what}: after {took:?}");
}

fn end(world: &World) {
    assert_eq!(world.violations(), &[], "seed {}", world.seed());
}

fn net() -> NetworkId {
    NetworkId::new("netidaaaaaaaaaaaaaaaaaaaa").unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
