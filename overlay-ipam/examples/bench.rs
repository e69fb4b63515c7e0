//! The three costs that matter: an address in a nearly full /16, all /24s of a /8, an overlap check.
//! Wall time of one thread; best of five. `--json` prints one object.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::{hint::black_box, net::Ipv4Addr, time::Instant};

use ipnet::{IpNet, Ipv4Net};
use overlay_ipam::{
    AddrSet, Command, Config, Granted, Hold, Ipam, Owner, PoolSpec, SubnetPool, SubnetRequest, Want,
};

fn main() {
    let rows = [
        ("set/pair_at_90_percent_of_16", set_pair as fn() -> f64),
        ("ipam/pair_at_90_percent_of_16", ipam_pair),
        ("pool/each_24_of_8", subnets),
        ("pool/overlap_among_59000", overlap),
    ];
    let rows = rows.map(|(what, run)| {
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| run()).collect();
        times.sort_by(f64::total_cmp);
        (what, times)
    });
    if std::env::args().any(|arg| arg == "--json") {
        let rows = rows.map(|(what, times)| {
            let [min, .., max] = times.as_slice() else { return String::new() };
            let median = times.get(ROUNDS / 2).unwrap_or(min);
            format!(r#"{{"what":"{what}","median":{median:.1},"min":{min:.1},"max":{max:.1},"unit":"ns"}}"#)
        });
        println!(r#"{{"benchmark":"ipam","rounds":{ROUNDS},"rows":[{}]}}"#, rows.join(","));
    } else {
        for (what, times) in rows {
            println!("{what:32} {:9.1} ns", times.first().copied().unwrap_or_default());
        }
    }
}

/// Free a random address, take the next one: the bits alone.
fn set_pair() -> f64 {
    let mut set = AddrSet::new(65_535);
    set.insert_range(0, 65_535 * 9 / 10);
    let mut live: Vec<u128> = (0..=65_535 * 9 / 10).collect();
    let (mut random, mut cursor) = (1_usize, 0);
    per(500_000, || {
        let index = next(&mut random) % live.len();
        if let Some(slot) = live.get_mut(index) {
            set.remove(*slot);
            *slot = set.next_fit(0, 65_535, cursor).unwrap_or_default();
            set.insert(*slot);
            cursor = *slot + 1;
        }
    })
}

/// The same as two commands of the log, with owners, generations and a quarantine of 100 addresses.
fn ipam_pair() -> f64 {
    let mut ipam =
        Ipam::new(Config { hold: Hold { address_ms: 100, ..Hold::default() }, ..Config::default() });
    let subnet = SubnetRequest { subnet: Some(v4(10 << 24, 16)), ..SubnetRequest::default() };
    let create = Command::CreateNetwork { network: "n".into(), subnets: vec![subnet] };
    let owner = |index: usize| Owner::Task(format!("{index:025}").into());
    let want = |index| Want { network: "n".into(), owner: owner(index), prefer: None };
    let live = 65_535 * 9 / 10;
    black_box(ipam.apply(0, &create)).ok();
    black_box(ipam.apply(0, &Command::Acquire { wants: (0..live).map(want).collect() })).ok();
    let (mut random, mut now) = (1, 0);
    per(30_000, || {
        let index = next(&mut random) % live;
        now += 1;
        black_box(ipam.apply(now, &Command::ReleaseOwner { owner: owner(index) })).ok();
        let granted = ipam.apply(now, &Command::Acquire { wants: vec![want(index)] });
        assert!(matches!(granted, Ok(Granted::Leases(_))));
    })
}

fn subnets() -> f64 {
    let mut pool = SubnetPool::new(&[PoolSpec { base: v4(10 << 24, 8), piece: 24 }]);
    per(65_536, || {
        let net = pool.pick(None, None, &[]);
        assert!(net.is_some_and(|net| pool.claim(net)));
    })
}

fn overlap() -> f64 {
    let mut pool = SubnetPool::new(&[]);
    for index in 0..59_000_u32 {
        pool.claim(v4((10 << 24) + index * 256, 24));
    }
    let mut random = 1;
    per(200_000, || {
        let random = next(&mut random);
        let at = u32::try_from(random % (1 << 24)).unwrap_or_default();
        let len = 20 + u8::try_from(random >> 30 & 7).unwrap_or_default();
        black_box(pool.overlapping(v4((10 << 24) + at, len)).next());
    })
}

/// Nanoseconds of one call.
fn per(times: u32, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

fn v4(bits: u32, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), len)).trunc()
}

fn next(state: &mut usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

const ROUNDS: usize = 5;
