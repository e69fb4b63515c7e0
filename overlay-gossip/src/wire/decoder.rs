//! Taking datagrams apart, without allocating once the buffers have grown.

use super::packet::{self, Envelope};
use super::{Reader, WireError, lzw, tag};

/// Takes datagrams apart into messages. Keep one: its buffers are used again.
///
/// ```
/// use overlay_gossip::wire::{Decoder, Envelope, Message};
///
/// let mut decoder = Decoder::default();
/// let nack = b"\x0b\x81\xa5SeqNo\x07";
/// for message in decoder.datagram(&Envelope::default(), nack)? {
///     assert_eq!(Message::parse(message?)?, Message::Nack { seq: 7 });
/// }
/// # Ok::<(), overlay_gossip::WireError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    /// What a seal held.
    opened: Vec<u8>,
    /// Room for what compressed messages hold.
    room: Vec<u8>,
    table: lzw::Table,
}

impl Decoder {
    /// Takes off label, seal and checksum, and gives the messages inside, each with its type byte; compounds and
    /// compressed messages are unfolded on the way, at most [`MAX_DEPTH`] deep and [`MAX_UNPACKED`] bytes in all.
    ///
    /// # Errors
    ///
    /// [`WireError`] when a layer is wrong; of the messages, the first error ends the iteration.
    pub fn datagram<'d>(
        &'d mut self,
        envelope: &Envelope,
        payload: &'d [u8],
    ) -> Result<Messages<'d>, WireError> {
        let Self { opened, room, table } = self;
        let body = packet::peel_label(payload, &envelope.label)?;
        let mut plain = if envelope.open_into(body, opened)? { &**opened } else { body };
        if let [tag::CRC, a, b, c, d, rest @ ..] = plain {
            if crc32fast::hash(rest) != u32::from_be_bytes([*a, *b, *c, *d]) {
                return Err(WireError::Checksum);
            }
            plain = rest;
        }
        if room.is_empty() && may_unpack(plain) {
            room.resize(MAX_UNPACKED, 0);
        }
        let mut messages =
            Messages { levels: [Level::default(); MAX_DEPTH], depth: 0, next: None, room, table };
        messages.next = Some(plain).filter(|plain| !plain.is_empty());
        Ok(messages)
    }
}

/// The messages of a datagram; see [`Decoder::datagram`].
#[derive(Debug)]
pub struct Messages<'d> {
    levels: [Level<'d>; MAX_DEPTH],
    depth: usize,
    next: Option<&'d [u8]>,
    room: &'d mut [u8],
    table: &'d mut lzw::Table,
}

/// What is left of a compound.
#[derive(Clone, Copy, Debug, Default)]
struct Level<'d> {
    lens: &'d [u8],
    bodies: &'d [u8],
}

impl<'d> Iterator for Messages<'d> {
    type Item = Result<&'d [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(message) => message.map(Ok),
            Err(error) => {
                (self.depth, self.next) = (0, None);
                Some(Err(error))
            }
        }
    }
}

impl<'d> Messages<'d> {
    fn advance(&mut self) -> Result<Option<&'d [u8]>, WireError> {
        loop {
            let Some(message) = self.next.take().or_else(|| self.climb()) else { return Ok(None) };
            match message.split_first() {
                None => {}
                Some((&tag::COMPOUND, body)) => self.enter(Level::of_compound(body)?)?,
                Some((&tag::COMPRESS, body)) => {
                    let inner = self.unpack(body)?;
                    self.enter(Level::default())?;
                    self.next = Some(inner);
                }
                Some(_) => return Ok(Some(message)),
            }
        }
    }

    /// The next part of the innermost compound that has one.
    fn climb(&mut self) -> Option<&'d [u8]> {
        while let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get_mut(top)) {
            if let Some(part) = level.next() {
                return Some(part);
            }
            self.depth -= 1;
        }
        None
    }

    fn enter(&mut self, level: Level<'d>) -> Result<(), WireError> {
        *self.levels.get_mut(self.depth).ok_or(WireError::Limit)? = level;
        self.depth += 1;
        Ok(())
    }

    fn unpack(&mut self, body: &'d [u8]) -> Result<&'d [u8], WireError> {
        let packed = packed(body)?;
        let len = lzw::unpacked_len(packed, self.room.len(), self.table)?;
        let room = std::mem::take(&mut self.room);
        let (inner, rest) = room.split_at_mut_checked(len).ok_or(WireError::Limit)?;
        self.room = rest;
        lzw::unpack(packed, inner, self.table)?;
        Ok(inner)
    }
}

impl<'d> Level<'d> {
    fn of_compound(body: &'d [u8]) -> Result<Self, WireError> {
        let (&count, rest) = body.split_first().ok_or(WireError::Truncated)?;
        let (lens, bodies) = rest.split_at_checked(usize::from(count) * 2).ok_or(WireError::Truncated)?;
        Ok(Self { lens, bodies })
    }

    /// The next part; a cut tail is dropped.
    fn next(&mut self) -> Option<&'d [u8]> {
        let (len, lens) = self.lens.split_first_chunk::<2>()?;
        let (part, bodies) = self.bodies.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        (self.lens, self.bodies) = (lens, bodies);
        Some(part)
    }
}

/// Reads what follows the type byte of a compress message.
pub(crate) fn packed(body: &[u8]) -> Result<&[u8], WireError> {
    let (mut algo, mut packed): (u64, &[u8]) = (0, &[]);
    Reader(body).map(|key, r| {
        match key {
            b"Algo" => algo = r.uint()?,
            b"Buf" => packed = r.raw()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if algo == 0 { Ok(packed) } else { Err(WireError::Malformed) }
}

/// Whether there may be a compressed message in it.
fn may_unpack(plain: &[u8]) -> bool {
    match plain {
        [tag::COMPRESS, ..] => true,
        [tag::COMPOUND, body @ ..] => {
            let Ok(mut level) = Level::of_compound(body) else { return false };
            std::iter::from_fn(|| level.next())
                .any(|part| matches!(part, [tag::COMPRESS | tag::COMPOUND, ..]))
        }
        _ => false,
    }
}

/// How deep compounds and compressed messages may nest.
pub const MAX_DEPTH: usize = 4;

/// How many bytes one datagram may unpack to.
pub const MAX_UNPACKED: usize = 128 << 10;
