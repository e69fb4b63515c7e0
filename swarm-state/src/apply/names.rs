//! Rules for names.

use crate::{Rejection, RejectionKind};

/// Names of services and networks: a DNS name component, 63 characters at most.
pub(super) fn check_dns_name(name: &str) -> Result<(), Rejection> {
    let invalid = |text: &str| Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
    if name.is_empty() {
        return invalid("meta: name must be provided");
    }
    if !framed(name, |b| b == b'-' || b == b'_') {
        return invalid("name must be valid as a DNS name component");
    }
    if name.len() > 63 {
        return invalid("name must be 63 characters or fewer");
    }
    Ok(())
}

/// Names of secrets and configs: a file name, 64 characters at most.
pub(super) fn check_file_name(name: &str) -> Result<(), Rejection> {
    if !name.is_empty() && name.len() <= 64 && framed(name, |b| matches!(b, b'-' | b'_' | b'.')) {
        return Ok(());
    }
    let text = "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]";
    Err(Rejection::rpc(RejectionKind::InvalidArgument, text))
}

/// Letters and digits, with `joint` characters between them only.
fn framed(name: &str, joint: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || joint(*b))
}
