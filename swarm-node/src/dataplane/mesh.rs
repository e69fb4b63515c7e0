//! Scene → nf_tables of the node's namespace: the mesh of published ports.
//!
//! ```text
//!   client ──▶ X ─ ingress hook: hash → node Y, frame to Y's fabric address ──▶ fabric ──▶ Y
//!                  (packet unmodified, no connection tracking on X)
//!   Y: prerouting dnat to a local task; the connection's mark remembers X
//!   reply: task ──▶ Y: mark → policy rule → fabric ──▶ X ──▶ client
//! ```
//!
//! The node is chosen by hash with the weights of its ready tasks, the task on that node: whoever replaces a task on a
//! node changes nothing elsewhere. Established flows keep their node: a dynamic map on X remembers it.

use std::{net::SocketAddr, time::Duration};

use overlay_core::MacAddr;
use overlay_lb::{PortPlan, Protocol};
use overlay_linux::nft::{
    BaseChain, Chain, Expr, Field, Hook, NatTo, Rule, Ruleset, Set, Spread, Stmt, Table, TableKey, Target,
    Type, UpdateOp, Value, Verdict,
};

use super::{
    links::{FABRIC, GATEWAY, mac_of},
    mark,
    scene::{Fabric, Scene, Underlay},
};

/// Seed of the flow hash; the same on all nodes, so that a client keeps its node when it comes through another one.
const SEED: u32 = 0xfeed;
/// A flow that is silent for this long may be sent elsewhere. 15 min, as IPVS's TCP timeout.
const FLOW_TIMEOUT: Duration = Duration::from_secs(900);
const MAX_FLOWS: u32 = 262_144;

/// The desired tables of the node's namespace. `fabric_index` is the fabric device's interface index.
pub(crate) fn ruleset(scene: &Scene, fabric_index: u32) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let Some(underlay) = &scene.underlay else { return ruleset };
    if let Some(fabric) = &scene.fabric {
        spray(ruleset.table(TableKey::netdev("swarm-mesh")), scene, (underlay, fabric), fabric_index);
        receive(ruleset.table(TableKey::ip("swarm-mesh")), scene, (underlay, fabric));
    }
    egress(ruleset.table(TableKey::ip("swarm-gateway")), scene, underlay);
    ruleset
}

/// The ingress node's part: which node serves this flow?
fn spray(table: &mut Table, scene: &Scene, (underlay, fabric): (&Underlay, &Fabric), fabric_index: u32) {
    let Some(own) = mac_of(fabric.address.addr()) else { return };
    let macs = |node: &String| -> Option<MacAddr> {
        if *node == scene.node { Some(own) } else { mac_of(fabric.peers.get(node)?.address) }
    };
    let flows = Set::map([Type::Ipv4, Type::Protocol, Type::Port, Type::Port], [Type::Ether]);
    table.set("flows", flows.dynamic(FLOW_TIMEOUT, MAX_FLOWS));
    let live = fabric.peers.values().filter(|peer| peer.alive).filter_map(|peer| mac_of(peer.address));
    table.set("live", live.chain([own]).fold(Set::keys([Type::Ether]), Set::member));
    table.chain("deliver", deliver(own, fabric_index));
    table.chain("known-tcp", known(Protocol::Tcp)).chain("known-other", known(Protocol::Udp));
    let mut ports = Set::verdicts([Type::Protocol, Type::Port]);
    for (&(protocol, port), plan) in &scene.mesh.ports {
        let slots: Vec<MacAddr> = plan.slots.iter().filter_map(macs).collect();
        if slots.is_empty() {
            continue; // no task is ready anywhere: the guard drops, and the client tries again
        }
        let (choose, pick) = (format!("choose-{protocol}-{port}"), format!("pick-{protocol}-{port}"));
        table.chain(choose.clone(), chooser(protocol, &pick));
        table.chain(pick, picker(slots));
        ports = ports.verdict(key_of(protocol, port), Verdict::Goto(choose));
    }
    table.set("ports", ports);
    for device in &underlay.devices {
        let hook = Hook::Ingress { device: device.clone() };
        let dispatch =
            Rule::new().when(Field::EtherType, 0x0800_u16).when_in_set(Field::IpDestination, "local");
        let chain = Chain::base(BaseChain::filter(hook, 0)).rule(dispatch.then(Stmt::VerdictMap {
            key: Expr::concat([Field::L4Protocol, Field::TransportDestination]),
            map: overlay_linux::nft::VerdictMap::Named("ports".into()),
        }));
        table.chain(format!("in-{device}"), chain);
    }
    let local = underlay.addresses.iter().copied().filter(std::net::IpAddr::is_ipv4);
    table.set("local", local.fold(Set::keys([Type::Ipv4]), Set::member));
}

/// New connections are sent anew; the packets of known flows go where the flow went.
fn chooser(protocol: Protocol, pick: &str) -> Chain {
    let forget = remember(UpdateOp::Delete);
    let mut chain = Chain::regular();
    let known = if protocol == Protocol::Tcp { "known-tcp" } else { "known-other" };
    if protocol == Protocol::Tcp {
        let opening = Expr::from(Field::TcpFlags).masked(Field::SYN | Field::ACK);
        chain = chain.rule(Rule::new().when(opening, Field::SYN).then(forget.clone()).goto(pick));
    }
    chain
        .rule(Rule::new().set(Target::EtherDestination, flow().lookup("flows")).jump(known))
        .rule(Rule::new().then(forget).goto(pick))
}

/// TCP connections stay with their node even while its daemon is away: its tasks may well be there. Datagrams have no
/// beginning that could be sent anew, so they leave a node that is away.
fn known(protocol: Protocol) -> Chain {
    let valid = || match protocol {
        Protocol::Tcp => Rule::new(),
        Protocol::Udp | Protocol::Sctp => Rule::new().when_in_set(Field::EtherDestination, "live"),
    };
    Chain::regular().rule(valid().then(remember(UpdateOp::Update))).rule(valid().goto("deliver"))
}

fn picker(slots: Vec<MacAddr>) -> Chain {
    let by = Spread::hash([Field::IpSource, Field::TransportSource], SEED);
    // Rules of their own: a full map must not keep the flow from its node.
    Chain::regular()
        .rule(Rule::new().set(Target::EtherDestination, Expr::spread(by, slots)))
        .rule(Rule::new().then(remember(UpdateOp::Add)))
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
fn remember(op: UpdateOp) -> Stmt {
    Stmt::Update {
        set: "flows".into(),
        op,
        key: flow(),
        value: Some(Field::EtherDestination.into()),
        timeout: None,
    }
}

fn flow() -> Expr {
    Expr::concat([Field::IpSource, Field::L4Protocol, Field::TransportSource, Field::TransportDestination])
}

/// The serving node's part: a local task takes the connection, and its replies go back through the ingress node.
fn receive(table: &mut Table, scene: &Scene, (underlay, fabric): (&Underlay, &Fabric)) {
    let from_fabric = || Rule::new().when(Field::IifName, FABRIC);
    let from_outside = || Rule::new().when_in(Field::IifName, underlay.devices.iter().map(String::as_str));
    let entrances = || underlay.devices.iter().map(String::as_str).chain([FABRIC]);
    let mut nat = Chain::base(BaseChain::nat(Hook::Prerouting, -100));
    let mut guard = Chain::base(BaseChain::filter(Hook::Input, 0));
    let mut mangle = Chain::base(BaseChain::filter(Hook::Prerouting, -150));
    for (&(protocol, port), plan) in &scene.mesh.ports {
        let here = |rule: Rule| {
            rule.when(Field::L4Protocol, number(protocol)).when(Field::TransportDestination, port)
        };
        let local = local_sockets(scene, plan);
        if !local.is_empty() {
            let to = || Stmt::DestinationNat(NatTo::sockets(Spread::RoundRobin, &local));
            nat.rules.push(here(from_fabric()).then(to()));
            let to_host = from_outside().when(Field::RouteOfDestination, Field::LOCAL);
            nat.rules.push(here(to_host).then(to()));
        }
        // Never answer with a reset while rules are being made: the client's retry will find them.
        guard.rules.push(here(Rule::new().when_in(Field::IifName, entrances())).verdict(Verdict::Drop));
    }
    for task in scene.tasks.values() {
        for &(protocol, port, target) in &task.host_ports {
            let to_host = from_outside().when(Field::RouteOfDestination, Field::LOCAL);
            let here =
                to_host.when(Field::L4Protocol, number(protocol)).when(Field::TransportDestination, port);
            let to = NatTo::socket(SocketAddr::from((task.gateway_addr, target)));
            nat.rules.push(here.then(Stmt::DestinationNat(to)));
        }
    }
    let marks: Vec<(MacAddr, u32)> = fabric
        .peers
        .values()
        .filter_map(|peer| Some((mac_of(peer.address)?, mark::of(peer.address, fabric.address)?)))
        .collect();
    if !marks.is_empty() {
        let sender = Expr::from(Field::EtherSource).map(marks);
        mangle.rules.push(from_fabric().when_any(Field::CtState, Field::NEW).set(Target::CtMark, sender));
        let ours = Expr::from(Field::CtMark).masked(0xff00_0000);
        let reply = Rule::new()
            .when(Field::IifName, GATEWAY)
            .when(Field::CtDirection, Field::REPLY)
            .when(ours, 0x5a00_0000_u32);
        mangle.rules.push(reply.set(Target::Mark, Field::CtMark));
    }
    // On their way home through the ingress node replies belong to no connection that it has seen.
    let raw = Chain::base(BaseChain::filter(Hook::Prerouting, -300))
        .rule(from_fabric().when(Field::RouteOfSource, Field::LOCAL).then(Stmt::NoTrack));
    shortcut(table, scene, fabric);
    table.chain("home", raw).chain("mark", mangle).chain("serve", nat).chain("guard", guard);
    table.chain("clamp", clamp(underlay.inner_mtu()));
    // A packet that no task takes must not go back to the ingress node, nor be remembered as a connection without
    // translation: its retry will find the rules.
    let strays = Chain::base(BaseChain::filter(Hook::Forward, 0))
        .rule(from_fabric().when_any(Field::CtState, Field::UNTRACKED).verdict(Verdict::Accept))
        .rule(
            from_fabric().when(Expr::from(Field::CtStatus).masked(Field::DNAT), 0_u32).verdict(Verdict::Drop),
        );
    table.chain("strays", strays);
}

/// Programs and tasks of this node that ask another node for a published port are served by this node's own listener: their
/// packets might be sent back here, where their connection is known as one that leaves.
fn shortcut(table: &mut Table, scene: &Scene, fabric: &Fabric) {
    let nodes = fabric.peers.values().map(|peer| peer.vtep).filter(std::net::IpAddr::is_ipv4);
    table.set("nodes", nodes.fold(Set::keys([Type::Ipv4]), Set::member));
    let mut programs = Chain::base(BaseChain::nat(Hook::Output, -100));
    let mut tasks = Chain::base(BaseChain::nat(Hook::Prerouting, -101));
    for &(protocol, port) in scene.mesh.ports.keys().filter(|(protocol, _)| *protocol == Protocol::Tcp) {
        let here = |rule: Rule| {
            rule.when_in_set(Field::IpDestination, "nodes")
                .when(Field::L4Protocol, number(protocol))
                .when(Field::TransportDestination, port)
                .then(Stmt::Redirect { port: None })
        };
        programs.rules.push(here(Rule::new()));
        tasks.rules.push(here(Rule::new().when(Field::IifName, GATEWAY)));
    }
    table.chain("programs", programs).chain("tasks", tasks);
}

fn local_sockets(scene: &Scene, plan: &PortPlan) -> Vec<SocketAddr> {
    let socket = |(id, target): &(String, u16)| {
        let task = scene.tasks.get(id)?;
        Some(SocketAddr::from((task.gateway_addr, *target)))
    };
    plan.local.iter().filter_map(socket).collect()
}

/// Segments must fit into the tunnel, although the task's interface is larger.
fn clamp(mtu: u16) -> Chain {
    let size = mtu.saturating_sub(40); // IPv4 and TCP headers
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

/// Tasks reach the outside under the node's address, and each other only through their networks.
fn egress(table: &mut Table, scene: &Scene, underlay: &Underlay) {
    let network = scene.gateway.address;
    let inside = |rule: Rule| rule.when_between(Field::IpSource, network.network(), network.broadcast());
    let post = Chain::base(BaseChain::nat(Hook::Postrouting, 100))
        .rule(inside(Rule::new()).unless(Field::OifName, GATEWAY).then(Stmt::Masquerade));
    let forward = Chain::base(BaseChain::filter(Hook::Forward, 0))
        .rule(Rule::new().when(Field::IifName, GATEWAY).when(Field::OifName, GATEWAY).verdict(Verdict::Drop));
    // Whoever routes to a task's address from outside reaches nothing: only translated connections and answers come in.
    let untranslated = Expr::from(Field::CtStatus).masked(Field::DNAT);
    let from_outside = || Rule::new().when_in(Field::IifName, underlay.devices.iter().map(String::as_str));
    let forward = forward.rule(
        from_outside()
            .when(Field::OifName, GATEWAY)
            .when_any(Field::CtState, Field::NEW)
            .when(untranslated, 0_u32)
            .verdict(Verdict::Drop),
    );
    // Tunnels begin at nodes of this swarm, or nowhere.
    let vteps = scene.fabric.iter().flat_map(|fabric| fabric.peers.values()).map(|peer| peer.vtep);
    table.set("vteps", vteps.filter(std::net::IpAddr::is_ipv4).fold(Set::keys([Type::Ipv4]), Set::member));
    let strangers = Stmt::In {
        left: Field::IpSource.into(),
        set: overlay_linux::nft::KeySet::Named("vteps".into()),
        negate: true,
    };
    let tunnels = Chain::base(BaseChain::filter(Hook::Input, -10)).rule(
        from_outside()
            .when(Field::UdpDestination, underlay.port)
            .then(strangers)
            .then(Stmt::Counter)
            .verdict(Verdict::Drop),
    );
    table.chain("masquerade", post).chain("apart", forward).chain("tunnels", tunnels);
}

fn key_of(protocol: Protocol, port: u16) -> Value {
    Value::concat([Value::from(number(protocol)), Value::from(port)])
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
