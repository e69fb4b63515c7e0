use std::net::IpAddr;

use super::{Discard, reply::Desk, table::Table};
use crate::{
    MacAddr,
    offload::Offload,
    wire::{
        ArpOperation, ArpPacket, EtherType, EthernetFrame, Ipv6Packet, NdpError, NeighbourSolicitation,
        protocol,
    },
};

/// Writes the reply to a question about a neighbour, if the frame asks one that is answered here.
#[inline]
pub(super) fn answer(
    table: &Table,
    desk: &mut Desk,
    offload: Offload,
    ethernet: &EthernetFrame<'_>,
) -> Result<bool, Discard> {
    match ethernet.header.ethertype {
        EtherType::ARP => answer_arp(table, desk, ethernet),
        EtherType::IPV6 if ethernet.payload.get(6) == Some(&protocol::ICMPV6) => {
            answer_solicitation(table, desk, offload, ethernet)
        }
        _ => Ok(false),
    }
}

fn answer_arp(table: &Table, desk: &mut Desk, ethernet: &EthernetFrame<'_>) -> Result<bool, Discard> {
    let asker = ethernet.header.source;
    let question = ArpPacket::parse(ethernet.payload).map_err(|_| Discard::Malformed)?;
    if question.sender_mac != asker {
        return Err(Discard::Spoofed);
    }
    if question.operation == ArpOperation::Reply {
        return Ok(false);
    }
    let found = neighbour(table, question.target_ip.into(), asker)?;
    if let Some(mac) = found {
        desk.arp(&question.answered_by(mac));
    }
    Ok(found.is_some())
}

fn answer_solicitation(
    table: &Table,
    desk: &mut Desk,
    offload: Offload,
    ethernet: &EthernetFrame<'_>,
) -> Result<bool, Discard> {
    let Ok(packet) = Ipv6Packet::parse(ethernet.payload) else { return Ok(false) };
    let question = if offload.checksum.is_some() {
        NeighbourSolicitation::parse_unfinished(&packet)
    } else {
        NeighbourSolicitation::parse(&packet)
    };
    let question = match question {
        Ok(question) => question,
        Err(NdpError::OtherMessage) => return Ok(false),
        Err(_) => return Err(Discard::Malformed),
    };
    let asker = ethernet.header.source;
    let found = neighbour(table, question.target.into(), asker)?;
    if let Some(mac) = found {
        desk.ndp(&question.answered_by(mac), asker);
    }
    Ok(found.is_some())
}

/// Who has an address; nobody if others have to be asked.
fn neighbour(table: &Table, addr: IpAddr, asker: MacAddr) -> Result<Option<MacAddr>, Discard> {
    match table.neighbour(addr) {
        None if table.floods_unknown() => Ok(None),
        None => Err(Discard::UnknownNeighbour),
        // Whoever asks for its own address only wants to hear that no one else has it.
        Some(mac) if mac == asker => Err(Discard::Announcement),
        Some(mac) => Ok(Some(mac)),
    }
}
