use std::collections::BTreeMap;

use nix::errno::Errno;
use overlay_core::seal::SealStats;
use overlay_core::{PortId, Stats};

/// What a plane did since it was started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlaneStats {
    /// What was decided about frames, with every reason for a drop.
    pub vtep: Stats,
    /// What was sealed and opened, with every reason for a drop.
    pub seal: SealStats,
    /// The side of the other hosts.
    pub underlay: UnderlayStats,
    /// The side of the tasks; a port whose device vanished stays listed until it is detached or attached again.
    pub ports: BTreeMap<PortId, PortStats>,
    /// How often the thread went to sleep.
    pub sleeps: u64,
    /// How often the thread looked for work in vain instead of sleeping.
    pub spins: u64,
    /// Why the thread does not have the priority or the processor that it was to have.
    pub refused: Option<Errno>,
}

/// The traffic with other hosts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnderlayStats {
    /// Calls to the kernel that brought something.
    pub receive_calls: u64,
    /// What the kernel handed over: each one datagram, or many of one flow.
    pub received_messages: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Those of them that carried a super-frame which nobody had cut: from a kernel's VXLAN on a virtual wire.
    pub received_uncut: u64,
    /// Bytes of their payloads.
    pub received_bytes: u64,
    /// Dropped: longer than any datagram may be, or without a sender.
    pub malformed: u64,
    /// Dropped by the kernel: no room, or refused by the filter that wants a checksum.
    pub kernel_drops: u64,
    /// Calls that reported an error instead of a datagram.
    pub receive_errors: u64,
    /// Calls to the kernel that took something.
    pub send_calls: u64,
    /// What the kernel was handed: each one datagram, or many to be cut by it.
    pub sent_messages: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// Datagrams dropped because the kernel had no room.
    pub full: u64,
    /// Datagrams that the kernel refused, such as for want of a route.
    pub refused: u64,
    /// The last reason for a refusal.
    pub refusal: Option<Errno>,
    /// Messages that the kernel would not cut, sent one datagram at a time. Large numbers mean that the task's MTU
    /// is too large for the underlay, or that the network card cannot compute checksums.
    pub cut_here: u64,
    /// Frames from tasks that could not be cut into packets.
    pub uncut: u64,
    /// Frames of sealed networks that could not be sealed.
    pub unsealed: u64,
}

/// The traffic with one task.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PortStats {
    /// Calls to the kernel that brought something.
    pub receive_calls: u64,
    /// Frames received, each of them possibly many packets.
    pub received_frames: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Dropped: the kernel said something about the frame that makes no sense, or it was too long.
    pub malformed: u64,
    /// Dropped: the frame had a VLAN tag.
    pub tagged: u64,
    /// Dropped by the kernel for want of room.
    pub kernel_drops: u64,
    /// Frames sent, each of them possibly many packets.
    pub sent_frames: u64,
    /// Packets of them.
    pub sent_packets: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Frames whose inner checksum was wrong.
    pub damaged: u64,
    /// Frames dropped because the kernel had no room.
    pub full: u64,
    /// Frames that the kernel refused, such as for being longer than the MTU.
    pub refused: u64,
    /// The last reason for a refusal.
    pub refusal: Option<Errno>,
    /// The device vanished: the port is detached.
    pub gone: bool,
}
