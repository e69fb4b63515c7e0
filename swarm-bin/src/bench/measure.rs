//! One test of one layout: a server, a client, and what they tell.

use std::fs;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::error::BenchError;
use super::lab::Built;
use super::load::{self, Arrived, READY, Trips};
use super::program::{IPERF3, Talking, ourselves};

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Test {
    TcpBulk,
    #[value(name = "tcp_bulk4")]
    TcpBulk4,
    Pps64,
    TcpRr,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Measure {
    TcpBulk,
    /// Cores that were busy meanwhile.
    TcpBulkCores,
    TcpBulk4,
    Pps64,
    TcpRrP50,
    TcpRrP99,
    /// With both ends on one processor: no wake-up crosses to another one.
    TcpRrOneCpu,
}

/// One value of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) measure: Measure,
    pub(super) value: f64,
}

/// How tests are done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench {
    /// How long one takes.
    pub(super) seconds: f64,
    /// Whether iperf3 sends the streams.
    pub(super) iperf3: bool,
}

impl Test {
    /// Whether it is done only if asked for.
    pub(super) const fn is_extra(self) -> bool {
        matches!(self, Self::TcpBulk4)
    }
}

impl Measure {
    /// All of them, in the order of the columns.
    pub(super) const ALL: [Self; 7] = [
        Self::TcpBulk,
        Self::TcpBulk4,
        Self::Pps64,
        Self::TcpRrP50,
        Self::TcpRrP99,
        Self::TcpRrOneCpu,
        Self::TcpBulkCores,
    ];

    /// As in a row.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TcpBulk => "tcp_bulk",
            Self::TcpBulkCores => "tcp_bulk_cores",
            Self::TcpBulk4 => "tcp_bulk4",
            Self::Pps64 => "pps64",
            Self::TcpRrP50 => "tcp_rr_p50",
            Self::TcpRrP99 => "tcp_rr_p99",
            Self::TcpRrOneCpu => "tcp_rr_one_cpu_p50",
        }
    }

    /// Of its values.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::TcpBulk | Self::TcpBulk4 => "Gbit/s",
            Self::TcpBulkCores => "cores",
            Self::Pps64 => "kpps",
            Self::TcpRrP50 | Self::TcpRrP99 | Self::TcpRrOneCpu => "us",
        }
    }

    /// Whether ratios of it are worth a row.
    pub(super) const fn is_headline(self) -> bool {
        !matches!(self, Self::TcpBulkCores | Self::TcpRrP99)
    }

    /// A value with its unit.
    pub(super) fn shown(self, value: f64) -> String {
        format!("{} {}", digits(value), self.unit())
    }
}

impl Bench {
    /// Waits until the two ends reach each other.
    ///
    /// # Errors
    ///
    /// They do not.
    pub(super) fn until_ready(&self, built: &Built) -> Result<(), BenchError> {
        Self { seconds: 0.05, ..*self }.turns(built, &[]).map(drop)
    }

    /// Does a test.
    ///
    /// # Errors
    ///
    /// A program failed, or the network did.
    pub(super) fn run(&self, test: Test, built: &Built) -> Result<Vec<Figure>, BenchError> {
        let figure = |measure, value| Figure { measure, value };
        match test {
            Test::TcpBulk => {
                let before = CpuTimes::now();
                let gbits = self.bulk(built, 1)?;
                let cores = CpuTimes::now().busy_cores_since(before);
                Ok(vec![figure(Measure::TcpBulk, gbits), figure(Measure::TcpBulkCores, cores)])
            }
            Test::TcpBulk4 => Ok(vec![figure(Measure::TcpBulk4, self.bulk(built, 4)?)]),
            Test::Pps64 => Ok(vec![figure(Measure::Pps64, self.flood(built)?)]),
            Test::TcpRr => {
                let (free, together) = (self.turns(built, &[])?, self.turns(built, &["--processor", "0"])?);
                Ok(vec![
                    figure(Measure::TcpRrP50, free.p50_us),
                    figure(Measure::TcpRrP99, free.p99_us),
                    figure(Measure::TcpRrOneCpu, together.p50_us),
                ])
            }
        }
    }

    fn bulk(&self, built: &Built, streams: u16) -> Result<f64, BenchError> {
        if self.iperf3 {
            return self.iperf3(built, streams);
        }
        let streams = streams.to_string();
        let mut server = Self::server(built, &["sink", "--streams", &streams])?;
        self.client(built, &["pour", "--streams", &streams])?;
        let arrived: Arrived = told(&server.rest(self.patience())?)?;
        Ok(arrived.rate() * 8.0 / 1e9)
    }

    fn iperf3(&self, built: &Built, streams: u16) -> Result<f64, BenchError> {
        let port = load::address(built.addr).port().to_string();
        let mut server = IPERF3.command()?;
        server.args(["-s", "-1", "--forceflush", "-p", &port]);
        let mut server = Talking::start(&built.server, server, None)?;
        while !server.line(self.patience())?.starts_with("Server listening") {}
        let mut client = IPERF3.command()?;
        let (streams, seconds) = (streams.to_string(), self.seconds.to_string());
        client.args(["-J", "-c", &built.addr.to_string(), "-p", &port, "-P", &streams, "-t", &seconds]);
        let said = Talking::start(&built.client, client, None)?.rest(self.patience())?;
        let told: Value = told(&said)?;
        let rate = told.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        rate.map(|bits| bits / 1e9).ok_or_else(|| {
            BenchError::program("iperf3", told.get("error").and_then(Value::as_str).unwrap_or("no result"))
        })
    }

    fn flood(&self, built: &Built) -> Result<f64, BenchError> {
        let seconds = self.seconds.to_string();
        let mut server = Self::server(built, &["count", "--seconds", &seconds])?;
        // The client goes on a moment longer than is counted.
        Self { seconds: self.seconds + 0.05, ..*self }.client(built, &["flood"])?;
        let arrived: Arrived = told(&server.rest(self.patience())?)?;
        Ok(arrived.rate() / 1e3)
    }

    /// Both ends stay where `place` says.
    fn turns(&self, built: &Built, place: &[&str]) -> Result<Trips, BenchError> {
        let _server = Self::server(built, &[&["echo"], place].concat())?;
        told(&self.client(built, &[&["ping"], place].concat())?)
    }

    /// A server that listens.
    fn server(built: &Built, role: &[&str]) -> Result<Talking, BenchError> {
        let mut command = ourselves();
        let (name, args) = role.split_first().unwrap_or((&"", &[]));
        command.args(["bench-load", name, &load::address(built.addr).to_string()]).args(args);
        let mut server = Talking::start(&built.server, command, None)?;
        match server.line(load::PATIENCE)? {
            line if line == READY => Ok(server),
            line => Err(BenchError::program("bench-load", line)),
        }
    }

    /// A client, to its end.
    fn client(&self, built: &Built, role: &[&str]) -> Result<String, BenchError> {
        let mut command = ourselves();
        let (name, args) = role.split_first().unwrap_or((&"", &[]));
        command.args(["bench-load", name, &load::address(built.addr).to_string()]).args(args);
        command.args(["--seconds", &self.seconds.to_string()]);
        Talking::start(&built.client, command, None)?.rest(self.patience())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.seconds) + 2 * load::PATIENCE
    }
}

/// The time that all cores spent, in ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default)]
struct CpuTimes {
    all: f64,
    idle: f64,
    cores: f64,
}

impl CpuTimes {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat)
    }

    fn parse(stat: &str) -> Self {
        let numbered = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
        let cores = u32::try_from(stat.lines().filter(numbered).count()).unwrap_or_default();
        let ticks = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        // User, nice, system, idle, waiting for a disk, interrupts, soft interrupts, stolen; then what is in user already.
        let ticks: Vec<f64> = ticks.take(8).filter_map(|text| text.parse().ok()).collect();
        let idle = ticks.iter().skip(3).take(2).sum();
        Self { all: ticks.iter().sum(), idle, cores: f64::from(cores) }
    }

    fn busy_cores_since(self, before: Self) -> f64 {
        let all = self.all - before.all;
        if all > 0.0 { self.cores * (1.0 - (self.idle - before.idle) / all) } else { 0.0 }
    }
}

fn told<T: serde::de::DeserializeOwned>(said: &str) -> Result<T, BenchError> {
    serde_json::from_str(said.trim()).map_err(|error| BenchError::program("bench-load", error))
}

/// Three digits that count.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_cores_are_counted() {
        let at = |user: u32, idle: u32| {
            CpuTimes::parse(&format!(
                "cpu  {user} 0 100 {idle} 50 0 0 0 7 7\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n"
            ))
        };
        let busy = at(250, 1050).busy_cores_since(at(100, 1000));
        assert!((busy - 1.5).abs() < 1e-9, "{busy}");
        assert!(CpuTimes::default().busy_cores_since(CpuTimes::default()).abs() < 1e-9);
    }

    #[test]
    fn three_digits_are_shown() {
        for (value, text) in
            [(0.123, "0.12"), (9.999, "10.0"), (21.84, "21.8"), (99.97, "100"), (1234.5, "1234")]
        {
            assert_eq!(digits(value), text);
        }
    }
}
