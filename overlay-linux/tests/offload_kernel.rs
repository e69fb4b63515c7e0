//! `overlay_core::offload::split` against the kernel: both cut the same super-frames, and every byte is the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]
#![allow(clippy::disallowed_methods, missing_docs, reason = "tests")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{netns, wire};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket};
use overlay_core::MacAddr;
use overlay_core::offload::{
    Checksums, MAX_HEADER_LEN, Offload, PartialChecksum, SegmentKind, Segmentation, split,
};
use overlay_core::wire::{
    Checksum, EtherType, EthernetHeader, Ipv4Header, Ipv6Header, TcpFlags, TcpHeader, UdpHeader, protocol,
};
use overlay_linux::link::Netlink;
use overlay_linux::netns::NetNs;

/// A super-frame to be cut.
#[derive(Clone, Copy, Debug)]
struct Case {
    v6: bool,
    /// `None`: UDP.
    tcp: Option<Tcp>,
    payload: usize,
    size: u16,
    dont_fragment: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tcp {
    flags: u8,
    options: usize,
    ecn: bool,
}

const CWR: u8 = 0x80;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const FIN: u8 = 0x01;

#[test]
fn every_segment_is_the_kernels() {
    let test = "every_segment_is_the_kernels";
    let (Some(a), Some(b)) = (netns(test), netns(test)) else { return };
    let wire = Wire::new(&a, &b);
    for case in cases() {
        let (frame, offload) = case.frame();
        let ours = cut(&frame, offload);
        let kernels = wire.cut(&frame, offload, ours.len());
        assert_eq!(kernels.len(), ours.len(), "{case:?}");
        for (index, (ours, kernels)) in ours.iter().zip(&kernels).enumerate() {
            let differs = ours.iter().zip(kernels).position(|(ours, kernels)| ours != kernels);
            let lens = (ours.len(), kernels.len());
            assert!(ours == kernels, "{case:?}: segment {index} differs at {differs:?}, lengths {lens:?}");
        }
    }
}

fn cases() -> Vec<Case> {
    let tcp = |flags, options, ecn| Some(Tcp { flags, options, ecn });
    let mut cases = Vec::new();
    for v6 in [false, true] {
        for transport in [
            None,
            tcp(ACK, 0, false),
            tcp(ACK | PSH, 12, false),
            tcp(ACK | PSH | FIN, 12, false),
            tcp(ACK | CWR, 12, true),
            tcp(ACK | CWR | PSH | FIN, 40, true),
        ] {
            for (payload, size) in
                [(3000, 1000), (3001, 1000), (2000, 1400), (1399 * 40 + 1, 1399), (130, 2), (501, 17)]
            {
                // UDP is cut into 128 at most; TCP's pieces have no such limit.
                for dont_fragment in if v6 { vec![true] } else { vec![true, false] } {
                    cases.push(Case { v6, tcp: transport, payload, size, dont_fragment });
                }
            }
        }
    }
    cases
}

fn cut(frame: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    let mut segments = split(frame, offload, Checksums::Fill).unwrap();
    let len = segments.header_len();
    let mut headers = [0; MAX_HEADER_LEN];
    let mut all = Vec::new();
    while let Some(payload) = segments.next_into(&mut headers) {
        all.push([&headers[..len], &frame[payload]].concat());
    }
    all
}

impl Case {
    fn frame(self) -> (Vec<u8>, Offload) {
        let (here, there) = (MacAddr::new(HERE), MacAddr::new([2, 0, 0, 0, 0, 2]));
        let (source, destination): (IpAddr, IpAddr) = if self.v6 {
            ("fd01::5".parse().unwrap(), "fd01::6".parse().unwrap())
        } else {
            ("10.0.1.5".parse().unwrap(), "10.0.1.6".parse().unwrap())
        };
        let transport = self.transport(source, destination);
        let (header_len, offset) = (transport.len(), if self.tcp.is_some() { 16 } else { 6 });
        let payload = (0..self.payload).map(|index| (index * 7 / 3) as u8);
        let all: Vec<u8> = transport.into_iter().chain(payload).collect();
        let mut frame = vec![0; 14];
        let ethertype = if self.v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        EthernetHeader { destination: there, source: here, ethertype }.emit(frame.first_chunk_mut().unwrap());
        frame.extend(self.network(source, destination, all.len()));
        let start = frame.len();
        frame.extend(all);
        let kind = match (self.tcp, self.v6) {
            (None, _) => SegmentKind::Udp,
            (Some(_), false) => SegmentKind::Tcp4,
            (Some(_), true) => SegmentKind::Tcp6,
        };
        let ecn = self.tcp.is_some_and(|tcp| tcp.ecn);
        let header_len = (start + header_len) as u16;
        let offload = Offload {
            checksum: Some(PartialChecksum { start: start as u16, offset }),
            segmentation: Some(Segmentation { kind, size: self.size, header_len, ecn }),
        };
        (frame, offload)
    }

    fn transport(self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let protocol = if self.tcp.is_some() { protocol::TCP } else { protocol::UDP };
        let header_len = self.tcp.map_or(8, |tcp| 20 + tcp.options);
        let len = (header_len + self.payload) as u16;
        let checksum = Checksum::new().add_pseudo_header(source, destination, protocol, len).sum();
        let Some(tcp) = self.tcp else {
            let header = [5000_u16, 6000, len, checksum];
            let bytes = header.map(u16::to_be_bytes);
            assert_eq!(bytes.as_flattened().len(), UdpHeader::LEN);
            return bytes.as_flattened().to_vec();
        };
        let mut bytes = [0; TcpHeader::LEN];
        TcpHeader {
            source_port: 5000,
            destination_port: 6000,
            sequence: 0xffff_f000,
            acknowledgement: 0x0102_0304,
            flags: TcpFlags::new(tcp.flags),
            window: 501,
            checksum,
            urgent: 0,
            options_len: tcp.options as u8,
        }
        .emit(&mut bytes);
        // No operation, as often as need be.
        [&bytes[..], &vec![1; tcp.options]].concat()
    }

    fn network(self, source: IpAddr, destination: IpAddr, len: usize) -> Vec<u8> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(source, destination, len),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(source, destination, len),
            _ => unreachable!("one family"),
        }
    }

    fn ipv4(self, source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> Vec<u8> {
        let mut bytes = [0; Ipv4Header::LEN];
        Ipv4Header {
            traffic_class: 2,
            payload_len: len as u16,
            identification: 0xfffe,
            dont_fragment: self.dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: if self.tcp.is_some() { protocol::TCP } else { protocol::UDP },
            source,
            destination,
        }
        .emit(&mut bytes);
        bytes.to_vec()
    }

    fn ipv6(self, source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Vec<u8> {
        let mut bytes = [0; Ipv6Header::LEN];
        Ipv6Header {
            traffic_class: 2,
            flow_label: 0x12345,
            payload_len: len as u16,
            next_header: if self.tcp.is_some() { protocol::TCP } else { protocol::UDP },
            hop_limit: 64,
            source,
            destination,
        }
        .emit(&mut bytes);
        bytes.to_vec()
    }
}

/// A veth pair of which one end can do nothing by itself: what is sent through it is cut by the kernel.
struct Wire {
    near: OwnedFd,
    far: OwnedFd,
}

impl Wire {
    fn new(a: &Arc<NetNs>, b: &Arc<NetNs>) -> Self {
        wire((a, "192.0.2.1/24"), (b, "192.0.2.2/24"));
        let index = |netns: &NetNs, link: &str| {
            let netlink = Netlink::open_in(netns).unwrap();
            netlink.interface(link).unwrap().unwrap().index
        };
        let near = a.run(|| packet_socket(index(a, "un0"))).unwrap();
        set(&near, libc::PACKET_VNET_HDR);
        without_offloads(&near, "un0");
        Self { near, far: b.run(|| packet_socket(index(b, "eth0"))).unwrap() }
    }

    /// What arrives at the far end.
    fn cut(&self, frame: &[u8], offload: Offload, expected: usize) -> Vec<Vec<u8>> {
        let bytes = [&offload.to_bytes()[..], frame].concat();
        send(self.near.as_raw_fd(), &bytes, MsgFlags::empty()).unwrap();
        let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        let deadline = Instant::now() + Duration::from_secs(2);
        while all.len() < expected && Instant::now() < deadline {
            match recv(self.far.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(len) if buffer[6..12] == HERE => all.push(buffer[..len].to_vec()),
                Ok(_) => {}
                Err(Errno::EAGAIN) => std::thread::sleep(Duration::from_millis(1)),
                Err(errno) => panic!("{errno}"),
            }
        }
        all
    }
}

fn packet_socket(index: u32) -> OwnedFd {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
    set(&fd, libc::PACKET_IGNORE_OUTGOING);
    // SAFETY: all zeros is a valid `sockaddr_ll`.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    addr.sll_ifindex = index as i32;
    let len = size_of_val(&addr) as u32;
    // SAFETY: the kernel reads `len` bytes of `addr`.
    let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), len) };
    assert_eq!(done, 0);
    fd
}

fn set(fd: &OwnedFd, option: i32) {
    let value = 1_i32;
    // SAFETY: the kernel reads four bytes of `value`.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, (&raw const value).cast(), 4) };
    assert_eq!(done, 0);
}

/// Switches off computing checksums, and with it all cutting, in the interface.
fn without_offloads(fd: &OwnedFd, link: &str) {
    // `struct ethtool_value`: a command, and the value.
    let mut off = [ETHTOOL_STXCSUM, 0_u32];
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name.iter_mut().zip(link.bytes()).for_each(|(to, from)| *to = from.cast_signed());
    request.ifr_ifru.ifru_data = off.as_mut_ptr().cast();
    // SAFETY: the kernel reads the request and the two numbers that it points to.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(done, 0, "{}", Errno::last());
}

const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ETHTOOL_STXCSUM: u32 = 0x17;
const SIOCETHTOOL: libc::Ioctl = 0x8946;
