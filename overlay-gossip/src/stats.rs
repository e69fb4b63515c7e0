//! Counters.

/// What a node has counted since its start, and how much it holds now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Bytes of datagrams received.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of datagrams sent.
    pub bytes_out: u64,
    /// Datagrams or streams that no key of ours opens, or that are plain where they must not be.
    pub undecryptable: u64,
    /// Datagrams or streams with another label.
    pub wrong_label: u64,
    /// Datagrams or streams that break the format.
    pub malformed: u64,
    /// Messages for another application, of an unknown type, or for another node.
    pub ignored: u64,
    /// Probes sent.
    pub probes: u64,
    /// Probes that nobody's answer came back for.
    pub probes_failed: u64,
    /// Times that this node had to object to being called dead.
    pub refutations: u64,
    /// Times that this node compared its view of the cluster with another node's in detail.
    pub repairs: u64,
    /// TCP exchanges started.
    pub dials: u64,
    /// TCP exchanges that failed.
    pub dials_failed: u64,
    /// TCP exchanges accepted.
    pub streams_in: u64,
    /// TCP exchanges turned away because too many were open.
    pub streams_refused: u64,
    /// Health score: 0 is healthy; grows while this node misses what it should see.
    pub health: u32,
    /// Members that are alive or suspect, with this node.
    pub members_up: usize,
    /// Membership messages that wait to be gossiped.
    pub queue: usize,
    /// Table messages received.
    pub table_messages_in: u64,
    /// Table messages sent.
    pub table_messages_out: u64,
    /// Records that were taken over from others.
    pub records_in: u64,
    /// Records that were refused: over a limit, or nonsense.
    pub records_refused: u64,
    /// Records held, with withdrawn ones that are remembered.
    pub records: usize,
}
