use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    MacAddr, Vni,
    wire::{ArpOperation, ArpPacket, EtherType, EthernetFrame, Ipv6Packet, NdpError, NeighbourSolicitation},
    wire::{VxlanHeader, VxlanPacket},
};

mod flow;
mod network;
mod reply;
mod stats;

use network::Table;
pub use network::{Location, Network, NetworkError, PortId};
pub use reply::Reply;
pub use stats::{Discard, Stats};

/// The tunnel endpoint of one host: forwards the frames of many networks that never meet.
///
/// It is told where every station is and learns nothing from frames; what it was not told is dropped and counted, not
/// flooded. It asks no one for an address: ARP and neighbour solicitations are answered on the spot. Handling a frame
/// takes a few table lookups and no allocation.
///
/// ```
/// use overlay_core::{Location, MacAddr, Network, PortId, Verdict, Vni, Vtep, wire::{EtherType, EthernetHeader}};
///
/// let (ours, theirs) = (MacAddr::new([2, 0, 0, 0, 0, 1]), MacAddr::new([2, 0, 0, 0, 0, 2]));
/// let mut vtep = Vtep::new();
/// vtep.set_network(Vni::new(4097)?, Network {
///     stations: [
///         (ours, Location::Port(PortId::new(7))),
///         (theirs, Location::Endpoint([192, 0, 2, 2].into())),
///     ].into(),
///     ..Network::default()
/// })?;
///
/// let mut frame = [0; EthernetHeader::LEN];
/// EthernetHeader { destination: theirs, source: ours, ethertype: EtherType::IPV4 }.emit(&mut frame);
/// let Verdict::Send { endpoints, .. } = vtep.handle_frame(PortId::new(7), &frame) else { panic!("not sent") };
/// assert_eq!(endpoints, ["192.0.2.2".parse::<std::net::IpAddr>()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Vtep {
    networks: BTreeMap<Vni, Table>,
    ports: HashMap<PortId, Vni>,
    stats: Stats,
}

/// What shall happen with one frame. It borrows the tables and the frame, so nothing is copied.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict<'a> {
    /// Hand `frame` to these ports of this host.
    Deliver {
        /// At least one.
        ports: Ports<'a>,
        /// The inner frame.
        frame: &'a [u8],
    },
    /// Send the frame behind `header` to these hosts, UDP port [`VXLAN_PORT`](crate::VXLAN_PORT).
    Send {
        /// Goes in front of the frame.
        header: VxlanHeader,
        /// UDP source port: one for each inner flow, so that routers and network cards can spread them.
        source_port: u16,
        /// At least one.
        endpoints: &'a [IpAddr],
    },
    /// Both of the above: a group's frame in a network that floods.
    Flood {
        /// Every port of the network but the one the frame came from.
        ports: Ports<'a>,
        /// Goes in front of the frame.
        header: VxlanHeader,
        /// UDP source port.
        source_port: u16,
        /// Every other host of the network.
        endpoints: &'a [IpAddr],
    },
    /// Hand this frame to the port that asked.
    Answer(Reply),
    /// Forget the frame; it is already counted.
    Drop(Discard),
}

/// Some ports of one network.
#[derive(Clone, Debug)]
pub struct Ports<'a> {
    ports: std::slice::Iter<'a, PortId>,
    except: Option<PortId>,
}

impl Vtep {
    /// An endpoint without networks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces everything that is known about a network.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing changed.
    pub fn set_network(&mut self, vni: Vni, network: Network) -> Result<(), NetworkError> {
        let table = Table::new(network)?;
        for port in table.ports() {
            if let Some(other) = self.ports.get(port).filter(|other| **other != vni) {
                return Err(NetworkError::PortTaken { port: *port, vni: *other });
            }
        }
        self.remove_network(vni);
        self.ports.extend(table.ports().iter().map(|port| (*port, vni)));
        self.networks.insert(vni, table);
        Ok(())
    }

    /// Forgets a network: its frames are dropped from now on. Says whether there was one.
    pub fn remove_network(&mut self, vni: Vni) -> bool {
        self.ports.retain(|_, of| *of != vni);
        self.networks.remove(&vni).is_some()
    }

    /// Judges a frame that a port of this host sent.
    #[inline]
    pub fn handle_frame<'a>(&'a mut self, port: PortId, frame: &'a [u8]) -> Verdict<'a> {
        let verdict = judge_frame(&self.networks, &self.ports, port, frame);
        settle(&mut self.stats, verdict)
    }

    /// Judges the payload of a datagram that came to the VXLAN port from the host at `from`.
    #[inline]
    pub fn handle_datagram<'a>(&'a mut self, from: IpAddr, payload: &'a [u8]) -> Verdict<'a> {
        let verdict = judge_datagram(&self.networks, from, payload);
        settle(&mut self.stats, verdict)
    }

    /// The networks, in order.
    pub fn networks(&self) -> impl Iterator<Item = Vni> {
        self.networks.keys().copied()
    }

    /// What was decided since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl<'a> Ports<'a> {
    fn one(port: &'a PortId) -> Self {
        Self { ports: std::slice::from_ref(port).iter(), except: None }
    }

    fn all(table: &'a Table, except: Option<PortId>) -> Self {
        Self { ports: table.ports().iter(), except }
    }
}

impl Iterator for Ports<'_> {
    type Item = PortId;

    fn next(&mut self) -> Option<PortId> {
        let except = self.except;
        self.ports.find(|port| Some(**port) != except).copied()
    }
}

fn judge_frame<'a>(
    networks: &'a BTreeMap<Vni, Table>,
    ports: &HashMap<PortId, Vni>,
    port: PortId,
    frame: &'a [u8],
) -> Result<Verdict<'a>, Discard> {
    let vni = *ports.get(&port).ok_or(Discard::UnknownPort)?;
    let table = networks.get(&vni).ok_or(Discard::UnknownNetwork)?;
    let ethernet = untagged(frame)?;
    if table.station(ethernet.header.source) != Some(&Location::Port(port)) {
        return Err(Discard::Spoofed);
    }
    if let Some(answer) = answer(table, &ethernet)? {
        return Ok(Verdict::Answer(answer));
    }
    let (header, source_port) = (VxlanHeader { vni }, flow::source_port(&ethernet));
    if ethernet.header.destination.is_multicast() {
        let (ports, endpoints) = (Ports::all(table, Some(port)), table.endpoints());
        let nobody_else = endpoints.is_empty() && ports.clone().next().is_none();
        return if !table.floods() || nobody_else {
            Err(Discard::Group)
        } else {
            Ok(Verdict::Flood { ports, header, source_port, endpoints })
        };
    }
    match table.station(ethernet.header.destination).ok_or(Discard::UnknownStation)? {
        Location::Port(to) if *to == port => Err(Discard::Hairpin),
        Location::Port(to) => Ok(Verdict::Deliver { ports: Ports::one(to), frame }),
        Location::Endpoint(to) => {
            Ok(Verdict::Send { header, source_port, endpoints: std::slice::from_ref(to) })
        }
    }
}

fn judge_datagram<'a>(
    networks: &'a BTreeMap<Vni, Table>,
    from: IpAddr,
    payload: &'a [u8],
) -> Result<Verdict<'a>, Discard> {
    let packet = VxlanPacket::parse(payload).map_err(|_| Discard::Malformed)?;
    let table = networks.get(&packet.header.vni).ok_or(Discard::UnknownNetwork)?;
    if !table.allows(from) {
        return Err(Discard::ForeignSource);
    }
    let ethernet = untagged(packet.frame)?;
    if let Some(Location::Port(_)) = table.station(ethernet.header.source) {
        return Err(Discard::Spoofed);
    }
    if ethernet.header.destination.is_multicast() {
        return if table.floods() && !table.ports().is_empty() {
            Ok(Verdict::Deliver { ports: Ports::all(table, None), frame: packet.frame })
        } else {
            Err(Discard::Group)
        };
    }
    match table.station(ethernet.header.destination).ok_or(Discard::UnknownStation)? {
        Location::Port(to) => Ok(Verdict::Deliver { ports: Ports::one(to), frame: packet.frame }),
        // What came through the tunnel never goes back into it: that could go on for ever.
        Location::Endpoint(_) => Err(Discard::Hairpin),
    }
}

fn untagged(frame: &[u8]) -> Result<EthernetFrame<'_>, Discard> {
    let ethernet = EthernetFrame::parse(frame).map_err(|_| Discard::Malformed)?;
    if ethernet.header.ethertype == EtherType::VLAN { Err(Discard::Tagged) } else { Ok(ethernet) }
}

/// The reply to a question about a neighbour, if the frame asks one.
fn answer(table: &Table, ethernet: &EthernetFrame<'_>) -> Result<Option<Reply>, Discard> {
    let asker = ethernet.header.source;
    if ethernet.header.ethertype == EtherType::ARP {
        let question = ArpPacket::parse(ethernet.payload).map_err(|_| Discard::Malformed)?;
        if question.sender_mac != asker {
            return Err(Discard::Spoofed);
        }
        if question.operation == ArpOperation::Reply {
            return Ok(None);
        }
        let mac = neighbour(table, question.target_ip.into(), asker)?;
        return Ok(Some(Reply::arp(&question.answered_by(mac))));
    }
    if ethernet.header.ethertype == EtherType::IPV6
        && let Ok(packet) = Ipv6Packet::parse(ethernet.payload)
    {
        return match NeighbourSolicitation::parse(&packet) {
            Ok(question) => {
                let mac = neighbour(table, question.target.into(), asker)?;
                Ok(Some(Reply::ndp(&question.answered_by(mac), asker)))
            }
            Err(NdpError::OtherMessage) => Ok(None),
            Err(_) => Err(Discard::Malformed),
        };
    }
    Ok(None)
}

fn neighbour(table: &Table, addr: IpAddr, asker: MacAddr) -> Result<MacAddr, Discard> {
    match table.neighbour(addr) {
        None => Err(Discard::UnknownNeighbour),
        // Whoever asks for its own address only wants to hear that no one else has it.
        Some(mac) if mac == asker => Err(Discard::Announcement),
        Some(mac) => Ok(mac),
    }
}

fn settle<'a>(stats: &mut Stats, verdict: Result<Verdict<'a>, Discard>) -> Verdict<'a> {
    match &verdict {
        Ok(Verdict::Deliver { .. }) => stats.delivered += 1,
        Ok(Verdict::Send { .. }) => stats.sent += 1,
        Ok(Verdict::Flood { .. }) => stats.flooded += 1,
        Ok(Verdict::Answer(_)) => stats.answered += 1,
        Ok(Verdict::Drop(reason)) | Err(reason) => stats.count(*reason),
    }
    verdict.unwrap_or_else(Verdict::Drop)
}
