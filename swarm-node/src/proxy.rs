//! Published ports for clients on the node itself: `curl localhost:8080`.
//!
//! Clients from outside never come here: the mesh takes their packets before, and its guard drops the rest. A listener is
//! opened after the guard stands, and reserves the port, so that no other program of the host takes it. It listens at the
//! addresses of each version of IP in which the mesh serves, and speaks IPv4 to the tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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
    let (mut tables, mut passes) = (worker.tables.subscribe(), worker.plane().passes());
    let mut listeners: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tables.mark_unchanged();
        let wanted = sockets(&worker, passes.borrow_and_update().ipv6);
        listeners.retain(|socket, handle| {
            let keep = wanted.contains(socket);
            if !keep {
                handle.abort();
            }
            keep && !handle.is_finished()
        });
        if wanted.iter().any(|socket| !listeners.contains_key(socket)) {
            worker.plane().sync().await;
        }
        for socket in wanted {
            listeners.entry(socket).or_insert_with(|| tasks.spawn(listen(Arc::clone(&worker), socket)));
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            changed = tables.changed() => if changed.is_err() { return },
            changed = passes.changed() => if changed.is_err() { return },
        }
    }
}

/// Where to listen.
fn sockets(worker: &Worker, ipv6: bool) -> BTreeSet<SocketAddr> {
    let second = ipv6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let addresses: Vec<IpAddr> = second.into_iter().chain([IpAddr::V4(Ipv4Addr::UNSPECIFIED)]).collect();
    let at = |port| addresses.iter().map(move |ip| SocketAddr::new(*ip, port));
    ports(worker).into_iter().flat_map(at).collect()
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

async fn listen(worker: Arc<Worker>, at: SocketAddr) {
    let port = at.port();
    let listener = loop {
        match bind(at) {
            Ok(listener) => break listener,
            Err(error) => {
                crate::notice(&format!(
                    "published port {port} is not served at {} for clients on this node: {error}",
                    at.ip()
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

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
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
