//! What names mean, question by question.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::net::IpAddr;

use overlay_lb::dns::{Answer, Kind, TASK_TTL_S, VIP_TTL_S, answer};
use overlay_lb::{Endpoint, Phase, View};

#[test]
fn a_service_is_its_virtual_ip() {
    let view = View::new([task("web", 1), task("web", 2)]);
    for name in ["web", "WEB", "web.", "alias-of-web"] {
        assert_eq!(ask(&view, name), addresses(&["10.0.1.2"], VIP_TTL_S), "{name}");
    }
}

#[test]
fn a_service_without_a_ready_task_keeps_its_virtual_ip() {
    for phase in [Phase::Starting, Phase::Draining] {
        let view = View::new([Endpoint { phase, ..task("web", 1) }]);
        assert_eq!(ask(&view, "web"), addresses(&["10.0.1.2"], VIP_TTL_S));
        assert_eq!(ask(&view, "tasks.web"), Answer::NoData);
        assert_eq!(ask(&view, "web.1.x"), Answer::NoData);
    }
}

#[test]
fn a_service_without_virtual_ip_is_its_ready_tasks() {
    let draining = Endpoint { phase: Phase::Draining, ..without_vip("db", 3) };
    let view = View::new([without_vip("db", 1), without_vip("db", 2), draining]);
    assert_eq!(ask(&view, "db"), addresses(&["10.0.1.101", "10.0.1.102"], TASK_TTL_S));
}

#[test]
fn tasks_of_a_service_or_alias_are_turned() {
    let view = View::new([task("web", 1), task("web", 2), task("web", 3)]);
    let turned = |name: &str, rotation| {
        let Answer::Addresses { addrs, .. } = answer(&[&view], name, Kind::A, rotation) else {
            panic!("{name} has no addresses");
        };
        addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(turned("tasks.web", 0), "10.0.1.101 10.0.1.102 10.0.1.103");
    assert_eq!(turned("Tasks.Alias-of-web.", 1), "10.0.1.102 10.0.1.103 10.0.1.101");
    assert_eq!(turned("tasks.web", u64::MAX), turned("tasks.web", u64::MAX % 3));
}

#[test]
fn one_task_answers_to_its_own_name() {
    let view = View::new([task("web", 1), task("web", 2)]);
    assert_eq!(ask(&view, "web.2.X"), addresses(&["10.0.1.102"], TASK_TTL_S));
}

#[test]
fn a_container_without_service_has_names_too() {
    let alone = Endpoint { service_id: String::new(), service_name: String::new(), ..without_vip("box", 1) };
    let view = View::new([alone]);
    assert_eq!(view.services().count(), 0);
    assert_eq!(ask(&view, "alias-of-box"), addresses(&["10.0.1.101"], TASK_TTL_S));
    assert_eq!(ask(&view, "box.1.x"), addresses(&["10.0.1.101"], TASK_TTL_S));
}

#[test]
fn the_other_family_and_other_kinds_are_nothing_at_once() {
    let view = View::new([task("web", 1)]);
    for name in ["web", "tasks.web", "web.1.x"] {
        for kind in [Kind::Aaaa, Kind::Ptr, Kind::Other] {
            assert_eq!(answer(&[&view], name, kind, 0), Answer::NoData, "{name} {kind:?}");
        }
    }
}

#[test]
fn each_family_is_answered_on_its_own() {
    let mut web = task("web", 1);
    web.vips.push("fd00::2".parse().unwrap());
    let view = View::new([web]);
    assert_eq!(ask(&view, "web"), addresses(&["10.0.1.2"], VIP_TTL_S));
    assert_eq!(answer(&[&view], "web", Kind::Aaaa, 0), addresses(&["fd00::2"], VIP_TTL_S));
}

#[test]
fn unknown_names_are_refused_or_passed_on() {
    let view = View::new([task("web", 1)]).named("backend");
    assert_eq!(ask(&view, "wbe"), Answer::NxDomain);
    assert_eq!(ask(&view, "tasks.wbe"), Answer::NxDomain);
    assert_eq!(ask(&view, "example.com"), Answer::Forward);
    assert_eq!(ask(&view, "web.example.com"), Answer::Forward);
    assert_eq!(ask(&view, "."), Answer::Forward);
}

#[test]
fn nothing_is_seen_of_other_networks() {
    let (front, back) =
        (View::new([task("web", 1)]).named("front"), View::new([task("db", 1)]).named("back"));
    assert_eq!(ask(&front, "db"), Answer::NxDomain);
    assert_eq!(answer(&[&front, &back], "db", Kind::A, 0), addresses(&["10.0.1.2"], VIP_TTL_S));
    assert_eq!(answer(&[&front, &back], "db.back", Kind::A, 0), addresses(&["10.0.1.2"], VIP_TTL_S));
    assert_eq!(answer(&[&front, &back], "db.front", Kind::A, 0), Answer::Forward);
}

#[test]
fn the_first_network_that_has_an_address_answers() {
    let starting = Endpoint { phase: Phase::Starting, ..without_vip("web", 1) };
    let (empty, full) = (View::new([starting]), View::new([without_vip("web", 2)]));
    assert_eq!(answer(&[&empty, &full], "web", Kind::A, 0), addresses(&["10.0.1.102"], TASK_TTL_S));
    assert_eq!(ask(&empty, "web"), Answer::NoData);
}

#[test]
fn a_shared_alias_prefers_the_service_that_works() {
    let blue = Endpoint { phase: Phase::Starting, aliases: vec!["shop".into()], ..task("blue", 1) };
    let mut green = Endpoint { aliases: vec!["shop".into()], ..task("green", 2) };
    green.vips = vec!["10.0.1.3".parse().unwrap()];
    assert_eq!(ask(&View::new([blue, green]), "shop"), addresses(&["10.0.1.3"], VIP_TTL_S));
}

#[test]
fn addresses_have_names() {
    let mut web = task("web", 1);
    web.addresses.push("fd00::101".parse().unwrap());
    let view = View::new([web]);
    let name = |name: &str| Answer::Name { name: name.into(), ttl_s: TASK_TTL_S };
    let ptr = |question: &str| answer(&[&view], question, Kind::Ptr, 0);
    assert_eq!(ptr("101.1.0.10.in-addr.arpa."), name("web.1.x"));
    assert_eq!(ptr("2.1.0.10.IN-ADDR.ARPA"), name("web"));
    assert_eq!(
        ptr("1.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"),
        name("web.1.x")
    );
    assert_eq!(ptr("8.8.8.8.in-addr.arpa"), Answer::Forward);
    assert_eq!(ptr("nonsense.in-addr.arpa"), Answer::Forward);
    assert_eq!(answer(&[&view], "2.1.0.10.in-addr.arpa", Kind::A, 0), Answer::NoData);
}

fn ask(view: &View, name: &str) -> Answer {
    answer(&[view], name, Kind::A, 0)
}

fn addresses(addrs: &[&str], ttl_s: u32) -> Answer {
    Answer::Addresses { addrs: addrs.iter().map(|addr| addr.parse().unwrap()).collect(), ttl_s }
}

fn task(service: &str, index: u8) -> Endpoint {
    Endpoint {
        id: format!("{service}-{index}"),
        service_id: format!("id-{service}"),
        service_name: service.into(),
        task_name: format!("{service}.{index}.x"),
        node: "n1".into(),
        addresses: vec![IpAddr::from([10, 0, 1, 100 + index])],
        vips: vec![IpAddr::from([10, 0, 1, 2])],
        aliases: vec![format!("alias-of-{service}")],
        ports: vec![],
        phase: Phase::Ready,
    }
}

fn without_vip(service: &str, index: u8) -> Endpoint {
    Endpoint { vips: vec![], ..task(service, index) }
}
