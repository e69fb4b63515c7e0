//! Clusters of any size on a virtual clock: what happens, how long it takes, what it costs.
//!
//! `cargo run --release -p overlay-gossip --example gossip-sim -- --help` explains.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, with a clock on the wall"
)]

mod args;
mod picture;
mod table;

use std::time::{Duration, Instant};

use clap::Parser;
use overlay_gossip::sim::World;
use overlay_gossip::sim::script::{Outcome, Plan};

use crate::args::Args;
use crate::table::Table;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if let Some(file) = &args.picture {
        return picture::draw(file, &args);
    }
    let plan = args.plan();
    let mut table = Table::new(format!("{}/n{}", plan.script, plan.nodes), args.seeds);
    let mut broken = Vec::new();
    for seed in args.seed..args.seed + args.seeds {
        let (outcome, wall) = run(&plan, seed, &format!("seed {seed}"));
        table.add(&outcome, wall);
        broken.extend(outcome.violations.into_iter().map(|violation| format!("seed {seed}: {violation}")));
    }
    if args.json {
        println!("{}", table.json())
    } else {
        print!("{table}")
    }
    for line in &broken {
        eprintln!("a rule was broken: {line}");
    }
    if broken.is_empty() { Ok(()) } else { Err("the simulation broke rules of the protocol".into()) }
}

/// One run; on standard error, how far it is, if that takes long.
fn run(plan: &Plan, seed: u64, what: &str) -> (Outcome, Duration) {
    let start = Instant::now();
    let mut next = start + Duration::from_secs(3);
    let mut told = false;
    let outcome = plan.run(seed, &mut |world: &World| {
        if Instant::now() >= next {
            next = Instant::now() + Duration::from_secs(1);
            told = true;
            let (virt, real) = (world.elapsed().as_secs(), start.elapsed().as_secs());
            eprint!("\r{what}: {virt} s simulated in {real} s, {} datagrams   ", world.traffic.datagrams);
        }
    });
    if told {
        eprintln!();
    }
    (outcome, start.elapsed())
}
