//! Addresses as bytes.

use std::net::IpAddr;

/// 4 or 16 bytes to an address; 16 bytes that hold an IPv4 address become one.
pub(crate) fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    let ip = IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(ip.to_canonical())
}

/// An address as the wire has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpBytes([u8; 16], usize);

impl IpBytes {
    pub(crate) fn new(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4)
            }
            IpAddr::V6(v6) => Self(v6.octets(), 16),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}
