//! Nanoseconds of the packet path, in this process: what headers cost, and how tables that grow are felt.

use std::hint::black_box;
use std::net::IpAddr;

use overlay_core::offload::Offload;
use overlay_core::wire::{
    EtherType, EthernetFrame, EthernetHeader, Ipv4Header, Ipv4Packet, TcpFlags, TcpHeader, TcpSegment,
    UdpDatagram, UdpHeader, VxlanHeader, VxlanPacket, protocol,
};
use overlay_core::{Location, MacAddr, Network, NetworkError, PortId, VXLAN_PORT, Vni, VniError, Vtep};

use super::error::BenchError;
use super::report::Report;
use crate::clock;

/// Measures all costs.
///
/// # Errors
///
/// None, unless a table refuses what it should take.
pub(super) fn measure(report: &mut Report) -> Result<(), BenchError> {
    let refused = |error: Refused| BenchError::Report { report: error.to_string() };
    let datagram = datagram();
    let cost = nanoseconds(|| {
        black_box(parse(black_box(&datagram)));
    });
    report.cost("codec/parse", "ns", cost);
    for stations in [1, 100, 10_000] {
        let mut world = World::new(1, stations).map_err(refused)?;
        report.cost(format!("vtep/frame/{stations}_stations"), "ns", nanoseconds(|| world.frame()));
        report.cost(format!("vtep/datagram/{stations}_stations"), "ns", nanoseconds(|| world.datagram()));
    }
    for networks in [1, 16, 256] {
        let mut world = World::new(networks, 16).map_err(refused)?;
        report.cost(format!("vtep/frame/{networks}_networks"), "ns", nanoseconds(|| world.frame()));
        report.cost(format!("vtep/datagram/{networks}_networks"), "ns", nanoseconds(|| world.datagram()));
    }
    Ok(())
}

/// Reads Ethernet, IPv4, UDP, VXLAN, Ethernet, IPv4, TCP and checks what can be checked but the sums over payloads.
fn parse(bytes: &[u8]) -> Option<TcpHeader> {
    let ethernet = EthernetFrame::parse(bytes).ok()?;
    let packet = Ipv4Packet::parse(ethernet.payload).ok()?;
    let datagram = UdpDatagram::parse(packet.payload).ok()?;
    let tunnelled = VxlanPacket::parse(datagram.payload).ok()?;
    let inner = EthernetFrame::parse(tunnelled.frame).ok()?;
    let inner = Ipv4Packet::parse(inner.payload).ok()?;
    TcpSegment::parse(inner.payload).ok().map(|segment| segment.header)
}

/// A tunnel endpoint with many networks and stations, and traffic that meets all of them in turn.
struct World {
    vtep: Vtep,
    frames: Vec<Vec<u8>>,
    datagrams: Vec<Vec<u8>>,
    ports: Vec<PortId>,
    next: usize,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Vni(#[from] VniError),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl World {
    /// `networks` networks with one station here and `stations` elsewhere each.
    fn new(networks: u32, stations: u32) -> Result<Self, Refused> {
        let (mut vtep, here) = (Vtep::new(), mac(0, 0));
        let (mut frames, mut datagrams, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        for network in 0..networks {
            let vni = Vni::new(4097 + network)?;
            let port = PortId::new(network);
            let there = (1..=stations).map(|station| (mac(1, station), Location::Endpoint(THERE)));
            let stations_of = there.chain([(here, Location::Port(port))]).collect();
            vtep.set_network(vni, Network { stations: stations_of, mtu: Some(1450), ..Network::default() })?;
            for turn in 0..TRAFFIC.div_ceil(networks) {
                // Steps that share no factor with the number of stations: no two frames after each other are alike.
                let far = mac(1, 1 + turn.wrapping_mul(7919) % stations);
                frames.push(ethernet(far, here, &segment()));
                let header = VxlanHeader { vni }.to_bytes();
                datagrams.push([&header[..], &ethernet(here, far, &segment())].concat());
                ports.push(port);
            }
        }
        // Neighbours in the order of traffic shall be of different networks.
        let stride = usize::try_from(TRAFFIC.div_ceil(networks)).unwrap_or(1);
        let (frames, datagrams) = (dealt(frames, stride), dealt(datagrams, stride));
        Ok(Self { vtep, frames, datagrams, ports: dealt(ports, stride), next: 0 })
    }

    fn frame(&mut self) {
        self.next += 1;
        let at = self.next % self.frames.len().max(1);
        if let (Some(frame), Some(port)) = (self.frames.get_mut(at), self.ports.get(at)) {
            let _ = black_box(self.vtep.handle_frame(clock_of_a_batch(), *port, Offload::NONE, frame));
        }
    }

    fn datagram(&mut self) {
        self.next += 1;
        let at = self.next % self.datagrams.len().max(1);
        if let Some(datagram) = self.datagrams.get_mut(at) {
            let _ = black_box(self.vtep.handle_datagram(clock_of_a_batch(), THERE, datagram));
        }
    }
}

/// Takes every `stride`th, then begins again one further.
fn dealt<T: Clone>(all: Vec<T>, stride: usize) -> Vec<T> {
    (0..stride)
        .flat_map(|first| all.iter().skip(first).step_by(stride).cloned().collect::<Vec<_>>())
        .collect()
}

/// A plane reads the clock once for many frames.
fn clock_of_a_batch() -> std::time::Instant {
    static NOW: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(clock::now);
    *NOW
}

/// A datagram on the underlay that carries a TCP segment of 1400 bytes.
fn datagram() -> Vec<u8> {
    let (one, two) = (mac(0, 1), mac(0, 2));
    let inner = ethernet(one, two, &segment());
    let header = Vni::new(4097).map(|vni| VxlanHeader { vni }.to_bytes()).unwrap_or_default();
    let payload = [&header[..], &inner].concat();
    let mut udp = [0; UdpHeader::LEN];
    let payload_len = u16::try_from(payload.len()).unwrap_or_default();
    UdpHeader { source_port: 50000, destination_port: VXLAN_PORT, payload_len, checksum: 0 }.emit(&mut udp);
    ethernet(two, one, &ipv4(protocol::UDP, &[&udp[..], &payload].concat()))
}

/// An IPv4 packet with 1400 bytes of a TCP connection.
fn segment() -> Vec<u8> {
    let mut header = [0; TcpHeader::LEN];
    let fields = TcpHeader {
        source_port: 40000,
        destination_port: 5201,
        sequence: 1,
        acknowledgement: 1,
        flags: TcpFlags::ACK,
        window: 512,
        checksum: 0,
        urgent: 0,
        options_len: 0,
    };
    fields.emit(&mut header);
    ipv4(protocol::TCP, &[&header[..], &[0x5a; 1380]].concat())
}

fn ethernet(destination: MacAddr, source: MacAddr, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; EthernetHeader::LEN];
    EthernetHeader { destination, source, ethertype: EtherType::IPV4 }.emit(&mut header);
    [&header[..], payload].concat()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; Ipv4Header::LEN];
    let fields = Ipv4Header {
        traffic_class: 0,
        payload_len: u16::try_from(payload.len()).unwrap_or_default(),
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        source: [10, 0, 9, 3].into(),
        destination: [10, 0, 9, 4].into(),
    };
    fields.emit(&mut header);
    [&header[..], payload].concat()
}

fn mac(of: u8, index: u32) -> MacAddr {
    let [_, a, b, c] = index.to_be_bytes();
    MacAddr::new([2, of, 0, a, b, c])
}

/// What a step costs, measured several times.
fn nanoseconds(mut step: impl FnMut()) -> Vec<f64> {
    let mut repeat = || {
        let start = clock::now();
        (0..STEPS).for_each(|_| step());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS)
    };
    repeat();
    (0..REPEATS).map(|_| repeat()).collect()
}

const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
/// Different frames, so that memory is felt; together they fit into a second-level cache.
const TRAFFIC: u32 = 256;
const STEPS: u32 = 20_000;
const REPEATS: usize = 15;

#[cfg(test)]
mod tests {
    use overlay_core::Verdict;

    use super::*;

    #[test]
    fn what_is_parsed_is_whole() {
        assert_eq!(parse(&datagram()).map(|header| header.destination_port), Some(5201));
    }

    #[test]
    fn all_traffic_is_forwarded() {
        let mut world = World::new(16, 100).unwrap();
        let now = clock_of_a_batch();
        for (frame, port) in world.frames.iter_mut().zip(&world.ports) {
            let verdict = world.vtep.handle_frame(now, *port, Offload::NONE, frame);
            assert!(matches!(verdict, Verdict::Send { .. }), "{verdict:?}");
        }
        for datagram in &mut world.datagrams {
            let verdict = world.vtep.handle_datagram(now, THERE, datagram);
            assert!(matches!(verdict, Verdict::Deliver { .. }), "{verdict:?}");
        }
    }
}
