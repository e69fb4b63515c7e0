//! Tasks on macvlans: traffic over a tunnel without a bridge, and what heals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use common::{converge, name, netns, settle, tcp, vni, wire};
use ipnet::IpNet;
use overlay_core::MacAddr;
use overlay_linux::link::{
    Change, Desired, FdbEntry, Link, LinkName, NeighbourKey, Netlink, Op, Peer, Place, Route, Vxlan,
};
use overlay_linux::netns::NetNs;

/// A task of the overlay network 10.0.1.0/24, fd01::/64.
#[derive(Clone)]
struct Task {
    netns: Arc<NetNs>,
    number: u8,
}

impl Task {
    fn new(number: u8) -> Self {
        Self { netns: Arc::new(NetNs::create().unwrap()), number }
    }

    fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 1, self.number)
    }

    fn v6(&self) -> IpAddr {
        Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, self.number.into()).into()
    }

    fn mac(&self) -> MacAddr {
        MacAddr::from_ipv4(self.v4())
    }

    fn peer(&self) -> Peer {
        Peer::new(self.netns.clone(), name("eth0"))
            .with_mac(self.mac())
            .with_mtu(1450_u32)
            .with_address(IpNet::new(self.v4().into(), 24).unwrap())
            .with_address(IpNet::new(self.v6(), 64).unwrap())
            .with_route(Route::default_via(Ipv4Addr::new(10, 0, 1, 1).into()))
    }

    fn key(&self) -> LinkName {
        name(&format!("ve{}", self.number))
    }

    fn eth0(&self) -> Option<overlay_linux::link::Interface> {
        Netlink::open_in(&self.netns).unwrap().interface("eth0").unwrap()
    }
}

/// The network's part on a host: a tunnel, its tasks, and the way to the others.
fn overlay(host: &str, own: &[&Task], other_host: &str, others: &[&Task]) -> Desired {
    let tunnel = name("ov001001");
    let mut desired = Desired::default();
    desired.links.insert(name("un0"), Link::existing());
    let vxlan = Vxlan::new(vni(4097), host.parse().unwrap()).proxied();
    desired.links.insert(tunnel.clone(), Link::vxlan(vxlan).with_mtu(1450_u32));
    for task in own {
        desired.links.insert(task.key(), Link::macvlan(tunnel.clone(), task.peer()));
    }
    for task in others {
        let mac = task.mac();
        for ip in [task.v4().into(), task.v6()] {
            desired.neighbours.insert(NeighbourKey { dev: tunnel.clone(), ip }, mac);
        }
        let dst = other_host.parse().unwrap();
        desired.fdb.insert(FdbEntry { dev: tunnel.clone(), mac, dst, vni: None });
    }
    desired
}

#[test]
fn tasks_reach_each_other_on_one_host_and_on_two() {
    let test = "tasks_reach_each_other_on_one_host_and_on_two";
    let (Some(a), Some(b)) = (netns(test), netns(test)) else { return };
    wire((&a, "10.77.0.1/24"), (&b, "10.77.0.2/24"));
    let (one, two, three) = (Task::new(5), Task::new(6), Task::new(7));
    let on_a = overlay("10.77.0.1", &[&one, &three], "10.77.0.2", &[&two]);
    let mut on_b = overlay("10.77.0.2", &[&two], "10.77.0.1", &[&one, &three]);
    on_b.links.remove(&name("un0"));
    settle(&Netlink::open_in(&a).unwrap(), &on_a);
    settle(&Netlink::open_in(&b).unwrap(), &on_b);

    for (from, to) in [(&one, &two), (&two, &one), (&two, &three), (&one, &three), (&three, &one)] {
        assert_eq!(tcp(&from.netns, &to.netns, to.v4().into()), IpAddr::from(from.v4()));
        assert_eq!(tcp(&from.netns, &to.netns, to.v6()), from.v6());
    }
    let eth0 = one.eth0().unwrap();
    assert_eq!((eth0.kind.as_str(), eth0.mtu, eth0.mac), ("macvlan", 1450, Some(one.mac())));
    let names: Vec<String> = Netlink::open_in(&a)
        .unwrap()
        .interfaces()
        .unwrap()
        .iter()
        .map(|link| link.name.to_string())
        .collect();
    assert_eq!(names, ["lo", "un0", "ov001001"], "nothing else is between the task and the tunnel");
}

#[test]
fn what_somebody_broke_in_the_task_heals() {
    let Some(host) = netns("what_somebody_broke_in_the_task_heals") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let (one, two) = (Task::new(5), Task::new(6));
    let mut desired = overlay("192.0.2.1", &[&one, &two], "192.0.2.2", &[]);
    desired.links.remove(&name("un0"));
    settle(&netlink, &desired);

    let inside = Place::There(one.netns.clone());
    let address = IpNet::new(one.v4().into(), 24).unwrap();
    let (eth0, added) = (name("eth0"), "10.0.1.99/24".parse::<IpNet>().unwrap());
    let broken = [
        Change::SetMac { name: eth0.clone(), mac: MacAddr::new([2, 0, 0, 0, 0, 9]) },
        Change::SetMtu { name: eth0.clone(), mtu: 1300 },
        Change::SetGsoMaxSize { name: eth0.clone(), size: 30000 },
        Change::AddAddress { dev: eth0.clone(), address: added },
        Change::DeleteAddress { dev: eth0.clone(), address },
    ]
    .map(|change| Op { place: inside.clone(), change });
    assert!(netlink.apply(&broken).is_clean());
    converge(&netlink, &desired);
    settle(&netlink, &desired);
    assert_eq!(tcp(&two.netns, &one.netns, one.v4().into()), IpAddr::from(two.v4()));

    let gone = Op { place: inside, change: Change::DeleteLink { name: eth0 } };
    assert!(netlink.apply(&[gone]).is_clean());
    settle(&netlink, &desired);
    assert_eq!(tcp(&two.netns, &one.netns, one.v6()), two.v6());

    // The tunnel is made anew, first by somebody's deletion and then because it has to change.
    assert!(netlink.delete_link(&name("ov001001")).unwrap());
    assert!(one.eth0().is_none());
    settle(&netlink, &desired);
    let other = Vxlan::new(vni(4098), "192.0.2.1".parse().unwrap()).proxied().telling_misses().learning();
    desired.links.insert(name("ov001001"), Link::vxlan(other).with_mtu(1400_u32));
    let small = |task: &Task| task.peer().with_mtu(1400_u32).with_gso_max_size(62000);
    for task in [&one, &two] {
        desired.links.insert(task.key(), Link::macvlan(name("ov001001"), small(task)));
    }
    settle(&netlink, &desired);
    assert_eq!(one.eth0().unwrap().mtu, 1400);

    // Larger packets: the device below comes first.
    let tunnel = desired.links.get_mut(&name("ov001001")).unwrap();
    tunnel.mtu = Some(1450);
    desired.links.insert(one.key(), Link::macvlan(name("ov001001"), one.peer()));
    settle(&netlink, &desired);
    assert_eq!(one.eth0().unwrap().mtu, 1450);
}

#[test]
fn a_macvlan_that_is_no_longer_wanted_goes_wherever_it_is() {
    let Some(host) = netns("a_macvlan_that_is_no_longer_wanted_goes_wherever_it_is") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let (one, two) = (Task::new(5), Task::new(6));
    let tunnel = name("ov001001");
    let mut desired = overlay("192.0.2.1", &[&one, &two], "192.0.2.2", &[]);
    desired.links.remove(&name("un0"));
    settle(&netlink, &desired);

    // Only the kernel knows of it: the namespace is named nowhere any more, and the handle is a fresh one.
    desired.links.remove(&one.key());
    let netlink_of_another_process = Netlink::open_in(&host).unwrap();
    settle(&netlink_of_another_process, &desired);
    assert!(one.eth0().is_none() && two.eth0().is_some());

    // The address may be given to another task at once, whatever becomes of the namespace of the first.
    let heir = Task { number: two.number, ..one.clone() };
    desired.links.remove(&two.key());
    desired.links.insert(name("ve9"), Link::macvlan(tunnel.clone(), heir.peer()));
    settle(&netlink, &desired);
    assert!(one.eth0().is_some() && two.eth0().is_none());

    // Under another name it is the same one.
    let same = desired.links.remove(&name("ve9")).unwrap();
    desired.links.insert(name("ve8"), same);
    assert!(converge(&netlink, &desired).is_idle());

    // A bridge takes the tunnel over, and veths the place of the macvlans; and the reverse.
    let with_macvlan = desired.clone();
    let bridge = name("ob001001");
    desired.links.insert(bridge.clone(), Link::bridge());
    let port = desired.links.remove(&tunnel).unwrap().with_master(bridge.clone());
    desired.links.insert(tunnel, port);
    desired.links.insert(name("ve8"), Link::veth(heir.peer()).with_master(bridge));
    settle(&netlink, &desired);
    assert_eq!(one.eth0().unwrap().kind, "veth");
    settle(&netlink, &with_macvlan);
    assert_eq!(one.eth0().unwrap().kind, "macvlan");

    settle(&netlink, &Desired::default());
    let left: BTreeSet<String> =
        netlink.interfaces().unwrap().iter().map(|link| link.name.to_string()).collect();
    assert_eq!(left, BTreeSet::from(["lo".to_owned()]));
    assert!(one.eth0().is_none());
}

#[test]
fn a_macvlan_whose_tunnel_cannot_be_made_is_skipped() {
    let Some(host) = netns("a_macvlan_whose_tunnel_cannot_be_made_is_skipped") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let mut foreign = Desired::default();
    foreign.links.insert(name("flannel.1"), Link::vxlan(Vxlan::new(vni(4097), "192.0.2.1".parse().unwrap())));
    assert!(netlink.converge(&overlay_linux::link::Scope::links(["flannel"]), &foreign).unwrap().is_clean());
    let one = Task::new(5);
    let mut desired = overlay("192.0.2.1", &[&one], "192.0.2.2", &[]);
    desired.links.remove(&name("un0"));
    let report = netlink.converge(&common::scope(), &desired).unwrap();
    assert_eq!(report.failed.len(), 1, "{report}");
    assert!(report.done.is_empty(), "{report}");
    assert!(netlink.delete_link(&name("flannel.1")).unwrap());
    settle(&netlink, &desired);
}
