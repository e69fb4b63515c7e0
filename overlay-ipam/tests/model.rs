//! Random commands against a naive model that scans lists; every grant and every refusal is predicted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

mod naive;

use ipnet::IpNet;
use naive::{KINDS, Model, kind};
use overlay_ipam::{
    Command, Config, Family, Granted, Hold, Ipam, NetworkKey, Owner, OwnerKey, PoolSpec, SubnetRequest, Want,
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree};

type Op = (u8, u8, u8, u16);

proptest! {
    #![proptest_config(ProptestConfig { cases: runs(), failure_persistence: None, max_shrink_iters: 1000, ..ProptestConfig::default() })]

    /// Runs of 400 commands.
    #[test]
    fn every_answer_is_the_one_that_a_naive_allocator_gives(
        ops in vec(any::<Op>(), 400),
        cut in 0_usize..400,
        hold in 0_u64..4,
    ) {
        let config = config(hold);
        let mut ipam = Ipam::new(config.clone());
        let mut replica = Ipam::new(config.clone());
        let mut model = Model::new(config);
        let mut now = 0;
        for (index, op) in ops.iter().enumerate() {
            let command = decode(*op, &model, &mut now);
            let checked = ipam.check(now, &command);
            let before = index.is_multiple_of(4).then(|| leases(&ipam));
            let answer = ipam.apply(now, &command);
            prop_assert_eq!(&checked, &answer.as_ref().map(|_| ()).map_err(Clone::clone), "check foresees apply");
            let expected = model.apply(now, &command);
            prop_assert_eq!(answer.clone().map_err(|denied| kind(&denied)), expected, "{:?}", command);
            if let Err(denied) = &answer {
                prop_assert!(!denied.to_string().is_empty());
                prop_assert!(before.is_none_or(|before| before == leases(&ipam)), "a refusal changes nothing");
            }
            prop_assert_eq!(&answer, &replica.apply(now, &command), "replicas agree");
            model.assert_usage(&ipam);
            if index % 4 == 1 {
                model.assert_resting(&ipam, u64::from(op.2) % 8);
                model.assert_census(&ipam);
            }
            if index % 8 == 0 {
                prop_assert_eq!(ipam.audit(), Ok(()));
            }
            if index == cut {
                let snapshot = serde_json::to_string(&ipam).unwrap();
                replica = serde_json::from_str(&snapshot).unwrap();
                prop_assert_eq!(replica.audit(), Ok(()));
                prop_assert_eq!(&replica, &ipam, "a restored state is the state");
            }
        }
        prop_assert_eq!(ipam.audit(), Ok(()));
        prop_assert_eq!(ipam.snapshot(), replica.snapshot());
        everything_comes_back(ipam, now);
    }

    #[test]
    fn a_snapshot_from_elsewhere_never_panics(
        bytes in vec(any::<u8>(), 0..8),
        at in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut ipam = Ipam::new(config(3));
        let ops = [(0, 0, 0, 0), (5, 0, 1, 0), (5, 0, 2, 0), (10, 0, 1, 0), (3, 0, 0, 0), (2, 1, 0, 3), (16, 1, 7, 4)];
        for op in ops {
            let command = decode(op, &Model::new(config(3)), &mut 0);
            let _ = ipam.apply(0, &command);
        }
        let mut snapshot = ipam.snapshot();
        let start = at.index(snapshot.len());
        let end = if cut { snapshot.len() } else { snapshot.len().min(start + bytes.len()) };
        snapshot.splice(start..end, bytes);
        if let Ok(mut restored) = Ipam::restore(&snapshot) {
            prop_assert_eq!(restored.audit(), Ok(()));
            let _ = restored.apply(0, &decode((5, 1, 3, 0), &Model::new(config(3)), &mut 0));
            prop_assert_eq!(restored.audit(), Ok(()));
        }
    }
}

/// 300,000 commands in all, or `IPAM_MODEL_COMMANDS`.
fn runs() -> u32 {
    let commands = std::env::var("IPAM_MODEL_COMMANDS").ok().and_then(|text| text.parse().ok());
    commands.unwrap_or(300_000_u32).div_ceil(400)
}

/// After all is released and rested, the state is that of the beginning.
fn everything_comes_back(mut ipam: Ipam, now: u64) {
    for owner in ipam.owners() {
        ipam.apply(now, &Command::ReleaseOwner { owner }).unwrap();
    }
    assert_eq!(ipam.owners().count(), 0);
    let late = now + 1_000_000;
    for network in ipam.networks().cloned().collect::<Vec<_>>() {
        ipam.apply(late, &Command::Tick).unwrap();
        assert!(ipam.usage(&network).iter().all(|usage| usage.held == 0 && usage.in_use == 0));
        ipam.apply(late, &Command::DeleteNetwork { network }).unwrap();
    }
    for by in 0..4 {
        ipam.apply(late, &Command::Exclude { by: OwnerKey::new(format!("node{by}")), nets: vec![] }).unwrap();
    }
    ipam.apply(late, &Command::SetNodes { nodes: vec![] }).unwrap();
    ipam.apply(late + 1_000_000, &Command::Tick).unwrap();
    let fresh = Ipam::new(ipam.config().clone()).snapshot();
    let (config, nothing) = fresh.split_at(fresh.len() - 8); // four counters, four empty lists
    let snapshot = ipam.snapshot();
    assert!(snapshot.starts_with(config) && snapshot.ends_with(&nothing[4..]));
    assert!(snapshot.len() <= fresh.len() + 4 * 9);
    assert_eq!(ipam.count(), 0);
    assert_eq!(ipam.audit(), Ok(()));
}

fn leases(ipam: &Ipam) -> Vec<overlay_ipam::Lease> {
    ipam.networks().flat_map(|network| ipam.all_leases(network)).collect()
}

/// `hold`: bit 0 for addresses, bit 1 for virtual ones and subnets.
fn config(hold: u64) -> Config {
    let pools = ["10.0.0.0/20 24", "10.0.4.0/24 28", "10.9.0.0/27 29", "fd00::/58 64"];
    let hold = Hold { address_ms: hold % 2 * 300, vip_ms: hold / 2 * 600, subnet_ms: hold / 2 * 500 };
    Config { pools: pools.map(pool).to_vec(), hold }
}

fn pool(text: &str) -> PoolSpec {
    let (base, piece) = text.split_once(' ').unwrap();
    PoolSpec { base: base.parse().unwrap(), piece: piece.parse().unwrap() }
}

/// Subnet, range, gateway.
const NAMED: [(&str, &str, &str); 17] = [
    ("172.19.0.1/28", "", "172.19.0.1"),
    ("172.19.0.0/29", "", ""),
    ("10.0.0.0/22", "10.0.1.0/29", ""),
    ("10.0.3.128/25", "", "10.0.3.130"),
    ("10.0.3.0/26", "10.0.3.56/29", "10.0.3.2"),
    ("192.168.0.0/30", "", ""),
    ("192.168.0.4/31", "", ""),
    ("192.168.0.6/32", "", ""),
    ("192.168.0.0/24", "192.168.9.0/28", ""),
    ("192.168.1.0/29", "", "192.168.1.7"),
    ("192.168.1.0/29", "", "192.168.2.1"),
    ("fd00::/126", "", ""),
    ("fd00:0:0:5::/64", "fd00:0:0:5::100/124", ""),
    ("0.0.0.0/29", "", ""),
    ("0.0.0.0/25", "", ""),
    ("::/0", "", ""),
    ("::/66", "", ""),
];

fn request(choice: u8) -> SubnetRequest {
    let (subnet, range, gateway) = NAMED[usize::from(choice) % NAMED.len()];
    let subnet: IpNet = subnet.parse().unwrap();
    let mut aux = std::collections::BTreeMap::new();
    if choice & 0x30 == 0x30 {
        aux.insert(
            "router".to_owned(),
            naive::addr(subnet, naive::bits(subnet.network()) + u128::from(choice >> 6)),
        );
    }
    SubnetRequest { subnet: Some(subnet), range: range.parse().ok(), gateway: gateway.parse().ok(), aux }
}

fn decode((op, a, b, c): Op, model: &Model, now: &mut u64) -> Command {
    let network = NetworkKey::new(format!("n{}", a % 6));
    match op % 22 {
        16 => Command::GrowNetwork { subnet: larger(model, &network, b, c), network },
        17 => {
            let family = if c % 3 == 0 { Family::V6 } else { Family::V4 };
            let prefix_len = if c % 3 == 0 { 62 + b % 68 } else { 23 + b % 10 };
            Command::Delegate { network, to: OwnerKey::new(format!("node{}", a / 6 % 3)), family, prefix_len }
        }
        18 => {
            let from = OwnerKey::new(format!("node{}", a / 6 % 3));
            let owner = Owner::Delegation(from.clone());
            let generation = model.generation(&network, &owner).unwrap_or(7) + u64::from(c % 7 == 0);
            let block = model.some_net(&network, &owner, c).unwrap_or("10.0.0.0/30".parse().unwrap());
            let len = (block.prefix_len() + b % 3).min(block.max_prefix_len());
            let keep = IpNet::new(if c % 5 == 0 { block.broadcast() } else { block.addr() }, len).unwrap();
            let keep = if c % 5 == 1 { "10.9.0.0/31".parse().unwrap() } else { keep };
            Command::Shrink { network, from, generation, keep }
        }
        19 => match b % 4 {
            0 => Command::SetNodes { nodes: (0..a % 3).map(|n| OwnerKey::new(format!("node{n}"))).collect() },
            _ => {
                let through = (model.mark() + 1).saturating_sub(u64::from(c % 5));
                Command::Ack { node: OwnerKey::new(format!("node{}", a % 3)), through }
            }
        },
        20 => {
            let pool = pool(
                ["10.64.0.0/23 27", "10.0.0.0/16 24", "10.9.0.0/27 29", "fd01::/62 64"][usize::from(b % 4)],
            );
            if c % 3 == 0 { Command::DisablePool { base: pool.base } } else { Command::AddPool { pool } }
        }
        21 => {
            *now += u64::from(c % 200);
            Command::Tick
        }
        0 => Command::CreateNetwork { network, subnets: vec![] },
        1 => Command::CreateNetwork { network, subnets: vec![request(b)] },
        2 => Command::CreateNetwork { network, subnets: vec![request(b), request(c as u8)] },
        3 if c % 3 == 0 => Command::DeleteNetwork { network },
        3..=9 => {
            let wants = (0..1 + c % 3)
                .map(|nth| want(a.wrapping_add(nth as u8 & 1), b, c.rotate_right(nth.into()), model));
            Command::Acquire { wants: wants.collect() }
        }
        10..=12 => {
            let owner = owner(b);
            let generation = model.generation(&network, &owner).unwrap_or(7) + u64::from(c % 7 == 0);
            Command::Release { network, owner, generation }
        }
        13 => Command::ReleaseOwner { owner: owner(b) },
        14 if c % 5 == 0 => Command::SetPools { pools: config(3).pools[usize::from(b % 3)..].to_vec() },
        14 => {
            let nets =
                [request(b).subnet.unwrap(), "10.0.1.0/25".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
            Command::Exclude {
                by: OwnerKey::new(format!("node{}", a % 4)),
                nets: nets[usize::from(b % 4).min(3)..].to_vec(),
            }
        }
        _ => {
            *now += u64::from(c % 400);
            Command::Acquire { wants: vec![] }
        }
    }
}

/// Around one of the network's subnets, or another one.
fn larger(model: &Model, network: &NetworkKey, b: u8, c: u16) -> SubnetRequest {
    let own = model.some_net(network, &Owner::Gateway, c).filter(|_| !b.is_multiple_of(4));
    let around = |own: IpNet| {
        let own = model.some_net(network, &Owner::Task("nobody".into()), c).unwrap_or(own);
        IpNet::new(own.addr(), own.prefix_len().saturating_sub(b % 3).max(1)).unwrap().trunc()
    };
    let other = request(b);
    match own {
        None => other,
        Some(own) if c & 0x700 == 0x700 => SubnetRequest { subnet: Some(around(own)), ..other },
        Some(own) => {
            let subnet = around(own);
            let gateway =
                (c & 0x600 == 0x200).then(|| naive::addr(subnet, naive::bits(subnet.network()) + 5));
            SubnetRequest { subnet: Some(subnet), gateway, ..SubnetRequest::default() }
        }
    }
}

fn owner(b: u8) -> Owner {
    let key = OwnerKey::new(format!("o{}", b >> 2 & 15));
    match b % 8 {
        0 => Owner::Vip(key),
        1 => Owner::Lb(key),
        2 => Owner::Static(key),
        7 if b == 255 => Owner::Gateway,
        7 if b > 220 => Owner::Aux(key),
        _ => Owner::Task(key),
    }
}

fn want(a: u8, b: u8, c: u16, model: &Model) -> Want {
    let network = NetworkKey::new(format!("n{}", a % 6));
    let prefer = (c % 4 == 1).then(|| model.some_addr(&network, c)).flatten();
    Want { network, owner: owner(b.wrapping_add(c as u8)), prefer }
}

#[test]
fn the_generator_reaches_every_kind_of_answer() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let ops = vec(any::<Op>(), 400).new_tree(&mut runner).unwrap().current();
        let (mut ipam, mut model, mut now) = (Ipam::new(config(3)), Model::new(config(3)), 0);
        for op in ops {
            let command = decode(op, &model, &mut now);
            let _ = model.apply(now, &command);
            seen.insert(match ipam.apply(now, &command) {
                Ok(Granted::Network(_)) => "Network",
                Ok(Granted::Leases(_)) => "Leases",
                Ok(Granted::Done) => "Done",
                Err(denied) => kind(&denied),
            });
        }
    }
    let missing: Vec<_> = KINDS.into_iter().filter(|kind| !seen.contains(kind)).collect();
    assert_eq!((missing, seen.len()), (vec![], KINDS.len() + 3));
}
