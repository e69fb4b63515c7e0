//! Frames on their way to other hosts: cut, wrapped and packed into few messages.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use overlay_core::offload::{Checksums, Offload, split};
use overlay_core::seal::Seal;
use overlay_core::wire::VxlanHeader;
use overlay_core::{Encap, Vni};

use super::stats::UnderlayStats;
use super::sys::{Name, SendBatch};
use super::underlay::Underlay;

/// Datagrams that wait for the end of a batch.
///
/// Headers and small or sealed payloads are written to an arena; large payloads stay where the port's frames are. Datagrams
/// of one length to one host through one socket become one message, which the kernel cuts.
pub(super) struct Outbox {
    arena: Vec<u8>,
    messages: Vec<Message>,
    used: usize,
    batch: SendBatch,
}

/// A frame that leaves, inside of the port's buffers.
#[derive(Clone, Copy)]
pub(super) struct Leaving<'b> {
    /// All buffers of the port.
    pub(super) storage: &'b [u8],
    /// Where the frame begins.
    pub(super) start: usize,
    /// Its length.
    pub(super) len: usize,
    /// What the kernel left undone.
    pub(super) offload: Offload,
    /// How to wrap it.
    pub(super) encap: Encap,
    /// Which of the sockets it shall take, by hash.
    pub(super) source_port: u16,
}

/// What the outbox works with.
pub(super) struct Way<'w> {
    pub(super) underlay: &'w Underlay,
    pub(super) seal: &'w mut Seal,
    pub(super) stats: &'w mut UnderlayStats,
}

/// One call's worth for the kernel: datagrams of equal length, of which only the last may be shorter.
struct Message {
    name: Name,
    endpoint: IpAddr,
    socket: usize,
    segment: usize,
    total: usize,
    count: usize,
    chunks: Vec<Chunk>,
}

/// Bytes in one of the two places.
#[derive(Clone, Copy)]
struct Chunk {
    in_arena: bool,
    start: usize,
    len: usize,
}

/// A datagram in two parts; the second may be empty.
#[derive(Clone, Copy)]
struct Datagram {
    front: Chunk,
    back: Chunk,
    socket: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { arena: Vec::with_capacity(ARENA), messages: Vec::new(), used: 0, batch: SendBatch::default() }
    }

    /// Adds a frame for all of these hosts. What is waiting may be sent to make room.
    pub(super) fn add(&mut self, frame: &Leaving<'_>, endpoints: &[IpAddr], way: &mut Way<'_>) {
        let bytes = frame.bytes();
        let checksums = match frame.encap {
            Encap::Plain(_) => Checksums::Fill,
            Encap::Sealed(_) => Checksums::Partial,
        };
        let Ok(mut segments) = split(bytes, frame.offload, checksums) else {
            way.stats.uncut += 1;
            return;
        };
        let header_len = segments.header_len();
        let room = Seal::HEADER_LEN + header_len + segments.segment_len() + Seal::TAG_LEN;
        let socket = usize::from(frame.source_port) % way.underlay.send.len().max(1);
        let mut headers = [0; overlay_core::offload::MAX_HEADER_LEN];
        while let Some(payload) = segments.next_into(&mut headers) {
            if self.arena.len() + room > ARENA || self.used + endpoints.len() > MESSAGES {
                self.flush(frame.storage, way);
            }
            let headers = headers.get(..header_len).unwrap_or_default();
            let wrapped = match frame.encap {
                Encap::Plain(header) => Some(self.wrap(header, headers, frame, payload)),
                Encap::Sealed(vni) => {
                    self.seal(vni, headers, bytes.get(payload).unwrap_or_default(), way.seal)
                }
            };
            let Some((front, back)) = wrapped else {
                way.stats.unsealed += 1;
                return;
            };
            for endpoint in endpoints {
                self.pack(&Datagram { front, back, socket }, *endpoint, way);
            }
        }
    }

    /// Sends everything. The storage is the one that the frames were added with.
    pub(super) fn flush(&mut self, storage: &[u8], way: &mut Way<'_>) {
        if self.used > 0 {
            for number in 0..way.underlay.send.len() {
                if let Some(socket) = way.underlay.sender(number) {
                    self.send_through(number, socket, storage, way.stats);
                }
            }
        }
        self.used = 0;
        self.arena.clear();
    }

    /// A VXLAN header in front of a segment.
    fn wrap(
        &mut self,
        header: VxlanHeader,
        headers: &[u8],
        frame: &Leaving<'_>,
        payload: Range<usize>,
    ) -> (Chunk, Chunk) {
        let start = self.arena.len();
        self.arena.extend_from_slice(&header.to_bytes());
        self.arena.extend_from_slice(headers);
        let mut back = Chunk { in_arena: false, start: frame.start + payload.start, len: payload.len() };
        if payload.len() <= COPIED {
            self.arena.extend_from_slice(frame.bytes().get(payload).unwrap_or_default());
            back.len = 0;
        }
        (Chunk { in_arena: true, start, len: self.arena.len() - start }, back)
    }

    /// A segment, encrypted.
    fn seal(&mut self, vni: Vni, headers: &[u8], payload: &[u8], seal: &mut Seal) -> Option<(Chunk, Chunk)> {
        let start = self.arena.len();
        self.arena.extend_from_slice(&[0; Seal::HEADER_LEN]);
        self.arena.extend_from_slice(headers);
        self.arena.extend_from_slice(payload);
        self.arena.extend_from_slice(&[0; Seal::TAG_LEN]);
        if seal.seal(vni, self.arena.get_mut(start..)?).is_err() {
            self.arena.truncate(start);
            return None;
        }
        let front = Chunk { in_arena: true, start, len: self.arena.len() - start };
        Some((front, Chunk { len: 0, ..front }))
    }

    /// Puts a datagram behind the others of its kind, or into a message of its own.
    fn pack(&mut self, datagram: &Datagram, endpoint: IpAddr, way: &mut Way<'_>) {
        let len = datagram.front.len + datagram.back.len;
        let waiting = self.messages.iter_mut().take(self.used).rev();
        let mut same =
            waiting.filter(|message| (message.endpoint, message.socket) == (endpoint, datagram.socket));
        if let Some(message) = same.next().filter(|message| message.takes(len)) {
            message.append(datagram, len);
            return;
        }
        let Some(name) = way.underlay.name(endpoint) else {
            way.stats.refused += 1;
            way.stats.refusal = Some(Errno::EAFNOSUPPORT);
            return;
        };
        if self.used == self.messages.len() {
            self.messages.push(Message::new(name, endpoint));
        }
        if let Some(message) = self.messages.get_mut(self.used) {
            message.chunks.clear();
            let chunks = std::mem::take(&mut message.chunks);
            let socket = datagram.socket;
            *message = Message { chunks, socket, segment: len, ..Message::new(name, endpoint) };
            message.append(datagram, len);
            self.used += 1;
        }
    }

    /// Sends the messages that belong to one socket.
    fn send_through(
        &mut self,
        number: usize,
        socket: BorrowedFd<'_>,
        storage: &[u8],
        stats: &mut UnderlayStats,
    ) {
        let Self { arena, messages, used, batch } = self;
        let of_socket = || messages.iter().take(*used).filter(|message| message.socket == number);
        let (mut done, mut waited) = (0, false);
        while of_socket().nth(done).is_some() {
            let waiting = of_socket()
                .skip(done)
                .map(|message| (message.name, message.kernel_cuts(), message.slices(arena, storage)));
            match batch
                .send(socket, waiting)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            {
                Ok(sent) => {
                    stats.send_calls += 1;
                    of_socket().skip(done).take(sent).for_each(|message| stats.count_sent(message));
                    done += sent.max(1);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) if !waited => {
                    waited = true;
                    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT)];
                    // Whatever it says, the next attempt will tell.
                    let _ = poll(&mut fds, PollTimeout::from(FULL_WAIT_MILLIS));
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    stats.full += of_socket().skip(done).map(|message| message.count as u64).sum::<u64>();
                    return;
                }
                Err(errno) => {
                    if let Some(message) = of_socket().nth(done) {
                        message.cope(errno, socket, (arena, storage), stats);
                    }
                    done += 1;
                }
            }
        }
    }
}

impl<'b> Leaving<'b> {
    fn bytes(&self) -> &'b [u8] {
        self.storage.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl Message {
    const fn new(name: Name, endpoint: IpAddr) -> Self {
        Self { name, endpoint, socket: 0, segment: 0, total: 0, count: 0, chunks: Vec::new() }
    }

    /// Whether a datagram of this length can follow: none can follow a shorter one.
    const fn takes(&self, len: usize) -> bool {
        len <= self.segment
            && self.total == self.segment * self.count
            && self.count < SEGMENTS
            && self.total + len <= MESSAGE_LEN
    }

    fn append(&mut self, datagram: &Datagram, len: usize) {
        for chunk in [datagram.front, datagram.back] {
            match self.chunks.last_mut() {
                _ if chunk.len == 0 => {}
                Some(last) if last.in_arena == chunk.in_arena && last.start + last.len == chunk.start => {
                    last.len += chunk.len;
                }
                _ => self.chunks.push(chunk),
            }
        }
        self.total += len;
        self.count += 1;
    }

    /// The size that the kernel is to cut the message to.
    fn kernel_cuts(&self) -> Option<u16> {
        u16::try_from(self.segment).ok().filter(|_| self.count > 1)
    }

    fn slices<'b>(&'b self, arena: &'b [u8], storage: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        self.chunks.iter().map(move |chunk| {
            let place = if chunk.in_arena { arena } else { storage };
            place.get(chunk.start..chunk.start + chunk.len).unwrap_or_default()
        })
    }

    /// Does what can be done about a message that the kernel refused: sends it one datagram at a time, if it would not
    /// cut it (the datagrams are longer than the path's MTU, or the network card computes no checksums).
    fn cope(
        &self,
        errno: Errno,
        socket: BorrowedFd<'_>,
        (arena, storage): (&[u8], &[u8]),
        stats: &mut UnderlayStats,
    ) {
        let mut refused = |count: usize, errno| {
            stats.refused += count as u64;
            stats.refusal = Some(errno);
        };
        if self.count == 1 || !matches!(errno, Errno::EMSGSIZE | Errno::EINVAL | Errno::EIO) {
            return refused(self.count, errno);
        }
        let bytes: Vec<u8> = self.slices(arena, storage).flatten().copied().collect();
        let mut batch = SendBatch::default();
        let mut sent = 0;
        for datagram in bytes.chunks(self.segment.max(1)) {
            match batch.send(socket, std::iter::once((self.name, None, std::iter::once(datagram)))) {
                Ok(_) => sent += 1,
                Err(error) => refused(1, Errno::from_raw(error.raw_os_error().unwrap_or(0))),
            }
        }
        stats.cut_here += 1;
        stats.send_calls += self.count as u64;
        stats.sent_messages += sent;
        stats.sent_datagrams += sent;
        stats.sent_bytes += self.total as u64;
    }
}

impl UnderlayStats {
    const fn count_sent(&mut self, message: &Message) {
        self.sent_messages += 1;
        self.sent_datagrams += message.count as u64;
        self.sent_bytes += message.total as u64;
    }
}

/// Bytes of headers and copied payloads of one batch.
const ARENA: usize = 256 << 10;
/// Messages of one batch.
const MESSAGES: usize = 64;
/// Datagrams that every kernel cuts a message into (`UDP_MAX_SEGMENTS`).
const SEGMENTS: usize = 64;
/// A packet of 65,535 bytes without an IPv6 and a UDP header.
const MESSAGE_LEN: usize = 65_487;
/// Up to here, copying a payload is cheaper than telling the kernel where it is.
const COPIED: usize = 512;
/// How long to wait for room in a socket before datagrams are dropped.
const FULL_WAIT_MILLIS: u8 = 1;
