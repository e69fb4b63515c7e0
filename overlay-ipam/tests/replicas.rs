//! Replicas that read the same log are equal, whatever became of their leaders.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]

use overlay_ipam::{
    Command, Config, Family, Hold, Ipam, NetworkKey, Owner, OwnerKey, PoolSpec, SubnetRequest, Want,
};

/// 25 logs of 400 entries, and a new leader after each entry of each: ten thousand fail-overs. Each of them goes on
/// to the end of the log and gives the answers and the bytes of the one that never failed.
#[test]
fn a_leader_that_takes_over_after_any_entry_goes_on_as_if_nothing_had_happened() {
    let mut failovers = 0;
    for seed in 1..=25 {
        let log = log(seed, 400);
        let mut first = Ipam::new(config());
        let answers: Vec<_> = log.iter().map(|(at, command)| first.apply(*at, command)).collect();
        let end = first.snapshot();
        let mut replica = Ipam::new(config());
        for (index, (at, command)) in log.iter().enumerate() {
            assert_eq!(replica.apply(*at, command), answers[index]);
            // most go on for a while, some to the end
            let until = if index.is_multiple_of(10) { log.len() } else { (index + 40).min(log.len()) };
            let mut leader = Ipam::restore(&replica.snapshot()).unwrap();
            assert_eq!(leader.snapshot(), replica.snapshot(), "seed {seed}, entry {index}");
            for (after, (at, command)) in log.iter().enumerate().take(until).skip(index + 1) {
                assert_eq!(
                    leader.apply(*at, command),
                    answers[after],
                    "seed {seed}, entries {index}, {after}"
                );
            }
            if until == log.len() {
                assert_eq!(leader.snapshot(), end, "seed {seed}, entry {index}");
            }
            failovers += 1;
        }
        assert_eq!(replica.snapshot(), end);
        assert_eq!(replica.audit(), Ok(()));
    }
    assert_eq!(failovers, 10_000);
}

/// The same with a chain of leaders: each is restored from the one before, and the clock of some is behind.
#[test]
fn a_chain_of_leaders_with_clocks_that_differ_gives_nothing_twice() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let log = log(seed + 1000, 250);
        let mut ipam = Ipam::new(config());
        let mut never_failed = Ipam::new(config());
        for (at, command) in &log {
            let at = at.saturating_sub(random.below(3) * 40);
            assert_eq!(ipam.apply(at, command), never_failed.apply(at, command));
            if random.below(4) == 0 {
                ipam = serde_json::from_slice(&serde_json::to_vec(&ipam).unwrap()).unwrap();
            }
        }
        assert_eq!(ipam.snapshot(), never_failed.snapshot());
        assert_eq!(ipam, never_failed);
        assert_eq!(ipam.audit(), Ok(()));
    }
}

fn config() -> Config {
    let pool = |base: &str, piece| PoolSpec { base: base.parse().unwrap(), piece };
    let pools = vec![pool("10.0.0.0/20", 26), pool("fd00::/56", 64)];
    Config { pools, hold: Hold { address_ms: 60, vip_ms: 120, subnet_ms: 100 } }
}

/// Commands that make sense most of the time.
fn log(seed: u64, length: usize) -> Vec<(u64, Command)> {
    let mut random = Random(seed);
    let mut now = 0;
    let mut ipam = Ipam::new(config());
    (0..length)
        .map(|_| {
            now += random.below(15);
            let command = command(&mut random, &ipam);
            let _ = ipam.apply(now, &command);
            (now, command)
        })
        .collect()
}

fn command(random: &mut Random, ipam: &Ipam) -> Command {
    let network = NetworkKey::new(format!("n{}", random.below(5)));
    let key = |random: &mut Random| match random.below(2) {
        0 => OwnerKey::new(format!("{:025}", random.below(12))),
        _ => OwnerKey::new(format!("short {}", random.below(6))),
    };
    let owner = |random: &mut Random| match random.below(4) {
        0 => Owner::Vip(key(random)),
        1 => Owner::Lb(key(random)),
        _ => Owner::Task(key(random)),
    };
    let any = |text: &str| SubnetRequest { subnet: text.parse().ok(), ..SubnetRequest::default() };
    match random.below(30) {
        0..=2 => {
            let subnets = if random.below(2) == 0 { vec![] } else { vec![any("0.0.0.0/0"), any("::/0")] };
            Command::CreateNetwork { network, subnets }
        }
        3 if random.below(3) == 0 => Command::DeleteNetwork { network },
        4 => {
            let own = ipam.subnets(&network).first().map(|subnet| subnet.net);
            let around = own.and_then(|own| ipnet::IpNet::new(own.addr(), own.prefix_len() - 1).ok());
            let around = around.filter(|_| random.below(3) > 0).map(|around| around.trunc());
            let subnet = around.or("0.0.0.0/27".parse().ok());
            Command::GrowNetwork { network, subnet: SubnetRequest { subnet, ..SubnetRequest::default() } }
        }
        5 => Command::Delegate { network, to: key(random), family: Family::V4, prefix_len: 29 },
        6 => Command::Delegate { network, to: key(random), family: Family::V6, prefix_len: 112 },
        7 => {
            let from = key(random);
            let lease = ipam.lease(&network, &Owner::Delegation(from.clone()));
            let keep = lease.as_ref().and_then(|lease| lease.block).unwrap_or("10.0.0.0/31".parse().unwrap());
            let keep = ipnet::IpNet::new(keep.broadcast(), (keep.prefix_len() + 1).min(32)).unwrap();
            Command::Shrink { network, from, generation: lease.map_or(3, |lease| lease.generation), keep }
        }
        8 => Command::SetNodes {
            nodes: (0..random.below(3)).map(|n| format!("n{n}").as_str().into()).collect(),
        },
        9..=11 => {
            let through = ipam.mark().saturating_sub(random.below(4));
            Command::Ack { node: format!("n{}", random.below(3)).as_str().into(), through }
        }
        12 => {
            let nets = vec![format!("10.0.{}.0/24", random.below(16)).parse().unwrap()];
            Command::Exclude { by: key(random), nets }
        }
        13..=17 => {
            let owner = owner(random);
            let generation = ipam.lease(&network, &owner).map_or(1, |lease| lease.generation);
            Command::Release { network, owner, generation }
        }
        18 => Command::ReleaseOwner { owner: owner(random) },
        _ => {
            let other = NetworkKey::new(format!("n{}", random.below(5)));
            let want = |network, owner| Want { network, owner, prefer: None };
            let first = owner(random);
            let mut wants = vec![want(network, first.clone())];
            if random.below(3) == 0 {
                wants.push(want(other, first));
            }
            Command::Acquire { wants }
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
