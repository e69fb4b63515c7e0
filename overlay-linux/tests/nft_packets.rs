//! Real packets through our rules, between fresh network namespaces.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::print_stdout, missing_docs, reason = "tests")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use overlay_core::MacAddr;
use overlay_linux::link::{Desired, Link, LinkName, Netlink, Peer, Route, Scope};
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{
    BaseChain, Chain, Expr, Field, Hook, NatTo, Nft, Rule, Ruleset, Set, Spread, Stmt, TableKey, Target,
    Type, UpdateOp, Verdict,
};

#[test]
fn a_virtual_address_leads_to_its_backends_in_turn() {
    let Some(netns) = netns("a_virtual_address") else { return };
    let mut desired = Desired::default();
    // Every address of the network is this host's.
    desired.links.insert(name("lo"), Link::existing().with_address(net("10.0.1.1/24")));
    converge(&netns, &desired);
    let mut nft = Nft::open_in(&netns).unwrap();
    let vip = Ipv4Addr::new(10, 0, 1, 2);
    nft.sync(&vip_rules(vip, &["10.0.1.102", "10.0.1.103"])).unwrap();
    netns
        .run(|| {
            answer("10.0.1.102:8001", "two");
            answer("10.0.1.103:8001", "three");
            let vip = SocketAddr::new(vip.into(), 8001);
            let mut heard: Vec<String> = (0..4).map(|_| ask(vip).unwrap()).collect();
            heard.sort_unstable();
            assert_eq!(heard, ["three", "three", "two", "two"]);
            assert_eq!(ask_udp(vip), "datagram");
            nft.sync(&vip_rules(vip_of(vip), &["10.0.1.103"])).unwrap();
            assert_eq!([ask(vip).unwrap(), ask(vip).unwrap()], ["three", "three"]);
            nft.clear().unwrap();
            assert!(ask(vip).is_err());
        })
        .unwrap();
}

#[test]
fn the_fabric_keeps_the_address_of_the_client_and_the_node_of_a_flow() {
    let Some(world) = World::new() else { return };
    let mut ingress = Nft::open_in(&world.ingress).unwrap();
    ingress.sync(&world.steer(&[NODE_MAC])).unwrap();
    let mut node = Nft::open_in(&world.node).unwrap();
    node.sync(&to_local_task()).unwrap();
    let listener = world.node.run(|| TcpListener::bind("169.254.77.2:80").unwrap()).unwrap();
    let service: SocketAddr = "10.7.0.1:8080".parse().unwrap();
    let connect =
        || world.client.run(|| TcpStream::connect_timeout(&service, Duration::from_millis(400))).unwrap();
    let mut client = connect().unwrap();
    // The handshake is over, so this does not wait.
    let (mut task, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::new(10, 7, 0, 100)), "the task sees the client's own address");
    exchange(&mut client, &mut task);

    // New flows go to nobody from here on; the old one stays where it is.
    let report = ingress.sync(&world.steer(&[MacAddr::new([2, 0, 0, 0, 0, 0x99])])).unwrap();
    assert_eq!(report.ops.len(), 2, "{report:?}");
    exchange(&mut client, &mut task);
    assert!(connect().is_err());

    // Without its entry in the flow map it would be lost.
    ingress.clear().unwrap();
    ingress.sync(&world.steer(&[NODE_MAC])).unwrap();
    connect().unwrap();
}

/// client ── ingress (10.7.0.1) ── node; the service is at the ingress' address, the task on the node.
struct World {
    client: Arc<NetNs>,
    ingress: Arc<NetNs>,
    node: Arc<NetNs>,
    fabric_index: u32,
}

impl World {
    fn new() -> Option<Self> {
        let (client, ingress, node) = (netns("the_fabric")?, netns("the_fabric")?, netns("the_fabric")?);
        let mut desired = Desired::default();
        let peer = Peer::new(client.clone(), name("eth0")).with_address(net("10.7.0.100/24"));
        desired.links.insert(name("unc"), Link::veth(peer).with_address(net("10.7.0.1/24")));
        let peer = Peer::new(node.clone(), name("eth0"))
            .with_mac(NODE_MAC)
            .with_address(net("169.254.77.2/24"))
            .with_route(Route::default_via(IpAddr::V4(Ipv4Addr::new(169, 254, 77, 1))));
        let fabric = Link::veth(peer).with_mac(OWN_MAC).with_address(net("169.254.77.1/24"));
        desired.links.insert(name("unf"), fabric);
        for (key, value) in [
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.unf.rp_filter", "0"),
            ("net.ipv4.conf.unf.accept_local", "1"),
        ] {
            desired.sysctls.insert(key.to_owned(), value.to_owned());
        }
        let netlink = converge(&ingress, &desired);
        let fabric_index = netlink.interface("unf").unwrap().unwrap().index;
        Some(Self { client, ingress, node, fabric_index })
    }

    /// Known flows keep their node, new ones get one of the slots.
    fn steer(&self, slots: &[MacAddr]) -> Ruleset {
        let service = || {
            Rule::new()
                .when(Field::IpDestination, Ipv4Addr::new(10, 7, 0, 1))
                .when(Field::TcpDestination, 8080_u16)
        };
        let key = || Expr::concat([Field::IpSource, Field::TcpSource, Field::TcpDestination]);
        let chosen = Expr::spread(Spread::hash([Field::IpSource, Field::TcpSource], 0xfeed), slots.to_vec());
        let remember = Stmt::Update {
            set: "flows".into(),
            op: UpdateOp::Update,
            key: key(),
            value: Some(Field::EtherDestination.into()),
            timeout: None,
        };
        let flows = Set::map([Type::Ipv4, Type::Port, Type::Port], [Type::Ether]);
        let hook = Hook::Ingress { device: "unc".into() };
        let ingress = Chain::base(BaseChain::filter(hook, 0))
            .rule(service().set(Target::EtherDestination, key().lookup("flows")).goto("deliver"))
            .rule(service().set(Target::EtherDestination, chosen).then(remember).goto("deliver"));
        let deliver = Chain::regular()
            .rule(Rule::new().when(Field::EtherDestination, OWN_MAC).verdict(Verdict::Accept))
            .rule(Rule::new().set(Target::EtherSource, OWN_MAC))
            .rule(Rule::new().then(Stmt::Forward { device: self.fabric_index.into() }));
        let mut ruleset = Ruleset::default();
        ruleset
            .table(TableKey::netdev("fabric"))
            .set("flows", flows.dynamic(Duration::from_secs(60), 4096))
            .chain("ingress", ingress)
            .chain("deliver", deliver);
        ruleset
    }
}

fn to_local_task() -> Ruleset {
    let mut ruleset = Ruleset::default();
    let backends = ["169.254.77.2:80".parse().unwrap()];
    let rule = Rule::new()
        .when(Field::IifName, "eth0")
        .when(Field::TcpDestination, 8080_u16)
        .then(Stmt::DestinationNat(NatTo::sockets(Spread::RoundRobin, &backends)));
    let base = BaseChain::nat(Hook::Prerouting, -100);
    ruleset.table(TableKey::ip("mesh")).chain("pre", Chain::base(base).rule(rule));
    ruleset
}

fn vip_rules(vip: Ipv4Addr, backends: &[&str]) -> Ruleset {
    let backends: Vec<IpAddr> = backends.iter().map(|addr| addr.parse().unwrap()).collect();
    let mut ruleset = Ruleset::default();
    let table = ruleset.table(TableKey::ip("vip"));
    for (chain, hook) in [("pre", Hook::Prerouting), ("out", Hook::Output)] {
        let to = NatTo::addresses(Spread::RoundRobin, &backends);
        let rule = Rule::new().when(Field::IpDestination, vip).then(Stmt::DestinationNat(to));
        table.chain(chain, Chain::base(BaseChain::nat(hook, -100)).rule(rule));
    }
    ruleset
}

/// Answers with a word whoever connects, and with another whoever sends a datagram, until the test ends.
fn answer(at: &str, word: &'static str) {
    let listener = TcpListener::bind(at).unwrap();
    let datagrams = UdpSocket::bind(at).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(word.as_bytes()).unwrap();
        }
    });
    thread::spawn(move || {
        let mut buf = [0; 16];
        while let Ok((_, from)) = datagrams.recv_from(&mut buf) {
            datagrams.send_to(b"datagram", from).unwrap();
        }
    });
}

fn ask(service: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&service, Duration::from_millis(400))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut word = String::new();
    stream.read_to_string(&mut word)?;
    Ok(word)
}

fn ask_udp(service: SocketAddr) -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(service).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send(b"?").unwrap();
    let mut buf = [0; 16];
    let len = socket.recv(&mut buf).unwrap();
    String::from_utf8(buf.iter().copied().take(len).collect()).unwrap()
}

fn exchange(one: &mut TcpStream, other: &mut TcpStream) {
    let mut buf = [0; 4];
    for stream in [&mut *one, &mut *other] {
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut buf).unwrap();
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"pong");
}

fn converge(netns: &NetNs, desired: &Desired) -> Netlink {
    let netlink = Netlink::open_in(netns).unwrap();
    let report = netlink.converge(&Scope::links(["un"]), desired).unwrap();
    assert!(report.is_clean(), "{report}");
    netlink
}

fn netns(test: &str) -> Option<Arc<NetNs>> {
    match NetNs::create() {
        Ok(netns) => Some(Arc::new(netns)),
        Err(error) => {
            println!("skipped: {test}: no network namespace: {error}");
            None
        }
    }
}

fn vip_of(socket: SocketAddr) -> Ipv4Addr {
    match socket.ip() {
        IpAddr::V4(addr) => addr,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

fn name(name: &str) -> LinkName {
    LinkName::new(name).unwrap()
}

fn net(net: &str) -> ipnet::IpNet {
    net.parse().unwrap()
}

const OWN_MAC: MacAddr = MacAddr::new([2, 0xfa, 0, 0, 0, 1]);
const NODE_MAC: MacAddr = MacAddr::new([2, 0xfa, 0, 0, 0, 2]);
