//! Processes by identity.
#![allow(clippy::unwrap_used, clippy::zombie_processes, missing_docs, reason = "tests bury by descriptor")]

use std::process::{Child, Command};
use std::time::Duration;

use overlay_linux::process::{Exit, PidFd, ProcessId, Signal};

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

#[test]
fn a_process_is_ended_by_its_identity() {
    let child = sleeper();
    let id = ProcessId::of(child.id()).unwrap();
    let fd = id.open().unwrap().unwrap();
    assert!(id.is_alive() && !fd.has_ended().unwrap());
    assert!(id.kill(Signal::SIGTERM).unwrap());
    assert!(fd.wait_ended(Duration::from_secs(5)).unwrap());
    assert!(!id.is_alive(), "a zombie does not run");
    assert_eq!(fd.reap().unwrap(), Exit::Signal(Signal::SIGTERM));
    assert!(!fd.kill(Signal::SIGTERM).unwrap());
    assert!(!id.kill(Signal::SIGTERM).unwrap());
    assert!(id.open().unwrap().is_none());
}

#[test]
fn another_process_with_the_same_number_is_left_alone() {
    let mut child = sleeper();
    let id = ProcessId::of(child.id()).unwrap();
    let earlier = ProcessId { start_time: id.start_time - 1, ..id };
    assert!(!earlier.is_alive() && !earlier.kill(Signal::SIGKILL).unwrap());
    assert!(id.is_alive());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_code_of_a_child_is_kept_until_it_is_buried() {
    let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let fd = PidFd::open(child.id()).unwrap();
    assert_eq!(fd.reap().unwrap(), Exit::Code(7));
    assert!(fd.reap().is_err());
    assert!(PidFd::open(u32::MAX).is_err());
}
