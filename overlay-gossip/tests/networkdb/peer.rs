//! A node of Docker's NetworkDB as a process; `peer.go` and `peer.sh` are beside this file.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use overlay_gossip::Key;

pub(crate) struct Docker {
    child: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
    answered: usize,
    pub(crate) addr: SocketAddr,
}

impl Docker {
    /// `None` if there is no such program here.
    pub(crate) fn start(name: &str, addr: SocketAddr, key: Option<&Key>) -> Option<Self> {
        let program = std::env::var_os("NETWORKDB_PEER").unwrap_or_else(|| "networkdb-peer".into());
        let child = Command::new(program)
            .args([name, &addr.ip().to_string(), &addr.port().to_string()])
            .args(key.map(Key::to_base64))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("NETWORKDB_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn();
        let mut child = child.ok()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, sink) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let input = child.stdin.take().unwrap();
        let mut peer = Self { child, input, lines, answered: 0, addr };
        peer.answer();
        Some(peer)
    }

    /// Gives a command and returns what is said to it.
    pub(crate) fn call(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let answer = self.answer();
        assert!(!answer.starts_with("error"), "{command}: {answer}");
        answer.trim_start_matches("ok").trim().to_owned()
    }

    /// The changes that it saw, as "create t k v", without the network.
    pub(crate) fn seen(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let changes = lines.iter().filter_map(|line| line.strip_prefix("watch "));
        changes
            .filter(|line| !line.contains("NodeTable"))
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{} {}", words[0], words[2..].join(" "))
            })
            .collect()
    }

    pub(crate) fn entries(&mut self, network: &str, table: &str) -> Vec<String> {
        self.call(&format!("dump {network} {table}")).split_whitespace().map(str::to_owned).collect()
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn answer(&mut self) -> String {
        let start = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap();
            let mut answers = lines.iter().filter(|line| line.starts_with("ok") || line.starts_with("error"));
            if let Some(answer) = answers.nth(self.answered) {
                self.answered += 1;
                return answer.clone();
            }
            drop(lines);
            assert!(start.elapsed() < Duration::from_secs(40), "no answer from Docker's node");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.kill();
    }
}
