//! Published ports for clients on the node itself: `curl localhost:8080`.
//!
//! Clients from outside never come here: the mesh takes their packets before, and its guard drops the rest. A listener is
//! opened after the guard stands, and reserves the port, so that no other program of the host takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use overlay_lb::{Protocol, View};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use swarm_state::AssignedTask;

use crate::worker::{Worker, host_ports};

/// Time to reach one task before the next is tried.
const DIAL: Duration = Duration::from_secs(2);

/// Keeps a listener for each published TCP port.
pub(crate) async fn run(worker: Arc<Worker>) {
    let mut tables = worker.tables.subscribe();
    let mut listeners: BTreeMap<u16, AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tables.mark_unchanged();
        let wanted = ports(&worker);
        listeners.retain(|port, handle| {
            let keep = wanted.contains(port);
            if !keep {
                handle.abort();
            }
            keep && !handle.is_finished()
        });
        if wanted.iter().any(|port| !listeners.contains_key(port)) {
            worker.plane().sync().await;
        }
        for port in wanted {
            listeners.entry(port).or_insert_with(|| tasks.spawn(listen(Arc::clone(&worker), port)));
        }
        while tasks.try_join_next().is_some() {}
        if tables.changed().await.is_err() {
            return;
        }
    }
}

fn ports(worker: &Worker) -> BTreeSet<u16> {
    let meshed = ingress(worker).map(|view| view.mesh_plan("").ports).unwrap_or_default(); // the slots do not matter
    let tcp = |(protocol, port): &(Protocol, u16)| (*protocol == Protocol::Tcp).then_some(*port);
    let host = host_targets(worker).into_keys();
    meshed.keys().filter_map(tcp).chain(host).collect()
}

/// TCP ports that lead to a task of this node only.
fn host_targets(worker: &Worker) -> BTreeMap<u16, SocketAddr> {
    let attached = worker.attached();
    let Some(assignment) = worker.assignment.borrow().clone() else { return BTreeMap::new() };
    let of_task = |assigned: &AssignedTask| {
        let place = attached.get(&assigned.task.id)?.gateway_addr;
        let tcp = host_ports(assigned).into_iter().filter(|(protocol, ..)| *protocol == Protocol::Tcp);
        Some(tcp.map(move |(_, port, target)| (port, SocketAddr::from((place, target)))))
    };
    assignment.tasks.iter().filter_map(of_task).flatten().collect()
}

fn ingress(worker: &Worker) -> Option<Arc<View>> {
    let assignment = worker.assignment.borrow().clone()?;
    let network = assignment.networks.iter().find(|network| network.ingress)?;
    worker.tables.borrow().views.get(&network.id).cloned()
}

async fn listen(worker: Arc<Worker>, port: u16) {
    let listener = loop {
        match bind(port) {
            Ok(listener) => break listener,
            Err(error) => {
                crate::notice(&format!(
                    "published port {port} is not served for clients on this node: {error}"
                ));
                sleep(Duration::from_secs(5)).await;
            }
        }
    };
    let turn = AtomicUsize::new(0);
    let mut clients = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while clients.try_join_next().is_some() {}
        let targets = targets(&worker, port, turn.fetch_add(1, Ordering::Relaxed));
        clients.spawn(serve(client, targets));
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Where a connection may go, the task whose turn it is first: local tasks directly, others through their node.
fn targets(worker: &Worker, port: u16, turn: usize) -> Vec<SocketAddr> {
    let (Some(view), Some(assignment)) = (ingress(worker), worker.assignment.borrow().clone()) else {
        return Vec::new();
    };
    if let Some(task) = host_targets(worker).get(&port) {
        return vec![*task];
    }
    let attached = worker.attached();
    let me = assignment.node.to_string();
    let mut targets: Vec<SocketAddr> = view
        .endpoints()
        .filter(|endpoint| endpoint.takes_new_flows())
        .filter_map(|endpoint| {
            let published =
                |p: &&overlay_lb::PublishedPort| p.protocol == Protocol::Tcp && p.published == port;
            let target = endpoint.ports.iter().find(published)?.target;
            if endpoint.node == me {
                let local = attached.get(&endpoint.id.parse().ok()?)?;
                return Some(SocketAddr::from((local.gateway_addr, target)));
            }
            let peer = assignment.peers.iter().find(|peer| peer.id.as_str() == endpoint.node)?;
            let fabric: IpAddr = peer.ingress?.addr();
            Some(SocketAddr::new(fabric, port))
        })
        .collect();
    if !targets.is_empty() {
        let first = turn % targets.len();
        targets.rotate_left(first);
    }
    targets
}

async fn serve(mut client: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        if let Ok(Ok(mut task)) = timeout(DIAL, TcpStream::connect(target)).await {
            let _ = client.set_nodelay(true);
            let _ = task.set_nodelay(true);
            let _ = copy_bidirectional(&mut client, &mut task).await;
            return;
        }
    }
}
