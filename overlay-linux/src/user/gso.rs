use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::netns::NetNs;

/// The longest super-frame, in bytes, that fits into one UDP message when each of its packets has got its tunnel headers
/// and, in a sealed network, its tag: 44 packets for an underlay with an MTU of 1500.
pub const GSO_MAX_SIZE: u32 = 61_000;

/// Keeps the super-frames that leave through an interface below [`GSO_MAX_SIZE`].
///
/// For the task's interface: without it each full super-frame takes two calls to the kernel instead of one.
///
/// # Errors
/// `ENODEV` if there is no such interface; `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub fn limit_gso(netns: &NetNs, interface_index: u32) -> io::Result<()> {
    let socket = netns.run(|| Socket::new(NETLINK_ROUTE))??;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut link = LinkMessage::default();
    link.header.index = interface_index;
    link.attributes =
        vec![LinkAttribute::GsoMaxSize(GSO_MAX_SIZE), LinkAttribute::GsoIpv4MaxSize(GSO_MAX_SIZE)];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::SetLink(link));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    if let NetlinkPayload::Error(error) = answer.payload
        && error.code.is_some()
    {
        return Err(error.to_io());
    }
    Ok(())
}
