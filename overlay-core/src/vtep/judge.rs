//! What shall happen with one frame: the tables are here, the caller counts.

use std::{net::IpAddr, time::Instant};

use super::{Discard, Encap, Location, PortId, Ports, Verdict, flow, reply::Desk, table::Table};
use crate::{
    MacAddr, Vni,
    offload::Offload,
    wire::{
        ArpOperation, ArpPacket, EtherType, EthernetFrame, Ipv6Packet, NdpError, NeighbourSolicitation,
        VxlanHeader,
    },
};

/// One network, and the moment at which it is asked.
pub(super) struct Judge<'a> {
    pub(super) now: Instant,
    pub(super) vni: Vni,
    pub(super) table: &'a mut Table,
    pub(super) desk: &'a mut Desk,
}

impl<'a> Judge<'a> {
    /// A frame that a port of this network sent.
    pub(super) fn frame(
        self,
        port: PortId,
        _offload: Offload,
        frame: &'a mut [u8],
    ) -> Result<Verdict<'a>, Discard> {
        let _ = self.now;
        let frame: &'a [u8] = frame;
        let table: &'a Table = self.table;
        let ethernet = untagged(frame)?;
        if table.station(ethernet.header.source) != Some(&Location::Port(port)) {
            return Err(Discard::Spoofed);
        }
        if answer(table, self.desk, &ethernet)? {
            return Ok(Verdict::Answer(self.desk.reply()));
        }
        let source_port = flow::source_port(&ethernet);
        let encap = Encap::of(self.vni, table.sealed);
        if ethernet.header.destination.is_multicast() {
            let (ports, endpoints) = (Ports::all(table.ports(), Some(port)), table.endpoints());
            let nobody_else = endpoints.is_empty() && ports.clone().next().is_none();
            return if !table.flood || nobody_else {
                Err(Discard::Group)
            } else {
                Ok(Verdict::Flood { ports, encap, source_port, endpoints, frame })
            };
        }
        match table.station(ethernet.header.destination).ok_or(Discard::UnknownStation)? {
            Location::Port(to) if *to == port => Err(Discard::Hairpin),
            Location::Port(to) => Ok(Verdict::Deliver { ports: Ports::one(to), frame }),
            Location::Endpoint(to) => {
                Ok(Verdict::Send { encap, source_port, endpoints: std::slice::from_ref(to), frame })
            }
        }
    }

    /// A frame that came through the tunnel.
    pub(super) fn arrival(self, from: IpAddr, frame: &'a mut [u8]) -> Result<Verdict<'a>, Discard> {
        let frame: &'a [u8] = frame;
        let table: &'a Table = self.table;
        if !table.allows(from) {
            return Err(Discard::ForeignSource);
        }
        let ethernet = untagged(frame)?;
        if let Some(Location::Port(_)) = table.station(ethernet.header.source) {
            return Err(Discard::Spoofed);
        }
        if ethernet.header.destination.is_multicast() {
            return if table.flood && !table.ports().is_empty() {
                Ok(Verdict::Deliver { ports: Ports::all(table.ports(), None), frame })
            } else {
                Err(Discard::Group)
            };
        }
        match table.station(ethernet.header.destination).ok_or(Discard::UnknownStation)? {
            Location::Port(to) => Ok(Verdict::Deliver { ports: Ports::one(to), frame }),
            // What came through the tunnel never goes back into it: that could go on for ever.
            Location::Endpoint(_) => Err(Discard::Hairpin),
        }
    }
}

impl Encap {
    const fn of(vni: Vni, sealed: bool) -> Self {
        if sealed { Self::Sealed(vni) } else { Self::Plain(VxlanHeader { vni }) }
    }
}

fn untagged(frame: &[u8]) -> Result<EthernetFrame<'_>, Discard> {
    let ethernet = EthernetFrame::parse(frame).map_err(|_| Discard::Malformed)?;
    if ethernet.header.ethertype == EtherType::VLAN { Err(Discard::Tagged) } else { Ok(ethernet) }
}

/// Writes the reply to a question about a neighbour, if the frame asks one.
fn answer(table: &Table, desk: &mut Desk, ethernet: &EthernetFrame<'_>) -> Result<bool, Discard> {
    let asker = ethernet.header.source;
    if ethernet.header.ethertype == EtherType::ARP {
        let question = ArpPacket::parse(ethernet.payload).map_err(|_| Discard::Malformed)?;
        if question.sender_mac != asker {
            return Err(Discard::Spoofed);
        }
        if question.operation == ArpOperation::Reply {
            return Ok(false);
        }
        let mac = neighbour(table, question.target_ip.into(), asker)?;
        desk.arp(&question.answered_by(mac));
        return Ok(true);
    }
    if ethernet.header.ethertype == EtherType::IPV6
        && let Ok(packet) = Ipv6Packet::parse(ethernet.payload)
    {
        return match NeighbourSolicitation::parse(&packet) {
            Ok(question) => {
                let mac = neighbour(table, question.target.into(), asker)?;
                desk.ndp(&question.answered_by(mac), asker);
                Ok(true)
            }
            Err(NdpError::OtherMessage) => Ok(false),
            Err(_) => Err(Discard::Malformed),
        };
    }
    Ok(false)
}

fn neighbour(table: &Table, addr: IpAddr, asker: MacAddr) -> Result<MacAddr, Discard> {
    match table.neighbour(addr) {
        None => Err(Discard::UnknownNeighbour),
        // Whoever asks for its own address only wants to hear that no one else has it.
        Some(mac) if mac == asker => Err(Discard::Announcement),
        Some(mac) => Ok(mac),
    }
}
