//! The state machine: commands with owners, generations and rests.

use std::{cell::RefCell, fs, hint::black_box};

use overlay_ipam::{Command, Config, Granted, Hold, Ipam, NetworkKey, Owner, SubnetRequest, Want};

use crate::{cpu, parts::v4, per, random};

/// Two commands: one ends a random lease, one takes an address for somebody else.
pub(crate) fn pair_16() -> f64 {
    let config = Config { hold: Hold { address_ms: 8, ..Hold::default() }, ..Config::default() };
    let mut ipam = Ipam::new(config);
    create(&mut ipam, "n", 0);
    let mut live: Vec<Owner> = (0..58_000).map(owner).collect();
    fill(&mut ipam, "n", &live);
    let (mut state, mut now, mut next) = (1, 0, 58_000);
    // the commands are made before: decoding them is not allocating
    let steps: Vec<(Command, Command)> = (0..400_000)
        .map(|_| {
            let index = random(&mut state) % live.len();
            next += 1;
            let old = live.get_mut(index).map(|old| std::mem::replace(old, owner(next)));
            let want = Want { network: "n".into(), owner: owner(next), prefer: None };
            let release = Command::ReleaseOwner { owner: old.unwrap_or(Owner::Gateway) };
            (release, Command::Acquire { wants: vec![want] })
        })
        .collect();
    let mut steps = steps.iter();
    per(400_000, || {
        now += 1;
        if let Some((release, acquire)) = steps.next() {
            assert_eq!(ipam.apply(now, release), Ok(Granted::Done));
            assert!(black_box(ipam.apply(now, acquire)).is_ok());
        }
    })
}

/// Milliseconds for all of them: each network with its gateway.
pub(crate) fn networks() -> f64 {
    let mut ipam = Ipam::new(Config::default());
    let create: Vec<Command> = (0..65_536)
        .map(|index| Command::CreateNetwork { network: format!("{index:025}").into(), subnets: vec![] })
        .collect();
    let mut create = create.iter();
    let each = per(65_536, || assert!(create.next().is_some_and(|create| ipam.apply(0, create).is_ok())));
    each * 65_536.0 / 1e6
}

/// Thousand commands per second, half of them releases, at a million leases in 17 networks.
pub(crate) fn applies() -> f64 {
    with_million(|million| {
        let commands = 200_000;
        let mut state = 1;
        let steps: Vec<[Command; 2]> = (0..commands / 2)
            .map(|_| {
                let index = random(&mut state) % million.live.len();
                million.next += 1;
                let network = million.networks.get(index % NETWORKS).cloned();
                let network = network.unwrap_or_else(|| NetworkKey::new(""));
                let old = million.live.get_mut(index);
                let old = old.map(|old| std::mem::replace(old, owner(million.next)));
                let release = Command::ReleaseOwner { owner: old.unwrap_or(Owner::Gateway) };
                let want = Want { network, owner: owner(million.next), prefer: None };
                [release, Command::Acquire { wants: vec![want] }]
            })
            .collect();
        let start = cpu();
        for command in steps.iter().flatten() {
            million.now += 1;
            assert!(black_box(million.ipam.apply(million.now, command)).is_ok());
        }
        f64::from(commands) / (cpu() - start) / 1e3
    })
}

/// Bytes of memory that the process has more of for each lease.
pub(crate) fn resident() -> f64 {
    with_million(|million| million.resident)
}

pub(crate) fn snapshot() -> f64 {
    with_million(|million| million.ipam.snapshot().len() as f64 / million.ipam.count() as f64)
}

pub(crate) fn snapshot_time() -> f64 {
    with_million(|million| {
        let start = cpu();
        black_box(million.ipam.snapshot());
        (cpu() - start) * 1e3
    })
}

pub(crate) fn restore() -> f64 {
    with_million(|million| {
        let snapshot = million.ipam.snapshot();
        let start = cpu();
        let restored = black_box(Ipam::restore(&snapshot));
        let time = (cpu() - start) * 1e3;
        assert!(restored.is_ok_and(|restored| restored.count() == million.ipam.count()));
        time
    })
}

struct Million {
    ipam: Ipam,
    networks: Vec<NetworkKey>,
    live: Vec<Owner>,
    next: u64,
    now: u64,
    resident: f64,
}

fn with_million(run: impl FnOnce(&mut Million) -> f64) -> f64 {
    MILLION.with_borrow_mut(|million| run(million.get_or_insert_with(million_leases)))
}

fn million_leases() -> Million {
    let names: Vec<String> = (0..NETWORKS).map(|index| format!("{index:025}")).collect();
    let networks: Vec<NetworkKey> = names.iter().map(|name| name.as_str().into()).collect();
    let live: Vec<Owner> = (0..1_000_000).map(owner).collect();
    let config = Config { hold: Hold { address_ms: 8, ..Hold::default() }, ..Config::default() };
    let before = pages();
    let mut ipam = Ipam::new(config);
    for (index, name) in (0..).zip(&names) {
        create(&mut ipam, name, index);
        let owners: Vec<Owner> = live.iter().skip(usize::from(index)).step_by(NETWORKS).cloned().collect();
        fill(&mut ipam, name, &owners);
    }
    let resident = (pages() - before) * 4096.0 / ipam.count() as f64;
    Million { ipam, networks, live, next: 1_000_000, now: 0, resident }
}

fn create(ipam: &mut Ipam, network: &str, index: u8) {
    let subnet = Some(v4((10 << 24) + (u32::from(index) << 16), 16));
    let subnets = vec![SubnetRequest { subnet, ..SubnetRequest::default() }];
    assert!(ipam.apply(0, &Command::CreateNetwork { network: network.into(), subnets }).is_ok());
}

fn fill(ipam: &mut Ipam, network: &str, owners: &[Owner]) {
    for owner in owners {
        let want = Want { network: network.into(), owner: owner.clone(), prefer: None };
        assert!(ipam.apply(0, &Command::Acquire { wants: vec![want] }).is_ok());
    }
}

/// With an id as random as a real one.
fn owner(number: u64) -> Owner {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digits = (0..24).map(|_| char::from_digit(u32::try_from(random(&mut state) % 36).unwrap_or(0), 36));
    let text: String = std::iter::once(Some('0')).chain(digits).map(Option::unwrap_or_default).collect();
    Owner::Task(text.into())
}

/// Resident pages of the process.
fn pages() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0)
}

thread_local! {
    static MILLION: RefCell<Option<Million>> = const { RefCell::new(None) };
}

const NETWORKS: usize = 17;
