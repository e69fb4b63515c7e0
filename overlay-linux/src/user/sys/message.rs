//! What batches of both directions share: names and control messages as bytes.

use std::net::{IpAddr, SocketAddr};

use nix::libc;

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(in super::super) struct Name {
    pub(super) bytes: [u8; Self::LEN],
    pub(super) len: u32,
}

impl Name {
    /// `struct sockaddr_in6`, the longer of the two.
    const LEN: usize = 28;

    pub(super) const EMPTY: Self = Self { bytes: [0; Self::LEN], len: 0 };

    pub(super) const MAX_LEN: u32 = 28;

    /// The sender's address as the kernel wrote it; an IPv4 address in IPv6's clothes is undressed.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        let [f0, f1, _, _, a, b, c, d, rest @ ..] = &self.bytes;
        match i32::from(u16::from_ne_bytes([*f0, *f1])) {
            libc::AF_INET if self.len >= 8 => Some(IpAddr::from([*a, *b, *c, *d])),
            libc::AF_INET6 if self.len >= 24 => {
                let addr: &[u8; 16] = rest.first_chunk()?;
                Some(IpAddr::from(*addr).to_canonical())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Name {
    fn from(addr: SocketAddr) -> Self {
        let mut bytes = Vec::with_capacity(Self::LEN);
        let family = |family: i32| u16::try_from(family).unwrap_or_default().to_ne_bytes();
        match addr {
            SocketAddr::V4(addr) => {
                bytes.extend(family(libc::AF_INET));
                bytes.extend(addr.port().to_be_bytes());
                bytes.extend(addr.ip().octets());
                bytes.extend([0; 8]);
            }
            SocketAddr::V6(addr) => {
                bytes.extend(family(libc::AF_INET6));
                bytes.extend(addr.port().to_be_bytes());
                bytes.extend(addr.flowinfo().to_be_bytes());
                bytes.extend(addr.ip().octets());
                bytes.extend(addr.scope_id().to_ne_bytes());
            }
        }
        let mut name = Self::EMPTY;
        name.len = if addr.is_ipv4() { 16 } else { Self::MAX_LEN };
        name.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        name
    }
}

/// Room for the control messages of one datagram or frame.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control {
    pub(super) bytes: [u8; Self::LEN],
}

impl Control {
    /// A `UDP_GRO` takes 24 bytes, a `PACKET_AUXDATA` 40.
    pub(super) const LEN: usize = 64;

    pub(super) const EMPTY: Self = Self { bytes: [0; Self::LEN] };

    const HEADER_LEN: usize = size_of::<usize>() + 8;

    /// The data of the first control message of this sort among the first `len` bytes.
    pub(super) fn find(&self, len: usize, level: i32, kind: i32) -> Option<&[u8]> {
        let mut rest = self.bytes.get(..len)?;
        loop {
            let (total, after) = rest.split_first_chunk::<{ size_of::<usize>() }>()?;
            let ([of_level, of_kind, ..], _) = after.as_chunks::<4>() else { return None };
            let total = usize::from_ne_bytes(*total);
            let data = rest.get(Self::HEADER_LEN..total)?;
            if (i32::from_ne_bytes(*of_level), i32::from_ne_bytes(*of_kind)) == (level, kind) {
                return Some(data);
            }
            rest = rest.get(total.next_multiple_of(size_of::<usize>())..)?;
        }
    }

    /// The one control message that asks for segmentation; its length comes with it.
    pub(super) fn segment(size: u16) -> (Self, usize) {
        let mut control = Self::EMPTY;
        let len = Self::HEADER_LEN + size_of::<u16>();
        let fields = len
            .to_ne_bytes()
            .into_iter()
            .chain(libc::SOL_UDP.to_ne_bytes())
            .chain(libc::UDP_SEGMENT.to_ne_bytes())
            .chain(size.to_ne_bytes());
        control.bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        (control, len.next_multiple_of(size_of::<usize>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for text in ["192.0.2.1:4789", "[2001:db8::1]:4789"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::from(addr).ip(), Some(addr.ip()));
        }
        assert_eq!(
            Name::from("[::ffff:192.0.2.1]:1".parse::<SocketAddr>().unwrap()).ip(),
            Some([192, 0, 2, 1].into())
        );
        assert_eq!(Name::EMPTY.ip(), None);
    }

    #[test]
    fn a_control_message_is_found_behind_another() {
        let (mut control, first) = Control::segment(1400);
        assert_eq!(control.find(first, libc::SOL_UDP, libc::UDP_SEGMENT), Some(&1400_u16.to_ne_bytes()[..]));
        let (second, len) = Control::segment(7);
        control.bytes[first..].iter_mut().zip(second.bytes).for_each(|(to, from)| *to = from);
        control.bytes[first + 12] = 1;
        let other = i32::from_ne_bytes(control.bytes[first + 12..first + 16].try_into().unwrap());
        assert_eq!(control.find(first + len, libc::SOL_UDP, other), Some(&7_u16.to_ne_bytes()[..]));
        assert_eq!(control.find(first, libc::SOL_UDP, other), None);
        assert_eq!(control.find(3, libc::SOL_UDP, other), None);
    }
}
