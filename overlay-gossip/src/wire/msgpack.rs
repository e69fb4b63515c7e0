//! MessagePack as memberlist speaks it: maps with alphabetical keys, and the old specification's `raw` for text and
//! bytes alike. Reading accepts the new specification, too.

use super::WireError;

/// Appends values to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn map(&mut self, len: u8) {
        if len < 16 {
            self.0.push(0x80 | len);
        } else {
            self.0.extend_from_slice(&[0xde, 0, len]);
        }
    }

    /// A map of any size.
    #[cfg(feature = "serf")]
    pub(crate) fn long_map(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(len) => self.map(len),
            Err(_) => {
                self.0.push(0xdf);
                self.0.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
    }

    #[cfg(feature = "serf")]
    pub(crate) fn array(&mut self, len: usize) {
        match u16::try_from(len) {
            Ok(len @ 0..=15) => self.0.push(0x90 | len.to_be_bytes()[1]),
            Ok(len) => {
                self.0.push(0xdc);
                self.0.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                self.0.push(0xdd);
                self.0.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len()), u32::try_from(bytes.len())) {
            (Ok(len @ 0..=31), _, _) => self.0.push(0xa0 | len),
            (_, Ok(len), _) => {
                self.0.push(0xda);
                self.0.extend_from_slice(&len.to_be_bytes());
            }
            (_, _, len) => {
                self.0.push(0xdb);
                self.0.extend_from_slice(&len.unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn uint(&mut self, value: u64) {
        if let Ok(v @ 0..=0x7f) = u8::try_from(value) {
            self.0.push(v);
        } else if let Ok(v) = u8::try_from(value) {
            self.0.extend_from_slice(&[0xcc, v]);
        } else if let Ok(v) = u16::try_from(value) {
            self.0.push(0xcd);
            self.0.extend_from_slice(&v.to_be_bytes());
        } else if let Ok(v) = u32::try_from(value) {
            self.0.push(0xce);
            self.0.extend_from_slice(&v.to_be_bytes());
        } else {
            self.0.push(0xcf);
            self.0.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        self.raw(key.as_bytes());
        self
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    /// `None` is nil, which is what Go makes of a slice that was never set.
    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.raw(bytes),
            None => self.0.push(0xc0),
        }
    }
}

/// One piece of MessagePack: a value, or the head of an array or map whose values follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing: a slice of Go's that was never set.
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer that was written unsigned.
    Uint(u64),
    /// An integer that was written signed.
    Int(i64),
    /// A number of either precision.
    Float(f64),
    /// Text or bytes: the old specification does not tell them apart.
    Raw(&'a [u8]),
    /// That many values follow.
    Array(u64),
    /// That many keys follow, each with its value.
    Map(u64),
    /// A value of an application's own type.
    Ext(u8, &'a [u8]),
}

/// Takes values from the front of a buffer.
///
/// ```
/// use overlay_gossip::wire::{Reader, Token};
///
/// let mut reader = Reader(b"\x81\xa5SeqNo\x07");
/// assert_eq!(reader.token()?, Token::Map(1));
/// assert_eq!(reader.token()?, Token::Raw(b"SeqNo"));
/// assert_eq!(reader.token()?, Token::Uint(7));
/// # Ok::<(), overlay_gossip::WireError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a>(
    /// What is left.
    pub &'a [u8],
);

impl<'a> Reader<'a> {
    /// Reads a map; `field` gets each key and says whether it took the value. Other values are skipped.
    #[inline]
    pub fn map(
        &mut self,
        mut field: impl FnMut(&'a [u8], &mut Self) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        let len = match self.byte()? {
            tag @ 0x80..=0x8f => u32::from(tag & 0x0f),
            0xde => u32::from(u16::from_be_bytes(self.take_array()?)),
            0xdf => u32::from_be_bytes(self.take_array()?),
            _ => return Err(WireError::Malformed),
        };
        for _ in 0..len {
            let key = self.raw()?;
            if !field(key, self)? {
                self.skip()?;
            }
        }
        Ok(())
    }

    /// Text or bytes.
    #[inline]
    pub fn raw(&mut self) -> Result<&'a [u8], WireError> {
        self.optional()?.ok_or(WireError::Malformed)
    }

    /// Text or bytes, or nil.
    #[inline]
    pub fn optional(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        let len = match self.byte()? {
            0xc0 => return Ok(None),
            tag @ 0xa0..=0xbf => u32::from(tag & 0x1f),
            0xd9 | 0xc4 => u32::from(self.byte()?),
            0xda | 0xc5 => u32::from(u16::from_be_bytes(self.take_array()?)),
            0xdb | 0xc6 => u32::from_be_bytes(self.take_array()?),
            _ => return Err(WireError::Malformed),
        };
        self.take(len).map(Some)
    }

    /// Text.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.raw()?).map_err(|_| WireError::Malformed)
    }

    /// An integer that is not negative, however it was written.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, WireError> {
        let signed = |v: i64| u64::try_from(v).map_err(|_| WireError::Malformed);
        match self.byte()? {
            tag @ 0..=0x7f => Ok(u64::from(tag)),
            0xcc => Ok(u64::from(self.byte()?)),
            0xcd => Ok(u64::from(u16::from_be_bytes(self.take_array()?))),
            0xce => Ok(u64::from(u32::from_be_bytes(self.take_array()?))),
            0xcf => Ok(u64::from_be_bytes(self.take_array()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.take_array()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.take_array()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.take_array()?))),
            0xd3 => signed(i64::from_be_bytes(self.take_array()?)),
            _ => Err(WireError::Malformed),
        }
    }

    /// An integer of at most 32 bits.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.uint()?).map_err(|_| WireError::Malformed)
    }

    /// An integer of at most 16 bits.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, WireError> {
        u16::try_from(self.uint()?).map_err(|_| WireError::Malformed)
    }

    /// True or false.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    /// How many values an array has, which follow; none for nil.
    pub fn array(&mut self) -> Result<u64, WireError> {
        let token = self.token()?;
        if let Token::Array(len) = token {
            return Ok(len);
        }
        if token == Token::Nil { Ok(0) } else { Err(WireError::Malformed) }
    }

    /// Passes over one value of any shape. Takes time in proportion to its bytes, and no stack.
    pub fn skip(&mut self) -> Result<(), WireError> {
        let mut values: u64 = 1;
        while values > 0 {
            values -= 1;
            let more = match self.token()? {
                Token::Array(len) => len,
                Token::Map(len) => len.saturating_mul(2),
                Token::Nil
                | Token::Bool(_)
                | Token::Uint(_)
                | Token::Int(_)
                | Token::Float(_)
                | Token::Raw(_)
                | Token::Ext(..) => 0,
            };
            values = values.saturating_add(more);
        }
        Ok(())
    }

    /// The next piece, whatever it is.
    pub fn token(&mut self) -> Result<Token<'a>, WireError> {
        Ok(match self.byte()? {
            tag @ 0..=0x7f => Token::Uint(tag.into()),
            tag @ 0xe0..=0xff => Token::Int(i8::from_be_bytes([tag]).into()),
            tag @ 0xa0..=0xbf => Token::Raw(self.take(u32::from(tag & 0x1f))?),
            tag @ 0x80..=0x8f => Token::Map(u64::from(tag & 0x0f)),
            tag @ 0x90..=0x9f => Token::Array(u64::from(tag & 0x0f)),
            0xc0 => Token::Nil,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xcc => Token::Uint(self.byte()?.into()),
            0xcd => Token::Uint(u16::from_be_bytes(self.take_array()?).into()),
            0xce => Token::Uint(u32::from_be_bytes(self.take_array()?).into()),
            0xcf => Token::Uint(u64::from_be_bytes(self.take_array()?)),
            0xd0 => Token::Int(i8::from_be_bytes(self.take_array()?).into()),
            0xd1 => Token::Int(i16::from_be_bytes(self.take_array()?).into()),
            0xd2 => Token::Int(i32::from_be_bytes(self.take_array()?).into()),
            0xd3 => Token::Int(i64::from_be_bytes(self.take_array()?)),
            0xca => Token::Float(f32::from_be_bytes(self.take_array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.take_array()?)),
            0xd9 | 0xc4 => Token::Raw(self.sized::<1>()?),
            0xda | 0xc5 => Token::Raw(self.sized::<2>()?),
            0xdb | 0xc6 => Token::Raw(self.sized::<4>()?),
            0xdc => Token::Array(u16::from_be_bytes(self.take_array()?).into()),
            0xdd => Token::Array(u32::from_be_bytes(self.take_array()?).into()),
            0xde => Token::Map(u16::from_be_bytes(self.take_array()?).into()),
            0xdf => Token::Map(u32::from_be_bytes(self.take_array()?).into()),
            tag @ 0xd4..=0xd8 => self.ext(1u32 << (tag - 0xd4))?,
            0xc7 => {
                let len = self.byte()?.into();
                self.ext(len)?
            }
            0xc8 => {
                let len = u16::from_be_bytes(self.take_array()?).into();
                self.ext(len)?
            }
            0xc9 => {
                let len = u32::from_be_bytes(self.take_array()?);
                self.ext(len)?
            }
            0xc1 => return Err(WireError::Malformed),
        })
    }

    fn ext(&mut self, len: u32) -> Result<Token<'a>, WireError> {
        let kind = self.byte()?;
        Ok(Token::Ext(kind, self.take(len)?))
    }

    /// Bytes after their length of `N` bytes.
    fn sized<const N: usize>(&mut self) -> Result<&'a [u8], WireError> {
        let len: [u8; N] = self.take_array()?;
        self.take(len.iter().fold(0, |len, byte| (len << 8) | u32::from(*byte)))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, WireError> {
        let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    #[inline]
    fn take(&mut self, len: u32) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(len).map_err(|_| WireError::Malformed)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}
