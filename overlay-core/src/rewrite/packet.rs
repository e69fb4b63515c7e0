use core::net::IpAddr;

use super::{Ends, RewriteError};
use crate::wire::{Checksum, IpVersion, Layout, Part, UdpHeader, protocol};

/// Where an IP packet lies in some bytes, and what of it is there.
pub(super) struct Packet {
    pub(super) version: IpVersion,
    pub(super) protocol: u8,
    /// Where its header begins.
    pub(super) network: usize,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// The transport header is not in another fragment.
    pub(super) has_transport: bool,
    /// The transport's checksum covers only the pseudo header yet.
    pub(super) is_partial: bool,
}

impl Packet {
    #[inline]
    pub(super) const fn of(layout: &Layout, is_partial: bool) -> Self {
        Self {
            version: layout.version,
            protocol: layout.protocol,
            network: layout.network,
            transport: layout.transport,
            has_transport: !matches!(layout.part, Part::Later),
            is_partial,
        }
    }

    /// Writes the new ends and updates the checksums of both headers, as far as they are there.
    #[inline]
    pub(super) fn readdress(&self, bytes: &mut [u8], ends: &Ends) -> Result<(), RewriteError> {
        self.check(ends)?;
        let (source, destination) = match self.version {
            IpVersion::V4 => (self.network + 12, self.network + 16),
            IpVersion::V6 => (self.network + 8, self.network + 24),
        };
        let mut addresses = Change::default();
        addresses.addr(bytes, source, ends.source_addr);
        addresses.addr(bytes, destination, ends.destination_addr);
        let mut ports = Change::default();
        ports.port(bytes, self.transport, ends.source_port);
        ports.port(bytes, self.transport + 2, ends.destination_port);

        if self.version == IpVersion::V4 {
            update(bytes, self.network + 10, |sum| addresses.applied_to(sum));
        }
        if self.has_transport {
            self.update_transport(bytes, addresses, ports);
        }
        Ok(())
    }

    #[inline]
    fn check(&self, ends: &Ends) -> Result<(), RewriteError> {
        let (version, protocol) = (self.version, self.protocol);
        for addr in [ends.source_addr, ends.destination_addr].into_iter().flatten() {
            if addr.is_ipv4() != (version == IpVersion::V4) {
                return Err(RewriteError::Family { addr, version });
            }
        }
        let has_ports = match (protocol, version) {
            (protocol::TCP | protocol::UDP, _) => self.has_transport,
            (protocol::ICMP, IpVersion::V4) | (protocol::ICMPV6, IpVersion::V6) => false,
            _ => return Err(RewriteError::Protocol { protocol }),
        };
        if !has_ports && (ends.source_port.is_some() || ends.destination_port.is_some()) {
            return Err(RewriteError::NoPorts { protocol });
        }
        Ok(())
    }

    #[inline]
    fn update_transport(&self, bytes: &mut [u8], addresses: Change, ports: Change) {
        match self.protocol {
            // The field has the pseudo header's sum, not its complement; the ports come later.
            protocol::TCP | protocol::UDP if self.is_partial => {
                update(bytes, self.checksum(), |sum| !addresses.applied_to(!sum));
            }
            protocol::TCP => {
                update(bytes, self.checksum(), |sum| ports.applied_to(addresses.applied_to(sum)));
            }
            protocol::UDP => update(bytes, self.checksum(), |sum| match sum {
                UdpHeader::NO_CHECKSUM => sum,
                sum => UdpHeader::some_checksum(ports.applied_to(addresses.applied_to(sum))),
            }),
            protocol::ICMPV6 => update(bytes, self.checksum(), |sum| addresses.applied_to(sum)),
            _ => {}
        }
    }

    #[inline]
    const fn checksum(&self) -> usize {
        let offset = match self.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => 2,
        };
        self.transport + offset
    }
}

/// The words that were overwritten, and those that stand there now.
#[derive(Clone, Copy, Default)]
struct Change {
    old: Checksum,
    new: Checksum,
}

impl Change {
    #[inline]
    fn addr(&mut self, bytes: &mut [u8], at: usize, addr: Option<IpAddr>) {
        match addr {
            None => {}
            Some(IpAddr::V4(addr)) => self.write(bytes, at, addr.octets()),
            Some(IpAddr::V6(addr)) => self.write(bytes, at, addr.octets()),
        }
    }

    #[inline]
    fn port(&mut self, bytes: &mut [u8], at: usize, port: Option<u16>) {
        if let Some(port) = port {
            self.write(bytes, at, port.to_be_bytes());
        }
    }

    #[inline]
    fn write<const N: usize>(&mut self, bytes: &mut [u8], at: usize, new: [u8; N]) {
        if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>) {
            self.old = self.old.add_bytes(place);
            self.new = self.new.add_bytes(&new);
            *place = new;
        }
    }

    #[inline]
    const fn applied_to(&self, checksum: u16) -> u16 {
        Checksum::replace(checksum, self.old, self.new)
    }
}

/// Changes a checksum, if it is there: what an ICMP error quotes may end before it.
#[inline]
pub(super) fn update(bytes: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = change(u16::from_be_bytes(*place)).to_be_bytes();
    }
}
