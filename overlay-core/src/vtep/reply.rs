use crate::{
    MacAddr,
    wire::{ArpPacket, EtherType, EthernetHeader, NeighbourAdvertisement},
};

/// A frame that answers the port that asked, ready to be handed to it.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    frame: &'a [u8],
}

/// Where replies are written: one at a time.
#[derive(Debug)]
pub(super) struct Desk {
    bytes: [u8; Reply::MAX_LEN],
    len: usize,
}

impl<'a> Reply<'a> {
    /// Bytes of the longest reply: an IPv6 packet of the smallest MTU.
    pub const MAX_LEN: usize = EthernetHeader::LEN + 1280;

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }
}

impl Desk {
    /// What was written last.
    pub(super) fn reply(&self) -> Reply<'_> {
        Reply { frame: self.bytes.get(..self.len).unwrap_or_default() }
    }

    pub(super) fn arp(&mut self, packet: &ArpPacket) {
        let header = EthernetHeader {
            destination: packet.target_mac,
            source: packet.sender_mac,
            ethertype: EtherType::ARP,
        };
        if let Some((buffer, _)) = self.begin(&header, ArpPacket::LEN).split_first_chunk_mut() {
            packet.emit(buffer);
        }
    }

    pub(super) fn ndp(&mut self, message: &NeighbourAdvertisement, asker: MacAddr) {
        let header = EthernetHeader { destination: asker, source: message.mac, ethertype: EtherType::IPV6 };
        let room = self.begin(&header, NeighbourAdvertisement::LEN);
        if let Some((buffer, _)) = room.split_first_chunk_mut() {
            message.emit(buffer);
        }
    }

    /// Begins a frame and gives the room for its payload.
    fn begin(&mut self, header: &EthernetHeader, payload_len: usize) -> &mut [u8] {
        self.len = EthernetHeader::LEN + payload_len;
        let Some((first, rest)) = self.bytes.split_first_chunk_mut() else { return &mut [] };
        header.emit(first);
        rest.get_mut(..payload_len).unwrap_or_default()
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self { bytes: [0; Reply::MAX_LEN], len: 0 }
    }
}
