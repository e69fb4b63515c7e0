//! Flows of datagrams that lead to tasks which are gone.
//!
//! A TCP connection ends by itself. A datagram's flow does not: each packet keeps its entry of connection tracking alive, and
//! with it the translation to an address where nobody is.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use overlay_linux::{
    conntrack::{Conntrack, ConntrackError, Entry},
    link::Family,
    netns::NetNs,
};

use super::scene::{Scene, TaskScene};

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

/// Published ports: translated into the gateway networks, to a task that is not there.
fn in_node(scene: &Scene) -> Result<(), ConntrackError> {
    let families = [Family::V4, Family::V6];
    let networks: Vec<IpNet> = families.iter().filter_map(|family| scene.gateway.own(*family)).collect();
    let at = |task: &TaskScene| {
        let of = |family| scene.gateway.interface(task.gateway_addr, family);
        families.map(of).into_iter().flatten().map(|net| net.addr())
    };
    let tasks: BTreeSet<IpAddr> = scene.tasks.values().flat_map(at).collect();
    let inside = |to: &SocketAddr| networks.iter().any(|network| network.contains(&to.ip()));
    run(Conntrack::open(), |entry| {
        let to = entry.translated_destination().filter(inside);
        to.is_some_and(|to| !tasks.contains(&to.ip()))
    })
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
