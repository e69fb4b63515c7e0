//! Where time and chance come from.

use std::time::{SystemTime, UNIX_EPOCH};

use swarm_state::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "a server is where time comes from")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Bits for a new id.
pub(crate) fn random() -> [u8; 16] {
    rand::random()
}

/// A time as clients send it: seconds of the epoch with up to nine decimals, or RFC 3339.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?))
}

/// RFC 3339 with all nine decimals, so that columns of times align.
pub(crate) fn aligned(nanos: u64) -> String {
    let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
    let whole = Timestamp::from_nanos(nanos - nanos.rem_euclid(1_000_000_000)).to_string();
    format!("{}.{:09}Z", whole.trim_end_matches('Z'), nanos.rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_decimals_and_rfc_3339_are_times() {
        assert_eq!(parse("1795316511.5"), Some(Timestamp::from_millis(1_795_316_511_500)));
        assert_eq!(parse("1795316511"), Some(Timestamp::from_millis(1_795_316_511_000)));
        assert_eq!(parse("2026-11-22T03:01:51Z"), parse("1795316511"));
        for text in ["", "yesterday", "1.0000000001", "1.-1", "99999999999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn aligned_times_have_nine_decimals() {
        assert_eq!(aligned(1_795_316_511_500_000_000), "2026-11-22T03:01:51.500000000Z");
        assert_eq!(aligned(u64::MAX).len(), "2026-11-22T03:01:51.500000000Z".len());
    }
}
