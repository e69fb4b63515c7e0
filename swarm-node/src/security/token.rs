//! Join tokens, byte for byte as Docker prints them.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

/// SHA-256 of the root certificate's PEM bytes: what a joining node checks before it trusts a manager.
///
/// Displays as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CaDigest(pub [u8; 32]);

impl CaDigest {
    /// Digests the PEM bytes exactly as they are, line ends included.
    pub fn of(ca_pem: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, ca_pem.as_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for CaDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a node shows to be let into a cluster: the cluster's root digest and the secret of one role.
///
/// The text form is Docker's: `SWMTKN-1-`, 50 base 36 digits of the digest, `-`, 25 base 36 digits of the
/// secret. Version 2 tokens without the FIPS flag (`SWMTKN-2-0-…`) are read too and printed as version 1. The
/// secret is absent from `Debug`.
///
/// ```
/// use swarm_node::security::JoinToken;
///
/// let text = "SWMTKN-1-53jepeqm8u868bc2lqob0po1kup1j8993edtqs4ythxtq7pmrh-9cg0o2atvfu8d5ykhhffv06t6";
/// let token: JoinToken = text.parse()?;
/// assert_eq!(token.to_string(), text);
/// # Ok::<(), swarm_node::security::TokenError>(())
/// ```
#[derive(Clone)]
pub struct JoinToken {
    digest: CaDigest,
    secret: [u8; 16],
}

impl JoinToken {
    /// Builds a token from its two parts.
    pub fn new(digest: CaDigest, secret: [u8; 16]) -> Self {
        Self { digest, secret }
    }

    /// Draws a fresh secret from the system for the cluster with this root certificate.
    pub fn generate(ca_pem: &str) -> Self {
        Self::new(CaDigest::of(ca_pem), rand::random())
    }

    /// The digest of the root certificate of the cluster that the token opens.
    pub fn digest(&self) -> CaDigest {
        self.digest
    }

    /// Whether the two tokens are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        (self.digest.0.ct_eq(&other.digest.0) & self.secret.ct_eq(&other.secret)).into()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-1-{}-{}", base36(self.digest.0, DIGEST_LEN), base36(self.secret, SECRET_LEN))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LEN {
            return Err(TokenError);
        }
        let parts: Vec<&str> = text.split('-').collect();
        let ([PREFIX, "1", digest, secret] | [PREFIX, "2", "0", digest, secret]) = parts.as_slice() else {
            return Err(TokenError);
        };
        if digest.len() != DIGEST_LEN || secret.len() != SECRET_LEN {
            return Err(TokenError);
        }
        Ok(Self { digest: CaDigest(from_base36(digest)?), secret: from_base36(secret)? })
    }
}

/// The text is not a join token. The message is Docker's, and says no more so that no secret is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid join token")]
pub struct TokenError;

/// Writes a big-endian number in base 36, padded with zeros on the left to `len` digits.
fn base36<const N: usize>(mut number: [u8; N], len: usize) -> String {
    let mut digits = vec!['0'; len];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 36).expect("rest < 36, so value / 36 < 256");
            rest = value % 36;
        }
        *digit = char::from_digit(rest, 36).expect("rest < 36");
    }
    digits.into_iter().collect()
}

/// Reads a base 36 number in lower case into big-endian bytes; refuses one that needs more than `N` bytes.
fn from_base36<const N: usize>(text: &str) -> Result<[u8; N], TokenError> {
    let mut number = [0_u8; N];
    for digit in text.chars() {
        if digit.is_ascii_uppercase() {
            return Err(TokenError);
        }
        let mut carry = digit.to_digit(36).ok_or(TokenError)?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = u8::try_from(value % 256).expect("below 256");
            carry = value / 256;
        }
        if carry != 0 {
            return Err(TokenError);
        }
    }
    Ok(number)
}

const PREFIX: &str = "SWMTKN";
/// Digits of 36^50 > 2^256.
const DIGEST_LEN: usize = 50;
/// Digits of 36^25 > 2^128.
const SECRET_LEN: usize = 25;
/// No token is longer; a longer text is refused before it is split.
const MAX_LEN: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_survives_its_text(digest: [u8; 32], secret: [u8; 16]) {
            let token = JoinToken::new(CaDigest(digest), secret);
            let text = token.to_string();
            prop_assert_eq!(text.len(), "SWMTKN-1--".len() + DIGEST_LEN + SECRET_LEN);
            let parsed: JoinToken = text.parse().unwrap();
            prop_assert!(parsed.matches(&token));
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", tail in "SWMTKN-[12](-0)?-[0-9a-zA-Z]{48,52}-[0-9a-z]{24,26}") {
            let _ = text.parse::<JoinToken>();
            if let Ok(token) = tail.parse::<JoinToken>() {
                prop_assert!(token.to_string().parse::<JoinToken>().unwrap().matches(&token));
            }
        }
    }

    #[test]
    fn numbers_at_the_edges_are_padded_and_bounded() {
        assert_eq!(base36([0; 16], 25), "0".repeat(25));
        assert_eq!(base36([255; 16], 25), "f5lxx1zz5pnorynqglhzmsp33", "2^128 - 1");
        assert_eq!(from_base36::<16>("f5lxx1zz5pnorynqglhzmsp33"), Ok([255; 16]));
        assert_eq!(from_base36::<16>("f5lxx1zz5pnorynqglhzmsp34"), Err(TokenError), "2^128");
        assert_eq!(from_base36::<32>(&"z".repeat(50)), Err(TokenError));
    }
}
