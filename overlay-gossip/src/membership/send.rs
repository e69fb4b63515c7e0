//! What leaves: datagrams with gossip beside what had to be said, and events.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Membership, user};
use crate::wire::packet;
use crate::{Event, Output, Transmit};

impl Membership {
    /// Sends what the tables want to send.
    pub(super) fn flush_tables(&mut self, now: Instant) {
        while let Some((body, relay)) = self.tables.poll_broadcast() {
            self.broadcast_user(&body, relay);
        }
        while let Some(send) = self.tables.poll_send() {
            let Some(known) = self.members.get(send.to.as_str()) else { continue };
            let (to, vsn) = (known.member.addr, known.member.vsn);
            self.stats.table_messages_out += 1;
            let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 1);
            if send.body.len() <= room && !send.stream {
                self.transmit(to, &user::user_message(&send.body), vsn.protocol_max >= 5);
            } else {
                self.dial_user(now, to, &send.body);
            }
        }
    }

    /// Wraps and queues a datagram.
    pub(super) fn transmit(&mut self, to: SocketAddr, message: &[u8], crc: bool) {
        let payload = self.envelope.wrap(message, crc, &mut self.rng);
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        self.outputs.push_back(Output::Transmit(Transmit { to, payload }));
    }

    /// Sends messages with as much gossip as fits beside them.
    pub(super) fn transmit_with_gossip(&mut self, to: SocketAddr, mut messages: Vec<Bytes>, crc: bool) {
        let used: usize = messages.iter().map(|m| m.len() + 2).sum();
        let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 2 + used);
        messages.append(&mut self.take_gossip(room));
        if !messages.is_empty() {
            self.transmit(to, &packet::compound(&messages), crc);
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
