//! Bytes of a snapshot: numbers of variable length, most of them differences.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Family, RestoreError, bits};

/// Writes what [`Reader`] reads.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits per byte, the lowest first.
    pub(crate) fn number(&mut self, number: u64) {
        self.wide(number.into());
    }

    pub(crate) fn wide(&mut self, mut number: u128) {
        loop {
            let low = u8::try_from(number & 0x7f).unwrap_or(0);
            number >>= 7;
            if number == 0 {
                return self.byte(low);
            }
            self.byte(low | 0x80);
        }
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The difference to the one before, small ones of both signs in few bytes.
    pub(crate) fn signed(&mut self, number: u64, before: u64) {
        let difference = number.wrapping_sub(before).cast_signed();
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend(text.as_bytes());
    }

    pub(crate) fn addr(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => {
                self.byte(4);
                self.bytes.extend(addr.octets());
            }
            IpAddr::V6(addr) => {
                self.byte(6);
                self.bytes.extend(addr.octets());
            }
        }
    }

    pub(crate) fn net(&mut self, net: IpNet) {
        self.addr(net.addr());
        self.byte(net.prefix_len());
    }

    pub(crate) fn option(&mut self, net: Option<IpNet>) {
        self.byte(u8::from(net.is_some()));
        if let Some(net) = net {
            self.net(net);
        }
    }
}

/// Reads what [`Writer`] wrote. Nothing is reserved on the word of a count alone.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, RestoreError> {
        let (first, rest) = self.bytes.split_first().ok_or(RestoreError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, RestoreError> {
        match self.bytes.first() {
            Some(byte) if byte & 0x80 == 0 => self.byte().map(u64::from),
            _ => u64::try_from(self.wide()?).map_err(|_| RestoreError::Number),
        }
    }

    #[inline]
    pub(crate) fn wide(&mut self) -> Result<u128, RestoreError> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let low = u128::from(byte & 0x7f);
            if low << shift >> shift != low {
                return Err(RestoreError::Number);
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RestoreError::Number)
    }

    /// Of things that take at least a byte each.
    pub(crate) fn count(&mut self) -> Result<usize, RestoreError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count <= self.left() { Ok(count) } else { Err(RestoreError::Truncated) }
    }

    #[inline]
    pub(crate) fn signed(&mut self, before: u64) -> Result<u64, RestoreError> {
        let number = self.number()?;
        let difference = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        Ok(before.wrapping_add(difference.cast_unsigned()))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(RestoreError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, RestoreError> {
        let count = self.count()?;
        let (text, rest) = self.bytes.split_at_checked(count).ok_or(RestoreError::Truncated)?;
        self.bytes = rest;
        str::from_utf8(text).map_err(|_| RestoreError::Text)
    }

    pub(crate) fn addr(&mut self) -> Result<IpAddr, RestoreError> {
        match self.byte()? {
            4 => Ok(self.array::<4>()?.into()),
            6 => Ok(self.array::<16>()?.into()),
            _ => Err(RestoreError::Number),
        }
    }

    pub(crate) fn net(&mut self) -> Result<IpNet, RestoreError> {
        let addr = self.addr()?;
        IpNet::new(addr, self.byte()?).map_err(|_| RestoreError::Number)
    }

    pub(crate) fn option(&mut self) -> Result<Option<IpNet>, RestoreError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.net().map(Some),
            _ => Err(RestoreError::Number),
        }
    }

    /// An address of the prefix, by its distance from the first one.
    pub(crate) fn addr_in(&mut self, net: IpNet) -> Result<IpAddr, RestoreError> {
        let offset = self.wide()?;
        let outside = offset > bits::span(net);
        let number = bits::first(net).saturating_add(offset);
        if outside { Err(RestoreError::Number) } else { Ok(bits::addr(Family::of(net), number)) }
    }
}

/// Bytes as text of 64 characters, for formats that have no bytes.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for group in bytes.chunks(3) {
        let [a, b, c] = [group.first(), group.get(1), group.get(2)].map(|byte| byte.copied().unwrap_or(0));
        let word = u32::from_be_bytes([0, a, b, c]);
        for shift in [18, 12, 6, 0].iter().take(group.len() + 1) {
            let digit = usize::try_from(word >> shift & 63).ok().and_then(|at| ALPHABET.get(at));
            text.push(digit.copied().map_or('?', char::from));
        }
    }
    text
}

/// The opposite of [`to_text`].
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.as_bytes().chunks(4) {
        let mut word = 0;
        for shift in [18, 12, 6, 0].into_iter().take(group.len()).zip(group) {
            let (shift, digit) = shift;
            word |= value(*digit)? << shift;
        }
        let [_, a, b, c] = u32::to_be_bytes(word);
        let whole = group.len().checked_sub(1).filter(|whole| *whole > 0)?;
        bytes.extend([a, b, c].iter().take(whole));
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    match digit {
        b'A'..=b'Z' => Some(u32::from(digit - b'A')),
        b'a'..=b'z' => Some(u32::from(digit - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(digit - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_come_back() {
        let numbers = [0, 1, 127, 128, u128::from(u64::MAX), u128::MAX];
        let mut writer = Writer::default();
        numbers.iter().for_each(|number| writer.wide(*number));
        for (number, before) in [(3, 9), (9, 3), (0, u64::MAX), (u64::MAX, 0)] {
            writer.signed(number, before);
        }
        let text = to_text(&writer.bytes);
        let bytes = from_text(&text).unwrap();
        assert_eq!(bytes, writer.bytes);
        let mut reader = Reader::new(&bytes);
        for number in numbers {
            assert_eq!(reader.wide(), Ok(number));
        }
        for (number, before) in [(3, 9), (9, 3), (0, u64::MAX), (u64::MAX, 0)] {
            assert_eq!(reader.signed(before), Ok(number));
        }
        assert_eq!(reader.byte(), Err(RestoreError::Truncated));
        assert_eq!(from_text("a"), None);
    }
}
