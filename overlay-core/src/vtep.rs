use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Instant,
};

use crate::{
    Vni,
    offload::Offload,
    wire::{VxlanHeader, VxlanPacket},
};

mod flow;
mod judge;
mod network;
mod reply;
mod stats;
mod table;

use judge::Judge;
pub use network::{Learning, Location, Network, NetworkError, PortId};
use reply::Desk;
pub use reply::Reply;
pub use stats::{Discard, Stats};
use table::Table;

/// The tunnel endpoint of one host: forwards the frames of many networks that never meet.
///
/// It is told where every station is and learns nothing from frames; what it was not told is dropped and counted, not
/// flooded. It asks no one for an address: ARP and neighbour solicitations are answered on the spot. Handling a frame
/// takes a few table lookups and no allocation.
///
/// ```
/// use std::time::Instant;
///
/// use overlay_core::wire::{EtherType, EthernetHeader};
/// use overlay_core::{Location, MacAddr, Network, PortId, Verdict, Vni, Vtep, offload::Offload};
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
/// let verdict = vtep.handle_frame(Instant::now(), PortId::new(7), Offload::NONE, &mut frame);
/// let Verdict::Send { endpoints, .. } = verdict else { panic!("not sent") };
/// assert_eq!(endpoints, ["192.0.2.2".parse::<std::net::IpAddr>()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Vtep {
    tables: Tables,
    stats: Stats,
}

/// Everything but the counters, so that a verdict may borrow it while it is counted.
#[derive(Debug, Default)]
struct Tables {
    networks: BTreeMap<Vni, Table>,
    ports: HashMap<PortId, Vni>,
    desk: Desk,
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
    /// Send the frame behind what `encap` says to these hosts, UDP port [`VXLAN_PORT`](crate::VXLAN_PORT).
    Send {
        /// What goes in front of the frame.
        encap: Encap,
        /// UDP source port: one for each inner flow, so that routers and network cards can spread them.
        source_port: u16,
        /// At least one.
        endpoints: &'a [IpAddr],
        /// The inner frame.
        frame: &'a [u8],
    },
    /// Both of the above: a frame for several, or for one that has to be looked for.
    Flood {
        /// Never the port the frame came from; maybe none.
        ports: Ports<'a>,
        /// What goes in front of the frame.
        encap: Encap,
        /// UDP source port.
        source_port: u16,
        /// Maybe none.
        endpoints: &'a [IpAddr],
        /// The inner frame.
        frame: &'a [u8],
    },
    /// Hand this frame to the port that asked.
    Answer(Reply<'a>),
    /// Forget the frame; it is already counted.
    Drop(Discard),
}

/// How a frame travels between hosts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encap {
    /// Behind this header, as it is.
    Plain(VxlanHeader),
    /// Encrypted for this network; it must never leave the host as it is.
    Sealed(Vni),
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
            if let Some(other) = self.tables.ports.get(port).filter(|other| **other != vni) {
                return Err(NetworkError::PortTaken { port: *port, vni: *other });
            }
        }
        self.remove_network(vni);
        self.tables.ports.extend(table.ports().iter().map(|port| (*port, vni)));
        self.tables.networks.insert(vni, table);
        Ok(())
    }

    /// Forgets a network: its frames are dropped from now on. Says whether there was one.
    pub fn remove_network(&mut self, vni: Vni) -> bool {
        self.tables.ports.retain(|_, of| *of != vni);
        self.tables.networks.remove(&vni).is_some()
    }

    /// Judges a frame that a port of this host sent; `offload` says what its kernel left undone in it.
    ///
    /// The frame may be changed in place (the segment size that TCP announces), and lies in the verdict afterwards.
    #[inline]
    pub fn handle_frame<'a>(
        &'a mut self,
        now: Instant,
        port: PortId,
        offload: Offload,
        frame: &'a mut [u8],
    ) -> Verdict<'a> {
        let verdict = self.tables.frame(now, port, offload, frame);
        settle(&mut self.stats, verdict)
    }

    /// Judges the payload of a datagram that came to the VXLAN port from the host at `from`.
    ///
    /// Only for plain datagrams; encrypted ones are opened first.
    #[inline]
    pub fn handle_datagram<'a>(
        &'a mut self,
        now: Instant,
        from: IpAddr,
        payload: &'a mut [u8],
    ) -> Verdict<'a> {
        let verdict = self.tables.datagram(now, from, payload);
        settle(&mut self.stats, verdict)
    }

    /// Judges what a datagram of a sealed network held.
    #[cfg(feature = "seal")]
    #[inline]
    pub fn handle_opened<'a>(
        &'a mut self,
        now: Instant,
        from: IpAddr,
        opened: crate::seal::Opened<'a>,
    ) -> Verdict<'a> {
        let verdict = self.tables.opened(now, from, opened);
        settle(&mut self.stats, verdict)
    }

    /// Tells what time it is; late is fine.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The networks, in order.
    pub fn networks(&self) -> impl Iterator<Item = Vni> {
        self.tables.networks.keys().copied()
    }

    /// What was decided since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Tables {
    fn frame<'a>(
        &'a mut self,
        now: Instant,
        port: PortId,
        offload: Offload,
        frame: &'a mut [u8],
    ) -> Result<Verdict<'a>, Discard> {
        let vni = *self.ports.get(&port).ok_or(Discard::UnknownPort)?;
        let table = self.networks.get_mut(&vni).ok_or(Discard::UnknownNetwork)?;
        Judge { now, vni, table, desk: &mut self.desk }.frame(port, offload, frame)
    }

    fn datagram<'a>(
        &'a mut self,
        now: Instant,
        from: IpAddr,
        payload: &'a mut [u8],
    ) -> Result<Verdict<'a>, Discard> {
        if payload.first().is_some_and(|flags| flags & SEALED == SEALED) {
            return Err(Discard::Sealed);
        }
        let vni = VxlanPacket::parse(payload).map_err(|_| Discard::Malformed)?.header.vni;
        let table = self.networks.get_mut(&vni).ok_or(Discard::UnknownNetwork)?;
        if table.sealed {
            return Err(Discard::Unsealed);
        }
        let frame = payload.get_mut(VxlanHeader::LEN..).unwrap_or_default();
        Judge { now, vni, table, desk: &mut self.desk }.arrival(from, frame)
    }

    #[cfg(feature = "seal")]
    fn opened<'a>(
        &'a mut self,
        now: Instant,
        from: IpAddr,
        opened: crate::seal::Opened<'a>,
    ) -> Result<Verdict<'a>, Discard> {
        let vni = opened.vni();
        let table = self.networks.get_mut(&vni).ok_or(Discard::UnknownNetwork)?;
        if !table.sealed {
            return Err(Discard::NotSealed);
        }
        Judge { now, vni, table, desk: &mut self.desk }.arrival(from, opened.into_frame())
    }
}

impl<'a> Ports<'a> {
    fn one(port: &'a PortId) -> Self {
        Self { ports: std::slice::from_ref(port).iter(), except: None }
    }

    fn all(ports: &'a [PortId], except: Option<PortId>) -> Self {
        Self { ports: ports.iter(), except }
    }
}

impl Iterator for Ports<'_> {
    type Item = PortId;

    fn next(&mut self) -> Option<PortId> {
        let except = self.except;
        self.ports.find(|port| Some(**port) != except).copied()
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

/// The flags of a datagram that is encrypted.
const SEALED: u8 = VxlanHeader::FLAG_I | 0x40;
