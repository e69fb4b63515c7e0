//! The program `agent`, as a process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

#[test]
fn agents_say_what_happens_obey_and_leave_gracefully() {
    let net = std::process::id() % 200 + 20;
    let (first, second) = (format!("127.81.{net}.1:7946"), format!("127.81.{net}.2:7946"));
    let Some(mut a) = Agent::start(&["--bind", &first, "--name", "a", "--serf", "--fast"]) else { return };
    let args = ["--bind", &second, "--name", "b", "--tag", "role=web", "--join", &first, "--fast"];
    let mut b = Agent::start(&args).unwrap();
    let join = a.wait("member-join");
    assert_eq!((&join["name"], &join["addr"]), (&"b".into(), &second.into()));
    assert!(join["t_ms"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(b.wait("member-join")["name"], "a");
    a.say("members");
    let members = a.wait("members");
    assert_eq!(members["members"][1]["tags"]["role"], "web", "{members}");
    a.say("event deploy now and here");
    let event = b.wait("user");
    assert_eq!((&event["name"], &event["payload"]), (&"deploy".into(), &"now and here".into()));
    // SIGTERM is a goodbye.
    let term = Command::new("kill").args(["-TERM", &b.child.id().to_string()]).status().unwrap();
    assert!(term.success());
    assert_eq!(a.wait("member-leave")["name"], "b");
    assert!(b.child.wait().unwrap().success());
    a.say("leave");
    a.wait("left");
    assert!(a.child.wait().unwrap().success());
}

#[test]
fn questions_are_asked_and_answered_from_the_keyboard() {
    let net = std::process::id() % 200 + 20;
    let (first, second) = (format!("127.82.{net}.1:7946"), format!("127.82.{net}.2:7946"));
    let Some(mut a) = Agent::start(&["--bind", &first, "--name", "a", "--serf", "--fast"]) else { return };
    let args = ["--bind", &second, "--name", "b", "--tag", "role=web", "--join", &first, "--fast"];
    let mut b = Agent::start(&args).unwrap();
    a.wait("member-join");
    a.say("query uptime in seconds --tag role=^web$");
    let question = b.wait("query");
    assert_eq!((&question["name"], &question["payload"]), (&"uptime".into(), &"in seconds".into()));
    assert_eq!(question["from"], "a");
    b.say("answer uptime 12 or so");
    let id = a.wait("query-sent")["query"].clone();
    assert_eq!(a.wait("query-ack")["name"], "b");
    let answer = a.wait("query-answer");
    assert_eq!((&answer["name"], &answer["payload"]), (&"b".into(), &"12 or so".into()));
    let ended = a.wait("query-ended");
    assert_eq!((&ended["query"], &ended["acks"], &ended["answers"]), (&id, &1.into(), &1.into()));
}

#[test]
fn records_are_published_and_read_in_both_formats() {
    let net = std::process::id() % 200 + 20;
    for (format, host) in [("native", 3), ("networkdb", 5)] {
        let (first, second) =
            (format!("127.82.{net}.{host}:7946"), format!("127.82.{net}.{}:7946", host + 1));
        let Some(mut a) = Agent::start(&["--bind", &first, "--name", "a", "--tables", format]) else {
            return;
        };
        let args = ["--bind", &second, "--name", "b", "--tables", format, "--join", &first];
        let mut b = Agent::start(&args).unwrap();
        a.wait("member-join");
        b.say("join-network web");
        a.say("publish web task-1 10.0.9.2 and more");
        a.say("publish web/ports task-1 80");
        let one = b.records("web", 1);
        let fields = ["key", "owner", "phase", "value"].map(|field| one[0][field].as_str().unwrap());
        assert_eq!(fields, ["task-1", "a", "ready", "10.0.9.2 and more"]);
        assert_eq!(one[0]["suspended"], false);
        assert_eq!(b.records("web/ports", 1)[0]["value"], "80");
        a.say("withdraw web task-1");
        b.records("web", 0);
        a.say("leave");
        a.wait("left");
    }
}

#[test]
fn who_cannot_listen_or_join_says_where_and_why() {
    let net = std::process::id() % 200 + 20;
    let (first, second) = (format!("127.82.{net}.7:7946"), format!("127.82.{net}.8:7946"));
    let keys = ["AAECAwQFBgcICQoLDA0ODw==", "AQECAwQFBgcICQoLDA0ODw=="];
    let Some(a) = Agent::start(&["--bind", &first, "--name", "a", "--key", keys[0]]) else { return };
    let b = Agent::start(&["--bind", &second, "--name", "b", "--key", keys[1], "--join", &first]).unwrap();
    // It is tried again, and the first time a may not have listened yet.
    let failed = |why: &str| (0..3).any(|_| b.wait("join-failed")["why"].as_str().unwrap().contains(why));
    assert!(failed("another key"));
    let taken = Command::new(program().unwrap()).args(["--bind", &first]).output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&format!("{first}: Address already in use")));
    drop(a);
}

#[test]
fn help_teaches_and_mistakes_are_named() {
    let Some(program) = program() else { return };
    let help = Command::new(&program).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.status.success() && text.contains("usage: agent") && text.contains("--profile lan|local|wan")
    );
    for (args, complaint) in [
        (["--bind", "nowhere"].as_slice(), "--bind nowhere: not IP:PORT"),
        (&["--tables", "networkdb", "--tag", "role=web"], "--tables networkdb excludes --serf"),
        (&["--key", "eA=="], "16, 24 or 32 bytes, not 1"),
        (&["--fast", "--compat"], "exclude each other"),
        (&["--wrong", "x"], "no option --wrong"),
    ] {
        let wrong = Command::new(&program).args(args).output().unwrap();
        assert_eq!(wrong.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&wrong.stderr).contains(complaint), "{wrong:?}");
    }
}

struct Agent {
    child: Child,
    lines: Receiver<Value>,
}

impl Agent {
    fn start(args: &[&str]) -> Option<Self> {
        let mut child =
            Command::new(program()?).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(serde_json::from_str(&line.unwrap()).unwrap()).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, lines })
    }

    fn say(&mut self, command: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// The records of a table, as soon as there are so many.
    fn records(&mut self, table: &str, count: usize) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            self.say(&format!("records {table}"));
            let records = self.wait("records")["records"].as_array().unwrap().clone();
            if records.len() == count {
                return records;
            }
            assert!(Instant::now() < end, "{records:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The next event of a kind.
    fn wait(&self, kind: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {kind}"));
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Examples are built when all tests are, beside the directory of the tests.
fn program() -> Option<std::path::PathBuf> {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/agent");
    if program.exists() {
        return Some(program);
    }
    println!("skipped: {} not found", program.display());
    None
}
