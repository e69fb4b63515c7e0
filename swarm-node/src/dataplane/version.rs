//! What differs between the two versions of IP, so that each chain is written once.

use std::net::IpAddr;

use overlay_linux::{
    link::Family,
    nft::{Field, TableKey, Type},
};

/// One version of IP, in the words of nf_tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) family: Family,
    pub(super) source: Field,
    pub(super) destination: Field,
    /// The type of its addresses.
    pub(super) address: Type,
    pub(super) ether_type: u16,
    /// Bytes of its header and of TCP's.
    pub(super) headers: u16,
    suffix: &'static str,
}

impl Version {
    pub(super) const V4: Self = Self {
        family: Family::V4,
        source: Field::IpSource,
        destination: Field::IpDestination,
        address: Type::Ipv4,
        ether_type: 0x0800,
        headers: 40,
        suffix: "",
    };

    pub(super) const V6: Self = Self {
        family: Family::V6,
        source: Field::Ip6Source,
        destination: Field::Ip6Destination,
        address: Type::Ipv6,
        ether_type: 0x86dd,
        headers: 60,
        suffix: "6",
    };

    /// A table that sees its packets alone.
    pub(super) fn table(self, name: &str) -> TableKey {
        match self.family {
            Family::V4 => TableKey::ip(name),
            Family::V6 => TableKey::ip6(name),
        }
    }

    /// A name where both versions share a table.
    pub(super) fn name(self, text: &str) -> String {
        format!("{text}{}", self.suffix)
    }

    /// Whether an address is of this version.
    pub(super) fn has(self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family
    }
}
