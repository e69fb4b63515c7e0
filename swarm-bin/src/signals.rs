//! Signals, taken from a descriptor or not held back.

use std::io;

use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};

/// Holds no signal back, whatever the process that started this one did: a blocked SIGTERM would never be heard, and
/// every task would inherit that. Call it before there are threads.
pub(crate) fn accept_all() {
    let _ = SigSet::empty().thread_set_mask(); // fails only for a bad argument
}

/// Queues these signals for a descriptor that never blocks. Call it before there are threads.
///
/// # Errors
///
/// No descriptor is left.
pub(crate) fn queued(signals: &[Signal]) -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(*signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_queued_signal_is_read_and_held_back_only_as_long_as_wanted() {
        let fd = queued(&[Signal::SIGUSR1]).unwrap();
        raise(Signal::SIGUSR1).unwrap(); // to this thread
        let read = fd.read_signal().unwrap().unwrap();
        assert_eq!(i32::try_from(read.ssi_signo), Ok(Signal::SIGUSR1 as i32));
        assert!(fd.read_signal().unwrap().is_none());
        accept_all();
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1));
    }
}
