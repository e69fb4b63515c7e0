//! The serving node's part: a local task takes the connection, and its replies go back through the ingress node.

use std::net::{IpAddr, SocketAddr};

use overlay_core::MacAddr;
use overlay_lb::{PortPlan, Protocol};
use overlay_linux::nft::{
    BaseChain, Chain, Expr, Field, Hook, NatTo, Rule, Set, Spread, Stmt, Table, Target, Value, Verdict,
};

use super::{Ground, number};
use crate::dataplane::{
    links::{FABRIC, GATEWAY, mac_of},
    mark,
    scene::{Scene, TaskScene},
    version::Version,
};

/// The chains of one version of IP.
pub(super) fn chains(table: &mut Table, ground: Ground<'_>, version: Version) {
    // On their way home through the ingress node replies belong to no connection that it has seen.
    let home = Chain::base(BaseChain::filter(Hook::Prerouting, -300))
        .rule(from_fabric().when(Field::RouteOfSource, Field::LOCAL).then(Stmt::NoTrack));
    table.chain("home", home);
    table.chain("mark", marks(ground));
    table.chain("serve", serve(ground, version));
    table.chain("guard", guard(ground));
    table.chain("clamp", clamp(ground.underlay.inner_mtu().saturating_sub(version.headers)));
    table.chain("strays", strays());
    shortcut(table, ground, version);
}

/// The connection remembers through which node it came, and its replies carry that node's mark.
fn marks(Ground { fabric, .. }: Ground<'_>) -> Chain {
    let chain = Chain::base(BaseChain::filter(Hook::Prerouting, -150));
    let marks: Vec<(MacAddr, u32)> = fabric
        .peers
        .values()
        .filter_map(|peer| Some((mac_of(peer.address)?, mark::of(peer.address, fabric.address)?)))
        .collect();
    if marks.is_empty() {
        return chain;
    }
    let sender = Expr::from(Field::EtherSource).map(marks);
    let ours = Expr::from(Field::CtMark).masked(0xff00_0000);
    let reply = Rule::new()
        .when(Field::IifName, GATEWAY)
        .when(Field::CtDirection, Field::REPLY)
        .when(ours, 0x5a00_0000_u32);
    chain
        .rule(from_fabric().when_any(Field::CtState, Field::NEW).set(Target::CtMark, sender))
        .rule(reply.set(Target::Mark, Field::CtMark))
}

/// The destination becomes a task of this node.
fn serve(ground: Ground<'_>, version: Version) -> Chain {
    let Ground { scene, underlay, .. } = ground;
    let mut chain = Chain::base(BaseChain::nat(Hook::Prerouting, -100));
    let to_host = || {
        let devices = underlay.devices.iter().map(String::as_str);
        Rule::new().when_in(Field::IifName, devices).when(Field::RouteOfDestination, Field::LOCAL)
    };
    for (&(protocol, port), plan) in &scene.mesh.ports {
        let local = sockets(scene, plan, version);
        if !local.is_empty() {
            let to = || Stmt::DestinationNat(NatTo::sockets(Spread::RoundRobin, &local));
            chain.rules.push(at(from_fabric(), (protocol, port)).then(to()));
            chain.rules.push(at(to_host(), (protocol, port)).then(to()));
        }
    }
    for task in scene.tasks.values() {
        let Some(address) = address_of(scene, task, version) else { continue };
        for &(protocol, port, target) in &task.host_ports {
            let to = NatTo::socket(SocketAddr::new(address, target));
            chain.rules.push(at(to_host(), (protocol, port)).then(Stmt::DestinationNat(to)));
        }
    }
    chain
}

fn sockets(scene: &Scene, plan: &PortPlan, version: Version) -> Vec<SocketAddr> {
    let socket = |(id, target): &(String, u16)| {
        Some(SocketAddr::new(address_of(scene, scene.tasks.get(id)?, version)?, *target))
    };
    plan.local.iter().filter_map(socket).collect()
}

fn address_of(scene: &Scene, task: &TaskScene, version: Version) -> Option<IpAddr> {
    scene.gateway.interface(task.gateway_addr, version.family).map(|net| net.addr())
}

/// Never answers with a reset while rules are being made: the client's retry will find them.
fn guard(Ground { scene, underlay, .. }: Ground<'_>) -> Chain {
    let entrances = || underlay.devices.iter().map(String::as_str).chain([FABRIC]);
    let mut chain = Chain::base(BaseChain::filter(Hook::Input, 0));
    for port in scene.mesh.ports.keys() {
        chain.rules.push(at(Rule::new().when_in(Field::IifName, entrances()), *port).verdict(Verdict::Drop));
    }
    chain
}

/// Segments must fit into the tunnel, although the task's interface is larger.
fn clamp(size: u16) -> Chain {
    let opening = || Expr::from(Field::TcpFlags).masked(Field::SYN | Field::RST);
    let limit = |direction| {
        Rule::new()
            .when(direction, FABRIC)
            .when(opening(), Field::SYN)
            .set(Target::TcpSegmentSize, Expr::Value(Value::from(size)))
    };
    Chain::base(BaseChain::filter(Hook::Forward, -150))
        .rule(limit(Field::IifName))
        .rule(limit(Field::OifName))
}

/// A packet that no task takes must not go back to the ingress node, nor be remembered as a connection without
/// translation: its retry will find the rules.
fn strays() -> Chain {
    let untranslated = Expr::from(Field::CtStatus).masked(Field::DNAT);
    Chain::base(BaseChain::filter(Hook::Forward, 0))
        .rule(from_fabric().when_any(Field::CtState, Field::UNTRACKED).verdict(Verdict::Accept))
        .rule(from_fabric().when(untranslated, 0_u32).verdict(Verdict::Drop))
}

/// Programs and tasks of this node that ask another node for a published port are served by this node's own listener: their
/// packets might be sent back here, where their connection is known as one that leaves.
fn shortcut(table: &mut Table, Ground { scene, fabric, .. }: Ground<'_>, version: Version) {
    let all = fabric.peers.values().flat_map(|peer| {
        let second = peer.addresses.iter().map(|ip| IpAddr::V6(*ip));
        second.chain([peer.vtep])
    });
    let nodes = all.filter(|ip| version.has(*ip));
    table.set("nodes", nodes.fold(Set::keys([version.address]), Set::member));
    let mut programs = Chain::base(BaseChain::nat(Hook::Output, -100));
    let mut tasks = Chain::base(BaseChain::nat(Hook::Prerouting, -101));
    for port in scene.mesh.ports.keys().filter(|(protocol, _)| *protocol == Protocol::Tcp) {
        let here = |rule: Rule| {
            let to_node = rule.when_in_set(version.destination, "nodes");
            at(to_node, *port).then(Stmt::Redirect { port: None })
        };
        programs.rules.push(here(Rule::new()));
        tasks.rules.push(here(Rule::new().when(Field::IifName, GATEWAY)));
    }
    table.chain("programs", programs).chain("tasks", tasks);
}

fn from_fabric() -> Rule {
    Rule::new().when(Field::IifName, FABRIC)
}

/// Goes on with packets for that port.
fn at(rule: Rule, (protocol, port): (Protocol, u16)) -> Rule {
    rule.when(Field::L4Protocol, number(protocol)).when(Field::TransportDestination, port)
}
