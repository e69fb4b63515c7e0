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

/// Takes values from the front of a buffer.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a map; `field` gets each key and says whether it took the value. Other values are skipped.
    pub(crate) fn map(
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
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], WireError> {
        self.optional()?.ok_or(WireError::Malformed)
    }

    /// Text or bytes, or nil.
    pub(crate) fn optional(&mut self) -> Result<Option<&'a [u8]>, WireError> {
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

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.raw()?).map_err(|_| WireError::Malformed)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, WireError> {
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

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.uint()?).map_err(|_| WireError::Malformed)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        u16::try_from(self.uint()?).map_err(|_| WireError::Malformed)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    /// Passes over one value of any shape. Takes time in proportion to its bytes, and no stack.
    pub(crate) fn skip(&mut self) -> Result<(), WireError> {
        let mut values: u64 = 1;
        while values > 0 {
            values -= 1;
            let (bytes, more) = match self.byte()? {
                0..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
                tag @ 0xa0..=0xbf => (u32::from(tag & 0x1f), 0),
                tag @ 0x80..=0x8f => (0, u64::from(tag & 0x0f) * 2),
                tag @ 0x90..=0x9f => (0, u64::from(tag & 0x0f)),
                0xcc | 0xd0 => (1, 0),
                0xcd | 0xd1 => (2, 0),
                0xce | 0xd2 | 0xca => (4, 0),
                0xcf | 0xd3 | 0xcb => (8, 0),
                0xd9 | 0xc4 => (u32::from(self.byte()?), 0),
                0xda | 0xc5 => (u32::from(u16::from_be_bytes(self.take_array()?)), 0),
                0xdb | 0xc6 => (u32::from_be_bytes(self.take_array()?), 0),
                0xdc => (0, u64::from(u16::from_be_bytes(self.take_array()?))),
                0xdd => (0, u64::from(u32::from_be_bytes(self.take_array()?))),
                0xde => (0, u64::from(u16::from_be_bytes(self.take_array()?)) * 2),
                0xdf => (0, u64::from(u32::from_be_bytes(self.take_array()?)) * 2),
                0xd4 => (2, 0),
                0xd5 => (3, 0),
                0xd6 => (5, 0),
                0xd7 => (9, 0),
                0xd8 => (17, 0),
                0xc7 => (u32::from(self.byte()?) + 1, 0),
                0xc8 => (u32::from(u16::from_be_bytes(self.take_array()?)) + 1, 0),
                0xc9 => (u32::from_be_bytes(self.take_array()?).saturating_add(1), 0),
                0xc1 => return Err(WireError::Malformed),
            };
            self.take(bytes)?;
            values = values.saturating_add(more);
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(len).map_err(|_| WireError::Malformed)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}
