use alloc::vec::Vec;

use super::{MAX_HEADER_LEN, MAX_SEGMENTS, Offload, PartialChecksum, SegmentKind, Segmentation, put, word};
use super::{TCP_CHECKSUM, UDP_CHECKSUM};
use crate::wire::{Checksum, IpVersion, Layout, TcpFlags, protocol};

/// How received frames are trusted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verify {
    /// Each inner TCP and UDP checksum is computed over the payload. A field that holds just the pseudo header's sum (a
    /// peer on a veth whose offload no network card finished) is accepted, too.
    Inner,
    /// The outer datagram was authenticated, or its own checksum was verified: inner sums are not computed.
    Outer,
}

/// Collects received frames of one flow into a super-frame, as the kernel's generic receive offload does.
///
/// Frames are not copied: the caller says where each one lies, and gets the places of the payload back. Whole TCP and
/// UDP packets are handed on with [`Offload::checksum`] set, so that the receiving kernel does not compute what was
/// verified already; everything else is handed on alone and as it is, but never out of order.
///
/// Frames of one flow join if the headers say the same and only sequence number or identification move on: equal
/// addresses, ports, hop limit, traffic class and flow label; of TCP also acknowledgement, window and options. `PSH`, a
/// shorter payload or a full super-frame (64 segments, 65535 bytes) close it. The identifications of packets that must
/// not be fragmented mean nothing ([RFC 6864 §4.1]) and may do what they like.
///
/// ```
/// use overlay_core::offload::{Coalescer, Offload, Pushed, Verify};
///
/// let mut coalescer = Coalescer::new(Verify::Inner);
/// let buffer = [0; 60]; // not even IP: it stays alone
/// assert_eq!(coalescer.push(7, 0, &buffer), Pushed::Opened);
/// assert_eq!(coalescer.push(7, 0, &buffer), Pushed::Refused);
/// let alone = coalescer.take().unwrap();
/// assert_eq!((alone.offload, alone.headers, alone.pieces[0].len), (Offload::NONE, &[][..], 60));
/// ```
///
/// [RFC 6864 §4.1]: https://www.rfc-editor.org/rfc/rfc6864#section-4.1
#[derive(Clone, Debug)]
pub struct Coalescer {
    verify: Verify,
    datagrams: bool,
    state: State,
    headers: [u8; MAX_HEADER_LEN],
    pieces: Vec<Piece>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Pushed {
    /// It is the first one.
    Opened,
    /// It continues what was collected.
    Joined,
    /// It belongs to something else: [`take`](Coalescer::take) what was collected, then push it again.
    Refused,
    /// Its checksum is wrong: it was dropped.
    Damaged,
}

/// What was collected: write `headers` and then every piece, in one write.
#[derive(Clone, Copy, Debug)]
pub struct SuperFrame<'c> {
    /// Goes in front of it.
    pub offload: Offload,
    /// The headers, finished; empty if the only piece is the whole frame.
    pub headers: &'c [u8],
    /// At least one; that of a packet without payload is empty.
    pub pieces: &'c [Piece],
}

/// A part of one of the caller's buffers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Piece {
    /// The number that the caller gave to the buffer.
    pub buffer: u32,
    /// Where the part begins.
    pub offset: usize,
    /// How long it is.
    pub len: usize,
}

impl Coalescer {
    /// One that has collected nothing.
    #[must_use]
    pub fn new(verify: Verify) -> Self {
        let pieces = Vec::with_capacity(MAX_SEGMENTS);
        Self { verify, datagrams: true, state: State::Empty, headers: [0; MAX_HEADER_LEN], pieces }
    }

    /// One that never joins UDP datagrams: before Linux 6.2 a TAP device takes no super-frames of them.
    #[must_use]
    pub fn without_datagrams(self) -> Self {
        Self { datagrams: false, ..self }
    }

    /// Adds a frame that lies at `offset` of the caller's buffer number `buffer`.
    #[inline]
    pub fn push(&mut self, buffer: u32, offset: usize, frame: &[u8]) -> Pushed {
        match &self.state {
            State::Empty => self.open(buffer, offset, frame),
            State::Alone => Pushed::Refused,
            State::Open(open) if open.closed => Pushed::Refused,
            State::Open(_) => self.join(buffer, offset, frame),
        }
    }

    /// Whether nothing was collected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// What was collected; nothing is afterwards.
    #[inline]
    pub fn take(&mut self) -> Option<SuperFrame<'_>> {
        match core::mem::replace(&mut self.state, State::Empty) {
            State::Empty => None,
            State::Alone => Some(SuperFrame { offload: Offload::NONE, headers: &[], pieces: &self.pieces }),
            State::Open(open) => {
                let headers = self.headers.get_mut(..open.layout.payload)?;
                let offload = open.finish(headers, self.pieces.len());
                Some(SuperFrame { offload, headers, pieces: &self.pieces })
            }
        }
    }

    fn open(&mut self, buffer: u32, offset: usize, frame: &[u8]) -> Pushed {
        self.pieces.clear();
        let whole = Piece { buffer, offset, len: frame.len() };
        let Some(packet) = Packet::parse(frame) else {
            self.pieces.push(whole);
            self.state = State::Alone;
            return Pushed::Opened;
        };
        if self.verify == Verify::Inner && !packet.is_intact(frame) {
            return Pushed::Damaged;
        }
        let Layout { payload, end, network, .. } = packet.layout;
        if let (Some(headers), Some(from)) = (self.headers.get_mut(..payload), frame.get(..payload)) {
            headers.copy_from_slice(from);
        }
        self.pieces.push(Piece { buffer, offset: offset + payload, len: end - payload });
        self.state = State::Open(Open {
            layout: packet.layout,
            closed: !packet.may_be_joined(self.datagrams),
            size: end - payload,
            len: end - network,
            sequence: packet.next_sequence(),
            identification: packet.identification.wrapping_add(1),
            flags: packet.flags,
        });
        Pushed::Opened
    }

    fn join(&mut self, buffer: u32, offset: usize, frame: &[u8]) -> Pushed {
        let State::Open(open) = &mut self.state else { return Pushed::Refused };
        let Some(packet) = Packet::parse(frame) else { return Pushed::Refused };
        let headers = self.headers.get(..open.layout.payload).unwrap_or_default();
        if !open.continues(&packet) || !packet.is_of_same_flow(headers, frame) {
            return Pushed::Refused;
        }
        if self.verify == Verify::Inner && !packet.is_intact(frame) {
            return Pushed::Damaged;
        }
        let payload = packet.layout.payload;
        let len = packet.layout.end - payload;
        self.pieces.push(Piece { buffer, offset: offset + payload, len });
        open.len += len;
        open.sequence = packet.next_sequence();
        open.identification = packet.identification.wrapping_add(1);
        open.flags = open.flags | packet.flags;
        open.closed =
            len < open.size || packet.flags.contains(TcpFlags::PSH) || self.pieces.len() == MAX_SEGMENTS;
        Pushed::Joined
    }
}

#[derive(Clone, Debug)]
enum State {
    Empty,
    /// One frame that is handed on as it is.
    Alone,
    /// A TCP or UDP packet, and those that joined it.
    Open(Open),
}

#[derive(Clone, Debug)]
struct Open {
    /// Of the first frame.
    layout: Layout,
    /// Nothing joins any more.
    closed: bool,
    /// Payload of the first frame; only the last may have less.
    size: usize,
    /// The IP packet so far.
    len: usize,
    /// What the next frame must have.
    sequence: u32,
    identification: u16,
    /// Of all frames.
    flags: TcpFlags,
}

impl Open {
    /// Whether the packet is the next one as far as numbers and lengths tell.
    #[inline]
    fn continues(&self, packet: &Packet) -> bool {
        let Layout { payload, end, network, transport, version, protocol, .. } = packet.layout;
        let len = end - payload;
        (network, transport, payload) == (self.layout.network, self.layout.transport, self.layout.payload)
            && (version, protocol) == (self.layout.version, self.layout.protocol)
            && (1..=self.size).contains(&len)
            && self.len + len <= usize::from(u16::MAX)
            && packet.sequence == self.sequence
            && (packet.dont_fragment || packet.identification == self.identification)
            && !packet.flags.intersects(UNJOINABLE | TcpFlags::CWR)
    }

    /// Makes the headers those of the super-frame.
    fn finish(&self, headers: &mut [u8], count: usize) -> Offload {
        let Layout { network, transport, version, protocol, .. } = self.layout;
        let low = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let len = low(self.len - (transport - network));
        if count > 1 {
            if version == IpVersion::V4 {
                let (old, total) = (word(headers, network + 2), low(self.len));
                let sum = Checksum::update(word(headers, network + 10), old, total);
                put(headers, network + 2, total.to_be_bytes());
                put(headers, network + 10, sum.to_be_bytes());
            } else {
                put(headers, network + 4, len.to_be_bytes());
            }
        }
        let (offset, kind) = match (protocol, version) {
            (protocol::UDP, _) => {
                put(headers, transport + 4, len.to_be_bytes());
                (UDP_CHECKSUM, SegmentKind::Udp)
            }
            (_, version) => {
                put(headers, transport + 13, [self.flags.bits()]);
                let kind = if version == IpVersion::V4 { SegmentKind::Tcp4 } else { SegmentKind::Tcp6 };
                (TCP_CHECKSUM, kind)
            }
        };
        let pseudo = self.layout.pseudo_header(headers).add_word(len).sum();
        put(headers, transport + usize::from(offset), pseudo.to_be_bytes());
        let segmentation = (count > 1).then(|| Segmentation {
            kind,
            size: low(self.size),
            header_len: low(headers.len()),
            ecn: self.flags.contains(TcpFlags::CWR),
        });
        Offload { checksum: Some(PartialChecksum { start: low(transport), offset }), segmentation }
    }
}

/// A whole TCP or UDP packet with a checksum, right behind an IP header without options.
struct Packet {
    layout: Layout,
    /// Of TCP; zero of UDP, as the flags are.
    sequence: u32,
    flags: TcpFlags,
    /// The reserved bits of TCP's data offset.
    reserved: u8,
    identification: u16,
    dont_fragment: bool,
}

impl Packet {
    #[inline]
    fn parse(frame: &[u8]) -> Option<Self> {
        let layout = Layout::parse(frame).ok()?;
        if !layout.is_plain_in(frame) || layout.payload > MAX_HEADER_LEN {
            return None;
        }
        let (network, transport) = (layout.network, layout.transport);
        let (identification, dont_fragment) = match layout.version {
            IpVersion::V4 => (word(frame, network + 4), word(frame, network + 6) & DONT_FRAGMENT != 0),
            IpVersion::V6 => (0, true),
        };
        let (sequence, reserved, flags) = if layout.protocol == protocol::TCP {
            let [reserved, flags] = word(frame, transport + 12).to_be_bytes();
            (sequence_of(frame, transport), reserved & 0x0f, TcpFlags::new(flags))
        } else if word(frame, transport + usize::from(UDP_CHECKSUM)) == 0 {
            return None;
        } else {
            (0, 0, TcpFlags::default())
        };
        Some(Self { layout, sequence, flags, reserved, identification, dont_fragment })
    }

    /// Whether others may join it.
    #[inline]
    fn may_be_joined(&self, datagrams: bool) -> bool {
        let Layout { payload, end, protocol, .. } = self.layout;
        if payload == end {
            return false;
        }
        if protocol == protocol::UDP {
            return datagrams;
        }
        self.flags.contains(TcpFlags::ACK)
            && !self.flags.intersects(UNJOINABLE | TcpFlags::PSH)
            && self.reserved == 0
    }

    /// The sequence number of the byte behind this packet; zero of UDP.
    #[inline]
    fn next_sequence(&self) -> u32 {
        if self.layout.protocol == protocol::UDP {
            return 0;
        }
        let len = self.layout.end - self.layout.payload;
        self.sequence.wrapping_add(u32::try_from(len).unwrap_or(u32::MAX))
    }

    /// Whether everything that all packets of a super-frame share is the same as in `headers`.
    #[inline]
    fn is_of_same_flow(&self, headers: &[u8], frame: &[u8]) -> bool {
        let Layout { network, transport, payload, version, protocol, .. } = self.layout;
        let same = |start: usize, end: usize| headers.get(start..end) == frame.get(start..end);
        let network = match version {
            // But for the length, the identification and the checksum.
            IpVersion::V4 => {
                same(0, network + 2) && same(network + 6, network + 10) && same(network + 12, network + 20)
            }
            // But for the length.
            IpVersion::V6 => same(0, network + 4) && same(network + 6, network + 40),
        };
        let ports = || same(transport, transport + 4);
        let rest = || {
            let flags = |headers: &[u8]| word(headers, transport + 12) & !u16::from(MOVING.bits());
            protocol == protocol::UDP
                // But for the sequence number, some flags and the checksum.
                || same(transport + 8, transport + 12)
                    && flags(headers) == flags(frame)
                    && same(transport + 14, transport + 16)
                    && same(transport + 18, payload)
        };
        network && ports() && rest()
    }

    /// Whether the checksum fits, or was left unfinished.
    #[inline]
    fn is_intact(&self, frame: &[u8]) -> bool {
        let Layout { transport, end, protocol, .. } = self.layout;
        let len = u16::try_from(end - transport).unwrap_or(u16::MAX);
        let pseudo = self.layout.pseudo_header(frame).add_word(len);
        let offset = if protocol == protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
        let segment = frame.get(transport..end).unwrap_or_default();
        pseudo.add_bytes(segment).is_intact() || word(frame, transport + usize::from(offset)) == pseudo.sum()
    }
}

#[inline]
fn sequence_of(frame: &[u8], transport: usize) -> u32 {
    u32::from(word(frame, transport + 4)) << 16 | u32::from(word(frame, transport + 6))
}

/// Packets with these mean more than their bytes.
const UNJOINABLE: TcpFlags =
    TcpFlags::new(TcpFlags::FIN.bits() | TcpFlags::SYN.bits() | TcpFlags::RST.bits() | TcpFlags::URG.bits());
/// Flags that only one packet of a super-frame may have.
const MOVING: TcpFlags = TcpFlags::new(TcpFlags::PSH.bits() | TcpFlags::CWR.bits());
const DONT_FRAGMENT: u16 = 1 << 14;
