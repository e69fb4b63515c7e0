//! LZW as Go's `compress/lzw` writes it: least significant bit first, literals of 8 bits.

use weezl::BitOrder;

use super::WireError;

pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(plain).ok()
}

/// Unpacks at most `limit` bytes.
pub(crate) fn decompress(packed: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let mut decoder = weezl::decode::Decoder::new(BitOrder::Lsb, 8);
    let mut input = packed;
    let mut out = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let result = decoder.decode_bytes(input, &mut chunk);
        let made = chunk.get(..result.consumed_out).unwrap_or_default();
        if out.len() + made.len() > limit {
            return Err(WireError::Limit);
        }
        out.extend_from_slice(made);
        input = input.get(result.consumed_in..).unwrap_or_default();
        match result.status {
            Ok(weezl::LzwStatus::Done) => return Ok(out),
            Ok(weezl::LzwStatus::NoProgress) => return Err(WireError::Truncated),
            Ok(weezl::LzwStatus::Ok) => {}
            Err(_) => return Err(WireError::Malformed),
        }
    }
}
