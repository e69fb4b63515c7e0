use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::RuleAttribute;
use nix::errno::Errno;

use super::netlink::Refusal;
use super::observed::ObservedKind;
use super::same::has_one_target;
use super::{
    Change, Desired, Link, LinkError, LinkKind, LinkName, Macvlan, Netlink, Op, Place, Scope, decode, diff,
    encode, sysctl,
};
use crate::netns::NetNs;

/// What became of some steps.
#[derive(Debug, Default)]
pub struct Report {
    /// Done, in order.
    pub done: Vec<Op>,
    /// Refused, and why.
    pub failed: Vec<(Op, LinkError)>,
    /// Not tried, because the link that they need could not be made.
    pub skipped: Vec<Op>,
}

impl Report {
    /// Whether everything was done, be it nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Whether nothing had to be done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_clean() && self.done.is_empty()
    }
}

/// What was done, one step a line, failures with their reasons first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failed.iter().try_for_each(|(_, error)| writeln!(f, "failed: {error}"))?;
        self.skipped.iter().try_for_each(|op| writeln!(f, "skipped: {op}"))?;
        self.done.iter().try_for_each(|op| writeln!(f, "done: {op}"))
    }
}

impl Netlink {
    /// Observes, plans and applies: after it the namespace is as desired, or the report says what is not.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe). Failing steps are in the report.
    pub fn converge(&self, scope: &Scope, desired: &Desired) -> Result<Report, LinkError> {
        let observed = self.observe(scope, desired)?;
        Ok(self.apply(&diff(&observed, desired)))
    }

    /// Does the steps in order. One that fails does not stop those that do not depend on it.
    #[must_use = "it tells which steps failed"]
    pub fn apply(&self, ops: &[Op]) -> Report {
        let mut report = Report::default();
        let mut missing = BTreeSet::new();
        let mut here = Session::new(self);
        let mut there = BTreeMap::new();
        for op in ops {
            if depends_on(op, &missing) {
                lacks(op, &mut missing);
                report.skipped.push(op.clone());
                continue;
            }
            let result = match &op.place {
                Place::Here => here.perform(op),
                Place::There(netns) => far(&mut there, netns)
                    .map_err(|error| LinkError::Io { what: op.to_string(), source: error })
                    .and_then(|netlink| Session::new(netlink).perform(op)),
            };
            match result {
                Ok(()) => report.done.push(op.clone()),
                Err(error) => {
                    lacks(op, &mut missing);
                    report.failed.push((op.clone(), error));
                }
            }
        }
        report
    }
}

impl Place {
    /// The namespace as something that has an order; `None` is here.
    fn key(&self) -> Option<u64> {
        if let Self::There(netns) = self { Some(netns.inode()) } else { None }
    }
}

/// Notes which links there are not, because the step was not done.
fn lacks(op: &Op, missing: &mut BTreeSet<(Option<u64>, LinkName)>) {
    let Change::CreateLink { name, link } = &op.change else { return };
    missing.insert((op.place.key(), name.clone()));
    if let LinkKind::Veth(peer) | LinkKind::Macvlan(Macvlan { peer, .. }) = &link.kind {
        missing.insert((Some(peer.netns.inode()), peer.name.clone()));
    }
}

fn depends_on(op: &Op, missing: &BTreeSet<(Option<u64>, LinkName)>) -> bool {
    op.needs().is_some_and(|name| missing.contains(&(op.place.key(), name.clone())))
}

fn far<'a>(open: &'a mut BTreeMap<u64, Netlink>, netns: &NetNs) -> std::io::Result<&'a Netlink> {
    use std::collections::btree_map::Entry;
    Ok(match open.entry(netns.inode()) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Netlink::open_in(netns)?),
    })
}

/// One run of steps in one namespace; remembers the numbers of links.
struct Session<'a> {
    netlink: &'a Netlink,
    indexes: BTreeMap<LinkName, u32>,
}

impl<'a> Session<'a> {
    const fn new(netlink: &'a Netlink) -> Self {
        Self { netlink, indexes: BTreeMap::new() }
    }

    fn perform(&mut self, op: &Op) -> Result<(), LinkError> {
        let change = &op.change;
        if let Change::SetSysctl { name, value } = change {
            return sysctl::write(self.netlink.netns(), name, value)
                .map_err(|error| LinkError::io(op.to_string(), error));
        }
        let (message, flags) = match self.message(op) {
            Ok(Some(question)) => question,
            Ok(None) => return Ok(()),
            // With the link went what was on it.
            Err(LinkError::NoLink { .. }) if change.is_removal() => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.netlink.ask(message, flags) {
            Err(refusal) if is_done_already(change, refusal.errno()) => Ok(()),
            Err(refusal) => Err(self.explain(op, refusal)),
            Ok(_) => Ok(()),
        }
    }

    /// The question for a step and its flags; `None` if there is nothing to ask.
    fn message(&mut self, op: &Op) -> Result<Option<(Message, u16)>, LinkError> {
        const SET: u16 = NLM_F_CREATE | NLM_F_REPLACE;
        const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
        Ok(Some(match &op.change {
            Change::CreateLink { link: Link { kind: LinkKind::Macvlan(macvlan), .. }, .. } => {
                // By its number this namespace finds the macvlan again when nobody speaks of it any more.
                let number = encode::give_number_to(&macvlan.peer.netns);
                let _ = self.netlink.ask(Message::NewNsId(number), 0); // best effort; most have one
                (Message::NewLink(encode::new_macvlan(self.index(op, &macvlan.lower)?, macvlan)), NEW)
            }
            Change::CreateLink { name, link } => match encode::new_link(name, link) {
                Some(message) => (Message::NewLink(message), NEW),
                None => return Ok(None),
            },
            Change::DeleteLink { name } => {
                self.indexes.remove(name);
                (Message::DelLink(encode::named_link(name)), 0)
            }
            Change::DeleteStray { stray } => (Message::DelLink(encode::stray(stray)), 0),
            Change::SetMac { name, mac } => {
                let address = LinkAttribute::Address(mac.octets().to_vec());
                (Message::SetLink(encode::link_with(name, address)), 0)
            }
            Change::SetMtu { name, mtu } => {
                (Message::SetLink(encode::link_with(name, LinkAttribute::Mtu(*mtu))), 0)
            }
            Change::SetGsoMaxSize { name, size } => {
                (Message::SetLink(encode::link_with(name, LinkAttribute::GsoMaxSize(*size))), 0)
            }
            Change::SetMaster { name, master } => {
                let master = master.as_ref().map_or(Ok(0), |master| self.index(op, master))?;
                (Message::SetLink(encode::link_with(name, LinkAttribute::Controller(master))), 0)
            }
            Change::SetIsolated { name, isolated } => {
                let info = LinkAttribute::LinkInfo(encode::port_info(*isolated));
                (Message::NewLink(encode::link_with(name, info)), 0)
            }
            Change::SimplifyBridge { name } => {
                let info = LinkAttribute::LinkInfo(encode::bridge_info());
                (Message::NewLink(encode::link_with(name, info)), 0)
            }
            Change::SetUp { name, up } => (Message::SetLink(encode::link_up(name, *up)), 0),
            Change::AddAddress { dev, address } => {
                (Message::NewAddress(encode::address(self.index(op, dev)?, *address)), SET)
            }
            Change::DeleteAddress { dev, address } => {
                (Message::DelAddress(encode::address(self.index(op, dev)?, *address)), 0)
            }
            Change::SetNeighbour { key, mac } => {
                (Message::NewNeighbour(encode::neighbour(self.index(op, &key.dev)?, key.ip, Some(*mac))), SET)
            }
            Change::DeleteNeighbour { key } => {
                (Message::DelNeighbour(encode::neighbour(self.index(op, &key.dev)?, key.ip, None)), 0)
            }
            Change::SetFdb { entry } => {
                let flags = if has_one_target(entry.mac) { SET } else { NLM_F_CREATE | NLM_F_APPEND };
                (Message::NewNeighbour(encode::fdb(self.index(op, &entry.dev)?, entry)), flags)
            }
            Change::DeleteFdb { entry } => {
                (Message::DelNeighbour(encode::fdb(self.index(op, &entry.dev)?, entry)), 0)
            }
            Change::SetRoute { route } => {
                let index = route.dev.as_ref().map(|dev| self.index(op, dev)).transpose()?;
                (Message::NewRoute(encode::route(index, route)), SET)
            }
            Change::DeleteRoute { route } => {
                let index = route.dev.as_ref().map(|dev| self.index(op, dev)).transpose()?;
                (Message::DelRoute(encode::old_route(index, route)), 0)
            }
            Change::AddRule { rule } => {
                let mut message = encode::rule(rule);
                message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(Scope::PROTOCOL)));
                (Message::NewRule(message), NEW)
            }
            Change::DeleteRule { rule } => (Message::DelRule(encode::rule(rule)), 0),
            Change::SetSysctl { .. } => return Ok(None),
        }))
    }

    fn index(&mut self, op: &Op, name: &LinkName) -> Result<u32, LinkError> {
        if let Some(index) = self.indexes.get(name) {
            return Ok(*index);
        }
        let answer = self
            .netlink
            .ask(Message::GetLink(encode::named_link(name)), 0)
            .map_err(|refusal| refusal.of(op.to_string(), Some(name)))?;
        let index = answer
            .iter()
            .find_map(
                |message| if let Message::NewLink(link) = message { Some(link.header.index) } else { None },
            )
            .ok_or_else(|| LinkError::Unexpected { what: op.to_string() })?;
        self.indexes.insert(name.clone(), index);
        Ok(index)
    }

    /// The famous "file exists" of a tunnel deserves to be told who is in the way.
    fn explain(&self, op: &Op, refusal: Refusal) -> LinkError {
        let what = op.to_string();
        if let (
            Change::CreateLink { name, link: Link { kind: LinkKind::Vxlan(wanted), .. } },
            Some(Errno::EEXIST),
        ) = (&op.change, refusal.errno())
        {
            let table = self.netlink.links_and_addresses().unwrap_or_default();
            let in_the_way = |link: &&decode::RawLink| {
                let same = matches!(&link.kind, ObservedKind::Vxlan(held)
                    if held.vni == Some(wanted.vni) && held.port == wanted.port);
                same && link.name != *name
            };
            if let Some(holder) = table.links.values().find(in_the_way) {
                let holder = holder.name.clone();
                return LinkError::VniTaken { what, vni: wanted.vni, port: wanted.port, holder };
            }
        }
        let link = if let Change::CreateLink { .. } = op.change { None } else { op.needs() };
        refusal.of(what, link)
    }
}

/// Whether a refusal means that things are as the step would make them.
fn is_done_already(change: &Change, errno: Option<Errno>) -> bool {
    let Some(errno) = errno else { return false };
    match change {
        Change::DeleteLink { .. } => errno == Errno::ENODEV,
        // The latter if its namespace is gone.
        Change::DeleteStray { .. } => matches!(errno, Errno::ENODEV | Errno::EINVAL),
        Change::DeleteAddress { .. } => errno == Errno::EADDRNOTAVAIL,
        Change::DeleteNeighbour { .. } | Change::DeleteFdb { .. } | Change::DeleteRule { .. } => {
            errno == Errno::ENOENT
        }
        Change::DeleteRoute { .. } => errno == Errno::ESRCH,
        Change::AddRule { .. } | Change::SetFdb { .. } => errno == Errno::EEXIST,
        Change::CreateLink { .. }
        | Change::SetMac { .. }
        | Change::SetMtu { .. }
        | Change::SetGsoMaxSize { .. }
        | Change::SetMaster { .. }
        | Change::SetIsolated { .. }
        | Change::SimplifyBridge { .. }
        | Change::SetUp { .. }
        | Change::AddAddress { .. }
        | Change::SetNeighbour { .. }
        | Change::SetRoute { .. }
        | Change::SetSysctl { .. } => false,
    }
}
