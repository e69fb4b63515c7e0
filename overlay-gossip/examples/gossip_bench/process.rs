//! One agent as a process: how it is started, told and understood.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, timeout};

use crate::args::Kind;
use crate::board::{Fact, Seen};
use crate::rpc::Rpc;

/// A running agent; it ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    line: Line,
    /// In `/proc`.
    pub(crate) id: u32,
}

/// The way to give commands.
#[derive(Debug)]
enum Line {
    Serf(Rpc),
    Ours(ChildStdin),
}

impl Process {
    /// Starts the agent of this number, alone.
    pub(crate) async fn start(kind: Kind, number: usize, said: UnboundedSender<Seen>) -> io::Result<Self> {
        let ip = address(number);
        let mut command = match kind {
            Kind::Serf => Command::new("serf"),
            Kind::Ours(_) => Command::new(program()?),
        };
        match kind {
            Kind::Serf => command
                .args(["agent", &format!("-node=n{number}"), &format!("-bind={ip}:{PORT}")])
                .args([&format!("-rpc-addr={ip}:7373"), "-log-level=info"])
                .stdin(Stdio::null()),
            Kind::Ours(flags) => command
                .args(["--bind", &format!("{ip}:{PORT}"), "--name", &format!("n{number}"), "--serf"])
                .args(flags)
                .stdin(Stdio::piped()),
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let id = child.id().unwrap_or_default();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(listen(stdout, kind, number, said.clone()));
        }
        let line = match (kind, child.stdin.take()) {
            (Kind::Ours(_), Some(stdin)) => Line::Ours(stdin),
            (Kind::Serf | Kind::Ours(_), _) => Line::Serf(Rpc::connect(ip).await?),
        };
        let mut process = Self { child, line, id };
        match kind {
            Kind::Serf => {
                let _ = said.send(Seen { by: number, fact: Fact::Ready, at: Instant::now() });
            }
            Kind::Ours(_) => process.say("members").await?,
        }
        Ok(process)
    }

    /// Tells it to join the agent of that number.
    pub(crate) async fn join(&mut self, number: usize) -> io::Result<()> {
        let peer = format!("{}:{PORT}", address(number));
        match &mut self.line {
            Line::Serf(rpc) => rpc.join(&peer).await,
            Line::Ours(_) => self.say(&format!("join {peer}")).await,
        }
    }

    pub(crate) async fn event(&mut self) -> io::Result<()> {
        match &mut self.line {
            Line::Serf(rpc) => rpc.event("deploy", "now").await,
            Line::Ours(_) => self.say("event deploy now").await,
        }
    }

    pub(crate) async fn leave(&mut self) -> io::Result<()> {
        match &mut self.line {
            Line::Serf(rpc) => rpc.leave().await,
            Line::Ours(_) => self.say("leave").await,
        }
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.start_kill()
    }

    /// Kills it and waits for its end.
    pub(crate) async fn end(mut self) {
        let _ = timeout(PATIENCE, self.child.kill()).await;
    }

    async fn say(&mut self, command: &str) -> io::Result<()> {
        match &mut self.line {
            Line::Ours(stdin) => {
                timeout(PATIENCE, stdin.write_all(format!("{command}\n").as_bytes())).await?
            }
            Line::Serf(_) => Ok(()),
        }
    }
}

/// Where the example `agent` is: beside this one.
pub(crate) fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("agent");
    if program.exists() {
        return Ok(program);
    }
    let hint = format!("{} not found: build all examples (--examples)", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, hint))
}

/// Reads what it says until it ends.
async fn listen(stdout: ChildStdout, kind: Kind, by: usize, said: UnboundedSender<Seen>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let at = Instant::now();
        let fact = match kind {
            Kind::Serf => serf_fact(&line),
            Kind::Ours(_) => our_fact(&line),
        };
        if let Some(fact) = fact {
            let _ = said.send(Seen { by, fact, at });
        }
    }
}

/// A line of serf's log.
fn serf_fact(line: &str) -> Option<Fact> {
    let (_, said) = line.split_once("] ")?;
    let about = |rest: &str| number(rest.split_whitespace().next()?);
    let after = |sign: &str| said.strip_prefix(sign);
    after("serf: EventMemberJoin: ")
        .and_then(about)
        .map(Fact::Up)
        .or_else(|| after("serf: EventMemberFailed: ").and_then(about).map(Fact::Failed))
        .or_else(|| after("serf: EventMemberLeave: ").and_then(about).map(Fact::Left))
        .or_else(|| after("memberlist: Suspect ").and_then(about).map(Fact::Suspect))
        .or_else(|| after("agent: Received event: user-event: ").map(|_| Fact::Heard))
}

/// A line of JSON.
fn our_fact(line: &str) -> Option<Fact> {
    let event: Value = serde_json::from_str(line).ok()?;
    let about = || number(event.get("name")?.as_str()?);
    match event.get("event")?.as_str()? {
        "members" => Some(Fact::Ready),
        "member-join" => about().map(Fact::Up),
        "member-failed" => about().map(Fact::Failed),
        "member-leave" => about().map(Fact::Left),
        "suspect" => about().map(Fact::Suspect),
        "user" => Some(Fact::Heard),
        _ => None,
    }
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse().ok()
}

fn address(number: usize) -> Ipv4Addr {
    let part = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, part(1 + number / 200), part(1 + number % 200))
}

const PORT: u16 = 7946;
const PATIENCE: Duration = Duration::from_secs(5);
