//! Whole clusters in namespaces: real daemons, real packets, real crashes. Needs root, or user namespaces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::disallowed_types, missing_docs, unreachable_pub, reason = "tests")]

mod addresses;
mod asked;
mod dual;
mod planes;
mod scenarios;
mod world;

use std::{panic, time::Instant};

use overlay_linux::userns::{self, Namespaces};

fn main() {
    swarm_node::runtime::reenter();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    if !nix::unistd::geteuid().is_root()
        && let Err(error) = userns::enter_as_root()
    {
        println!("skipped: cluster tests: {error}");
        return;
    }
    userns::unshare(Namespaces::MOUNT).unwrap();
    let (mut passed, mut failed) = (0, 0);
    for (name, scenario) in scenarios::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let start = Instant::now();
        match panic::catch_unwind(scenario) {
            Ok(()) => passed += 1,
            Err(_) => failed += 1,
        }
        println!("scenario {name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}
