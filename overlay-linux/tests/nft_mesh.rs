//! The rule sets of a node, in fresh network namespaces: what the kernel makes of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use overlay_core::MacAddr;
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{
    BaseChain, Chain, Compare, Expr, Field, Hook, NatTo, Nft, NftError, Policy, Reject, Rule, Ruleset, Set,
    Spread, Stmt, TableKey, Target, Type, UpdateOp, Value, Verdict, VerdictMap,
};

#[test]
fn the_mesh_of_a_node_stands_and_stays() {
    in_namespace("the_mesh", |nft| {
        let ruleset = mesh(&["172.18.3.2:80", "172.18.3.3:80"]);
        let report = nft.sync(&ruleset).unwrap();
        assert!(!report.ops.is_empty());
        assert_eq!(nft.sync(&ruleset).unwrap().ops, Vec::<String>::new(), "a second plan is empty");
        let Some(listed) = list() else { return };
        for line in [
            "type filter hook prerouting priority raw; policy accept;",
            r#"iifname "eth0" fib daddr type local tcp dport 8080 jump spray"#,
            r#"iifname "eth0" meta mark != 0x00000000 meta mark != 0x00000103 notrack"#,
            "meta mark set jhash ip saddr . tcp sport mod 4 seed 0xfeed map { 0 : 0x00000102, 1 : 0x00000103, 2 : 0x00000102, 3 : 0x00000103 }",
            r#"iifname { "eth0", "vxf" } tcp dport 8080 ct state new tcp flags & syn != syn meta mark & 0x00000f00 != 0x00000200 jump second"#,
            r#"iifname "vxf" tcp dport 8080 ct state new ct mark set ether saddr map { 02:fa:00:00:00:01 : 0x00000201, 02:fa:00:00:00:02 : 0x00000202 }"#,
            r#"iifname "gw0" ct direction reply ct mark 0x00000200-0x000002ff meta mark set ct mark map { 0x00000201 : 0x00000101, 0x00000202 : 0x00000102 }"#,
            "tcp flags syn tcp option maxseg size set 1400",
            r#"iifname "vxf" meta mark { 0x00000000, 0x00000103 } tcp dport 8080 dnat ip to numgen inc mod 2 map { 0 : 172.18.3.2 . 80, 1 : 172.18.3.3 . 80 }"#,
            r#"iifname { "eth0", "vxf" } tcp dport 8080 drop"#,
        ] {
            assert!(listed.contains(line), "no {line}\nin {listed}");
        }
    });
}

#[test]
fn a_changed_backend_replaces_only_its_rule() {
    in_namespace("a_changed_backend", |nft| {
        nft.sync(&mesh(&["172.18.3.2:80", "172.18.3.3:80"])).unwrap();
        let report = nft.sync(&mesh(&["172.18.3.9:80"])).unwrap();
        assert_eq!(report.ops.len(), 2, "{report:?}");
        assert!(report.ops[0].starts_with("delete rule"), "{report:?}");
        assert_eq!(report.ops[1], "add rule 0 of chain ip mesh natpre");
        if let Some(listed) = list() {
            assert!(listed.contains("dnat to 172.18.3.9:80"), "{listed}");
        }
    });
}

#[test]
fn the_flow_map_steers_frames_at_ingress() {
    in_namespace("the_flow_map", |nft| {
        let ruleset = fabric(&[1, 2, 1, 2]);
        nft.sync(&ruleset).unwrap();
        assert_eq!(nft.sync(&ruleset).unwrap().ops, Vec::<String>::new());
        let Some(listed) = list() else { return };
        for line in [
            "type ipv4_addr . inet_service . inet_service : ether_addr",
            "flags dynamic,timeout",
            "timeout 1m",
            r#"type filter hook ingress device "lo" priority filter; policy accept;"#,
            "ip daddr 10.0.0.1 tcp dport 8080 ether daddr set ip saddr . tcp sport . tcp dport map @flows goto deliver",
            "ether daddr set jhash ip saddr . tcp sport mod 4 seed 0xfeed map { 0 : 02:42:0a:00:00:01, 1 : 02:42:0a:00:00:02, 2 : 02:42:0a:00:00:01, 3 : 02:42:0a:00:00:02 }",
            "update @flows { ip saddr . tcp sport . tcp dport : ether daddr }",
            "ether daddr 02:42:0a:00:00:09 accept",
            "ether saddr set 02:42:0a:00:00:09",
            r#"fwd to "lo""#,
        ] {
            assert!(listed.contains(line), "no {line}\nin {listed}");
        }
    });
}

#[test]
fn flows_survive_a_change_of_the_chain_that_writes_them() {
    in_namespace("flows_survive", |nft| {
        nft.sync(&fabric(&[1, 2])).unwrap();
        let flow = "10.9.9.9 . 4242 . 8080";
        if !run_nft(&format!("add element netdev fabric flows {{ {flow} : 02:42:0a:00:00:02 }}")) {
            return;
        }
        let report = nft.sync(&fabric(&[1, 1, 1])).unwrap();
        assert!(!report.ops.is_empty() && report.ops.iter().all(|op| !op.contains("flows")), "{report:?}");
        let listed = list().unwrap();
        assert!(listed.contains(flow), "{listed}");
        let mut longer = fabric(&[1, 1, 1]);
        longer.table(TableKey::netdev("fabric")).sets.get_mut("flows").unwrap().timeout =
            Some(Duration::from_secs(90));
        nft.sync(&longer).unwrap();
        let listed = list().unwrap();
        assert!(listed.contains("timeout 1m30s") && !listed.contains(flow), "{listed}");
        assert_eq!(nft.sync(&longer).unwrap().ops, Vec::<String>::new());
    });
}

#[test]
fn static_maps_change_element_by_element() {
    in_namespace("static_maps", |nft| {
        nft.sync(&vips(&[(1, "a"), (2, "b"), (3, "a")])).unwrap();
        let report = nft.sync(&vips(&[(1, "a"), (2, "a"), (4, "b")])).unwrap();
        assert_eq!(
            report.ops,
            ["delete 2 elements of set ip vips services", "add 2 elements to set ip vips services"]
        );
        assert_eq!(nft.sync(&vips(&[(1, "a"), (2, "a"), (4, "b")])).unwrap().ops, Vec::<String>::new());
        if let Some(listed) = list() {
            assert!(listed.contains("10.0.1.2 . tcp : goto a"), "{listed}");
            assert!(listed.contains("ip daddr . meta l4proto vmap @services"), "{listed}");
        }
        // A chain that goes together with the elements that led to it.
        let report = nft.sync(&vips(&[(1, "a")])).unwrap();
        assert!(report.ops.contains(&"delete chain ip vips b".to_owned()), "{report:?}");
        assert_eq!(nft.clear().unwrap().ops, ["delete table ip vips"]);
    });
}

#[test]
fn tampering_is_noticed_and_repaired() {
    in_namespace("tampering", |nft| {
        let ruleset = vips(&[(1, "a"), (2, "b")]);
        nft.sync(&ruleset).unwrap();
        let Some(before) = list() else { return };
        for damage in [
            "flush chain ip vips pre",
            "delete element ip vips services { 10.0.1.1 . tcp }",
            "add element ip vips services { 10.0.1.77 . tcp : drop }",
            "add rule ip vips pre counter drop",
            "insert rule ip vips pre drop",
            "add chain ip vips stray",
            "add chain ip vips pre { policy drop; }",
            "flush table ip vips; delete chain ip vips pre",
            "add table ip vips { flags dormant; }",
            "flush table ip vips|delete set ip vips services",
            "delete table ip vips",
            "flush ruleset",
        ] {
            assert!(damage.split('|').all(run_nft), "{damage}");
            assert_ne!(list().unwrap(), before, "{damage}");
            nft.sync(&ruleset).unwrap();
            assert_eq!(sorted(&list().unwrap()), sorted(&before), "after {damage}");
            assert_eq!(nft.sync(&ruleset).unwrap().ops, Vec::<String>::new(), "after {damage}");
        }
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_names_the_operation() {
    in_namespace("a_refused_batch", |nft| {
        let good = vips(&[(1, "a")]);
        nft.sync(&good).unwrap();
        let mut bad = vips(&[(1, "a"), (2, "b")]);
        let table = bad.table(TableKey::ip("vips"));
        // Masquerading belongs into a NAT chain: the kernel says so, after the rest of the batch.
        table.chain(
            "z",
            Chain::base(BaseChain::filter(Hook::Input, 0)).rule(Rule::new().then(Stmt::Masquerade)),
        );
        let error = nft.sync(&bad).unwrap_err();
        let NftError::Refused { op, .. } = &error else { panic!("{error}") };
        assert_eq!(op, "add rule 0 of chain ip vips z", "{error}");
        assert_eq!(nft.sync(&good).unwrap().ops, Vec::<String>::new());
    });
}

#[test]
fn tables_of_others_are_left_alone() {
    in_namespace("tables_of_others", |nft| {
        if !run_nft("add table ip theirs; add chain ip theirs c; add table ip vips") {
            return;
        }
        let error = nft.sync(&vips(&[(1, "a")])).unwrap_err();
        assert_eq!(error.to_string(), "table ip vips belongs to somebody else");
        assert!(run_nft("delete table ip vips"));
        nft.sync(&vips(&[(1, "a")])).unwrap();
        let mut other = Nft::open().unwrap().with_owner("other");
        assert!(other.observe().unwrap().owned().next().is_none());
        assert_eq!(other.clear().unwrap().ops, Vec::<String>::new());
        nft.clear().unwrap();
        let listed = list().unwrap();
        assert!(listed.contains("theirs") && !listed.contains("vips"), "{listed}");
    });
}

#[test]
fn thousands_of_elements_go_in_one_transaction() {
    in_namespace("thousands", |nft| {
        let elements: Vec<(u16, &str)> =
            (1..=12_000).map(|at| (at, if at % 2 == 0 { "a" } else { "b" })).collect();
        let mut ruleset = vips(&elements);
        let slots = (0..5_000_u32).map(|at| 0x100 + at);
        let spray = Expr::spread(Spread::hash([Field::IpSource, Field::TcpSource], 1), slots);
        let table = ruleset.table(TableKey::ip("vips"));
        table.chain("spray", Chain::regular().rule(Rule::new().set(Target::Mark, spray)));
        nft.sync(&ruleset).unwrap();
        assert_eq!(nft.sync(&ruleset).unwrap().ops, Vec::<String>::new());
        let report = nft.sync(&vips(&elements[..11_000])).unwrap();
        assert!(
            report.ops.contains(&"delete 1000 elements of set ip vips services".to_owned()),
            "{report:?}"
        );
    });
}

#[test]
fn every_statement_is_taken_by_the_kernel() {
    in_namespace("every_statement", |nft| {
        let ruleset = everything();
        nft.sync(&ruleset).unwrap();
        assert_eq!(nft.sync(&ruleset).unwrap().ops, Vec::<String>::new());
        let Some(listed) = list() else { return };
        for line in [
            r#"ip6 saddr fd00::1 tcp dport 80 counter packets 0 bytes 0 reject with tcp reset comment "no""#,
            "udp dport 53 reject",
            "ct state established,related accept",
            "th dport 1-1023 drop",
            "limit rate over 10/second burst 7 packets drop",
            "tcp dport vmap { 22 : accept, 23 : drop, 24 : jump leaf }",
            "ct status dnat accept",
            "meta mark set numgen random mod 3 map { 0 : 0x00000001, 1 : 0x00000002, 2 : 0x00000003 }",
            "dnat ip6 to [fd00::2]:80",
            "ip saddr @blocked drop",
            "masquerade",
            "redirect to :8053",
            "snat ip to 10.0.0.9",
            "ether saddr 02:42:00:00:00:01 drop",
            "meta mark < 0x00000005 accept",
        ] {
            assert!(listed.contains(line), "no {line}\nin {listed}");
        }
    });
}

fn mesh(backends: &[&str]) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let port = 8080_u16;
    let flow = [Field::IpSource, Field::TcpSource];
    let spray = |slots: [u32; 4]| {
        Chain::regular().rule(Rule::new().set(Target::Mark, Expr::spread(Spread::hash(flow, 0xfeed), slots)))
    };
    let mesh = ruleset.table(TableKey::ip("mesh"));
    let raw = Chain::base(BaseChain::filter(Hook::Prerouting, -300))
        .rule(
            Rule::new()
                .when(Field::IifName, "eth0")
                .when(Field::RouteOfDestination, Field::LOCAL)
                .when(Field::TcpDestination, port)
                .jump("spray"),
        )
        .rule(
            Rule::new()
                .when(Field::IifName, "eth0")
                .unless(Field::Mark, 0_u32)
                .unless(Field::Mark, 0x103_u32)
                .then(Stmt::NoTrack),
        );
    mesh.chain("raw", raw).chain("spray", spray([0x102, 0x103, 0x102, 0x103]));
    mesh.chain("second", spray([0x103, 0x102, 0x103, 0x102]));
    let mangle = Chain::base(BaseChain::filter(Hook::Prerouting, -150))
        .rule(
            Rule::new()
                .when_in(Field::IifName, ["vxf", "eth0"])
                .when(Field::TcpDestination, port)
                .when_any(Field::CtState, Field::NEW)
                .unless(Expr::from(Field::TcpFlags).masked(Field::SYN), Field::SYN)
                .unless(Expr::from(Field::Mark).masked(0xf00), 0x200_u32)
                .jump("second"),
        )
        .rule(
            Rule::new()
                .when(Field::IifName, "vxf")
                .when(Field::TcpDestination, port)
                .when_any(Field::CtState, Field::NEW)
                .set(
                    Target::CtMark,
                    Expr::from(Field::EtherSource).map([
                        (MacAddr::new([2, 0xfa, 0, 0, 0, 1]), 0x201_u32),
                        (MacAddr::new([2, 0xfa, 0, 0, 0, 2]), 0x202),
                    ]),
                ),
        )
        .rule(
            Rule::new()
                .when(Field::IifName, "gw0")
                .when(Field::CtDirection, Field::REPLY)
                .when_between(Field::CtMark, 0x200_u32, 0x2ff_u32)
                .set(Target::Mark, Expr::from(Field::CtMark).map([(0x201_u32, 0x101_u32), (0x202, 0x102)])),
        )
        .rule(Rule::new().when_any(Field::TcpFlags, Field::SYN).set(Target::TcpSegmentSize, 1400_u16));
    mesh.chain("mangle", mangle);
    let backends: Vec<SocketAddr> = backends.iter().map(|addr| addr.parse().unwrap()).collect();
    let nat = Chain::base(BaseChain::nat(Hook::Prerouting, -100)).rule(
        Rule::new()
            .when(Field::IifName, "vxf")
            .when_in(Field::Mark, [0_u32, 0x103])
            .when(Field::TcpDestination, port)
            .then(Stmt::DestinationNat(NatTo::sockets(Spread::RoundRobin, &backends))),
    );
    mesh.chain("natpre", nat);
    ruleset.table(TableKey::ip("guard")).chain(
        "inp",
        Chain::base(BaseChain::filter(Hook::Input, 0)).rule(
            Rule::new()
                .when_in(Field::IifName, ["eth0", "vxf"])
                .when(Field::TcpDestination, port)
                .verdict(Verdict::Drop),
        ),
    );
    ruleset
}

fn fabric(slots: &[u8]) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let own = MacAddr::from_ipv4(Ipv4Addr::new(10, 0, 0, 9));
    let key = || Expr::concat([Field::IpSource, Field::TcpSource, Field::TcpDestination]);
    let to_service = || {
        Rule::new()
            .when(Field::IpDestination, Ipv4Addr::new(10, 0, 0, 1))
            .when(Field::TcpDestination, 8080_u16)
    };
    let macs = slots.iter().map(|node| MacAddr::from_ipv4(Ipv4Addr::new(10, 0, 0, *node)));
    let chosen = Expr::spread(Spread::hash([Field::IpSource, Field::TcpSource], 0xfeed), macs);
    let remember = Stmt::Update {
        set: "flows".into(),
        op: UpdateOp::Update,
        key: key(),
        value: Some(Field::EtherDestination.into()),
        timeout: None,
    };
    let ingress = Hook::Ingress { device: "lo".into() };
    ruleset
        .table(TableKey::netdev("fabric"))
        .set(
            "flows",
            Set::map([Type::Ipv4, Type::Port, Type::Port], [Type::Ether])
                .dynamic(Duration::from_secs(60), 4096),
        )
        .chain(
            "ingress",
            Chain::base(BaseChain::filter(ingress, 0))
                .rule(to_service().set(Target::EtherDestination, key().lookup("flows")).goto("deliver"))
                .rule(to_service().set(Target::EtherDestination, chosen).then(remember).goto("deliver")),
        )
        .chain(
            "deliver",
            Chain::regular()
                .rule(Rule::new().when(Field::EtherDestination, own).verdict(Verdict::Accept))
                .rule(Rule::new().set(Target::EtherSource, own))
                .rule(Rule::new().then(Stmt::Forward { device: 1_u32.into() })),
        );
    ruleset
}

fn vips(services: &[(u16, &str)]) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let table = ruleset.table(TableKey::ip("vips"));
    let mut map = Set::verdicts([Type::Ipv4, Type::Protocol]);
    for (host, chain) in services {
        let [high, low] = host.to_be_bytes();
        let key = Value::concat([Ipv4Addr::new(10, 0, high + 1, low).into(), 6_u8.into()]);
        map = map.verdict(key, Verdict::Goto((*chain).into()));
        let to = NatTo::addresses(Spread::RoundRobin, &[v4(2), v4(3)]);
        table.chain(*chain, Chain::regular().rule(Rule::new().then(Stmt::DestinationNat(to))));
    }
    table.set("services", map);
    let lookup = || Stmt::VerdictMap {
        key: Expr::concat([Field::IpDestination, Field::L4Protocol]),
        map: VerdictMap::Named("services".into()),
    };
    table.chain("pre", Chain::base(BaseChain::nat(Hook::Prerouting, -100)).rule(Rule::new().then(lookup())));
    table.chain(
        "out",
        Chain::base(BaseChain::nat(Hook::Output, -100))
            .rule(Rule::new().then(lookup()))
            // Any protocol, one address: no choice is needed.
            .rule(
                Rule::new()
                    .when(Field::IpDestination, Ipv4Addr::new(10, 0, 1, 200))
                    .then(Stmt::DestinationNat(NatTo::addresses(Spread::RoundRobin, &[v4(2)]))),
            ),
    );
    ruleset
}

fn everything() -> Ruleset {
    let mut ruleset = Ruleset::default();
    let table = ruleset.table(TableKey::inet("all"));
    table.chain("leaf", Chain::regular().rule(Rule::new().verdict(Verdict::Return)));
    table.set("blocked", Set::keys([Type::Ipv4]).member(Ipv4Addr::new(192, 0, 2, 1)));
    let cases = [(22_u16, Verdict::Accept), (23, Verdict::Drop), (24, Verdict::Jump("leaf".into()))];
    let cases = cases.into_iter().map(|(port, verdict)| (port.into(), verdict)).collect();
    let input = BaseChain { policy: Policy::Drop, ..BaseChain::filter(Hook::Input, 5) };
    let input = Chain::base(input)
        .rule(
            Rule::new()
                .when(Field::Ip6Source, "fd00::1".parse::<IpAddr>().unwrap())
                .when(Field::TcpDestination, 80_u16)
                .then(Stmt::Counter)
                .then(Stmt::Reject(Reject::TcpReset))
                .comment("no"),
        )
        .rule(Rule::new().when(Field::UdpDestination, 53_u16).then(Stmt::Reject(Reject::PortUnreachable)))
        .rule(
            Rule::new()
                .when_any(Field::CtState, Field::ESTABLISHED | Field::RELATED)
                .verdict(Verdict::Accept),
        )
        .rule(Rule::new().when_between(Field::TransportDestination, 1_u16, 1023_u16).verdict(Verdict::Drop))
        .rule(
            Rule::new()
                .then(Stmt::Limit { rate: 10, per: Duration::from_secs(1), burst: 7, over: true })
                .verdict(Verdict::Drop),
        )
        .rule(
            Rule::new()
                .then(Stmt::VerdictMap { key: Field::TcpDestination.into(), map: VerdictMap::Inline(cases) }),
        )
        .rule(Rule::new().when_any(Field::CtStatus, Field::DNAT).verdict(Verdict::Accept))
        .rule(Rule::new().set(Target::Mark, Expr::spread(Spread::Random, [1_u32, 2, 3])))
        .rule(Rule::new().when_in_set(Field::IpSource, "blocked").verdict(Verdict::Drop))
        .rule(
            Rule::new().when(Field::EtherSource, MacAddr::new([2, 0x42, 0, 0, 0, 1])).verdict(Verdict::Drop),
        )
        .rule(
            Rule::new()
                .then(Stmt::Match { left: Field::Mark.into(), op: Compare::Lt, right: 5_u32.into() })
                .verdict(Verdict::Accept),
        );
    table.chain("input", input);
    let output = Chain::base(BaseChain::nat(Hook::Output, -100))
        .rule(
            Rule::new()
                .when(Field::TcpDestination, 81_u16)
                .then(Stmt::DestinationNat(NatTo::socket("[fd00::2]:80".parse().unwrap()))),
        )
        .rule(Rule::new().when(Field::UdpDestination, 53_u16).then(Stmt::Redirect { port: Some(8053) }));
    table.chain("output", output);
    let post = Chain::base(BaseChain::nat(Hook::Postrouting, 100))
        .rule(Rule::new().when(Field::OifName, "eth0").then(Stmt::Masquerade))
        .rule(Rule::new().when(Field::L4Protocol, 6_u8).then(Stmt::SourceNat(NatTo::address(v4(9)))));
    table.chain("post", post);
    // A map by slot, changed element by element while the rule stays.
    table.set("slots", Set::map([Type::Integer], [Type::Mark]).entry(0_u32, 0x10_u32).entry(1_u32, 0x20_u32));
    let slot = Expr::Hash { over: Box::new(Field::IpSource.into()), modulus: 2, seed: 7, offset: 0 };
    table.chain("leaf2", Chain::regular().rule(Rule::new().set(Target::Mark, slot.lookup("slots"))));
    ruleset
}

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn in_namespace(what: &str, test: impl FnOnce(&mut Nft) + Send) {
    let netns = match NetNs::create() {
        Ok(netns) => netns,
        Err(error) => {
            println!("skipped: {what}: no network namespace: {error}");
            return;
        }
    };
    netns
        .run(|| {
            let mut nft = Nft::open().unwrap();
            test(&mut nft);
        })
        .unwrap();
}

/// What `nft` makes of the namespace; `None` without the program.
fn list() -> Option<String> {
    let Ok(output) = Command::new("nft").args(["list", "ruleset"]).output() else {
        println!("skipped: nft not found");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(ordered(&String::from_utf8(output.stdout).unwrap()))
}

/// The elements of sets come in no order of ours, and long lists come in several lines.
fn ordered(listed: &str) -> String {
    let mut rest = listed.replace(",\n", ", ");
    while let Some(at) = rest.find(",  ").or_else(|| rest.find(", \t")) {
        rest.remove(at + 2);
    }
    let mut text = String::new();
    for line in rest.lines() {
        match line.split_once("{ ").and_then(|(head, tail)| Some((head, tail.rsplit_once(" }")?))) {
            Some((head, (inner, tail))) if !inner.contains('{') => {
                let mut parts: Vec<_> = inner.split(", ").collect();
                parts.sort_unstable();
                text += &format!("{head}{{ {} }}{tail}\n", parts.join(", "));
            }
            _ => text += &format!("{line}\n"),
        }
    }
    text
}

fn run_nft(command: &str) -> bool {
    match Command::new("nft").arg(command).output() {
        Ok(output) => {
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            println!("skipped: nft not found");
            false
        }
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}
