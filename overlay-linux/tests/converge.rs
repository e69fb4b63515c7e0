//! One namespace: what differs is changed, what is wrong is made anew, what is not ours stays.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{converge, name, netns, settle, vni};
use overlay_core::MacAddr;
use overlay_linux::link::{
    Change, Desired, FdbEntry, Link, LinkError, LinkKind, Netlink, Op, Peer, Route, Scope, Vxlan,
};
use overlay_linux::netns::NetNs;

fn tunnel(id: u32) -> Link {
    Link::vxlan(Vxlan::new(vni(id), "192.0.2.1".parse().unwrap())).with_mtu(1450_u32)
}

#[test]
fn a_tunnel_with_the_wrong_vni_is_made_anew_with_all_that_was_on_it() {
    let Some(host) = netns("a_tunnel_with_the_wrong_vni") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let mut desired = Desired::default();
    let bridge = name("ob1");
    desired.links.insert(bridge.clone(), Link::bridge());
    desired.links.insert(name("ov1"), tunnel(7).with_master(bridge.clone()));
    let mac = MacAddr::new([2, 0, 0, 0, 0, 9]);
    let dst = "192.0.2.9".parse().unwrap();
    desired.fdb.insert(FdbEntry { dev: name("ov1"), mac, dst, vni: None });
    settle(&netlink, &desired);

    desired.links.insert(name("ov1"), tunnel(8).with_master(bridge));
    let report = converge(&netlink, &desired);
    assert!(matches!(report.done[0].change, Change::DeleteLink { .. }), "{report}");
    assert!(converge(&netlink, &desired).is_idle());

    // Another tunnel of ours has the VNI: Docker's "file exists" for ever; here it goes first.
    let link = desired.links.remove(&name("ov1")).unwrap();
    desired.links.insert(name("ov2"), link);
    desired.fdb.clear();
    settle(&netlink, &desired);
    let names: Vec<String> = netlink.interfaces().unwrap().iter().map(|link| link.name.to_string()).collect();
    assert_eq!(names[1..], ["ob1", "ov2"]);
}

#[test]
fn a_vni_held_by_somebody_else_is_an_error_that_names_the_holder() {
    let Some(host) = netns("a_vni_held_by_somebody_else") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let mut foreign = Desired::default();
    foreign.links.insert(name("flannel.1"), tunnel(5));
    assert!(netlink.converge(&Scope::links(["flannel"]), &foreign).unwrap().is_clean());

    let mut desired = Desired::default();
    desired.links.insert(name("ov5"), tunnel(5));
    desired.links.insert(name("ov6"), tunnel(6));
    let report = netlink.converge(&common::scope(), &desired).unwrap();
    let (_, error) = &report.failed[0];
    assert!(matches!(error, LinkError::VniTaken { .. }));
    assert_eq!(error.to_string(), "link \"ov5\": create: \"flannel.1\" has vni 5 on port 4789 already");
    assert_eq!(report.skipped.len(), 1, "what needs ov5 is not tried: {report}");
    assert!(netlink.interface("ov6").unwrap().unwrap().up, "what does not need it is done");
    assert!(netlink.interface("flannel.1").unwrap().is_some());

    let lost = Op::here(Change::SetMtu { name: name("ov5"), mtu: 1400 });
    assert_eq!(netlink.apply(&[lost]).failed[0].1.to_string(), "link \"ov5\": set mtu 1400: no link \"ov5\"");
    let twice = Op::here(Change::CreateLink { name: name("ov6"), link: Link::bridge() });
    let refused = netlink.apply(&[twice]).failed.remove(0).1.to_string();
    assert!(refused.starts_with("link \"ov6\": create: EEXIST (File exists)"), "{refused}");
}

#[test]
fn properties_and_addresses_follow_the_desire() {
    let Some(host) = netns("properties_and_addresses_follow_the_desire") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let task = Arc::new(NetNs::create().unwrap());
    let net = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    let peer = |last: u8| {
        Peer::new(task.clone(), name("eth0"))
            .with_mtu(1400 + u32::from(last))
            .with_address(net(&format!("10.0.1.{last}/24")))
            .with_address(net("10.0.1.200/24"))
            .with_address(net("fd00::5/64"))
            .with_route(Route::default_via("10.0.1.1".parse().unwrap()))
    };
    let mut desired = Desired::default();
    desired.links.insert(name("ob1"), Link::bridge().with_address(net("172.18.0.1/16")));
    desired.links.insert(name("ve1"), Link::veth(peer(5)).with_master(name("ob1")));
    desired.links.insert(name("lo"), Link::existing().with_address(net("10.9.9.9/32")));
    settle(&netlink, &desired);

    // The first address of the network goes: the kernel takes the others with it, and the route.
    desired.links.insert(name("ve1"), Link::veth(peer(6)));
    let bridge = Link::bridge().with_mtu(1300_u32).with_mac(MacAddr::new([2, 0, 0, 0, 0, 1]));
    desired.links.insert(name("ob1"), bridge.with_address(net("172.19.0.1/16")));
    converge(&netlink, &desired);
    settle(&netlink, &desired);
    let inside = Netlink::open_in(&task).unwrap();
    let eth0 = inside.interface("eth0").unwrap().unwrap();
    let shown: Vec<String> =
        eth0.addresses.iter().map(ToString::to_string).filter(|text| !text.starts_with("fe80")).collect();
    assert_eq!(
        (eth0.mtu, shown),
        (1406, ["10.0.1.6/24", "10.0.1.200/24", "fd00::5/64"].map(String::from).into())
    );
    let via = inside.route_to("192.0.2.1".parse().unwrap()).unwrap().unwrap().via;
    assert_eq!(via, Some("10.0.1.1".parse().unwrap()));
    assert_eq!(netlink.interface("ve1").unwrap().unwrap().master, None);
    let bridge = netlink.interface("ob1").unwrap().unwrap();
    assert_eq!((bridge.mtu, bridge.kind.as_str()), (1300, "bridge"));

    // The far end belongs into another namespace now.
    let other = Arc::new(NetNs::create().unwrap());
    let moved = Peer::new(other.clone(), name("eth0"));
    desired.links.insert(name("ve1"), Link::veth(moved));
    settle(&netlink, &desired);
    assert!(inside.interface("eth0").unwrap().is_none());
    assert!(Netlink::open_in(&other).unwrap().interface("eth0").unwrap().unwrap().up);

    desired.links.retain(|_, link| link.kind == LinkKind::Existing);
    settle(&netlink, &desired);
    assert_eq!(netlink.interfaces().unwrap().len(), 1, "only lo is left");
    assert!(netlink.delete_link(&name("ve1")).is_ok_and(|there| !there));
}

#[test]
fn a_pinned_namespace_can_be_opened_by_name() {
    let Some(made) = netns("a_pinned_namespace_can_be_opened_by_name") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blue");
    if let Err(error) = made.pin(&path) {
        println!("skipped: a_pinned_namespace_can_be_opened_by_name ({error})");
        return;
    }
    let opened = NetNs::open(&path).unwrap();
    assert!(opened.same_as(&made) && opened == *made && opened.inode() == made.inode());
    let inside = made.run(NetNs::current).unwrap().unwrap();
    assert_eq!(inside, *made);
    assert_ne!(NetNs::current().unwrap(), *made);
    assert_eq!(NetNs::of_process(std::process::id()).unwrap(), NetNs::current().unwrap());
    NetNs::unpin(&path).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "no namespace").unwrap();
    assert_eq!(NetNs::open(&path).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}
