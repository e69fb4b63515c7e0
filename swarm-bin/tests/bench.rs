//! The benchmark of the data plane runs and tells; what it tells is not judged here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

#[test]
fn a_round_of_two_layouts_gives_rows_and_leaves_nothing() {
    let Some(temporary) = root() else { return };
    let line = "bench dataplane --rounds 1 --seconds 0.2 --only raw,kernel_plane --json";
    let output = swarm_bin(line, &temporary).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_str(&told).expect("one JSON object");
    assert_eq!((&told["benchmark"], &told["rounds"]), (&"dataplane".into(), &1.into()));
    let median = |what: &str| {
        let row = told["rows"].as_array().unwrap().iter().find(|row| row["what"] == what);
        row.and_then(|row| row["median"].as_f64()).unwrap_or_else(|| panic!("no {what} in {told}"))
    };
    for layout in ["raw", "kernel_plane"] {
        for measure in ["tcp_bulk", "pps64", "tcp_rr_p50", "tcp_rr_p99", "tcp_bulk_cores"] {
            assert!(median(&format!("{layout}/{measure}")) > 0.0, "{layout}/{measure}");
        }
    }
    assert!(median("codec/parse") > 0.0);
    assert_eq!((&told["absent"], &told["failed"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "files are left");
}

#[test]
fn an_interrupt_ends_everything() {
    let Some(temporary) = root() else { return };
    let line = "bench dataplane --rounds 900 --seconds 0.2 --only kernel_plane,user_plane --tests tcp_rr";
    let child = swarm_bin(line, &temporary).stderr(Stdio::null()).spawn().unwrap();
    let dir = temporary.path().to_owned();
    let built = || fs::read_dir(&dir).unwrap().flatten().any(|made| made.path().join("user_plane").exists());
    for _ in 0..200 {
        if built() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "files are left");
    let marker = dir.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let left = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&marker)
    });
    assert_eq!(left.count(), 0, "processes are left");
}

#[test]
fn the_list_needs_no_root_and_unknown_layouts_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let output = swarm_bin("bench dataplane --list", &temporary).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    for layout in ["docker", "kernel_plane", "user_plane_sealed", "nebula"] {
        assert!(told.lines().any(|line| line.starts_with(layout)), "{told}");
    }
    let output = swarm_bin("bench dataplane --only nobody", &temporary).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("\"nobody\""), "{}", said(&output));
}

fn root() -> Option<tempfile::TempDir> {
    if !geteuid().is_root() {
        println!("skipped: the benchmark of the data plane (needs root)");
        return None;
    }
    if !unshare() {
        println!("skipped: the benchmark of the data plane (no namespaces here)");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

/// Whether namespaces may be made: root of a container may not.
fn unshare() -> bool {
    overlay_linux::netns::NetNs::create().is_ok()
}

fn swarm_bin(line: &str, temporary: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm-bin"));
    command.args(line.split(' ')).env("TMPDIR", temporary.path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
