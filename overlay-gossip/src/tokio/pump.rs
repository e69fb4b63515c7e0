//! The task that owns the machine.

#![expect(clippy::disallowed_methods, reason = "the driver is where time comes from")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::tokio::net::{TcpListener, UdpSocket};
use ::tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use ::tokio::sync::{Semaphore, oneshot, watch};
use ::tokio::task::JoinSet;
use bytes::Bytes;

use super::stream::{CHUNKS, Incoming, OPEN, Streams};
use super::{Command, Shared};
use crate::membership::Publish;
use crate::{Action, Config, Event, Input, Membership, NetworkId, Output, StreamId};

pub(super) struct Pump {
    machine: Membership,
    udp: UdpSocket,
    tcp: TcpListener,
    orders: UnboundedReceiver<Command>,
    events: UnboundedSender<Event>,
    tick: watch::Sender<u64>,
    shared: Arc<Shared>,
    streams: Streams,
    incoming: UnboundedReceiver<Incoming>,
    tasks: JoinSet<()>,
    replies: BTreeMap<StreamId, oneshot::Sender<Bytes>>,
    next_stream: u64,
    refused: u64,
    leavers: Vec<oneshot::Sender<()>>,
    /// Tables whose snapshot is old.
    stale: BTreeSet<(NetworkId, String)>,
    /// Not before then, so that large tables that change often do not eat the processor.
    snapshot_at: Instant,
}

type Channels = (UnboundedReceiver<Command>, UnboundedSender<Event>, watch::Sender<u64>);

impl Pump {
    pub(super) fn new(
        mut config: Config,
        machine: impl FnOnce(Config, Instant, u64) -> Membership,
        (udp, tcp): (UdpSocket, TcpListener),
        (orders, events, tick): Channels,
        shared: Arc<Shared>,
    ) -> Self {
        if config.boot == 0 {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            config.boot = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        }
        let (sender, incoming) = unbounded_channel();
        let streams = Streams {
            incoming: sender,
            open: Arc::new(Semaphore::new(OPEN)),
            memory: Arc::new(Semaphore::new(CHUNKS)),
            limit: config.max_stream,
            patience: config.tcp_timeout,
        };
        let now = now();
        let mut pump = Self {
            machine: machine(config, now, rand::random()),
            udp,
            tcp,
            orders,
            events,
            tick,
            shared,
            streams,
            incoming,
            tasks: JoinSet::new(),
            replies: BTreeMap::new(),
            next_stream: 0,
            refused: 0,
            leavers: Vec::new(),
            stale: BTreeSet::new(),
            snapshot_at: now,
        };
        pump.publish_snapshot();
        pump
    }

    pub(super) async fn run(mut self) {
        let mut buf = vec![0; DATAGRAM];
        loop {
            self.flush().await;
            let wake = self.wake();
            ::tokio::select! {
                received = self.udp.recv_from(&mut buf) => self.datagrams(&mut buf, received),
                Some(incoming) = self.incoming.recv() => {
                    self.incoming(incoming);
                    while let Ok(more) = self.incoming.try_recv() {
                        self.incoming(more);
                    }
                }
                order = self.orders.recv() => {
                    let mut order = order;
                    loop {
                        match order {
                            None => return,
                            Some(Command::Shutdown(done)) => {
                                drop(self);
                                let _ = done.send(());
                                return;
                            }
                            Some(command) => self.obey(command),
                        }
                        let Ok(more) = self.orders.try_recv() else { break };
                        order = Some(more);
                    }
                }
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, from)) => self.accept(stream, from),
                    // Out of descriptors, most likely: wait for some to be free.
                    Err(_) => ::tokio::time::sleep(Duration::from_millis(20)).await,
                },
                Some(_) = self.tasks.join_next() => {}
                () = until(wake) => {
                    // What has arrived comes first: it may answer what would be given up now.
                    let received = self.udp.try_recv_from(&mut buf);
                    self.datagrams(&mut buf, received);
                    self.machine.handle_timeout(now());
                }
            }
        }
    }

    /// Does what the machine wants, and renews the snapshots.
    async fn flush(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Transmit(t) => {
                    // Datagrams may be lost anyhow.
                    let _ = self.udp.send_to(&t.payload, t.to).await;
                }
                Output::Event(event) => self.event(event),
                Output::Action(Action::Reply { id, payload }) => {
                    if let Some(reply) = self.replies.remove(&id) {
                        let _ = reply.send(payload);
                    }
                }
                Output::Action(Action::Dial { id, to, payload, reply, timeout }) => {
                    self.tasks.spawn(self.streams.clone().dial((id, to), payload, reply, timeout));
                }
            }
        }
        self.publish_snapshot();
    }

    fn event(&mut self, event: Event) {
        if event == Event::Left {
            for done in self.leavers.drain(..) {
                let _ = done.send(());
            }
        }
        let _ = self.events.send(event); // nobody needs to listen
    }

    fn datagrams(&mut self, buf: &mut [u8], first: std::io::Result<(usize, SocketAddr)>) {
        let mut received = first;
        for _ in 0..BATCH {
            let Ok((len, from)) = received else { return };
            let payload = buf.get(..len).unwrap_or_default();
            let _ = self.machine.handle_input(now(), Input::Datagram { from, payload }); // counted inside
            received = self.udp.try_recv_from(buf);
        }
        if let Ok((len, from)) = received {
            let payload = buf.get(..len).unwrap_or_default();
            let _ = self.machine.handle_input(now(), Input::Datagram { from, payload });
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        let now = now();
        // Errors are counted inside.
        let _ = match incoming {
            Incoming::Request { from, payload, reply } => {
                self.next_stream += 1;
                let id = StreamId(self.next_stream);
                self.replies.insert(id, reply);
                self.machine.handle_input(now, Input::Request { id, from, payload: &payload })
            }
            Incoming::Replied { id, payload } => {
                self.machine.handle_input(now, Input::Replied { id, payload: &payload })
            }
            Incoming::Failed { id, failure } => {
                self.machine.handle_input(now, Input::DialFailed { id, failure })
            }
        };
    }

    fn accept(&mut self, stream: ::tokio::net::TcpStream, from: SocketAddr) {
        match Arc::clone(&self.streams.open).try_acquire_owned() {
            Ok(open) => drop(self.tasks.spawn(self.streams.clone().serve(stream, from, open))),
            Err(_) => self.refused += 1,
        }
    }

    fn obey(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Join(peers) => peers.into_iter().for_each(|peer| self.machine.join(now, peer)),
            Command::Leave(done) => {
                if self.machine.has_left() {
                    let _ = done.send(());
                } else {
                    self.leavers.push(done);
                    self.machine.leave(now);
                }
            }
            Command::Shutdown(done) => drop(done),
            Command::JoinNetwork(network) => self.machine.join_network(now, &network),
            Command::LeaveNetwork(network) => self.machine.leave_network(now, &network),
            Command::Publish(publish, done) => {
                let (network, table, key, phase, value) = *publish;
                let at = Publish { network: &network, table: &table, key: &key };
                let published = self.machine.publish(now, at, phase, value); // counted inside
                if let Some(done) = done {
                    let _ = done.send(published);
                }
            }
            Command::SetKeys(keys) => self.machine.set_keys(keys),
            Command::SetMeta(meta) => self.machine.set_meta(now, meta),
            #[cfg(feature = "serf")]
            Command::SendEvent { name, payload, coalesce } => {
                let _ = self.machine.send_event(now, &name, &payload, coalesce); // checked before
            }
            #[cfg(feature = "serf")]
            Command::Query(query, done) => drop(done.send(self.machine.query(now, &query))),
            #[cfg(feature = "serf")]
            Command::AnswerQuery(question, payload) => {
                let _ = self.machine.answer_query(now, &question, &payload); // too late: nobody waits
            }
            Command::ReportRefused(name) => self.machine.report_refused(now, &name),
        }
    }

    /// Lets readers see what has changed.
    fn publish_snapshot(&mut self) {
        let mut stats = self.machine.stats();
        stats.streams_refused = self.refused;
        let changes = self.machine.take_changes();
        self.stale.extend(changes.tables);
        let start = now();
        let tables =
            if start >= self.snapshot_at { std::mem::take(&mut self.stale) } else { BTreeSet::new() };
        let rows: Vec<_> = tables
            .into_iter()
            .map(|(network, table)| {
                let records = self.machine.records(&network, &table);
                (network, table, records)
            })
            .collect();
        let members = changes.members.then(|| Arc::new(self.machine.members().cloned().collect::<Vec<_>>()));
        let peers = changes.members.then(|| {
            self.machine.networks().map(|n| (n.clone(), self.machine.peers(n))).collect::<BTreeMap<_, _>>()
        });
        let changed = members.is_some() || !rows.is_empty();
        if !rows.is_empty() {
            self.snapshot_at = start + now().saturating_duration_since(start) * 4;
        }
        let mut shared = self.shared.write();
        shared.stats = stats;
        if let Some(members) = members {
            shared.members = members;
        }
        if let Some(peers) = peers {
            shared.peers = peers;
        }
        for (network, table, records) in rows {
            let tables = shared.tables.entry(network.clone()).or_default();
            if records.is_empty() {
                tables.remove(&table);
            } else {
                tables.insert(table, Arc::new(records));
            }
            if tables.is_empty() {
                shared.tables.remove(&network);
            }
        }
        drop(shared);
        if changed {
            self.tick.send_modify(|n| *n += 1);
        }
    }

    fn wake(&self) -> Option<Instant> {
        let snapshot = (!self.stale.is_empty()).then_some(self.snapshot_at);
        self.machine.poll_timeout().into_iter().chain(snapshot).min()
    }
}

fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => ::tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

const DATAGRAM: usize = 65_536;
const BATCH: usize = 64;
