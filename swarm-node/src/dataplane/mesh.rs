//! Scene → nf_tables of the node's namespace: the mesh of published ports.
//!
//! ```text
//!   client ──▶ X ─ ingress hook: hash → node Y, frame to Y's fabric address ──▶ fabric ──▶ Y
//!                  (packet unmodified, no connection tracking on X)            `spray`
//!   Y: prerouting dnat to a local task; the connection's mark remembers X      `receive`
//!   reply: task ──▶ Y: mark → policy rule → fabric ──▶ X ──▶ client
//! ```
//!
//! The node is chosen by hash with the weights of its ready tasks, the task on that node: whoever replaces a task on a
//! node changes nothing elsewhere. Established flows keep their node: a dynamic map on X remembers it.
//!
//! All of it is there once for each version of IP: a chain is a function of the [`Version`]. A task is reached at its
//! address on the gateway bridge, whatever families its networks have.

mod egress;
mod receive;
mod spray;

use overlay_lb::Protocol;
use overlay_linux::nft::{Ruleset, TableKey};

use super::{
    scene::{Fabric, Scene, Underlay},
    version::Version,
};

/// What the chains follow from.
#[derive(Clone, Copy, Debug)]
struct Ground<'s> {
    scene: &'s Scene,
    underlay: &'s Underlay,
    fabric: &'s Fabric,
}

/// The desired tables of the node's namespace. `fabric_index` is the fabric device's interface index.
pub(crate) fn ruleset(scene: &Scene, fabric_index: u32) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let Some(underlay) = &scene.underlay else { return ruleset };
    if let Some(fabric) = &scene.fabric {
        let ground = Ground { scene, underlay, fabric };
        let table = ruleset.table(TableKey::netdev("swarm-mesh"));
        spray::chains(table, ground, (fabric_index, &versions(scene)));
        for version in versions(scene) {
            receive::chains(ruleset.table(version.table("swarm-mesh")), ground, version);
        }
    }
    for version in versions(scene) {
        egress::chains(ruleset.table(version.table("swarm-gateway")), scene, underlay, version);
    }
    ruleset
}

/// Those that the gateway has addresses of.
fn versions(scene: &Scene) -> Vec<Version> {
    let there = |version: &Version| scene.gateway.own(version.family).is_some();
    [Version::V4, Version::V6].into_iter().filter(there).collect()
}

/// The number of a protocol in the IP header.
pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use overlay_core::Vni;
    use overlay_lb::{MeshPlan, PortPlan};
    use overlay_linux::{netns::NetNs, nft::Family};

    use super::*;
    use crate::dataplane::scene::{FabricPeer, GatewayBridge, HostIpv6, TaskScene};

    /// A node with a task that serves port 8080, and another node.
    fn scene(ipv6: bool, peer_has_ipv6: bool) -> Scene {
        let underlay = Underlay {
            addr: "192.0.2.1".parse().unwrap(),
            mtu: 1500,
            devices: ["eth1".to_owned()].into(),
            addresses: ["192.0.2.1", "fd99::1", "fe80::1"].map(|ip| ip.parse().unwrap()).into(),
            port: 4789,
            kernel_vxlan: true,
            ipv6: if ipv6 { HostIpv6::On { advised: BTreeSet::new() } } else { HostIpv6::Off },
        };
        let peer = FabricPeer {
            address: "10.0.0.3".parse().unwrap(),
            vtep: "192.0.2.2".parse().unwrap(),
            ipv6: peer_has_ipv6,
            addresses: ["fd99::2".parse().unwrap()].into(),
        };
        let fabric = Fabric {
            vni: Vni::new(4096).unwrap(),
            address: "10.0.0.2/24".parse().unwrap(),
            peers: [("there".to_owned(), peer)].into(),
        };
        let task = TaskScene {
            netns: Arc::new(NetNs::current().unwrap()),
            gateway_addr: "172.18.0.2".parse().unwrap(),
            interfaces: Vec::new(),
            vips: Default::default(),
            host_ports: vec![(Protocol::Tcp, 9001, 80)],
            outside: true,
        };
        let plan = PortPlan {
            service: "web".to_owned(),
            slots: ["here", "there"].map(str::to_owned).into(),
            local: vec![("task".to_owned(), 80)],
        };
        Scene {
            node: "here".to_owned(),
            underlay: Some(underlay),
            fabric: Some(fabric),
            tasks: [("task".to_owned(), task)].into(),
            mesh: MeshPlan { ports: [((Protocol::Tcp, 8080), plan)].into() },
            gateway: GatewayBridge { ipv6, ..GatewayBridge::default() },
            ..Scene::default()
        }
    }

    #[test]
    fn each_version_has_the_same_chains() {
        let both = ruleset(&scene(true, true), 7);
        for table in ["swarm-mesh", "swarm-gateway"] {
            let chains = |family| {
                let chains = &both.tables[&TableKey::new(family, table)].chains;
                chains.iter().map(|(name, chain)| (name.clone(), chain.rules.len())).collect::<Vec<_>>()
            };
            assert_eq!(chains(Family::Ip), chains(Family::Ip6), "{table}");
        }
        let spray = &both.tables[&TableKey::netdev("swarm-mesh")];
        let sixes = spray.chains.keys().filter(|name| name.contains('6')).count();
        assert_eq!(sixes, 3, "known6, choose6-…, pick6-…: {:?}", spray.chains.keys());
        let locals: Vec<usize> = ["local", "local6"].map(|set| spray.sets[set].elements.len()).into();
        assert_eq!(locals, [1, 1], "clients do not come to link-local addresses");
    }

    #[test]
    fn without_the_second_version_there_is_no_trace_of_it() {
        let one = ruleset(&scene(false, true), 7);
        let sixes = one.tables.keys().filter(|key| key.family == Family::Ip6).count();
        let spray = &one.tables[&TableKey::netdev("swarm-mesh")];
        let names = || spray.chains.keys().chain(spray.sets.keys());
        assert!(sixes == 0 && !names().any(|name| name.contains('6')), "{:?}", spray.chains.keys());
    }

    #[test]
    fn a_node_without_ipv6_gets_no_flows_of_it() {
        let slots = |peer_has_ipv6, pick: &str| {
            let ruleset = ruleset(&scene(true, peer_has_ipv6), 7);
            let spray = &ruleset.tables[&TableKey::netdev("swarm-mesh")];
            format!("{:?}", spray.chains[pick])
        };
        let there = format!("{:?}", crate::dataplane::links::mac_of("10.0.0.3".parse().unwrap()).unwrap());
        assert!(slots(false, "pick-tcp-8080").contains(&there));
        assert!(!slots(false, "pick6-tcp-8080").contains(&there));
        assert!(slots(true, "pick6-tcp-8080").contains(&there));
    }
}
