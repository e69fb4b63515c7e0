//! A serf agent as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) struct Serf {
    child: Child,
    rpc: String,
    log: PathBuf,
    pub(crate) addr: SocketAddr,
}

impl Serf {
    /// `None` if there is no serf here.
    pub(crate) fn start(ip: &str, name: &str, args: &[&str]) -> Option<Self> {
        let rpc = format!("{ip}:7373");
        let log = std::env::temp_dir().join(format!("overlay-gossip-{}-{ip}-{name}.log", std::process::id()));
        let file = File::create(&log).unwrap();
        let child = Command::new("serf")
            .args(["agent", &format!("-node={name}"), &format!("-bind={ip}:7946")])
            .args([&format!("-rpc-addr={rpc}"), "-log-level=info"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn();
        let Ok(child) = child else {
            let _ = std::fs::remove_file(&log);
            return None;
        };
        Some(Self { child, rpc, log, addr: format!("{ip}:7946").parse().unwrap() })
    }

    /// What a command of serf's says; its complaints, too.
    pub(crate) fn call(&self, args: &[&str]) -> String {
        let output = Command::new("serf")
            .arg(args[0])
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(&args[1..])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// The line of `serf members` about a node.
    pub(crate) fn member(&self, name: &str) -> String {
        let members = self.call(&["members"]);
        let line = members.lines().find(|l| l.split_whitespace().next() == Some(name));
        line.unwrap_or_default().to_owned()
    }

    pub(crate) fn status(&self, name: &str) -> String {
        self.member(name).split_whitespace().nth(2).unwrap_or("absent").to_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Lines of the log that say that serf did not understand something.
    pub(crate) fn complaints(&self) -> Vec<String> {
        const SIGNS: [&str; 9] = [
            "decode",
            "decrypt",
            "unknown",
            "unsupported",
            "not supported",
            "invalid",
            "Got bad",
            "Remote state",
            "CRC",
        ];
        let log = self.log();
        let wrong = log.lines().filter(|line| line.contains("[ERR]") || line.contains("[WARN]"));
        wrong
            .filter(|line| SIGNS.iter().any(|sign| line.to_lowercase().contains(&sign.to_lowercase())))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Serf {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("serf's log is {}", self.log.display());
        } else {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// A part of the addresses that other runs of this test do not use.
pub(crate) fn net() -> u32 {
    std::process::id() % 200 + 20
}
