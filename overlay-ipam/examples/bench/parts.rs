//! The parts alone.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use overlay_ipam::{AddrPool, AddrSet, Lane, Moment, PoolSpec, Rest, SubnetPool};

use crate::{per, random};

pub(crate) fn pair_24() -> f64 {
    pair(v4(10 << 24, 24), 90, 2_000_000)
}

pub(crate) fn pair_16() -> f64 {
    pair(v4(10 << 24, 16), 90, 2_000_000)
}

pub(crate) fn pair_8() -> f64 {
    pair(v4(10 << 24, 8), 50, 2_000_000)
}

pub(crate) fn pair_v6() -> f64 {
    "fd00::/64".parse().map_or(f64::NAN, |net| pair_among(net, 60_000, 300_000))
}

fn pair(net: IpNet, percent: u32, times: u32) -> f64 {
    pair_among(net, (1_u32 << (net.max_prefix_len() - net.prefix_len())) / 100 * percent, times)
}

/// Frees a random address and takes the next one; freed ones rest for 8 such steps (2 in a /24's spare tenth).
fn pair_among(net: IpNet, live: u32, times: u32) -> f64 {
    let mut pool = AddrPool::new(net, None);
    let mut live: Vec<IpAddr> = (0..live).filter_map(|_| pool.allocate()).collect();
    let (mut state, mut now_ms) = (1, 0);
    let mut step = || {
        now_ms += 1;
        let index = random(&mut state) % live.len();
        if let Some(addr) = live.get_mut(index) {
            let rest = Rest { ready_ms: now_ms + 8, mark: now_ms };
            assert!(pool.release(*addr, Lane::Plain, Some(rest)));
            pool.thaw(&Moment { now_ms, settled: 0 });
            *addr = pool.allocate().unwrap_or(*addr);
        }
    };
    (0..times / 2).for_each(|_| step()); // scattered holes, as after a long time
    per(times, step)
}

/// The bits alone, without a rest.
pub(crate) fn set_16() -> f64 {
    let mut set = AddrSet::new(65_535);
    set.insert_range(0, 65_535 * 9 / 10);
    let mut live: Vec<u128> = (0..=65_535 * 9 / 10).collect();
    let (mut state, mut cursor) = (1, 0);
    per(2_000_000, || {
        let index = random(&mut state) % live.len();
        if let Some(slot) = live.get_mut(index) {
            set.remove(*slot);
            *slot = set.next_fit(0, 65_535, cursor).unwrap_or_default();
            set.insert(*slot);
            cursor = *slot + 1;
        }
    })
}

/// Milliseconds for all of them.
pub(crate) fn all_subnets() -> f64 {
    let mut pool = SubnetPool::new(&[PoolSpec { base: v4(10 << 24, 8), piece: 24 }]);
    let each = per(65_536, || {
        let net = pool.pick(None, None, &[]);
        assert!(net.is_some_and(|net| pool.claim(net)));
    });
    each * 65_536.0 / 1e6
}

pub(crate) fn overlap() -> f64 {
    let mut pool = SubnetPool::new(&[]);
    for index in 0..59_000_u32 {
        pool.claim(v4((10 << 24) + index * 256, 24));
    }
    let mut state = 1;
    let probes: Vec<IpNet> = (0..4096)
        .map(|_| {
            let number = random(&mut state);
            let at = u32::try_from(number % (1 << 24)).unwrap_or_default();
            v4((10 << 24) + at, 20 + u8::try_from(number >> 30 & 7).unwrap_or_default())
        })
        .collect();
    let mut probe = probes.iter().cycle();
    per(1_000_000, || {
        if let Some(net) = probe.next() {
            black_box(pool.overlapping(*net).next());
        }
    })
}

pub(crate) fn v4(bits: u32, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), len)).trunc()
}
