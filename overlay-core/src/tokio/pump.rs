#![expect(clippy::disallowed_methods, reason = "the driver is where time comes from")]

use std::{
    collections::BTreeMap,
    future::pending,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use ::tokio::{
    net::UdpSocket,
    select,
    sync::{mpsc, oneshot},
    time::sleep_until,
};

#[cfg(feature = "seal")]
use crate::seal::{KeyError, KeyId, Seal, SealKey, Session};
use crate::{Encap, Network, NetworkError, PortId, Stats, Verdict, Vni, Vtep, offload::Offload};

/// What a handle wants of its endpoint.
#[derive(Debug)]
pub(super) enum Command {
    Attach(PortId, mpsc::Sender<Vec<u8>>, oneshot::Sender<()>),
    SetNetwork(Vni, Box<Network>, oneshot::Sender<Result<(), NetworkError>>),
    RemoveNetwork(Vni, oneshot::Sender<bool>),
    #[cfg(feature = "seal")]
    SetKeys(Vni, KeyId, BTreeMap<KeyId, SealKey>, oneshot::Sender<Result<(), KeyError>>),
    Stats(oneshot::Sender<Stats>),
    Shutdown(oneshot::Sender<()>),
}

/// The task of one endpoint.
pub(super) struct Pump {
    vtep: Vtep,
    outside: Outside,
}

/// Everything that a verdict is carried out with.
struct Outside {
    socket: UdpSocket,
    remote_port: u16,
    ports: BTreeMap<PortId, mpsc::Sender<Vec<u8>>>,
    datagram: Vec<u8>,
    #[cfg(feature = "seal")]
    seal: Seal,
}

impl Pump {
    pub(super) fn new(socket: UdpSocket, remote_port: u16) -> Self {
        let outside = Outside {
            socket,
            remote_port,
            ports: BTreeMap::new(),
            datagram: Vec::new(),
            #[cfg(feature = "seal")]
            seal: Seal::new(session()),
        };
        Self { vtep: Vtep::new(), outside }
    }

    /// Runs until it is shut down, or nobody holds it any more.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut sent: mpsc::Receiver<(PortId, Vec<u8>)>,
    ) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            select! {
                received = self.outside.socket.recv_from(&mut buffer) => {
                    // An error tells of a datagram that was sent before; the socket lives on.
                    let Ok((len, from)) = received else { continue };
                    self.receive(from.ip(), buffer.get_mut(..len).unwrap_or_default()).await;
                }
                frame = sent.recv() => {
                    let Some((port, mut frame)) = frame else { return };
                    let verdict = self.vtep.handle_frame(Instant::now(), port, Offload::NONE, &mut frame);
                    self.outside.carry_out(verdict, Some(port)).await;
                }
                order = orders.recv() => match order {
                    Some(Command::Shutdown(done)) => {
                        drop(self);
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = until(self.vtep.poll_timeout()) => {
                    let now = Instant::now();
                    self.vtep.handle_timeout(now);
                    while let Some(verdict) = self.vtep.poll_query(now) {
                        self.outside.carry_out(verdict, None).await;
                    }
                }
            }
        }
    }

    async fn receive(&mut self, from: IpAddr, payload: &mut [u8]) {
        #[cfg(feature = "seal")]
        if Seal::is_sealed(payload) {
            // Those that cannot be opened are counted inside.
            if let Ok(opened) = self.outside.seal.open(from, payload) {
                let verdict = self.vtep.handle_opened(Instant::now(), from, opened);
                self.outside.carry_out(verdict, None).await;
            }
            return;
        }
        let verdict = self.vtep.handle_datagram(Instant::now(), from, payload);
        self.outside.carry_out(verdict, None).await;
    }

    fn obey(&mut self, command: Command) {
        // Whoever has stopped waiting for the answer does not need it.
        match command {
            Command::Attach(port, deliver, done) => {
                self.outside.ports.insert(port, deliver);
                let _ = done.send(());
            }
            Command::SetNetwork(vni, network, done) => {
                let _ = done.send(self.vtep.set_network(vni, *network));
            }
            Command::RemoveNetwork(vni, done) => {
                #[cfg(feature = "seal")]
                self.outside.seal.remove_network(vni);
                let _ = done.send(self.vtep.remove_network(vni));
            }
            #[cfg(feature = "seal")]
            Command::SetKeys(vni, active, keys, done) => {
                let _ = done.send(self.outside.seal.set_keys(vni, active, &keys));
            }
            Command::Stats(done) => {
                let _ = done.send(self.vtep.stats().clone());
            }
            Command::Shutdown(done) => drop(done),
        }
    }
}

impl Outside {
    async fn carry_out(&mut self, verdict: Verdict<'_>, asker: Option<PortId>) {
        match verdict {
            Verdict::Deliver { ports, frame } => self.deliver(ports, frame),
            Verdict::Send { encap, endpoints, frame, .. } => self.transmit(encap, endpoints, frame).await,
            Verdict::Flood { ports, encap, endpoints, frame, .. } => {
                self.deliver(ports, frame);
                self.transmit(encap, endpoints, frame).await;
            }
            Verdict::Answer(reply) => self.deliver(asker.into_iter(), reply.frame()),
            Verdict::Drop(_) => {}
        }
    }

    fn deliver(&self, ports: impl Iterator<Item = PortId>, frame: &[u8]) {
        for port in ports {
            if let Some(deliver) = self.ports.get(&port) {
                // A port that does not keep up loses frames, as a network card does.
                let _ = deliver.try_send(frame.to_vec());
            }
        }
    }

    async fn transmit(&mut self, encap: Encap, endpoints: &[IpAddr], frame: &[u8]) {
        self.datagram.clear();
        match encap {
            Encap::Plain(header) => {
                self.datagram.extend_from_slice(&header.to_bytes());
                self.datagram.extend_from_slice(frame);
            }
            #[cfg(feature = "seal")]
            Encap::Sealed(vni) => {
                self.datagram.extend_from_slice(&[0; Seal::HEADER_LEN]);
                self.datagram.extend_from_slice(frame);
                self.datagram.extend_from_slice(&[0; Seal::TAG_LEN]);
                // Without a key nothing leaves the host.
                if self.seal.seal(vni, &mut self.datagram).is_err() {
                    return;
                }
            }
            #[cfg(not(feature = "seal"))]
            Encap::Sealed(_) => return,
        }
        for endpoint in endpoints {
            let to = SocketAddr::new(*endpoint, self.remote_port);
            let _ = self.socket.send_to(&self.datagram, to).await; // UDP: loss is normal
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

#[cfg(feature = "seal")]
fn session() -> Session {
    use std::hash::{BuildHasher, Hasher, RandomState};

    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Every state of this hasher has keys of its own.
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    Session::at(since_1970, u32::from_ne_bytes([a, b, c, d]))
}

/// The most that UDP carries.
const MAX_DATAGRAM: usize = 65_535;

#[cfg(all(test, feature = "seal"))]
mod tests {
    use std::{collections::BTreeSet, time::SystemTime};

    use super::*;

    #[test]
    fn a_session_is_of_its_time_and_those_of_one_moment_differ() {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let first = Session::at(now(), 0);
        let sessions: Vec<Session> = (0..10).map(|_| session()).collect();
        let last = Session::at(now(), u32::MAX);
        assert!(sessions.iter().all(|session| (first..=last).contains(session)), "{sessions:?}");
        assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), 10);
    }
}
