//! The user-space plane as an ordinary user, in a user namespace, without `/dev/net/tun`. A program of its own, because
//! entering one needs a process with a single thread.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

mod common;
mod user_support;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use overlay_core::seal::Algorithm;
use overlay_linux::userns::{UserNsError, enter_as_root};
use user_support::{End, Plan, world};

const NOBODY: u32 = 65534;
const CHILD: &str = "OVERLAY_LINUX_TEST_CHILD";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return as_nobody();
    }
    // Where nobody can read it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let mut command = Command::new(&program);
    command.env(CHILD, "1").current_dir("/");
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            println!("test as_nobody ... FAILED ({status})");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("skipped: as_nobody (cannot become nobody: {error})");
            ExitCode::SUCCESS
        }
    }
}

fn as_nobody() -> ExitCode {
    match enter_as_root() {
        Ok(()) => {}
        Err(error @ UserNsError::Map { .. }) => panic!("{error}"),
        Err(error) => {
            println!("skipped: as_nobody ({error})");
            return ExitCode::SUCCESS;
        }
    }
    for (other, sealed) in [(End::Kernel, None), (End::Packet, Some(Algorithm::Aes128Gcm))] {
        let plan = Plan { sealed, ..Plan::new(End::Packet, other) };
        world("as_nobody", plan).unwrap().exercise(2 << 20);
    }
    println!("test as_nobody ... ok");
    ExitCode::SUCCESS
}
