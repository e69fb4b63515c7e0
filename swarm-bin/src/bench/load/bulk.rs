//! Bytes of TCP, as many as fit.
#![expect(clippy::disallowed_types, reason = "a load has sockets of its own")]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Arrived, PATIENCE, ready};
use crate::clock;

/// Takes the bytes of `streams` connections to their ends.
///
/// # Errors
///
/// Those of the sockets.
pub(super) fn sink(at: SocketAddr, streams: u16) -> io::Result<Arrived> {
    let listener = TcpListener::bind(at)?;
    ready();
    let mut readers = Vec::new();
    let mut start = None;
    for _ in 0..streams {
        let (stream, _) = listener.accept()?;
        start.get_or_insert_with(clock::now);
        readers.push(thread::spawn(move || drain(stream)));
    }
    let mut count = 0;
    for reader in readers {
        count += reader.join().map_err(|_| io::Error::other("a reader failed"))??;
    }
    Ok(Arrived { count, seconds: start.map_or(0.0, |start| start.elapsed().as_secs_f64()) })
}

/// Sends for `span` over `streams` connections at once.
///
/// # Errors
///
/// Those of the sockets.
pub(super) fn pour(to: SocketAddr, span: Duration, streams: u16) -> io::Result<()> {
    let connected = (0..streams).map(|_| connect(to)).collect::<io::Result<Vec<_>>>()?;
    let end = clock::now() + span;
    let writers = connected.into_iter().map(|mut stream| {
        thread::spawn(move || {
            let block = vec![0x5a; BLOCK];
            while clock::now() < end {
                stream.write_all(&block)?;
            }
            Ok::<(), io::Error>(())
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().map_err(|_| io::Error::other("a writer failed"))??;
    }
    Ok(())
}

/// Connects, and tries again while nobody is there: a tunnel may still shake hands.
///
/// # Errors
///
/// It did not work for [`PATIENCE`].
pub(super) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let give_up = clock::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&to, Duration::from_millis(300)) {
            Err(_) if clock::now() < give_up => thread::sleep(Duration::from_millis(20)),
            connected => {
                let stream = connected?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
        }
    }
}

fn drain(mut stream: TcpStream) -> io::Result<u64> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut block = vec![0; BLOCK];
    let mut count = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(count),
            len => count += u64::try_from(len).unwrap_or_default(),
        }
    }
}

/// As much as iperf3 writes and reads at once.
const BLOCK: usize = 128 * 1024;
