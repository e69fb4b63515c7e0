//! What processes and the network take, from `/proc`.

use std::fs::{read_dir, read_to_string};

/// Totals at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Processor time of all agents, in seconds.
    pub(crate) processor: f64,
    /// On the loopback interface, with the headers of IP, UDP and TCP.
    pub(crate) bytes: f64,
    pub(crate) packets: f64,
}

/// Memory of one process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All pages that it has.
    pub(crate) rss: f64,
    /// Shared pages counted in part.
    pub(crate) pss: f64,
}

impl Totals {
    pub(crate) fn now(processes: impl Iterator<Item = u32>) -> Self {
        let processor = processes.filter_map(seconds).sum::<f64>();
        let (bytes, packets) = loopback().unwrap_or_default();
        Self { processor, bytes, packets }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            processor: self.processor - earlier.processor,
            bytes: self.bytes - earlier.bytes,
            packets: self.packets - earlier.packets,
        }
    }
}

impl Memory {
    pub(crate) fn of(process: u32) -> Option<Self> {
        let text = read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
        };
        Some(Self { rss: field("Rss:")?, pss: field("Pss:")? })
    }
}

/// The load average of the last minute.
pub(crate) fn load() -> Option<f64> {
    read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Seconds in user mode and in the kernel. `stat` counts in steps of 10 ms, and cuts off; threads know it better.
fn seconds(process: u32) -> Option<f64> {
    let threads = read_dir(format!("/proc/{process}/task")).ok()?;
    let times = threads.flatten().map(|thread| {
        let text = read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum::<Option<f64>>().map(|nanoseconds| nanoseconds / 1e9).or_else(|| ticks(process))
}

fn ticks(process: u32) -> Option<f64> {
    let text = read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may have spaces in it.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// What arrived.
fn loopback() -> Option<(f64, f64)> {
    let text = read_to_string("/proc/net/dev").ok()?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    let mut fields = line.split_whitespace();
    let bytes = fields.next()?.parse().ok()?;
    Some((bytes, fields.next()?.parse().ok()?))
}

/// A second has so many for user space, on all machines of today.
const TICKS: f64 = 100.0;
