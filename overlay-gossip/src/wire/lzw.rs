//! LZW as Go's `compress/lzw` writes it: least significant bit first, literals of 8 bits, codes of 9 to 12 bits.
//!
//! ```text
//!   0..=255 a byte │ 256 start over │ 257 end │ 258.. what was written before, and one byte more
//! ```
//!
//! A code stands for a piece of the output that is there already, so the table holds places, not bytes; and the
//! length of the output is known before a byte of it is written.

use weezl::BitOrder;

use super::WireError;

pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(plain).ok()
}

/// Unpacks at most `limit` bytes.
pub(crate) fn decompress(packed: &[u8], limit: usize, table: &mut Table) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; unpacked_len(packed, limit, table)?];
    unpack(packed, &mut out, table)?;
    Ok(out)
}

/// How long the output will be, at most `limit`.
pub(crate) fn unpacked_len(packed: &[u8], limit: usize, table: &mut Table) -> Result<usize, WireError> {
    let mut codes = Codes::new(packed, table);
    while codes.next()?.is_some() {
        if codes.at > limit {
            return Err(WireError::Limit);
        }
    }
    Ok(codes.at)
}

/// Unpacks into a buffer of the right length.
pub(crate) fn unpack(packed: &[u8], out: &mut [u8], table: &mut Table) -> Result<(), WireError> {
    let mut codes = Codes::new(packed, table);
    let mut at = 0;
    while let Some(piece) = codes.next()? {
        match piece {
            Piece::Byte(byte) => *out.get_mut(at).ok_or(WireError::Limit)? = byte,
            Piece::Copy { start } => {
                let (before, after) = out.split_at_mut_checked(at).ok_or(WireError::Limit)?;
                let after = after.get_mut(..codes.at - at).ok_or(WireError::Limit)?;
                let (near, far) = after.split_at_mut((at - start).min(after.len()));
                let source = before.get(start..start + near.len()).ok_or(WireError::Malformed)?;
                near.copy_from_slice(source);
                // A piece that reaches into itself does so by one byte, its first one.
                if let (Some(last), Some(first)) = (far.first_mut(), near.first()) {
                    *last = *first;
                }
            }
        }
        at = codes.at;
    }
    Ok(())
}

/// Where in the output each code's piece lies, and how long it is. Kept between packets.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<(usize, usize)>);

enum Piece {
    Byte(u8),
    /// What is at `start`, as much as `Codes::at` has grown.
    Copy {
        start: usize,
    },
}

struct Codes<'a> {
    packed: &'a [u8],
    table: &'a mut Table,
    bits: u32,
    held: u32,
    width: u32,
    /// The next free code.
    free: usize,
    last: Option<(usize, usize)>,
    /// How long the output is by now.
    at: usize,
}

impl<'a> Codes<'a> {
    fn new(packed: &'a [u8], table: &'a mut Table) -> Self {
        table.0.clear();
        table.0.reserve(MAX_CODE - FIRST);
        Self { packed, table, bits: 0, held: 0, width: 9, free: FIRST, last: None, at: 0 }
    }

    fn next(&mut self) -> Result<Option<Piece>, WireError> {
        loop {
            let code = self.code()?;
            match code {
                CLEAR => {
                    self.table.0.clear();
                    (self.width, self.free, self.last) = (9, FIRST, None);
                }
                END => return Ok(None),
                _ => return self.piece(code).map(Some),
            }
        }
    }

    fn piece(&mut self, code: usize) -> Result<Piece, WireError> {
        // What the last code stood for, and the first byte of this one.
        let grown = self.last.map(|(start, len)| (start, len + 1));
        let (piece, len) = if let Ok(byte) = u8::try_from(code) {
            (Piece::Byte(byte), 1)
        } else {
            let known = code.checked_sub(FIRST).and_then(|i| self.table.0.get(i).copied());
            let fresh = grown.filter(|_| code == self.free && self.free < MAX_CODE);
            let (start, len) = known.or(fresh).ok_or(WireError::Malformed)?;
            (Piece::Copy { start }, len)
        };
        if let Some(grown) = grown.filter(|_| self.free < MAX_CODE) {
            self.table.0.push(grown);
            self.free += 1;
        }
        self.last = Some((self.at, len));
        self.at += len;
        if self.free >= 1 << self.width && self.width < 12 {
            self.width += 1;
        }
        Ok(piece)
    }

    fn code(&mut self) -> Result<usize, WireError> {
        while self.held < self.width {
            let (&byte, rest) = self.packed.split_first().ok_or(WireError::Truncated)?;
            self.packed = rest;
            self.bits |= u32::from(byte) << self.held;
            self.held += 8;
        }
        let code = self.bits & ((1 << self.width) - 1);
        self.bits >>= self.width;
        self.held -= self.width;
        usize::try_from(code).map_err(|_| WireError::Malformed)
    }
}

const CLEAR: usize = 256;
const END: usize = 257;
const FIRST: usize = 258;
const MAX_CODE: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_packed_is_unpacked(plain in proptest::collection::vec(0u8..4, 0..6_000), wide: Vec<u8>) {
            for plain in [plain, wide] {
                let packed = compress(&plain).unwrap();
                let mut table = Table::default();
                prop_assert_eq!(decompress(&packed, plain.len(), &mut table).unwrap(), &*plain);
                prop_assert!(plain.is_empty() || decompress(&packed, plain.len() - 1, &mut table).is_err());
            }
        }

        #[test]
        fn garbage_is_read_as_by_another_decoder(packed in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut oracle = weezl::decode::Decoder::new(BitOrder::Lsb, 8);
            if let (Ok(ours), Ok(theirs)) = (decompress(&packed, 1 << 20, &mut Table::default()), oracle.decode(&packed)) {
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn a_long_run_is_packed_into_pieces_that_overlap_themselves() {
        let plain = vec![7; 100_000];
        let packed = compress(&plain).unwrap();
        assert_eq!(decompress(&packed, 100_000, &mut Table::default()).unwrap(), plain);
    }
}
