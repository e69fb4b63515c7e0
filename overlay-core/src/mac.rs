use core::{fmt, net::Ipv4Addr, str::FromStr};

/// An Ethernet address ([IEEE 802]).
///
/// ```
/// use overlay_core::MacAddr;
///
/// let mac = MacAddr::from_ipv4([10, 0, 0, 2].into());
/// assert_eq!(mac.to_string(), "02:42:0a:00:00:02");
/// assert_eq!("02:42:0A:00:00:02".parse(), Ok(mac));
/// assert!(MacAddr::BROADCAST.is_multicast() && !mac.is_multicast());
/// ```
///
/// [IEEE 802]: https://standards.ieee.org/ieee/802/6206/
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddr([u8; 6]);

/// Why a text is not a [`MacAddr`]: it is not six pairs of hexadecimal digits joined by colons.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a MAC address: want six pairs of hexadecimal digits, like 02:42:0a:00:00:02")]
pub struct MacAddrError;

impl MacAddr {
    /// The address of everyone on the link, `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The address of no one, `00:00:00:00:00:00`; Linux keeps default FDB entries under it.
    pub const ZERO: Self = Self([0; 6]);

    /// Wraps six octets; every value is an address.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The locally administered address that Docker gives to the interface with this IPv4 address: `02:42` and its octets.
    #[must_use]
    pub const fn from_ipv4(addr: Ipv4Addr) -> Self {
        let [a, b, c, d] = addr.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The six octets as they travel.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The six octets as they travel.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 6] {
        self.0
    }

    /// Reads six octets of a header; every value is valid.
    #[must_use]
    pub const fn from_be_bytes(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Whether this names a group of stations; the broadcast address does.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 1
    }

    /// Whether one station can own this address: neither a group nor all zeroes.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        a & 1 == 0 && u64::from_be_bytes([0, 0, a, b, c, d, e, f]) != 0
    }
}

impl From<MacAddr> for [u8; 6] {
    fn from(mac: MacAddr) -> Self {
        mac.0
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().ok_or(MacAddrError)?;
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacAddrError);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| MacAddrError)?;
        }
        if pairs.next().is_some() { Err(MacAddrError) } else { Ok(Self(octets)) }
    }
}

crate::text::serde_through_text!(MacAddr);
