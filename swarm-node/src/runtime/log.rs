//! A task's output on disk: framed, so that any bytes and both streams survive; bounded, so that a chatty task cannot
//! fill the disk.
//!
//! ```text
//!   0        8        9          13
//!   ┌────────┬────────┬──────────┬─────────┐
//!   │ ns, BE │ stream │ len, BE  │ bytes … │   one frame a line
//!   └────────┴────────┴──────────┴─────────┘
//! ```

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// The stream a line was written to; the numbers are those of Docker's log frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// 1
    Stdout,
    /// 2
    Stderr,
}

impl Stream {
    /// 1 or 2, as in the frames of the Engine API.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// One line, its line feed included if it had one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// Nanoseconds since the epoch.
    pub at_ns: u64,
    /// Where the program wrote it.
    pub stream: Stream,
    /// The line; at most 16 KiB, longer ones are cut into several.
    pub line: Vec<u8>,
}

/// Longest line kept in one piece, as Docker's.
pub(super) const MAX_LINE: usize = 16 * 1024;
/// The log is turned over at this size; one older part is kept.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// Appends frames.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogWriter {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self { path, file, len })
    }

    pub(super) fn append(&mut self, at_ns: u64, stream: Stream, line: &[u8]) -> io::Result<()> {
        for piece in line.chunks(MAX_LINE) {
            if self.len > MAX_FILE {
                std::fs::rename(&self.path, older(&self.path))?;
                *self = Self::open(self.path.clone())?;
            }
            let len = u32::try_from(piece.len()).map_err(io::Error::other)?;
            let mut frame = Vec::with_capacity(13 + piece.len());
            frame.extend_from_slice(&at_ns.to_be_bytes());
            frame.push(stream.number());
            frame.extend_from_slice(&len.to_be_bytes());
            frame.extend_from_slice(piece);
            self.file.write_all(&frame)?;
            self.len += 13 + u64::from(len);
        }
        Ok(())
    }
}

/// Reads frames in order; at the end of the file it yields `None` and can be asked again later.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    parts: Vec<BufReader<File>>,
    pending: Vec<u8>,
}

impl LogReader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut parts = vec![BufReader::new(File::open(path)?)];
        if let Ok(old) = File::open(older(path)) {
            parts.push(BufReader::new(old)); // popped first
        }
        Ok(Self { path: path.to_owned(), parts, pending: Vec::new() })
    }

    /// The part that was begun after the log was turned over; `None` as long as the present one is the last.
    fn successor(&self) -> io::Result<Option<File>> {
        use std::os::unix::fs::MetadataExt;
        let Some(present) = self.parts.last() else { return Ok(None) };
        let newest = File::open(&self.path)?;
        let is_another = newest.metadata()?.ino() != present.get_ref().metadata()?.ino();
        Ok(is_another.then_some(newest))
    }

    /// The next line, or `None` when there is none yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not a log.
    pub fn next_entry(&mut self) -> io::Result<Option<LogEntry>> {
        loop {
            if let Some(entry) = self.parse()? {
                return Ok(Some(entry));
            }
            let Some(part) = self.parts.last_mut() else { return Ok(None) };
            let mut chunk = [0; 4096];
            let n = part.read(&mut chunk)?;
            if n > 0 {
                self.pending.extend_from_slice(chunk.get(..n).unwrap_or_default());
            } else if self.parts.len() > 1 {
                self.parts.pop();
            } else if let Some(newest) = self.successor()? {
                self.parts = vec![BufReader::new(newest)];
            } else {
                return Ok(None);
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<LogEntry>> {
        let Some((at, rest)) = self.pending.split_first_chunk::<8>() else { return Ok(None) };
        let Some((&stream, rest)) = rest.split_first() else { return Ok(None) };
        let Some((len, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if len > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a log line of {len} bytes")));
        }
        let Some(line) = rest.get(..len) else { return Ok(None) };
        let stream = if stream == 2 { Stream::Stderr } else { Stream::Stdout };
        let entry = LogEntry { at_ns: u64::from_be_bytes(*at), stream, line: line.to_vec() };
        self.pending.drain(..13 + len);
        Ok(Some(entry))
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_in_order_with_stream_and_time_and_a_reader_can_follow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = LogWriter::open(path.clone()).unwrap();
        writer.append(7, Stream::Stdout, b"one\n").unwrap();
        let mut reader = LogReader::open(&path).unwrap();
        assert_eq!(reader.next_entry().unwrap().unwrap().line, b"one\n");
        assert_eq!(reader.next_entry().unwrap(), None);
        writer.append(8, Stream::Stderr, &vec![b'x'; MAX_LINE + 1]).unwrap();
        let first = reader.next_entry().unwrap().unwrap();
        assert_eq!((first.at_ns, first.stream, first.line.len()), (8, Stream::Stderr, MAX_LINE));
        assert_eq!(reader.next_entry().unwrap().unwrap().line, b"x");
    }

    #[test]
    fn a_long_log_is_turned_over_and_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = LogWriter::open(path.clone()).unwrap();
        for _ in 0..2000 {
            writer.append(1, Stream::Stdout, &[0; MAX_LINE]).unwrap();
        }
        let mut reader = LogReader::open(&path).unwrap();
        while reader.next_entry().unwrap().is_some() {}
        for _ in 0..600 {
            writer.append(2, Stream::Stdout, &[1; MAX_LINE]).unwrap();
        }
        assert_eq!(reader.next_entry().unwrap().unwrap().at_ns, 2, "a follower goes on in the new part");
        let sizes = [path.clone(), older(&path)].map(|p| std::fs::metadata(p).unwrap().len());
        assert!(sizes.iter().all(|&size| size < MAX_FILE + 2 * MAX_LINE as u64), "{sizes:?}");
    }
}
