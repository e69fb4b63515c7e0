//! Networks whose frames the node's own process forwards, plain and sealed.

use std::{
    collections::BTreeMap,
    io::Read,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde_json::json;
use swarm_state::{Action, ServiceId};

use crate::{
    scenarios::{SOON, quiet, three_nodes},
    world::{Datagrams, World, fetch, get, until},
};

/// A service with a task on each node, and somebody on one of them who asks; in a network with these options.
fn served(options: &serde_json::Value) -> (World, ServiceId, ServiceId, Vec<IpAddr>) {
    let world = three_nodes();
    let network = world.network(json!({"Name": "green", "Driver": "overlay", "EnableIPv6": true,
        "Options": options,
        "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd00:9::/64"}]}}));
    let web = world.service(quiet("web", network.as_str(), 3));
    let asker = world.service(quiet("asker", network.as_str(), 1));
    until("the tasks run", SOON, || world.running(0, web) == 3 && world.running(0, asker) == 1);
    let vips = world.read(0, |state| {
        state.service(web).unwrap().endpoint.virtual_ips.iter().map(|vip| vip.addr.addr()).collect()
    });
    (world, web, asker, vips)
}

/// Every node's task answers behind both virtual IPs, streams and datagrams pass, and large answers too.
fn is_served(world: &World, asker: ServiceId, vips: &[IpAddr]) {
    let from = world.netns_of(0, asker);
    for vip in vips {
        let to = SocketAddr::new(*vip, 8080);
        until("the address answers", SOON, || get(&from, to).is_ok());
        let mut nodes = BTreeMap::new();
        until("tasks on all nodes answer", SOON, || {
            if let Ok(answer) = get(&from, to) {
                nodes.insert(answer["node"].to_string(), answer["client"].to_string());
            }
            nodes.len() == 3
        });
        for _ in 0..3 {
            assert_eq!(fetch(&from, to, 20 << 20).unwrap(), 20 << 20);
        }
    }
    let datagrams = Datagrams::new(&from, SocketAddr::new(vips[0], 8080));
    until("a datagram is answered", SOON, || datagrams.ask().is_some());
}

pub fn user_plane() {
    let (world, _, asker, vips) = served(&json!({"plane": "user"}));
    is_served(&world, asker, &vips);
    for machine in 0..3 {
        let links = world.links(machine);
        assert!(!links.iter().any(|link| link.starts_with("ob") || link.starts_with("ov")), "{links:?}");
        assert!(world.machines[machine].node.counters()["user_plane_sent"] > 0);
    }
}

pub fn bridge_layout() {
    let (world, _, asker, vips) = served(&json!({"layout": "bridge", "plane": "kernel"}));
    is_served(&world, asker, &vips);
    for machine in 0..3 {
        let links = world.links(machine);
        let bridge = links.iter().find(|link| link.starts_with("ob")).unwrap();
        if std::path::Path::new("/proc/sys/net/ipv6").exists() {
            let shut = world.ipv6_setting(machine, &format!("{bridge}/disable_ipv6"));
            assert_eq!(shut, "1", "the host has no address among the tasks");
        }
    }
}

/// What a network's frames look like to somebody who listens between the machines.
pub fn sealed() {
    let heard = |options: serde_json::Value| {
        let (world, _, asker, vips) = served(&options);
        let capture = Capture::start(&world);
        is_served(&world, asker, &vips);
        let frames = capture.stop();
        (world, frames)
    };
    let plain_text = |frame: &Vec<u8>| frame.windows(9).any(|window| window == b"GET /json");
    let (_, frames) = heard(json!({"plane": "user"}));
    assert!(frames.iter().any(plain_text), "a listener reads a network that is not sealed");
    let (world, frames) = heard(json!({"encrypted": ""}));
    assert!(!frames.iter().any(plain_text), "a listener reads nothing");
    let sealed = |frame: &&Vec<u8>| frame.get(42..44) == Some(&[0x48, 1]);
    assert!(frames.iter().filter(sealed).count() > 100, "the datagrams were heard");
    for machine in &world.machines {
        let counters = machine.node.counters();
        assert!(counters["user_plane_sealed"] > 0 && counters["user_plane_opened"] > 0, "{counters:?}");
    }
}

/// Keys are replaced again and again while requests go on: none is lost.
pub fn rotation() {
    let (world, _, asker, vips) = served(&json!({"encrypted": ""}));
    is_served(&world, asker, &vips);
    let network = world.read(0, |state| state.networks().values().find(|n| !n.is_ingress()).unwrap().id);
    let from = world.netns_of(0, asker);
    let to = SocketAddr::new(vips[0], 8080);
    let active = || {
        world.machines[0].node.networks().into_iter().find(|n| n.id == network).unwrap().seal.unwrap().active
    };
    for _ in 0..2 {
        let before = active();
        world
            .propose(0, Action::RotateNetworkKeys { id: network, grace: Some(Duration::from_millis(500)) })
            .unwrap();
        until("the next key is used", SOON, || {
            get(&from, to).unwrap();
            active() != before
        });
        for _ in 0..100 {
            get(&from, to).unwrap();
        }
    }
}

/// Frames that pass between the machines.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Capture {
    pub fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let all =
            || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll);
        let mut socket = std::fs::File::from(world.segment().run(all).unwrap().unwrap());
        let done = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut frames, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
            while !done.load(Ordering::Relaxed) {
                match socket.read(&mut buffer) {
                    Ok(len) => frames.push(buffer[..len.min(4096)].to_vec()),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            frames
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
