use nix::errno::Errno;
use nix::libc;

/// Sets the nice value of the calling thread: -20 is served first, 19 last.
pub(in super::super) fn set_nice(value: i8) -> nix::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory of ours; 0 is the calling thread.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(value)) })?;
    Ok(())
}

/// Puts the calling thread before all that are not real-time: `SCHED_RR` with a priority of 1 to 99.
pub(in super::super) fn set_realtime(priority: u8) -> nix::Result<()> {
    // SAFETY: all zeros is a valid `sched_param`.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = i32::from(priority);
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads `parameter`, which lives until the call is over; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })?;
    Ok(())
}
