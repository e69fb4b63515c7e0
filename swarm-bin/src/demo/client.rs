//! HTTP requests from wherever this process runs, each over a connection of its own, told as lines of JSON.
#![expect(clippy::disallowed_types, reason = "a client with sockets of its own, not a machine")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{clock, out};

/// Sends requests and tells what came back (internal)
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// Whom to ask
    #[arg(long = "target", required = true, value_name = "IP:PORT")]
    targets: Vec<SocketAddr>,
    /// How often to ask each of them
    #[arg(long, default_value_t = 1)]
    requests: usize,
    /// Asks them in turn at this rate until standard input ends, whether answers come or not
    #[arg(long, value_name = "MILLISECONDS")]
    every: Option<u64>,
    /// When to give a request up
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5000)]
    timeout: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Outcome {
    /// Who was asked.
    pub(super) target: String,
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
    /// How long it took, in milliseconds.
    pub(super) ms: f64,
    /// Who answered: the task; empty if nobody did.
    #[serde(default)]
    pub(super) task: String,
    /// The node that the task runs on.
    #[serde(default)]
    pub(super) node: String,
    /// The task's own address.
    #[serde(default)]
    pub(super) address: String,
    /// The client's address, as the task saw it.
    #[serde(default)]
    pub(super) client: String,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Outcome {
    /// Whether the answer lacks the task, its node or its address.
    pub(super) const fn is_vague(&self) -> bool {
        self.task.is_empty() || self.node.is_empty() || self.address.is_empty()
    }
}

impl ClientArgs {
    /// Sends the requests; one line for each.
    pub(crate) fn run(self) {
        let timeout = Duration::from_millis(self.timeout);
        if let Some(period) = self.every {
            return flow(&self.targets, Duration::from_millis(period.max(1)), timeout);
        }
        for _ in 0..self.requests {
            for target in &self.targets {
                tell(&ask(*target, timeout));
            }
        }
    }
}

/// An open loop: a request that hangs does not keep the next one back.
fn flow(targets: &[SocketAddr], period: Duration, timeout: Duration) {
    let running = Arc::new(());
    let told_to_end = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let end = Arc::clone(&told_to_end);
    thread::spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        end.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let begin = clock::now();
    let mut due = Duration::ZERO;
    for target in targets.iter().cycle() {
        if told_to_end.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        let (target, token) = (*target, Arc::clone(&running));
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            tell(&ask(target, timeout));
            drop(token);
        });
        if let Err(error) = started {
            tell(&Outcome {
                target: target.to_string(),
                error: Some(error.to_string()),
                ..Outcome::default()
            });
        }
        due += period;
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    while Arc::strong_count(&running) > 1 {
        thread::sleep(Duration::from_millis(5));
    }
}

fn tell(outcome: &Outcome) {
    out::line(serde_json::to_string(outcome).unwrap_or_default());
}

/// One request over one connection.
pub(super) fn ask(target: SocketAddr, timeout: Duration) -> Outcome {
    let (begin, at) = (clock::now(), clock::unix_millis());
    let answer = fetch(target, begin, timeout);
    let ms = begin.elapsed().as_secs_f64() * 1000.0;
    let empty = Outcome { target: target.to_string(), at, ms, ..Outcome::default() };
    match answer {
        Ok(value) => {
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Outcome {
                task: text("task"),
                node: text("node"),
                address: text("address"),
                client: text("client"),
                ..empty
            }
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            Outcome { error: Some(format!("no answer within {} ms", timeout.as_millis())), ..empty }
        }
        Err(error) => Outcome { error: Some(error.to_string()), ..empty },
    }
}

fn fetch(target: SocketAddr, begin: Instant, timeout: Duration) -> io::Result<Value> {
    let left = || {
        let left = timeout.saturating_sub(begin.elapsed());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&target, left()?)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET /json HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            n => answer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
        if answer.len() > MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
    parse(&answer)
}

/// The body of a whole answer.
fn parse(answer: &[u8]) -> io::Result<Value> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let answer = std::str::from_utf8(answer).map_err(|error| bad(error.to_string()))?;
    let status = answer.lines().next().unwrap_or_default();
    let Some((_, body)) = answer.split_once("\r\n\r\n") else {
        return Err(bad("the connection was closed before an answer".to_owned()));
    };
    if status.split(' ').nth(1) != Some("200") {
        return Err(bad(format!("the answer is {status:?}")));
    }
    serde_json::from_str(body).map_err(|error| bad(error.to_string()))
}

const MAX_ANSWER: usize = 64 * 1024;
const STACK: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered_with(answer: &'static str) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = ask(target, Duration::from_secs(5));
        server.join().unwrap();
        outcome
    }

    #[test]
    fn an_answer_tells_who_answered() {
        let outcome = answered_with(
            "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n\
             {\"task\":\"web.1.x\",\"node\":\"node01\",\"address\":\"10.0.0.6\",\"client\":\"192.168.99.10\"}",
        );
        assert_eq!((outcome.task.as_str(), outcome.client.as_str()), ("web.1.x", "192.168.99.10"));
        assert_eq!(outcome.error, None);
        let line = serde_json::to_string(&outcome).unwrap();
        let read = serde_json::from_str::<Outcome>(&line).unwrap();
        assert!((read.ms - outcome.ms).abs() < 1e-9, "a float may lose its last bit on the way");
        assert_eq!(Outcome { ms: outcome.ms, ..read }, outcome);
    }

    #[test]
    fn whatever_is_no_answer_is_an_error() {
        for answer in ["", "HTTP/1.1 503 Busy\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n{", "nonsense"] {
            assert!(answered_with(answer).error.is_some(), "{answer}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(closed, Duration::from_secs(1)).error.is_some());
    }
}
