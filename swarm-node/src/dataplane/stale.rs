//! Flows of datagrams that lead to tasks which are gone.
//!
//! A TCP connection ends by itself. A datagram's flow does not: each packet keeps its entry of connection tracking alive, and
//! with it the translation to an address where nobody is.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use overlay_linux::{
    conntrack::{Conntrack, ConntrackError, Entry},
    link::Family,
    netns::NetNs,
};

use super::{
    mesh::number,
    scene::{Scene, TaskScene},
};

const TCP: u8 = 6;

/// Forgets such flows in the node's namespace and in those of its tasks; what went wrong.
pub(super) fn forget(scene: &Scene) -> Vec<String> {
    let here = in_node(scene).map_err(|error| format!("flows of the node: {error}")).err();
    let there = scene
        .tasks
        .iter()
        .filter_map(|(id, task)| in_task(task).map_err(|error| format!("flows of {id}: {error}")).err());
    here.into_iter().chain(there).collect()
}

/// Published ports: translated into the gateway networks, to a task that is not there; or not at all.
fn in_node(scene: &Scene) -> Result<(), ConntrackError> {
    let families = [Family::V4, Family::V6];
    let networks: Vec<IpNet> = families.iter().filter_map(|family| scene.gateway.own(*family)).collect();
    let at = |task: &TaskScene| {
        let of = |family| scene.gateway.interface(task.gateway_addr, family);
        families.map(of).into_iter().flatten().map(|net| net.addr())
    };
    let tasks: BTreeSet<IpAddr> = scene.tasks.values().flat_map(at).collect();
    let led = ports_that_lead_somewhere(scene);
    let own = scene.underlay.iter().flat_map(|underlay| &underlay.addresses);
    let own: BTreeSet<IpAddr> = own.copied().collect();
    run(Conntrack::open(), |entry| match entry.translated_destination() {
        Some(to) => networks.iter().any(|net| net.contains(&to.ip())) && !tasks.contains(&to.ip()),
        // It began before the port led anywhere.
        None => {
            let to = &entry.original;
            own.contains(&to.destination) && led.contains(&(entry.protocol, to.destination_port))
        }
    })
}

/// Ports of this node that are translated to one of its own tasks.
fn ports_that_lead_somewhere(scene: &Scene) -> BTreeSet<(u8, u16)> {
    let meshed = scene.mesh.ports.iter().filter(|(_, plan)| !plan.local.is_empty());
    let meshed = meshed.map(|((protocol, port), _)| (*protocol, *port));
    let of_node = scene.tasks.values().flat_map(|task| &task.host_ports);
    let of_node = of_node.map(|(protocol, port, _)| (*protocol, *port));
    meshed.chain(of_node).map(|(protocol, port)| (number(protocol), port)).collect()
}

/// Virtual IPs: translated to an address that is no backend of theirs, or not at all.
fn in_task(task: &TaskScene) -> Result<(), ConntrackError> {
    if task.vips.vips.is_empty() {
        return Ok(());
    }
    let netns: &NetNs = &task.netns;
    run(Conntrack::open_in(netns), |entry| {
        let Some(backends) = task.vips.vips.get(&entry.original.destination) else { return false };
        match entry.translated_destination() {
            Some(to) => !backends.contains(&to.ip()),
            None => !backends.is_empty(), // it began before the address led anywhere
        }
    })
}

fn run(
    opened: Result<Conntrack, ConntrackError>,
    stale: impl Fn(&Entry) -> bool,
) -> Result<(), ConntrackError> {
    match opened.and_then(|table| table.forget(|entry| entry.protocol != TCP && stale(entry))) {
        Ok(_) | Err(ConntrackError::Unsupported { .. }) => Ok(()), // without the module entries end by their timeout
        Err(error) => Err(error),
    }
}
