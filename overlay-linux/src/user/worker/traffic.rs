//! The two directions in which frames are carried.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Instant;

use overlay_core::offload::{Offload, Verify};
use overlay_core::seal::Seal;
use overlay_core::{PortId, Verdict};

use super::Worker;
use crate::user::outbox::{Leaving, Way};
use crate::user::port::Port;
use crate::user::uncut::uncut;

impl Worker {
    /// From a task: one batch.
    pub(super) fn down(&mut self, now: Instant, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let count = port.receive(&mut self.frames);
        for index in 0..count {
            let Some(received) = self.frames.get(index) else { break };
            if let Some(port) = self.ports.get_mut(&id) {
                port.stats.received_frames += 1;
                port.stats.received_bytes += received.len.saturating_sub(Offload::LEN) as u64;
                port.stats.tagged += u64::from(received.tagged);
                port.stats.malformed += u64::from(received.truncated);
            }
            if !received.tagged && !received.truncated {
                self.frame(now, id, received.range());
            }
        }
        let Self { underlay, seal, stats, .. } = self;
        let mut way = Way { underlay, seal, stats: &mut stats.underlay };
        self.outbox.flush(self.frames.storage(), &mut way);
    }

    /// One frame from a task; `range` is that of its offload header and the frame.
    fn frame(&mut self, now: Instant, id: PortId, range: Range<usize>) {
        let base = self.frames.storage().as_ptr().addr();
        let bytes = self.frames.storage_mut().get_mut(range).unwrap_or_default();
        let Some((header, frame)) = bytes.split_first_chunk_mut::<{ Offload::LEN }>() else { return };
        let Ok(offload) = Offload::parse(header) else {
            if let Some(port) = self.ports.get_mut(&id) {
                port.stats.malformed += 1;
            }
            return;
        };
        let deliver = |ports: &mut BTreeMap<PortId, Port>, to, frame: &[u8]| {
            for port in to {
                if let Some(port) = ports.get_mut(&port) {
                    port.write(offload, frame);
                }
            }
        };
        let (encap, source_port, endpoints, frame) = match self.vtep.handle_frame(now, id, offload, frame) {
            Verdict::Send { encap, source_port, endpoints, frame } => (encap, source_port, endpoints, frame),
            Verdict::Deliver { ports, frame } => return deliver(&mut self.ports, ports, frame),
            Verdict::Flood { ports, encap, source_port, endpoints, frame } => {
                deliver(&mut self.ports, ports, frame);
                (encap, source_port, endpoints, frame)
            }
            Verdict::Answer(reply) => {
                if let Some(port) = self.ports.get_mut(&id) {
                    port.write(Offload::NONE, reply.frame());
                }
                return;
            }
            Verdict::Drop(_) => return,
        };
        let (start, len) = (frame.as_ptr().addr() - base, frame.len());
        self.to_endpoints.clear();
        self.to_endpoints.extend_from_slice(endpoints);
        let Self { underlay, seal, stats, .. } = self;
        let mut way = Way { underlay, seal, stats: &mut stats.underlay };
        let leaving = Leaving { storage: self.frames.storage(), start, len, offload, encap, source_port };
        self.outbox.add(&leaving, &self.to_endpoints, &mut way);
    }

    /// From other hosts: one batch.
    pub(super) fn up(&mut self, now: Instant) {
        let count = match self.messages.receive(self.underlay.receive.as_fd(), self.messages.slots()) {
            Ok(0) => return,
            Ok(count) => count,
            Err(_) => {
                self.stats.underlay.receive_errors += 1;
                return;
            }
        };
        self.stats.underlay.receive_calls += 1;
        for index in 0..count {
            let Some(received) = self.messages.get(index) else { break };
            let stats = &mut self.stats.underlay;
            stats.received_messages += 1;
            stats.received_bytes += received.len as u64;
            let (Some(from), false) = (received.from, received.truncated) else {
                stats.malformed += 1;
                continue;
            };
            let Range { mut start, end } = received.range();
            let message = self.messages.storage().get(start..end).unwrap_or_default();
            if let Some(offload) = uncut(message, received.segment) {
                self.stats.underlay.received_datagrams += 1;
                self.stats.underlay.received_uncut += 1;
                self.datagram(now, from, start..end, Some(offload));
                continue;
            }
            let segment = received.segment.map_or(received.len, usize::from).max(1);
            while start < end {
                let next = end.min(start + segment);
                self.stats.underlay.received_datagrams += 1;
                self.datagram(now, from, start..next, None);
                start = next;
            }
        }
        while let Some(id) = self.dirty.pop() {
            if let Some(port) = self.ports.get_mut(&id) {
                port.flush(self.messages.storage());
            }
        }
    }

    /// One datagram from another host, and what is left to do in its frame if that is known already.
    fn datagram(&mut self, now: Instant, from: IpAddr, range: Range<usize>, offload: Option<Offload>) {
        let verify = self.verify();
        let base = self.messages.storage().as_ptr().addr();
        let payload = self.messages.storage_mut().get_mut(range).unwrap_or_default();
        let (verdict, verify) = if Seal::is_sealed(payload) {
            // Counted there.
            let Ok(opened) = self.seal.open(from, payload) else { return };
            (self.vtep.handle_opened(now, from, opened), Verify::Outer)
        } else {
            (self.vtep.handle_datagram(now, from, payload), verify)
        };
        // What comes from a tunnel goes to ports, and nowhere else.
        let Verdict::Deliver { ports, frame } = verdict else { return };
        let (offset, len) = (frame.as_ptr().addr() - base, frame.len());
        self.to_ports.clear();
        self.to_ports.extend(ports);
        for id in &self.to_ports {
            if let Some(port) = self.ports.get_mut(id) {
                if let Some(offload) = offload {
                    port.flush(self.messages.storage());
                    let frame = self.messages.storage().get(offset..offset + len);
                    port.write(offload, frame.unwrap_or_default());
                    continue;
                }
                port.push(self.messages.storage(), offset, len, verify);
                if self.dirty.last() != Some(id) {
                    self.dirty.push(*id);
                }
            }
        }
    }
}
