//! The `docker` command drives a swarm of three real nodes in namespaces. Needs root, or user namespaces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod machines;
mod story;

use overlay_linux::userns::{self, Namespaces};

fn main() {
    swarm_node::runtime::reenter();
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    if std::process::Command::new("docker").arg("--version").output().is_err() {
        println!("skipped: docker not found");
        return;
    }
    if !nix::unistd::geteuid().is_root()
        && let Err(error) = userns::enter_as_root()
    {
        println!("skipped: swarm of three nodes: {error}");
        return;
    }
    if let Err(error) = userns::unshare(Namespaces::MOUNT) {
        println!("skipped: swarm of three nodes: {error}");
        return;
    }
    story::tell();
}
