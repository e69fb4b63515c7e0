//! What allocating costs: nanoseconds of the thread's own CPU time, bytes where it says so.
//!
//! Median, least and most of so many rounds, the rows taken in turn within each round. `--json` prints one object.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::cast_precision_loss, reason = "a benchmark divides")]

mod cluster;
mod parts;

use nix::time::{ClockId, clock_gettime};

/// One number, and what it should be at most (or at least, if it is a rate).
struct Row {
    what: &'static str,
    unit: &'static str,
    must: f64,
    aim: f64,
    run: fn() -> f64,
}

const ROWS: [Row; 14] = [
    Row { what: "pool/release_allocate/24_90_percent", unit: "ns", must: 0.0, aim: 0.0, run: parts::pair_24 },
    Row {
        what: "pool/release_allocate/16_90_percent",
        unit: "ns",
        must: 60.0,
        aim: 35.0,
        run: parts::pair_16,
    },
    Row {
        what: "pool/release_allocate/8_50_percent",
        unit: "ns",
        must: 400.0,
        aim: 250.0,
        run: parts::pair_8,
    },
    Row { what: "pool/release_allocate/v6_64", unit: "ns", must: 0.0, aim: 0.0, run: parts::pair_v6 },
    Row { what: "set/release_allocate/16_90_percent", unit: "ns", must: 0.0, aim: 0.0, run: parts::set_16 },
    Row { what: "subnets/all_24_of_8", unit: "ms", must: 50.0, aim: 20.0, run: parts::all_subnets },
    Row { what: "subnets/overlap_among_59000", unit: "ns", must: 300.0, aim: 120.0, run: parts::overlap },
    Row {
        what: "ipam/release_acquire/16_90_percent",
        unit: "ns",
        must: 0.0,
        aim: 0.0,
        run: cluster::pair_16,
    },
    Row { what: "ipam/networks/all_24_of_8", unit: "ms", must: 0.0, aim: 0.0, run: cluster::networks },
    Row { what: "ipam/million/applies_per_s", unit: "k/s", must: 300.0, aim: 800.0, run: cluster::applies },
    Row {
        what: "ipam/million/resident_per_lease",
        unit: "B",
        must: 110.0,
        aim: 80.0,
        run: cluster::resident,
    },
    Row { what: "ipam/million/snapshot_per_lease", unit: "B", must: 24.0, aim: 20.0, run: cluster::snapshot },
    Row { what: "ipam/million/snapshot", unit: "ms", must: 0.0, aim: 0.0, run: cluster::snapshot_time },
    Row { what: "ipam/million/restore", unit: "ms", must: 500.0, aim: 200.0, run: cluster::restore },
];

fn main() {
    cluster::resident(); // the first thing that needs memory, so that nothing is reused
    let mut results: Vec<Vec<f64>> = ROWS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (row, times) in ROWS.iter().zip(&mut results) {
            times.push((row.run)());
        }
    }
    results.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let rows = ROWS.iter().zip(&results).map(|(row, times)| {
        let [min, .., max] = times.as_slice() else { return (row, [0.0; 3]) };
        (row, [times.get(ROUNDS / 2).copied().unwrap_or(*min), *min, *max])
    });
    if std::env::args().any(|arg| arg == "--json") {
        let rows: Vec<String> = rows.map(|(row, numbers)| json(row, numbers)).collect();
        println!(r#"{{"benchmark":"ipam","rounds":{ROUNDS},"rows":[{}]}}"#, rows.join(","));
    } else {
        println!("{:38} {:>9} {:>9} {:>9}      {:>5} {:>5}", "", "median", "min", "max", "must", "aim");
        for (Row { what, unit, must, aim, .. }, [median, min, max]) in rows {
            let goal = if *must > 0.0 { format!("{must:5} {aim:5}") } else { String::new() };
            println!("{what:38} {median:9.1} {min:9.1} {max:9.1} {unit:4} {goal}");
        }
    }
}

fn json(Row { what, unit, must, aim, .. }: &Row, [median, min, max]: [f64; 3]) -> String {
    let goal = if *must > 0.0 { format!(r#","must":{must},"aim":{aim}"#) } else { String::new() };
    format!(r#"{{"what":"{what}","median":{median:.1},"min":{min:.1},"max":{max:.1},"unit":"{unit}"{goal}}}"#)
}

/// Nanoseconds of one call, by the thread's CPU clock.
fn per(times: u32, mut call: impl FnMut()) -> f64 {
    let start = cpu();
    (0..times).for_each(|_| call());
    (cpu() - start) * 1e9 / f64::from(times)
}

/// Seconds that this thread has run.
fn cpu() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |time| std::time::Duration::from(time).as_secs_f64())
}

/// The same numbers in every run.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 1).unwrap_or(0)
}

const ROUNDS: usize = 5;
