//! One tracked connection, from and to netlink attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc;

use crate::nft::Field;
use crate::nft::wire::{Attrs, find, find_u32};

/// A connection that the kernel tracks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Entry {
    /// The transport protocol by its IANA number: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    /// The packets of the side that opened the connection, as they come in: before any translation.
    pub original: Tuple,
    /// The packets of the other side, as they come in: from where the connection really leads to.
    pub reply: Tuple,
    /// Bits as in [`Field::CtStatus`], such as [`Field::DNAT`].
    pub status: u32,
    /// The mark that rules gave it.
    pub mark: u32,
    /// The kernel's number for it; a later connection from and to the same addresses may get the same one.
    pub id: u32,
    /// The zone that rules put it into; 0 as long as none does.
    pub zone: u16,
}

impl Entry {
    /// Where a rule sent it instead of to its original destination; `None` if it goes where the client wanted.
    ///
    /// The port is 0 for a protocol without ports.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use overlay_linux::conntrack::{Entry, Tuple};
    /// use overlay_linux::nft::Field;
    ///
    /// let between = |from: SocketAddr, to: SocketAddr| Tuple {
    ///     source: from.ip(),
    ///     destination: to.ip(),
    ///     source_port: from.port(),
    ///     destination_port: to.port(),
    /// };
    /// let client = "10.0.1.9:5000".parse()?;
    /// let backend = "10.0.1.7:5353".parse()?;
    /// let entry = Entry {
    ///     protocol: 17,
    ///     original: between(client, "10.0.1.2:53".parse()?),
    ///     reply: between(backend, client),
    ///     status: Field::DNAT,
    ///     mark: 0,
    ///     id: 1,
    ///     zone: 0,
    /// };
    /// assert_eq!(entry.translated_destination(), Some(backend));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn translated_destination(&self) -> Option<SocketAddr> {
        let translated = self.status & Field::DNAT != 0 || self.reply.source != self.original.destination;
        let port = if is_icmp(self.protocol) { 0 } else { self.reply.source_port };
        translated.then(|| SocketAddr::new(self.reply.source, port))
    }

    /// `None` if something that every entry has is missing or makes no sense.
    pub(super) fn parse(attrs: &[u8]) -> Option<Self> {
        let (protocol, original) = Tuple::parse(find(attrs, CTA_TUPLE_ORIG)?)?;
        let (_, reply) = Tuple::parse(find(attrs, CTA_TUPLE_REPLY)?)?;
        Some(Self {
            protocol,
            original,
            reply,
            status: find_u32(attrs, CTA_STATUS)?,
            mark: find_u32(attrs, CTA_MARK).unwrap_or_default(),
            id: find_u32(attrs, CTA_ID)?,
            zone: find_u16(attrs, CTA_ZONE).unwrap_or_default(),
        })
    }

    /// What names this entry and no other.
    ///
    /// The kernel makes the id of the original direction and the entry's place in memory, which the next connection of
    /// the same client may well get; that one has another reply once the rules lead elsewhere. The kernel looks at only
    /// one direction, so it is told the reply; the id stands for the original.
    pub(super) fn name(&self) -> Attrs {
        let mut attrs = Attrs::default();
        attrs.nest(CTA_TUPLE_REPLY, &self.reply.emit(self.protocol)).put_u32(CTA_ID, self.id);
        if self.zone != 0 {
            attrs.put(CTA_ZONE, &self.zone.to_be_bytes());
        }
        attrs
    }
}

/// One direction of a connection.
///
/// ICMP has no ports: `source_port` is the identifier then, `destination_port` the type and the code. Protocols that
/// have neither have 0.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub destination_port: u16,
}

impl Tuple {
    /// The protocol and the direction.
    fn parse(attrs: &[u8]) -> Option<(u8, Self)> {
        let ip = find(attrs, CTA_TUPLE_IP)?;
        let (source, destination) = match find(ip, CTA_IP_V4_SRC) {
            Some(source) => (v4(source)?, v4(find(ip, CTA_IP_V4_DST)?)?),
            None => (v6(find(ip, CTA_IP_V6_SRC)?)?, v6(find(ip, CTA_IP_V6_DST)?)?),
        };
        let proto = find(attrs, CTA_TUPLE_PROTO)?;
        let protocol = byte(proto, CTA_PROTO_NUM)?;
        let (source_port, destination_port) = match icmp(protocol) {
            Some(Icmp { id, kind, code }) => {
                (find_u16(proto, id)?, u16::from_be_bytes([byte(proto, kind)?, byte(proto, code)?]))
            }
            None => (
                find_u16(proto, CTA_PROTO_SRC_PORT).unwrap_or_default(),
                find_u16(proto, CTA_PROTO_DST_PORT).unwrap_or_default(),
            ),
        };
        Some((protocol, Self { source, destination, source_port, destination_port }))
    }

    fn emit(&self, protocol: u8) -> Attrs {
        let (mut ip, mut proto, mut tuple) = (Attrs::default(), Attrs::default(), Attrs::default());
        for (addr, as_v4, as_v6) in
            [(self.source, CTA_IP_V4_SRC, CTA_IP_V6_SRC), (self.destination, CTA_IP_V4_DST, CTA_IP_V6_DST)]
        {
            match addr {
                IpAddr::V4(addr) => ip.put(as_v4, &addr.octets()),
                IpAddr::V6(addr) => ip.put(as_v6, &addr.octets()),
            };
        }
        proto.put_u8(CTA_PROTO_NUM, protocol);
        match icmp(protocol) {
            Some(Icmp { id, kind, code }) => {
                let [kind_value, code_value] = self.destination_port.to_be_bytes();
                proto
                    .put(id, &self.source_port.to_be_bytes())
                    .put_u8(kind, kind_value)
                    .put_u8(code, code_value);
            }
            None => {
                proto.put(CTA_PROTO_SRC_PORT, &self.source_port.to_be_bytes());
                proto.put(CTA_PROTO_DST_PORT, &self.destination_port.to_be_bytes());
            }
        }
        tuple.nest(CTA_TUPLE_IP, &ip).nest(CTA_TUPLE_PROTO, &proto);
        tuple
    }
}

/// The attributes that ICMP has instead of ports.
struct Icmp {
    id: u16,
    kind: u16,
    code: u16,
}

fn icmp(protocol: u8) -> Option<Icmp> {
    match i32::from(protocol) {
        libc::IPPROTO_ICMP => Some(Icmp { id: 4, kind: 5, code: 6 }),
        libc::IPPROTO_ICMPV6 => Some(Icmp { id: 7, kind: 8, code: 9 }),
        _ => None,
    }
}

fn is_icmp(protocol: u8) -> bool {
    icmp(protocol).is_some()
}

fn v4(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into())
}

fn v6(value: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into())
}

fn find_u16(bytes: &[u8], kind: u16) -> Option<u16> {
    find(bytes, kind)?.try_into().ok().map(u16::from_be_bytes)
}

fn byte(bytes: &[u8], kind: u16) -> Option<u8> {
    find(bytes, kind)?.first().copied()
}

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_MARK: u16 = 8;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn direction(v6: bool) -> impl Strategy<Value = Tuple> {
        any::<([u8; 16], [u8; 16], u16, u16)>().prop_map(move |(from, to, source_port, destination_port)| {
            let address = |bytes: [u8; 16]| match bytes {
                [a, b, c, d, ..] if !v6 => IpAddr::from([a, b, c, d]),
                bytes => IpAddr::from(bytes),
            };
            Tuple { source: address(from), destination: address(to), source_port, destination_port }
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        any::<bool>().prop_flat_map(|v6| {
            let protocol = prop_oneof![Just(1), Just(6), Just(17), Just(58), any::<u8>()];
            (protocol, direction(v6), direction(v6), any::<(u32, u32, u32, u16)>()).prop_map(
                |(protocol, original, reply, (status, mark, id, zone))| Entry {
                    protocol,
                    original,
                    reply,
                    status,
                    mark,
                    id,
                    zone,
                },
            )
        })
    }

    /// As the kernel lists it.
    fn listed(entry: &Entry) -> Vec<u8> {
        let mut attrs = entry.name();
        attrs.nest(CTA_TUPLE_ORIG, &entry.original.emit(entry.protocol));
        attrs.put_u32(CTA_STATUS, entry.status).put_u32(CTA_MARK, entry.mark);
        attrs.finish().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entry in entry()) {
            prop_assert_eq!(Entry::parse(&listed(&entry)), Some(entry));
        }

        #[test]
        fn a_broken_entry_does_not_panic(
            entry in entry(),
            at in any::<prop::sample::Index>(),
            value: u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = listed(&entry);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Entry::parse(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = Entry::parse(&bytes);
        }

        #[test]
        fn noise_does_not_panic(bytes: Vec<u8>) {
            let _ = Entry::parse(&bytes);
        }
    }
}
