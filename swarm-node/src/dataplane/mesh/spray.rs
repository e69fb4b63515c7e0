//! The ingress node's part: which node serves this flow?

use std::{collections::BTreeSet, time::Duration};

use overlay_core::MacAddr;
use overlay_lb::Protocol;
use overlay_linux::nft::{
    BaseChain, Chain, Expr, Field, Hook, Rule, Set, Spread, Stmt, Table, Target, Type, UpdateOp, Value,
    Verdict, VerdictMap,
};

use super::{Ground, number};
use crate::dataplane::{links::mac_of, version::Version};

/// Seed of the flow hash; the same on all nodes, so that a client keeps its node when it comes through another one.
const SEED: u32 = 0xfeed;
/// A flow that is silent for this long may be sent elsewhere. 15 min, as IPVS's TCP timeout.
const FLOW_TIMEOUT: Duration = Duration::from_secs(900);
/// Flows of one version of IP.
const MAX_FLOWS: u32 = 262_144;

/// One table of device hooks for all versions; `deliver` knows only frames.
pub(super) fn chains(table: &mut Table, ground: Ground<'_>, (fabric_index, versions): (u32, &[Version])) {
    let Ground { underlay, fabric, .. } = ground;
    let Some(own) = mac_of(fabric.address.addr()) else { return };
    table.chain("deliver", deliver(own, fabric_index));
    for version in versions {
        choices(table, ground, own, *version);
        let local = underlay.reachable().filter(|ip| version.has(*ip));
        table.set(version.name("local"), local.fold(Set::keys([version.address]), Set::member));
    }
    for device in &underlay.devices {
        let mut chain = Chain::base(BaseChain::filter(Hook::Ingress { device: device.clone() }, 0));
        for version in versions {
            let for_us = Rule::new()
                .when(Field::EtherType, version.ether_type)
                .when_in_set(version.destination, version.name("local"));
            chain.rules.push(for_us.then(Stmt::VerdictMap {
                key: Expr::concat([Field::L4Protocol, Field::TransportDestination]),
                map: VerdictMap::Named(version.name("ports")),
            }));
        }
        table.chain(format!("in-{device}"), chain);
    }
}

/// What happens to a packet for a published port.
fn choices(table: &mut Table, ground: Ground<'_>, own: MacAddr, version: Version) {
    let Ground { scene, fabric, .. } = ground;
    let takes = |node: &String| -> Option<MacAddr> {
        if *node == scene.node {
            return Some(own);
        }
        let peer = fabric.peers.get(node)?;
        if version.family == Version::V4.family || peer.ipv6 { mac_of(peer.address) } else { None }
    };
    let flows = Set::map([version.address, Type::Protocol, Type::Port, Type::Port], [Type::Ether]);
    table.set(version.name("flows"), flows.dynamic(FLOW_TIMEOUT, MAX_FLOWS));
    table.chain(version.name("known"), known(version));
    let mut ports = Set::verdicts([Type::Protocol, Type::Port]);
    for (&(protocol, port), plan) in &scene.mesh.ports {
        let slots: Vec<MacAddr> = plan.slots.iter().filter_map(takes).collect();
        if slots.is_empty() {
            continue; // no task is ready anywhere: the guard drops, and the client tries again
        }
        let name = |what| format!("{}-{protocol}-{port}", version.name(what));
        let (choose, pick) = (name("choose"), name("pick"));
        let chooser = match protocol {
            Protocol::Tcp => streams(&pick, version),
            Protocol::Udp | Protocol::Sctp => datagrams(&pick, &slots, version),
        };
        table.chain(choose.clone(), chooser);
        table.chain(pick, picker(slots, version));
        ports =
            ports.verdict(Value::concat([number(protocol).into(), Value::from(port)]), Verdict::Goto(choose));
    }
    table.set(version.name("ports"), ports);
}

/// New connections are sent anew; the packets of known ones go where the connection went, also while the daemon there is
/// away: its tasks may well be there.
fn streams(pick: &str, version: Version) -> Chain {
    let forget = remember(UpdateOp::Delete, version);
    let opening = Expr::from(Field::TcpFlags).masked(Field::SYN | Field::ACK);
    Chain::regular()
        .rule(Rule::new().when(opening, Field::SYN).then(forget.clone()).goto(pick))
        .rule(Rule::new().set(Target::EtherDestination, node(version)).jump(version.name("known")))
        .rule(Rule::new().then(forget).goto(pick))
}

/// Refreshed by a rule of its own: a full map must not keep the packet from its node.
fn known(version: Version) -> Chain {
    Chain::regular()
        .rule(Rule::new().then(remember(UpdateOp::Update, version)))
        .rule(Rule::new().goto("deliver"))
}

/// Datagrams have no beginning that could be sent anew: they leave a node that has no ready task any more.
fn datagrams(pick: &str, slots: &[MacAddr], version: Version) -> Chain {
    let serving: BTreeSet<MacAddr> = slots.iter().copied().collect();
    let there = Rule::new().set(Target::EtherDestination, node(version));
    Chain::regular()
        .rule(there.when_in(Field::EtherDestination, serving).jump(version.name("known")))
        .rule(Rule::new().then(remember(UpdateOp::Delete, version)).goto(pick))
}

fn picker(slots: Vec<MacAddr>, version: Version) -> Chain {
    let by = Spread::hash([version.source, Field::TransportSource], SEED);
    // Rules of their own: a full map must not keep the flow from its node.
    Chain::regular()
        .rule(Rule::new().set(Target::EtherDestination, Expr::spread(by, slots)))
        .rule(Rule::new().then(remember(UpdateOp::Add, version)))
        .rule(Rule::new().goto("deliver"))
}

fn deliver(own: MacAddr, fabric_index: u32) -> Chain {
    Chain::regular().rule(Rule::new().when(Field::EtherDestination, own).verdict(Verdict::Accept)).rule(
        Rule::new()
            .set(Target::EtherSource, own)
            .then(Stmt::Forward { device: Expr::Value(Value::from(fabric_index)) }),
    )
}

/// Writes, refreshes or deletes the flow's node; the kernel wants the value in each case.
fn remember(op: UpdateOp, version: Version) -> Stmt {
    Stmt::Update {
        set: version.name("flows"),
        op,
        key: flow(version),
        value: Some(Field::EtherDestination.into()),
        timeout: None,
    }
}

/// The node of a flow that is remembered.
fn node(version: Version) -> Expr {
    flow(version).lookup(version.name("flows"))
}

fn flow(version: Version) -> Expr {
    Expr::concat([version.source, Field::L4Protocol, Field::TransportSource, Field::TransportDestination])
}
