use std::time::Duration;

use crate::{MemberId, ResumeError};

/// How one member behaves. All members of a cluster should have the same times.
///
/// ```
/// use overlay_raft::{Config, MemberId};
///
/// let config = Config { snapshot_every: 1000, ..Config::new(MemberId::new(1)?) };
/// assert_eq!(config.election_ticks, 10);
/// # Ok::<(), overlay_raft::MemberIdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// This member's number.
    pub id: MemberId,
    /// The unit of the other times. 100 ms: a tenth of SwarmKit's, so a dead leader is replaced in
    /// one to two seconds instead of ten to twenty.
    pub tick: Duration,
    /// A follower that hears nothing for a random 1 to 2 times this many ticks stands for election.
    /// 10, as SwarmKit.
    pub election_ticks: u32,
    /// Ticks between two heartbeats of the leader; less than `election_ticks`. 1, as SwarmKit.
    pub heartbeat_ticks: u32,
    /// Ticks after which a snapshot that a member has not acknowledged is sent again. 50.
    pub snapshot_resend_ticks: u32,
    /// A snapshot is taken after this many entries (or 16 MiB of them). 10,000, as SwarmKit.
    pub snapshot_every: u64,
    /// Entries before the snapshot that are kept for slow followers. 500, as SwarmKit.
    pub keep_entries: u64,
}

impl Config {
    /// The defaults that the fields name.
    #[must_use]
    pub fn new(id: MemberId) -> Self {
        Self {
            id,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            heartbeat_ticks: 1,
            snapshot_resend_ticks: 50,
            snapshot_every: 10_000,
            keep_entries: 500,
        }
    }

    pub(crate) fn to_raft(&self, applied: u64) -> Result<raft::Config, ResumeError> {
        let ticks = |n: u32| usize::try_from(n).unwrap_or(usize::MAX / 4);
        let config = raft::Config {
            id: self.id.get(),
            election_tick: ticks(self.election_ticks),
            heartbeat_tick: ticks(self.heartbeat_ticks),
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: 64 << 20,
            max_committed_size_per_ready: 16 << 20,
            ..raft::Config::default()
        };
        config.validate().map_err(|error| ResumeError::Config { reason: error.to_string() })?;
        if self.tick.is_zero() {
            return Err(ResumeError::Config { reason: "tick must be greater than 0".to_owned() });
        }
        Ok(config)
    }
}
