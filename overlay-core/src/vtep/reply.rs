use crate::{
    MacAddr,
    wire::{ArpPacket, EtherType, EthernetHeader, NeighbourAdvertisement},
};

/// A frame that answers a question about a neighbour, ready to be handed to the port that asked.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Reply {
    /// Bytes of the longest reply.
    pub const MAX_LEN: usize = EthernetHeader::LEN + NeighbourAdvertisement::LEN;

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn arp(packet: &ArpPacket) -> Self {
        let mut bytes = [0; ArpPacket::LEN];
        packet.emit(&mut bytes);
        Self::new(packet.target_mac, packet.sender_mac, EtherType::ARP, &bytes)
    }

    pub(super) fn ndp(message: &NeighbourAdvertisement, asker: MacAddr) -> Self {
        let mut bytes = [0; NeighbourAdvertisement::LEN];
        message.emit(&mut bytes);
        Self::new(asker, message.mac, EtherType::IPV6, &bytes)
    }

    fn new(destination: MacAddr, source: MacAddr, ethertype: EtherType, payload: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        if let Some((header, rest)) = bytes.split_first_chunk_mut() {
            EthernetHeader { destination, source, ethertype }.emit(header);
            rest.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
        }
        Self { bytes, len: EthernetHeader::LEN + payload.len() }
    }
}
