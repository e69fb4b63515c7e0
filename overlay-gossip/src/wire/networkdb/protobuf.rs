//! As much of protocol buffers (proto3) as six small messages need.

use crate::wire::WireError;

/// One field of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

/// Gives each field with its number to `take`. Fields of 32 or 64 bits, which these messages have not, are skipped.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut take: impl FnMut(u64, Value<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => take(key >> 3, Value::Int(varint(&mut message)?))?,
            1 => drop(bytes(&mut message, 8)?),
            2 => {
                let len = varint(&mut message)?;
                take(key >> 3, Value::Bytes(bytes(&mut message, len)?))?;
            }
            5 => drop(bytes(&mut message, 4)?),
            _ => return Err(WireError::Malformed),
        }
    }
    Ok(())
}

/// Appends one of several. There are never so many of them in what makes sense; each takes more room here than on the
/// wire.
pub(super) fn push<T>(items: &mut Vec<T>, item: T) -> Result<(), WireError> {
    if items.len() >= MOST_ITEMS {
        return Err(WireError::Limit);
    }
    items.push(item);
    Ok(())
}

impl<'a> Value<'a> {
    pub(super) fn int(self) -> Result<u64, WireError> {
        match self {
            Self::Int(value) => Ok(value),
            Self::Bytes(_) => Err(WireError::Malformed),
        }
    }

    pub(super) fn u32(self) -> Result<u32, WireError> {
        u32::try_from(self.int()?).map_err(|_| WireError::Malformed)
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Int(_) => Err(WireError::Malformed),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Malformed)
    }
}

/// Appends fields; those that are zero or empty are left out, as proto3 has it.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    pub(super) fn int(&mut self, field: u8, value: u64) -> &mut Self {
        if value != 0 {
            self.0.push(field << 3);
            self.varint(value);
        }
        self
    }

    pub(super) fn bytes(&mut self, field: u8, bytes: &[u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.item(field, bytes);
        }
        self
    }

    /// One of several, which may be empty.
    pub(super) fn item(&mut self, field: u8, bytes: &[u8]) -> &mut Self {
        self.0.push(field << 3 | 2);
        self.varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

fn varint(message: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().ok_or(WireError::Truncated)?;
        *message = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return Err(WireError::Malformed);
        }
        value |= low << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(WireError::Malformed)
}

fn bytes<'a>(message: &mut &'a [u8], len: u64) -> Result<&'a [u8], WireError> {
    let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
    let (taken, rest) = message.split_at_checked(len).ok_or(WireError::Truncated)?;
    *message = rest;
    Ok(taken)
}

const MOST_ITEMS: usize = 1 << 18;
