//! One view, three readers: what each of them sees of the same tasks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use overlay_lb::dns::{Answer, Kind, answer};
use overlay_lb::{Conflict, Endpoint, Phase, Protocol, PublishedPort, View, slot_count};
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_order_of_records_does_not_matter(tasks in tasks().prop_shuffle()) {
        let mut sorted = tasks.clone();
        sorted.sort();
        let (view, other) = (View::new(tasks.clone()), View::new(sorted.into_iter().chain(tasks)));
        prop_assert_eq!(view.fingerprint(), other.fingerprint());
        prop_assert_eq!(view, other);
    }

    #[test]
    fn only_ready_tasks_get_new_flows(tasks in tasks()) {
        let view = View::new(tasks);
        let ready: BTreeSet<IpAddr> =
            view.endpoints().filter(|task| task.takes_new_flows()).flat_map(|task| task.addresses.clone()).collect();
        let plan = view.vip_plan();
        prop_assert!(plan.vips.values().flatten().all(|addr| ready.contains(addr)));
        let claimed: BTreeSet<IpAddr> = view.services().flat_map(|service| service.vips()).collect();
        prop_assert_eq!(plan.vips.keys().copied().collect::<BTreeSet<_>>(), claimed, "each VIP is listed");
        for service in view.services() {
            let name = format!("tasks.{}", service.name);
            if let Answer::Addresses { addrs, .. } = answer(&[&view], &name, Kind::A, 0) {
                prop_assert!(addrs.iter().all(|addr| ready.contains(addr)));
            }
        }
    }

    #[test]
    fn all_nodes_hash_alike_and_every_slot_leads_to_a_task(tasks in tasks()) {
        let view = View::new(tasks);
        let plans: BTreeMap<String, _> =
            (0..4).map(|node| (format!("n{node}"), view.mesh_plan(&format!("n{node}")))).collect();
        let first = &plans["n0"];
        for plan in plans.values() {
            prop_assert!(plan.ports.keys().eq(first.ports.keys()));
            for (port, here) in &plan.ports {
                prop_assert_eq!(&here.slots, &first.ports[port].slots);
                prop_assert!(here.slots.is_empty() || here.slots.len().is_power_of_two() && here.slots.len() >= 16);
                prop_assert!(here.slots.iter().all(|node| !plans[node].ports[port].local.is_empty()));
            }
        }
        for (node, plan) in &plans {
            for (port, here) in &plan.ports {
                prop_assert_eq!(here.local.is_empty(), !here.slots.contains(node), "{} {:?}", node, port);
                prop_assert!(here.local.iter().all(|(id, _)| view.endpoint(id).unwrap().service_id == here.service));
            }
        }
    }

    #[test]
    fn a_record_never_comes_back_from_the_dead(tasks in tasks(), index in any::<prop::sample::Index>()) {
        prop_assume!(!tasks.is_empty());
        let mut tasks = tasks;
        let dead = Endpoint { phase: Phase::Gone, ..index.get(&tasks).clone() };
        tasks.push(dead.clone());
        prop_assert!(View::new(tasks).endpoint(&dead.id).is_none());
    }

    #[test]
    fn any_name_can_be_asked_for(tasks in tasks(), name in "\\PC{0,300}|[0-9a-f.]{0,80}(.ip6.arpa|.in-addr.arpa)", rotation: u64) {
        let view = View::new(tasks).named("net");
        for kind in [Kind::A, Kind::Aaaa, Kind::Ptr, Kind::Other] {
            let _ = answer(&[&view, &view], &name, kind, rotation);
        }
    }
}

#[test]
fn a_vip_without_a_ready_task_refuses() {
    let mut web = task(1, "web");
    web.phase = Phase::Draining;
    assert_eq!(View::new([web.clone()]).vip_plan().vips, BTreeMap::from([(web.vips[0], vec![])]));
    web.phase = Phase::Ready;
    assert_eq!(View::new([]).vip_plan().vips, BTreeMap::new());
}

#[test]
fn a_vip_leads_to_addresses_of_its_own_family() {
    let mut web = task(1, "web");
    web.addresses.push("fd00::3".parse().unwrap());
    web.vips.push("fd00::2".parse().unwrap());
    let plan = View::new([web.clone()]).vip_plan();
    assert_eq!(plan.vips[&web.vips[0]], [web.addresses[0]]);
    assert_eq!(plan.vips[&web.vips[1]], [web.addresses[1]]);
}

#[test]
fn the_mesh_follows_the_number_of_ready_tasks() {
    let tasks = (0..4).map(|index| Endpoint {
        node: if index == 0 { "n1" } else { "n2" }.into(),
        ports: vec![PublishedPort { protocol: Protocol::Tcp, published: 8080, target: 80 }],
        ..task(index, "web")
    });
    let plan = View::new(tasks).mesh_plan("n1");
    let port = &plan.ports[&(Protocol::Tcp, 8080)];
    assert_eq!(port.service, "id-web");
    assert_eq!(port.local, [("web-0".to_owned(), 80)]);
    assert_eq!(port.slots.len(), slot_count(2));
    assert_eq!(port.slots.iter().filter(|node| *node == "n1").count(), slot_count(2) / 4);
}

#[test]
fn a_port_whose_tasks_start_is_known_and_refuses() {
    let web = Endpoint {
        phase: Phase::Starting,
        ports: vec![PublishedPort { protocol: Protocol::Udp, published: 53, target: 53 }],
        ..task(1, "web")
    };
    let plan = View::new([web]).mesh_plan("n1");
    assert!(plan.ports[&(Protocol::Udp, 53)].slots.is_empty());
}

#[test]
fn what_two_services_claim_stays_with_the_one_that_works() {
    let (mut blue, mut green) = (task(1, "blue"), task(2, "green"));
    blue.phase = Phase::Starting;
    green.vips = blue.vips.clone();
    for both in [&mut blue, &mut green] {
        both.ports = vec![PublishedPort { protocol: Protocol::Tcp, published: 80, target: 80 }];
    }
    let vip = blue.vips[0];
    let view = View::new([blue, green.clone()]);
    let (kept, refused) = ("id-green".to_owned(), "id-blue".to_owned());
    let port = Conflict::Port {
        protocol: Protocol::Tcp,
        published: 80,
        kept: kept.clone(),
        refused: refused.clone(),
    };
    assert_eq!(view.conflicts().collect::<Vec<_>>(), [&Conflict::Vip { vip, kept, refused }, &port]);
    assert_eq!(view.vip_plan().vips[&vip], green.addresses);
    assert_eq!(view.mesh_plan("n0").ports[&(Protocol::Tcp, 80)].service, "id-green");
}

#[test]
fn serde_writes_the_same_words() {
    use serde::{Deserialize, de::value::Error, de::value::StrDeserializer};

    assert_eq!(Protocol::deserialize(StrDeserializer::<Error>::new("sctp")), Ok(Protocol::Sctp));
    assert_eq!(Phase::deserialize(StrDeserializer::<Error>::new("draining")), Ok(Phase::Draining));
    assert!(Protocol::deserialize(StrDeserializer::<Error>::new("Tcp")).is_err());
}

#[test]
fn words_round_trip() {
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        assert_eq!(protocol.to_string().parse(), Ok(protocol));
    }
    for phase in [Phase::Starting, Phase::Ready, Phase::Draining, Phase::Gone] {
        assert_eq!(phase.to_string().parse(), Ok(phase));
    }
    assert!("TCP".parse::<Protocol>().is_err());
}

fn task(index: u8, service: &str) -> Endpoint {
    Endpoint {
        id: format!("{service}-{index}"),
        service_id: format!("id-{service}"),
        service_name: service.into(),
        task_name: format!("{service}.{index}.x"),
        node: format!("n{}", index % 4),
        addresses: vec![IpAddr::from([10, 0, u8::try_from(service.len()).unwrap(), index])],
        vips: vec![IpAddr::from([10, 0, u8::try_from(service.len()).unwrap(), 200])],
        aliases: vec![],
        ports: vec![],
        phase: Phase::Ready,
    }
}

fn tasks() -> impl Strategy<Value = Vec<Endpoint>> {
    let phase = prop_oneof![
        1 => Just(Phase::Starting),
        3 => Just(Phase::Ready),
        1 => Just(Phase::Draining),
        1 => Just(Phase::Gone)
    ];
    let port = (0u16..3, 80u16..82).prop_map(|(published, target)| PublishedPort {
        protocol: Protocol::Tcp,
        published: 8080 + published,
        target,
    });
    let service = prop::sample::select(vec!["a", "bb", "ccc"]);
    let drawn = (0u8..12, service, phase, prop::collection::vec(port, 0..4), any::<bool>());
    let tasks = drawn.prop_map(|(index, service, phase, ports, has_vip)| {
        let mut task = Endpoint { phase, ports, ..task(index, service) };
        if !has_vip {
            task.vips.clear();
        }
        task
    });
    prop::collection::vec(tasks, 0..30)
}
