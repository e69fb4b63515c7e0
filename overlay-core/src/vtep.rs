use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Instant,
};

use crate::{
    MacAddr, Vni,
    offload::Offload,
    wire::{IgmpQuery, MldQuery, VxlanError, VxlanHeader, VxlanPacket},
};

mod flow;
mod groups;
mod guard;
mod judge;
mod learnt;
mod mix;
mod neighbour;
mod network;
mod reply;
mod size;
mod snoop;
mod stats;
mod table;

use groups::{Family, MAX_RESPONSE};
use guard::{Guard, link_local};
use judge::{Judge, Sender};
use mix::Quick;
pub use network::{Learning, Location, Network, NetworkError, PortId, Snooping};
use reply::Desk;
pub use reply::Reply;
use size::Allowance;
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
    ports: HashMap<PortId, Attachment, Quick>,
    desk: Desk,
    /// No table has something to do before.
    deadline: Option<Instant>,
}

/// What a port is attached to.
#[derive(Debug)]
struct Attachment {
    vni: Vni,
    guard: Option<Guard>,
    allowance: Allowance,
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

/// How full the tables of one network are.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Occupancy {
    /// Stations that were told.
    pub stations: usize,
    /// Stations that were learnt, at most [`Learning::max_entries`].
    pub learnt: usize,
    /// Groups with members, at most [`Snooping::max_groups`].
    pub groups: usize,
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

    /// Replaces everything that was told about a network. What was learnt stays, as far as it still holds.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing changed.
    pub fn set_network(&mut self, vni: Vni, mut network: Network) -> Result<(), NetworkError> {
        let guards = std::mem::take(&mut network.spoof_guard);
        let mut table = Table::new(network)?;
        let Tables { networks, ports, .. } = &mut self.tables;
        for port in table.ports() {
            if let Some(other) = ports.get(port).filter(|other| other.vni != vni) {
                return Err(NetworkError::PortTaken { port: *port, vni: other.vni });
            }
        }
        ports.retain(|_, attachment| attachment.vni != vni);
        ports.extend(table.ports().iter().map(|port| {
            let guard = guards.get(port).map(Guard::new);
            (*port, Attachment { vni, guard, allowance: Allowance::default() })
        }));
        if let Some(before) = networks.remove(&vni) {
            table.inherit(before);
        }
        networks.insert(vni, table);
        Ok(())
    }

    /// Forgets a network: its frames are dropped from now on. Says whether there was one.
    pub fn remove_network(&mut self, vni: Vni) -> bool {
        self.tables.ports.retain(|_, attachment| attachment.vni != vni);
        self.tables.networks.remove(&vni).is_some()
    }

    /// Forgets the stations and memberships that a host told of, in every network, and says how many those were.
    ///
    /// For a host that died: its stations may be heard from another one before theirs have aged.
    pub fn forget_endpoint(&mut self, endpoint: IpAddr) -> usize {
        let endpoint = endpoint.to_canonical();
        self.tables.networks.values_mut().map(|table| table.forget(endpoint)).sum()
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
        let verdict = match self.tables.judge_of_port(now, port, &mut self.stats) {
            Ok((judge, sender)) => judge.frame(sender, offload, frame),
            Err(reason) => Err(reason),
        };
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
        let verdict = match plain_vni(payload) {
            Ok(vni) => self.tables.judge(now, vni, &mut self.stats),
            Err(reason) => Err(reason),
        };
        let frame = payload.get_mut(VxlanHeader::LEN..).unwrap_or_default();
        let verdict = match verdict {
            Ok(judge) if judge.table.sealed => Err(Discard::Unsealed),
            Ok(judge) => judge.arrival(from, frame),
            Err(reason) => Err(reason),
        };
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
        let verdict = match self.tables.judge(now, opened.vni(), &mut self.stats) {
            Ok(judge) if judge.table.sealed => judge.arrival(from, opened.into_frame()),
            Ok(_) => Err(Discard::NotSealed),
            Err(reason) => Err(reason),
        };
        settle(&mut self.stats, verdict)
    }

    /// Forgets what is too old, and finds out what has to be asked. Late is fine, early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Tables { networks, deadline, .. } = &mut self.tables;
        if deadline.is_none_or(|at| at > now) {
            return;
        }
        networks.values_mut().for_each(|table| table.handle_timeout(now));
        *deadline = networks.values().filter_map(Table::deadline).min();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.tables.deadline
    }

    /// A question of a network that snoops, for everyone who may be a member of a group: a [`Verdict::Flood`].
    ///
    /// To be called after [`handle_timeout`](Self::handle_timeout) until there is none. Nobody has to: then groups are
    /// flooded, unless a router asks.
    pub fn poll_query(&mut self, now: Instant) -> Option<Verdict<'_>> {
        let Tables { networks, desk, .. } = &mut self.tables;
        let (vni, family, table) = networks.iter_mut().find_map(|(vni, table)| {
            let family = table.groups.as_mut()?.poll_query(now)?;
            Some((*vni, family, table))
        })?;
        let interval = table.groups.as_ref().map(|groups| groups.config.query_interval).unwrap_or_default();
        let [a, b, c] = vni.to_be_bytes();
        // Locally administered, one for each network; it is the address of no station.
        let source = MacAddr::new([0x02, 0x51, 0x00, a, b, c]);
        match family {
            Family::V4 => desk.igmp(&IgmpQuery { max_response: MAX_RESPONSE, interval }, source),
            Family::V6 => {
                let query = MldQuery { source: link_local(source), max_response: MAX_RESPONSE, interval };
                desk.mld(&query, source);
            }
        }
        self.stats.queried += 1;
        Some(Verdict::Flood {
            ports: Ports::all(table.ports(), None),
            encap: Encap::of(vni, table.sealed),
            source_port: SOURCE_PORT,
            endpoints: table.endpoints(),
            frame: desk.frame(),
        })
    }

    /// The networks, in order.
    pub fn networks(&self) -> impl Iterator<Item = Vni> {
        self.tables.networks.keys().copied()
    }

    /// How full the tables of a network are.
    #[must_use]
    pub fn occupancy(&self, vni: Vni) -> Option<Occupancy> {
        self.tables.networks.get(&vni).map(Table::occupancy)
    }

    /// What was decided since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Tables {
    #[inline]
    fn judge_of_port<'a, 's>(
        &'a mut self,
        now: Instant,
        port: PortId,
        stats: &'s mut Stats,
    ) -> Result<(Judge<'a, 's>, Sender<'a>), Discard>
    where
        'a: 's,
    {
        let Self { networks, ports, desk, deadline } = self;
        let Attachment { vni, guard, allowance } = ports.get_mut(&port).ok_or(Discard::UnknownPort)?;
        let table = networks.get_mut(vni).ok_or(Discard::UnknownNetwork)?;
        let sender = Sender { port, guard: guard.as_ref(), allowance };
        Ok((Judge { now, vni: *vni, table, desk, stats, deadline }, sender))
    }

    #[inline]
    fn judge<'a, 's>(
        &'a mut self,
        now: Instant,
        vni: Vni,
        stats: &'s mut Stats,
    ) -> Result<Judge<'a, 's>, Discard>
    where
        'a: 's,
    {
        let Self { networks, desk, deadline, .. } = self;
        let table = networks.get_mut(&vni).ok_or(Discard::UnknownNetwork)?;
        Ok(Judge { now, vni, table, desk, stats, deadline })
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

/// The network of a datagram that anyone can read.
#[inline]
fn plain_vni(payload: &[u8]) -> Result<Vni, Discard> {
    match VxlanPacket::parse(payload) {
        Ok(packet) => Ok(packet.header.vni),
        Err(VxlanError::Sealed { .. }) => Err(Discard::Sealed),
        Err(_) => Err(Discard::Malformed),
    }
}

/// Questions about groups are no flow.
const SOURCE_PORT: u16 = 0xc000;
