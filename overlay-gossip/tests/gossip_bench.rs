//! The program `gossip-bench`, in its short form: real processes know each other, and notice a death.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn six_agents_know_each_other_and_notice_a_death() {
    let Some(report) = bench("fast") else { return };
    assert!(figure(&report, "fast/n6/storm_last") < 5.0, "{report}");
    assert!(figure(&report, "fast/n6/kill_last") < 5.0, "{report}");
    assert!(figure(&report, "fast/n6/idle_rss") < 64.0, "{report}");
    assert!(figure(&report, "fast/n6/idle_bytes") > 0.0, "{report}");
}

#[test]
fn so_do_three_of_them_with_three_of_serf() {
    let Some(report) = bench("mixed") else { return };
    if report["absent"][0] == "mixed" {
        println!("skipped: serf not found");
        return;
    }
    assert!(figure(&report, "mixed/n6/storm_last") < 60.0, "{report}");
    assert!(figure(&report, "mixed/n6/kill_last") < 60.0, "{report}");
}

/// What it measured; it fails by itself if something is not known to all in time.
fn bench(peers: &str) -> Option<Value> {
    let program = program()?;
    let args = ["--nodes", "6", "--rounds", "1", "--kills", "1", "--idle", "1", "--settle", "0", "--json"];
    let output =
        Command::new(program).args(args).args(["--peers", peers]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) || said.contains("not found: install") {
        println!("skipped: {said}");
        return None;
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert!(output.status.success() && report["failures"].as_array().unwrap().is_empty(), "{report}");
    Some(report)
}

fn figure(report: &Value, what: &str) -> f64 {
    let row = report["rows"].as_array().unwrap().iter().find(|row| row["what"] == what);
    row.unwrap_or_else(|| panic!("no {what} in {report}"))["median"].as_f64().unwrap()
}

/// Examples are built when all tests are, beside the directory of the tests.
fn program() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let programs = test.parent().unwrap().parent().unwrap().join("examples");
    if programs.join("agent").exists() && programs.join("gossip-bench").exists() {
        return Some(programs.join("gossip-bench"));
    }
    println!("skipped: {} not found", programs.join("gossip-bench").display());
    None
}
