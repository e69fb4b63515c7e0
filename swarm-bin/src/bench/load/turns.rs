//! One byte there, one byte back.
#![expect(clippy::disallowed_types, reason = "a load has sockets of its own")]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::{PATIENCE, Trips, bulk, ready};
use crate::clock;

/// Sends back what one connection brings.
///
/// # Errors
///
/// Those of the sockets.
pub(super) fn echo(at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    ready();
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut byte = [0; 1];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Takes turns for `span`.
///
/// # Errors
///
/// Those of the sockets.
pub(super) fn ping(to: SocketAddr, span: Duration) -> io::Result<Trips> {
    let mut stream = bulk::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0; 1];
    let mut took = Vec::new();
    let start = clock::now();
    while took.is_empty() || start.elapsed() < span {
        let sent = clock::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        took.push(sent.elapsed());
    }
    Ok(trips(took))
}

fn trips(mut took: Vec<Duration>) -> Trips {
    took.sort_unstable();
    let at = |percent: usize| {
        let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e6)
    };
    Trips { count: took.len(), p50_us: at(50), p99_us: at(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_tail_are_told() {
        let told = trips((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(told.count, 200);
        assert!((told.p50_us - 101.0).abs() < 0.01, "{told:?}");
        assert!((told.p99_us - 199.0).abs() < 0.01, "{told:?}");
        assert_eq!(trips(Vec::new()), Trips::default());
    }
}
