use core::ops::Range;

use super::{MAX_HEADER_LEN, Offload, PartialChecksum, SegmentKind, Segmentation, put, word};
use super::{TCP_CHECKSUM, UDP_CHECKSUM};
use crate::wire::{Checksum, IpVersion, Layout, LayoutError, Part, TcpFlags, UdpHeader, protocol};

/// Who finishes the checksums of the segments.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Checksums {
    /// [`split`] does, as any VXLAN peer expects.
    Fill,
    /// No one: the field keeps the pseudo header's sum. Only for peers that protect the whole datagram otherwise and
    /// put frames together with [`Verify::Outer`](super::Verify::Outer), as those of sealed networks. A checksum that
    /// such a peer would not recognise as unfinished (one that is not the frame's own TCP or UDP checksum) is finished.
    Partial,
}

/// The segments of a frame, one after the other: see [`split`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Segments<'f> {
    frame: &'f [u8],
    work: Work,
    /// Bytes that are written anew for each segment; its payload is a range of the frame.
    header_len: usize,
    /// Where the payload of the last segment ends.
    end: usize,
    /// Bytes of payload of each segment but the last.
    size: usize,
    last: usize,
    count: usize,
    done: usize,
}

/// Why a frame cannot be cut. It is damaged, or its [`Offload`] belongs to another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum SplitError {
    /// A header is damaged, or there is no IP packet in the frame.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The headers are not those of the segmentation.
    #[error("a frame of {version:?} and protocol {protocol} cannot be cut as {kind:?}")]
    Kind { kind: SegmentKind, version: IpVersion, protocol: u8 },
    /// A fragment is never cut again.
    #[error("a fragment cannot be cut")]
    Fragment,
    /// Segments of no bytes.
    #[error("segments of 0 bytes")]
    NoSize,
    /// More headers than [`MAX_HEADER_LEN`].
    #[error("{len} bytes of headers, at most 192 are supported")]
    Headers { len: usize },
    /// The unfinished checksum is not where the frame has one.
    #[error("no checksum to finish at {start} + {offset} in a frame of {len} bytes")]
    Checksum { start: u16, offset: u16, len: usize },
}

/// Cuts a frame into segments.
///
/// A frame without segmentation is one segment, its unfinished checksum filled in if asked. Segments of TCP and UDP get
/// lengths, IPv4 identifications that count up, sequence numbers and checksums of their own; `FIN` and `PSH` go to the
/// last, `CWR` to the first. Ethernet's padding is not part of any.
///
/// ```
/// use overlay_core::offload::{Checksums, MAX_HEADER_LEN, Offload, split};
///
/// let frame = [0; 60]; // not even IP: it goes out as it is
/// let mut headers = [0; MAX_HEADER_LEN];
/// let mut segments = split(&frame, Offload::NONE, Checksums::Fill)?;
/// assert_eq!((segments.count(), segments.header_len(), segments.last_len()), (1, 0, 60));
/// assert_eq!(segments.next_into(&mut headers), Some(0..60));
/// assert_eq!(segments.next_into(&mut headers), None);
/// # Ok::<(), overlay_core::offload::SplitError>(())
/// ```
///
/// # Errors
/// [`SplitError`] if headers and `offload` do not fit each other.
#[inline]
pub fn split(frame: &[u8], offload: Offload, checksums: Checksums) -> Result<Segments<'_>, SplitError> {
    match (offload.segmentation, offload.checksum) {
        (Some(segmentation), partial) => cut(frame, segmentation, partial, checksums),
        (None, None) => Ok(Segments::whole(frame, 0, Work::Pass)),
        (None, Some(partial)) => finish(frame, partial, checksums),
    }
}

impl<'f> Segments<'f> {
    /// Bytes of headers that every segment begins with; at most [`MAX_HEADER_LEN`]. Zero if the frame goes out as it is.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// How many segments there are in all; at least one.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of each segment but the last, headers included.
    #[must_use]
    pub const fn segment_len(&self) -> usize {
        self.header_len + self.size
    }

    /// Bytes of the last segment, headers included.
    #[must_use]
    pub const fn last_len(&self) -> usize {
        self.header_len + self.last
    }

    /// Writes the next segment's headers into the first [`header_len`](Self::header_len) bytes, and says which bytes of
    /// the frame follow them. `None`: there are no more, or `headers` is too short.
    #[inline]
    pub fn next_into(&mut self, headers: &mut [u8]) -> Option<Range<usize>> {
        if self.done == self.count {
            return None;
        }
        let start = self.header_len + self.done * self.size;
        let is_last = self.done + 1 == self.count;
        let range = start..if is_last { self.end } else { start + self.size };
        let headers = headers.get_mut(..self.header_len)?;
        headers.copy_from_slice(self.frame.get(..self.header_len)?);
        let payload = self.frame.get(range.clone())?;
        match &self.work {
            Work::Pass => {}
            Work::Finish { start, field } => {
                let sum = Checksum::new().add_bytes(self.frame.get(*start..)?).finish();
                put(headers, *field, UdpHeader::some_checksum(sum).to_be_bytes());
            }
            Work::Cut(cut) => cut.write(headers, payload, self.done, is_last),
        }
        self.done += 1;
        Some(range)
    }

    const fn whole(frame: &'f [u8], header_len: usize, work: Work) -> Self {
        let size = frame.len() - header_len;
        Self { frame, work, header_len, end: frame.len(), size, last: size, count: 1, done: 0 }
    }
}

/// What is to be written into the headers.
#[derive(Clone, Debug)]
enum Work {
    Pass,
    Finish { start: usize, field: usize },
    Cut(Cut),
}

/// What the headers of all segments of a frame have in common.
#[derive(Clone, Debug)]
struct Cut {
    layout: Layout,
    checksums: Checksums,
    /// Of the IPv4 header but for length, identification and checksum.
    network: Checksum,
    identification: u16,
    /// Of the pseudo header but for the length.
    pseudo: Checksum,
    /// Of the transport header but for length or sequence number, flags and checksum.
    transport: Checksum,
    stream: Option<Stream>,
    /// Bytes of payload of each segment but the last.
    size: u32,
}

/// What TCP has and UDP has not.
#[derive(Clone, Debug)]
struct Stream {
    sequence: u32,
    /// The byte in front of the flags: data offset and reserved bits.
    offset: u8,
    flags: TcpFlags,
}

fn finish(frame: &[u8], partial: PartialChecksum, checksums: Checksums) -> Result<Segments<'_>, SplitError> {
    let PartialChecksum { start, offset } = partial;
    let field = usize::from(start) + usize::from(offset);
    let header_len = field + 2;
    if header_len > frame.len() {
        return Err(SplitError::Checksum { start, offset, len: frame.len() });
    }
    if checksums == Checksums::Partial && is_recognisable(frame, partial) {
        return Ok(Segments::whole(frame, 0, Work::Pass));
    }
    if header_len > MAX_HEADER_LEN {
        return Err(SplitError::Headers { len: header_len });
    }
    Ok(Segments::whole(frame, header_len, Work::Finish { start: usize::from(start), field }))
}

/// Whether a peer that trusts the outer datagram sees by itself that this checksum is unfinished.
fn is_recognisable(frame: &[u8], partial: PartialChecksum) -> bool {
    let Ok(layout) = Layout::parse(frame) else { return false };
    let offset = if layout.protocol == protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
    layout.is_plain_in(frame) && usize::from(partial.start) == layout.transport && partial.offset == offset
}

fn cut(
    frame: &[u8],
    segmentation: Segmentation,
    partial: Option<PartialChecksum>,
    checksums: Checksums,
) -> Result<Segments<'_>, SplitError> {
    let layout = Layout::parse(frame)?;
    let Layout { version, protocol, .. } = layout;
    let offset = match (segmentation.kind, version, protocol) {
        (SegmentKind::Tcp4, IpVersion::V4, protocol::TCP)
        | (SegmentKind::Tcp6, IpVersion::V6, protocol::TCP) => TCP_CHECKSUM,
        (SegmentKind::Udp, _, protocol::UDP) => UDP_CHECKSUM,
        (kind, ..) => return Err(SplitError::Kind { kind, version, protocol }),
    };
    if layout.part != Part::Whole {
        return Err(SplitError::Fragment);
    }
    if let Some(PartialChecksum { start, offset: asked }) = partial
        && (usize::from(start) != layout.transport || asked != offset)
    {
        return Err(SplitError::Checksum { start, offset: asked, len: frame.len() });
    }
    if layout.payload > MAX_HEADER_LEN {
        return Err(SplitError::Headers { len: layout.payload });
    }
    let (len, size) = (layout.end - layout.payload, usize::from(segmentation.size));
    if size == 0 {
        return Err(SplitError::NoSize);
    }
    let count = len.div_ceil(size).max(1);
    let checksums = if layout.is_plain() { checksums } else { Checksums::Fill };
    Ok(Segments {
        frame,
        work: Work::Cut(Cut::new(frame, layout, checksums, segmentation.size)),
        header_len: layout.payload,
        end: layout.end,
        size: size.min(len),
        last: len - (count - 1) * size,
        count,
        done: 0,
    })
}

impl Cut {
    fn new(frame: &[u8], layout: Layout, checksums: Checksums, size: u16) -> Self {
        let part = |start: usize, end: usize| frame.get(start..end).unwrap_or_default();
        let (network, transport) = (layout.network, layout.transport);
        let sum = |start: usize, end: usize| Checksum::new().add_bytes(part(start, end));
        let stream = (layout.protocol == protocol::TCP).then(|| Stream {
            sequence: u32::from(word(frame, transport + 4)) << 16 | u32::from(word(frame, transport + 6)),
            offset: frame.get(transport + 12).copied().unwrap_or_default(),
            flags: TcpFlags::new(frame.get(transport + 13).copied().unwrap_or_default()),
        });
        let fixed = if stream.is_some() {
            sum(transport, transport + 4)
                .add_bytes(part(transport + 8, transport + 12))
                .add_bytes(part(transport + 14, transport + 16))
                .add_bytes(part(transport + 18, layout.payload))
        } else {
            sum(transport, transport + 4)
        };
        Self {
            layout,
            checksums,
            network: sum(network, network + 2)
                .add_bytes(part(network + 6, network + 10))
                .add_bytes(part(network + 12, transport)),
            identification: word(frame, network + 4),
            pseudo: layout.pseudo_header(frame),
            transport: fixed,
            stream,
            size: u32::from(size),
        }
    }

    #[inline]
    fn write(&self, headers: &mut [u8], payload: &[u8], index: usize, is_last: bool) {
        let Layout { network, transport, .. } = self.layout;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let len = low(headers.len() - transport + payload.len());
        match self.layout.version {
            IpVersion::V4 => {
                let total = low(headers.len() - network + payload.len());
                let [.., a, b] = u32::from(self.identification).wrapping_add(index).to_be_bytes();
                let identification = u16::from_be_bytes([a, b]);
                let sum = self.network.add_word(total).add_word(identification).finish();
                put(headers, network + 2, total.to_be_bytes());
                put(headers, network + 4, identification.to_be_bytes());
                put(headers, network + 10, sum.to_be_bytes());
            }
            IpVersion::V6 => {
                let behind = low(headers.len() - network - 40 + payload.len());
                put(headers, network + 4, behind.to_be_bytes());
            }
        }
        let pseudo = self.pseudo.add_word(len);
        let sum = match &self.stream {
            Some(stream) => {
                let sequence = stream.sequence.wrapping_add(index.wrapping_mul(self.size));
                let flags = stream.flags_of(index == 0, is_last).bits();
                put(headers, transport + 4, sequence.to_be_bytes());
                put(headers, transport + 13, [flags]);
                self.transport.add_long(sequence).add_word(u16::from_be_bytes([stream.offset, flags]))
            }
            None => {
                put(headers, transport + 4, len.to_be_bytes());
                self.transport.add_word(len)
            }
        };
        let (field, sum) = match (self.checksums, &self.stream) {
            (Checksums::Partial, Some(_)) => (TCP_CHECKSUM, pseudo.sum()),
            (Checksums::Partial, None) => (UDP_CHECKSUM, pseudo.sum()),
            (Checksums::Fill, Some(_)) => (TCP_CHECKSUM, pseudo.add_sum(sum).add_bytes(payload).finish()),
            (Checksums::Fill, None) => {
                (UDP_CHECKSUM, UdpHeader::some_checksum(pseudo.add_sum(sum).add_bytes(payload).finish()))
            }
        };
        put(headers, transport + usize::from(field), sum.to_be_bytes());
    }
}

impl Stream {
    #[inline]
    fn flags_of(&self, is_first: bool, is_last: bool) -> TcpFlags {
        let flags = if is_first { self.flags } else { self.flags.without(TcpFlags::CWR) };
        if is_last { flags } else { flags.without(TcpFlags::FIN | TcpFlags::PSH) }
    }
}

/// A length within a packet, of which IP allows 65535 bytes.
#[inline]
fn low(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
