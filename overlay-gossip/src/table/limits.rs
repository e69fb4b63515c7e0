//! The bounds of tables, as the configuration sets them.

use std::time::Duration;

use crate::Config;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) packet: usize,
    pub(super) records: usize,
    pub(super) value: usize,
    pub(super) tombstone: Duration,
    pub(super) sync: Duration,
    pub(super) delay: Duration,
    pub(super) gossip: Duration,
    pub(super) fanout: usize,
    pub(super) retransmit: u32,
    pub(super) retire: Duration,
    pub(super) exchange: Duration,
    /// Bytes that a full exchange may say about who is in which network.
    pub(super) state: usize,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            // Room for the type byte, checksum, seal and label.
            packet: config.packet_size.saturating_sub(40 + config.label.len()).max(256),
            records: config.max_records,
            value: config.max_value,
            tombstone: config.tombstone,
            sync: config.table_sync_interval,
            delay: config.table_delay,
            gossip: config.gossip_interval,
            fanout: config.gossip_nodes.max(1),
            retransmit: config.retransmit_mult.max(1),
            retire: config.table_retire,
            exchange: config.push_pull_interval,
            state: config.max_stream / 2,
        }
    }
}
