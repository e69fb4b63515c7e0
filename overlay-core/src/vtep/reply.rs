use crate::{
    MacAddr,
    wire::{
        ArpPacket, EtherType, EthernetFrame, EthernetHeader, FragmentationNeeded, IgmpQuery, MldQuery,
        NeighbourAdvertisement, PacketTooBig,
    },
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
    pub const MAX_LEN: usize = EthernetHeader::LEN + PacketTooBig::MAX_LEN;

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }
}

impl Desk {
    /// What was written last.
    pub(super) fn reply(&self) -> Reply<'_> {
        Reply { frame: self.frame() }
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

    /// About a frame, to who sent it.
    pub(super) fn fragmentation_needed(&mut self, message: &FragmentationNeeded, about: &EthernetFrame<'_>) {
        let room = self.begin(&back(about), FragmentationNeeded::MAX_LEN);
        let len = room.first_chunk_mut().map_or(0, |buffer| message.emit(about.payload, buffer));
        self.len = EthernetHeader::LEN + len;
    }

    /// About a frame, to who sent it.
    pub(super) fn packet_too_big(&mut self, message: &PacketTooBig, about: &EthernetFrame<'_>) {
        let room = self.begin(&back(about), PacketTooBig::MAX_LEN);
        let len = room.first_chunk_mut().map_or(0, |buffer| message.emit(about.payload, buffer));
        self.len = EthernetHeader::LEN + len;
    }

    /// A question to everyone who is a member of which group of IPv4.
    pub(super) fn igmp(&mut self, query: &IgmpQuery, source: MacAddr) {
        let destination = MacAddr::new([1, 0, 0x5e, 0, 0, 1]);
        let header = EthernetHeader { destination, source, ethertype: EtherType::IPV4 };
        if let Some(buffer) = self.begin(&header, IgmpQuery::LEN).first_chunk_mut() {
            query.emit(buffer);
        }
    }

    /// A question to everyone who is a member of which group of IPv6.
    pub(super) fn mld(&mut self, query: &MldQuery, source: MacAddr) {
        let destination = MacAddr::new([0x33, 0x33, 0, 0, 0, 1]);
        let header = EthernetHeader { destination, source, ethertype: EtherType::IPV6 };
        if let Some(buffer) = self.begin(&header, MldQuery::LEN).first_chunk_mut() {
            query.emit(buffer);
        }
    }

    /// What was written last.
    pub(super) fn frame(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
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

/// The header of a frame that goes back to where another came from.
const fn back(frame: &EthernetFrame<'_>) -> EthernetHeader {
    let EthernetHeader { destination, source, ethertype } = frame.header;
    EthernetHeader { destination: source, source: destination, ethertype }
}
