use std::{net::IpAddr, time::Instant};

use super::{
    Discard, Encap, Location, PortId, Ports, Stats, Verdict, flow,
    guard::Guard,
    learnt::Heard,
    neighbour,
    reply::Desk,
    size::{self, Allowance},
    snoop::Scope,
    table::{Place, Table},
};
use crate::{
    MacAddr, Vni,
    offload::Offload,
    wire::{EtherType, EthernetFrame, EthernetHeader, VxlanHeader},
};

/// One network at one moment: says what shall happen with one frame.
pub(super) struct Judge<'a, 's> {
    pub(super) now: Instant,
    pub(super) vni: Vni,
    pub(super) table: &'a mut Table,
    pub(super) desk: &'a mut Desk,
    pub(super) stats: &'s mut Stats,
    /// Moved forward if there is something to do earlier.
    pub(super) deadline: &'s mut Option<Instant>,
}

/// The port that a frame came from.
pub(super) struct Sender<'p> {
    pub(super) port: PortId,
    pub(super) guard: Option<&'p Guard>,
    pub(super) allowance: &'p mut Allowance,
}

impl<'a> Judge<'a, '_> {
    /// A frame that a port of this network sent.
    #[inline]
    pub(super) fn frame(
        self,
        sender: Sender<'_>,
        offload: Offload,
        frame: &'a mut [u8],
    ) -> Result<Verdict<'a>, Discard> {
        let ethernet = untagged(frame)?;
        if self.table.station(ethernet.header.source) != Some(&Location::Port(sender.port)) {
            return Err(Discard::Spoofed);
        }
        if let Some(guard) = sender.guard {
            guard.check(frame, &ethernet)?;
        }
        if neighbour::answer(self.table, self.desk, offload, &ethernet)? {
            return Ok(Verdict::Answer(self.desk.reply()));
        }
        let source_port = flow::source_port(&ethernet);
        let header = ethernet.header;
        if header.destination.is_multicast() {
            return self.frame_to_group(sender.port, source_port, offload, frame);
        }
        let Self { now, table, .. } = self;
        let mtu = table.mtu;
        let (table, encap) = (&*table, Encap::of(self.vni, table.sealed));
        let place = table.find(now, header.destination);
        let unknown = place.is_none();
        match place {
            None if !table.floods_unknown() || table.endpoints().is_empty() => {
                return Err(Discard::UnknownStation);
            }
            Some(Place::Port(to)) if *to == sender.port => return Err(Discard::Hairpin),
            None | Some(_) => {}
        }
        if let Some(mtu) = mtu {
            if size::exceeds(mtu, offload, frame)? {
                if unknown {
                    return Err(Discard::TooBig);
                }
                size::complain(self.desk, sender.allowance, now, mtu, frame)?;
                return Ok(Verdict::Answer(self.desk.reply()));
            }
            self.stats.clamped += u64::from(size::clamp(mtu, offload, frame));
        }
        Ok(match place {
            None => {
                let (ports, endpoints) = (Ports::all(&[], None), table.endpoints());
                Verdict::Flood { ports, encap, source_port, endpoints, frame }
            }
            Some(Place::Port(to)) => Verdict::Deliver { ports: Ports::one(to), frame },
            Some(Place::Endpoint(to)) => {
                Verdict::Send { encap, source_port, endpoints: std::slice::from_ref(to), frame }
            }
        })
    }

    fn frame_to_group(
        self,
        port: PortId,
        source_port: u16,
        offload: Offload,
        frame: &'a [u8],
    ) -> Result<Verdict<'a>, Discard> {
        let Self { now, vni, table, deadline, .. } = self;
        if !table.flood {
            return Err(Discard::Group);
        }
        if let Some(mtu) = table.mtu
            && size::exceeds(mtu, offload, frame)?
        {
            return Err(Discard::TooBig);
        }
        let from = Location::Port(port);
        let scope = table.listen(now, frame, from)?;
        sooner(deadline, table.deadline());
        let encap = Encap::of(vni, table.sealed);
        let (ports, endpoints) = table.audience(now, scope, from);
        let ports = Ports::all(ports, Some(port));
        if endpoints.is_empty() && ports.clone().next().is_none() {
            return Err(nobody(scope));
        }
        Ok(Verdict::Flood { ports, encap, source_port, endpoints, frame })
    }

    /// A frame that came through the tunnel.
    #[inline]
    pub(super) fn arrival(mut self, from: IpAddr, frame: &'a mut [u8]) -> Result<Verdict<'a>, Discard> {
        let from = from.to_canonical();
        if !self.table.allows(from) {
            return Err(Discard::ForeignSource);
        }
        let EthernetHeader { destination, source, .. } = untagged(frame)?.header;
        match self.table.station(source) {
            Some(Location::Port(_)) => return Err(Discard::Spoofed),
            Some(Location::Endpoint(_)) => {}
            None => learn(&mut self, source, from),
        }
        let Self { now, table, stats, deadline, .. } = self;
        if destination.is_multicast() {
            if !table.flood {
                return Err(Discard::Group);
            }
            let scope = table.listen(now, frame, Location::Endpoint(from))?;
            sooner(deadline, table.deadline());
            let (ports, _) = table.audience(now, scope, Location::Endpoint(from));
            if ports.is_empty() {
                return Err(nobody(scope));
            }
            return Ok(Verdict::Deliver { ports: Ports::all(ports, None), frame });
        }
        if let Some(mtu) = table.mtu {
            stats.clamped += u64::from(size::clamp_arrival(mtu, frame));
        }
        let table: &'a Table = table;
        match table.find(now, destination).ok_or(Discard::UnknownStation)? {
            Place::Port(to) => Ok(Verdict::Deliver { ports: Ports::one(to), frame }),
            // What came through the tunnel never goes back into it: that could go on for ever.
            Place::Endpoint(_) => Err(Discard::Hairpin),
        }
    }
}

impl Encap {
    pub(super) const fn of(vni: Vni, sealed: bool) -> Self {
        if sealed { Self::Sealed(vni) } else { Self::Plain(VxlanHeader { vni }) }
    }
}

#[inline]
fn learn(judge: &mut Judge<'_, '_>, station: MacAddr, from: IpAddr) {
    let Some(learnt) = &mut judge.table.learnt else { return };
    match learnt.hear(judge.now, station, from) {
        Heard::Known => {}
        Heard::New => {
            judge.stats.learnt += 1;
            sooner(judge.deadline, learnt.sweep_at());
        }
        Heard::Moved => judge.stats.moved += 1,
        Heard::NoRoom => judge.stats.not_learnt += 1,
    }
}

#[inline]
fn untagged(frame: &[u8]) -> Result<EthernetFrame<'_>, Discard> {
    let ethernet = EthernetFrame::parse(frame).map_err(|_| Discard::Malformed)?;
    match ethernet.header.ethertype {
        EtherType::VLAN | SERVICE_VLAN => Err(Discard::Tagged),
        _ => Ok(ethernet),
    }
}

const fn nobody(scope: Scope) -> Discard {
    match scope {
        Scope::Everyone | Scope::Group(_) => Discard::Group,
        Scope::Routers(_) => Discard::Membership,
    }
}

fn sooner(deadline: &mut Option<Instant>, other: Option<Instant>) {
    *deadline = [*deadline, other].into_iter().flatten().min();
}

/// The outer tag of two (IEEE 802.1ad).
const SERVICE_VLAN: EtherType = EtherType::new(0x88a8);
