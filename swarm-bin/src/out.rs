//! The only place that prints: results on stdout, progress and errors on stderr.
//!
//! A reader that went away is no error of ours, so failures to write are ignored.

use std::fmt::Display;
use std::io::Write as _;

/// A line of the result.
pub(crate) fn line(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}");
    let _ = stdout.flush();
}

/// A line for people who watch.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Bytes of a task's output, to stdout or stderr.
pub(crate) fn bytes(to_stderr: bool, bytes: &[u8]) {
    let _ = if to_stderr {
        std::io::stderr().lock().write_all(bytes)
    } else {
        std::io::stdout().lock().write_all(bytes)
    };
}

/// A JSON value over several lines, as `docker inspect` shows it.
pub(crate) fn pretty(value: &serde_json::Value) {
    line(format_args!("{value:#}"));
}
