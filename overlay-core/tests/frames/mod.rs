//! Frames as a sender would have built them, from what they say.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::wire::{
    Checksum, EtherType, EthernetHeader, Ipv4Header, Ipv6Header, TcpFlags, TcpHeader, UdpHeader, VlanHeader,
    VlanId, protocol,
};
use overlay_core::{MacAddr, offload::PartialChecksum};
use proptest::prelude::*;

/// Everything that a TCP or UDP frame says.
#[derive(Clone, Debug)]
pub struct Frame {
    pub vlan: Option<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub class: u8,
    pub hops: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    pub fragment_offset: u16,
    pub ports: (u16, u16),
    pub transport: Transport,
    pub checksum: Sum,
    pub payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum Transport {
    Udp,
    Tcp { sequence: u32, acknowledgement: u32, flags: TcpFlags, window: u16, options: Vec<u8> },
}

/// What stands in the checksum's field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sum {
    Full,
    Partial,
    Zero,
}

impl Frame {
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut bytes = vec![0; self.network()];
        let ethertype = if self.source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let outer = if self.vlan.is_some() { EtherType::VLAN } else { ethertype };
        let (destination, source) = (MacAddr::new([2, 0, 0, 0, 0, 1]), MacAddr::new([2, 0, 0, 0, 0, 2]));
        EthernetHeader { destination, source, ethertype: outer }.emit(bytes.first_chunk_mut().unwrap());
        if let Some(vlan) = self.vlan {
            let vlan = VlanId::new(vlan).unwrap();
            let tag = VlanHeader { priority: 5, drop_eligible: false, vlan, ethertype };
            tag.emit(bytes.last_chunk_mut().unwrap());
        }
        bytes.extend_from_slice(&self.ip_header(segment.len() as u16));
        bytes.extend_from_slice(&segment);
        bytes
    }

    pub fn network(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }

    pub fn transport(&self) -> usize {
        self.network() + if self.source.is_ipv4() { 20 } else { 40 }
    }

    pub fn header_len(&self) -> usize {
        self.transport() + self.segment().len() - self.payload.len()
    }

    /// Where the checksum is, for a frame whose checksum is unfinished.
    pub fn partial(&self) -> PartialChecksum {
        let offset = if self.is_tcp() { 16 } else { 6 };
        PartialChecksum { start: self.transport() as u16, offset }
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self.transport, Transport::Tcp { .. })
    }

    pub fn flags(&self) -> TcpFlags {
        match &self.transport {
            Transport::Tcp { flags, .. } => *flags,
            Transport::Udp => TcpFlags::default(),
        }
    }

    pub fn set_flags(&mut self, to: TcpFlags) {
        if let Transport::Tcp { flags, .. } = &mut self.transport {
            *flags = to;
        }
    }

    /// The frame that this sender sends next, with another payload.
    pub fn next(&self, payload: Vec<u8>) -> Self {
        let mut next = Self { payload, identification: self.identification.wrapping_add(1), ..self.clone() };
        if let Transport::Tcp { sequence, .. } = &mut next.transport {
            *sequence = sequence.wrapping_add(self.payload.len() as u32);
        }
        next
    }

    fn ip_header(&self, len: u16) -> Vec<u8> {
        let protocol = if self.is_tcp() { protocol::TCP } else { protocol::UDP };
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut bytes = [0; Ipv4Header::LEN];
                let header = Ipv4Header {
                    traffic_class: self.class,
                    payload_len: len,
                    identification: self.identification,
                    dont_fragment: self.dont_fragment,
                    more_fragments: self.more_fragments,
                    fragment_offset: self.fragment_offset,
                    ttl: self.hops,
                    protocol,
                    source,
                    destination,
                };
                header.emit(&mut bytes);
                bytes.to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut bytes = [0; Ipv6Header::LEN];
                let header = Ipv6Header {
                    traffic_class: self.class,
                    flow_label: 0xabcde,
                    payload_len: len,
                    next_header: protocol,
                    hop_limit: self.hops,
                    source,
                    destination,
                };
                header.emit(&mut bytes);
                bytes.to_vec()
            }
            _ => panic!("addresses of two families"),
        }
    }

    fn segment(&self) -> Vec<u8> {
        let (source_port, destination_port) = self.ports;
        let (mut bytes, field) = match &self.transport {
            Transport::Udp => {
                let header = UdpHeader {
                    source_port,
                    destination_port,
                    payload_len: self.payload.len() as u16,
                    checksum: 0,
                };
                let mut bytes = [0; UdpHeader::LEN];
                header.emit(&mut bytes);
                (bytes.to_vec(), 6)
            }
            Transport::Tcp { sequence, acknowledgement, flags, window, options } => {
                let header = TcpHeader {
                    source_port,
                    destination_port,
                    sequence: *sequence,
                    acknowledgement: *acknowledgement,
                    flags: *flags,
                    window: *window,
                    checksum: 0,
                    urgent: 0,
                    options_len: options.len() as u8,
                };
                let mut bytes = [0; TcpHeader::LEN];
                header.emit(&mut bytes);
                ([&bytes[..], options].concat(), 16)
            }
        };
        bytes.extend_from_slice(&self.payload);
        let protocol = if self.is_tcp() { protocol::TCP } else { protocol::UDP };
        let pseudo =
            Checksum::new().add_pseudo_header(self.source, self.destination, protocol, bytes.len() as u16);
        let sum = match (self.checksum, pseudo.add_bytes(&bytes).finish()) {
            (Sum::Zero, _) => 0,
            (Sum::Partial, _) => pseudo.sum(),
            (Sum::Full, 0) if !self.is_tcp() => 0xffff,
            (Sum::Full, sum) => sum,
        };
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// Any whole frame with `payload` bytes whose flags let others join it.
pub fn frame(payload: impl Strategy<Value = usize>) -> impl Strategy<Value = Frame> {
    let stream = (any::<u32>(), any::<u32>(), any::<u16>(), 0usize..=10, prop::bool::ANY);
    let transport = prop_oneof![
        Just(Transport::Udp),
        stream.prop_map(|(sequence, acknowledgement, window, options, ece)| Transport::Tcp {
            sequence,
            acknowledgement,
            flags: if ece { TcpFlags::ACK | TcpFlags::ECE } else { TcpFlags::ACK },
            window,
            options: vec![1; options * 4],
        }),
    ];
    let ends = (addresses(), any::<(u16, u16)>(), prop::option::of(0u16..4096));
    let fields = (any::<u8>(), 1u8.., any::<u16>(), any::<bool>());
    (ends, fields, transport, payload, any::<u8>()).prop_map(|(ends, fields, transport, len, salt)| {
        let ((source, destination), ports, vlan) = ends;
        let (class, hops, identification, dont_fragment) = fields;
        let payload = (0..len).map(|at| ((at * 31) >> 3) as u8 ^ salt).collect();
        Frame {
            vlan,
            source,
            destination,
            class,
            hops,
            identification,
            dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            ports,
            transport,
            checksum: Sum::Full,
            payload,
        }
    })
}

pub fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}
