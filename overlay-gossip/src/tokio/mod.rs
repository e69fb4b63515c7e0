//! The driver: a [`Membership`] with real sockets and time.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use overlay_gossip::{Config, NodeName, Profile, tokio::Agent};
//!
//! let config = Config::new(NodeName::new("a")?, Profile::Fast);
//! let (agent, mut events) = Agent::bind(config, "0.0.0.0:7946".parse()?, "10.0.0.1:7946".parse()?).await?;
//! agent.join(vec!["10.0.0.2:7946".parse()?]);
//! while let Some(event) = events.recv().await {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod pump;
mod sockets;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use ::tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use ::tokio::sync::{oneshot, watch};
use bytes::Bytes;

use self::pump::Pump;
use crate::{
    Config, Event, Key, Member, Membership, NetworkId, NodeName, Phase, PublishError, Record, Stats,
};

/// A running member: UDP and TCP sockets on one port, and one task.
///
/// Clones share the member. Commands take effect shortly after they were given, in their order; queries answer from
/// snapshots. When the last clone is dropped the sockets close without a goodbye, as after [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    commands: UnboundedSender<Command>,
    changed: watch::Receiver<u64>,
    name: NodeName,
    addr: SocketAddr,
}

impl Agent {
    /// Binds the sockets and starts the member, which is alone at first.
    ///
    /// `advertise` is where other members reach this one; port 0 stands for the port that was bound, and an
    /// unspecified address for the one of `bind`. Needs a tokio runtime with time and IO. Events are kept until they
    /// are read; drop the receiver if they are not wanted.
    ///
    /// # Errors
    ///
    /// Those of the sockets, and `InvalidInput` when there is no address to advertise.
    pub async fn bind(
        config: Config,
        bind: SocketAddr,
        advertise: SocketAddr,
    ) -> io::Result<(Self, UnboundedReceiver<Event>)> {
        Self::start(config, Membership::new, bind, advertise).await
    }

    /// As [`bind`](Self::bind), for a member that speaks serf: it announces [`Vsn::SERF`](crate::Vsn::SERF) and its
    /// tags, and `serf members` shows it as what it is.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind), and `InvalidInput` with [`TableFormat::NetworkDb`](crate::TableFormat), which
    /// does not go together with serf's messages.
    #[cfg(feature = "serf")]
    pub async fn bind_serf(
        config: Config,
        options: crate::serf::Options,
        bind: SocketAddr,
        advertise: SocketAddr,
    ) -> io::Result<(Self, UnboundedReceiver<Event>)> {
        if config.table_format == crate::TableFormat::NetworkDb {
            let why = "a node speaks serf or has tables in Docker's format, not both";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let machine = |config, now, seed| Membership::with_serf(config, options, now, seed);
        Self::start(config, machine, bind, advertise).await
    }

    async fn start(
        mut config: Config,
        machine: impl FnOnce(Config, Instant, u64) -> Membership,
        bind: SocketAddr,
        advertise: SocketAddr,
    ) -> io::Result<(Self, UnboundedReceiver<Event>)> {
        let (udp, tcp) = sockets::bind(bind).await?;
        let bound = tcp.local_addr()?;
        let ip = if advertise.ip().is_unspecified() { bound.ip() } else { advertise.ip() };
        if ip.is_unspecified() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an address to advertise is needed"));
        }
        let port = if advertise.port() == 0 { bound.port() } else { advertise.port() };
        config.advertise = SocketAddr::new(ip, port);
        let name = config.name.clone();
        let shared = Arc::new(Shared::default());
        let (events, received) = unbounded_channel();
        let (commands, orders) = unbounded_channel();
        let (tick, changed) = watch::channel(0);
        let pump = Pump::new(config, machine, (udp, tcp), (orders, events, tick), Arc::clone(&shared));
        ::tokio::spawn(pump.run());
        Ok((Self { shared, commands, changed, name, addr: bound }, received))
    }

    /// The member's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Where the sockets are bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Asks members of a cluster to let this node in; each is tried again until it answers once.
    pub fn join(&self, peers: Vec<SocketAddr>) {
        self.order(Command::Join(peers));
    }

    /// Says goodbye; returns when the word has gone round or
    /// [`Config::leave_timeout`] is over. The node is silent from then on.
    pub async fn leave(&self) {
        let (done, wait) = oneshot::channel();
        self.order(Command::Leave(done));
        let _ = wait.await;
    }

    /// Closes the sockets; returns when they are closed. Others will find this node dead unless it
    /// [left](Self::leave).
    pub async fn shutdown(&self) {
        let (done, wait) = oneshot::channel();
        self.order(Command::Shutdown(done));
        let _ = wait.await;
    }

    /// Everybody known, this node included, by name.
    #[must_use]
    pub fn members(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.shared.read().members)
    }

    /// Attaches this node to a network.
    pub fn join_network(&self, network: NetworkId) {
        self.order(Command::JoinNetwork(network));
    }

    /// Detaches this node from a network and withdraws its records there.
    pub fn leave_network(&self, network: NetworkId) {
        self.order(Command::LeaveNetwork(network));
    }

    /// Creates or changes a record of this node's own; [`Phase::Gone`] withdraws it. Joins the network if need be.
    ///
    /// What cannot be published (see [`PublishError`]) is counted in [`Stats::records_refused`];
    /// [`try_publish`](Self::try_publish) says it.
    #[expect(clippy::too_many_arguments, reason = "a record has that many parts")]
    pub fn publish(&self, network: NetworkId, table: &str, key: &str, phase: Phase, value: Bytes) {
        let (table, key) = (table.to_owned(), key.to_owned());
        self.order(Command::Publish(Box::new((network, table, key, phase, value)), None));
    }

    /// As [`publish`](Self::publish), and says when it is done, or why it is not.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when the record cannot be published, or this node has been shut down.
    #[expect(clippy::too_many_arguments, reason = "a record has that many parts")]
    pub async fn try_publish(
        &self,
        network: NetworkId,
        table: &str,
        key: &str,
        phase: Phase,
        value: Bytes,
    ) -> Result<(), PublishError> {
        let (table, key) = (table.to_owned(), key.to_owned());
        let (done, published) = oneshot::channel();
        self.order(Command::Publish(Box::new((network, table, key, phase, value)), Some(done)));
        published.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// The records of a table by owner and key, suspended ones included, withdrawn ones not.
    #[must_use]
    pub fn records(&self, network: &NetworkId, table: &str) -> Arc<Vec<Record>> {
        let shared = self.shared.read();
        shared.tables.get(network).and_then(|tables| tables.get(table)).cloned().unwrap_or_default()
    }

    /// The nodes that are attached to a network and up, by name; this node included if it is attached.
    #[must_use]
    pub fn peers(&self, network: &NetworkId) -> Vec<NodeName> {
        self.shared.read().peers.get(network).cloned().unwrap_or_default()
    }

    /// Ticks on any change of members, attachments or records.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Uses other keys from now on: the first seals, all open.
    pub fn set_keys(&self, keys: Vec<Key>) {
        self.order(Command::SetKeys(keys));
    }

    /// Changes what this node says about itself; cut off after 512 bytes.
    pub fn set_meta(&self, meta: Bytes) {
        self.order(Command::SetMeta(meta));
    }

    /// Tells all members something, this one included: [`Event::UserEvent`]. With `coalesce`, of several of this
    /// name in a short time the last one is enough.
    ///
    /// # Errors
    ///
    /// [`EventError`](crate::serf::EventError) when name and payload take more than 512 bytes. A node that does not
    /// speak serf sends nothing.
    #[cfg(feature = "serf")]
    pub fn send_event(
        &self,
        name: &str,
        payload: Bytes,
        coalesce: bool,
    ) -> Result<(), crate::serf::EventError> {
        crate::serf::check_event(name, &payload)?;
        self.order(Command::SendEvent { name: name.to_owned(), payload, coalesce });
        Ok(())
    }

    /// Asks all members something, or those that the query names; see
    /// [`Membership::query`](crate::Membership::query). What they say arrives as events.
    ///
    /// # Errors
    ///
    /// [`QueryError`](crate::serf::QueryError) when nobody could understand it, too many are running, or this node
    /// does not speak serf or has been shut down.
    #[cfg(feature = "serf")]
    pub async fn query(
        &self,
        query: crate::serf::Query,
    ) -> Result<crate::serf::QueryId, crate::serf::QueryError> {
        let (done, asked) = oneshot::channel();
        self.order(Command::Query(Box::new(query), done));
        asked.await.unwrap_or(Err(crate::serf::QueryError::Stopped))
    }

    /// Answers a question: [`Event::Query`]. What is too long, or too late, is not sent: see
    /// [`Membership::answer_query`](crate::Membership::answer_query).
    #[cfg(feature = "serf")]
    pub fn answer_query(&self, question: crate::serf::Question, payload: Bytes) {
        self.order(Command::AnswerQuery(Box::new(question), payload));
    }

    /// Changes the tags of a member that speaks serf.
    #[cfg(feature = "serf")]
    pub fn set_tags(&self, tags: &crate::serf::Tags) {
        self.set_meta(tags.to_meta());
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.read().stats
    }

    /// Takes evidence from outside that a member's process is gone. The member can object.
    pub fn report_refused(&self, name: &NodeName) {
        self.order(Command::ReportRefused(name.clone()));
    }

    fn order(&self, command: Command) {
        // After a shutdown nobody listens, and nothing is to be done.
        let _ = self.commands.send(command);
    }
}

/// What an [`Agent`] asks of its task.
#[derive(Debug)]
enum Command {
    Join(Vec<SocketAddr>),
    Leave(oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
    JoinNetwork(NetworkId),
    LeaveNetwork(NetworkId),
    Publish(
        Box<(NetworkId, String, String, Phase, Bytes)>,
        Option<oneshot::Sender<Result<(), PublishError>>>,
    ),
    SetKeys(Vec<Key>),
    SetMeta(Bytes),
    ReportRefused(NodeName),
    #[cfg(feature = "serf")]
    SendEvent {
        name: String,
        payload: Bytes,
        coalesce: bool,
    },
    #[cfg(feature = "serf")]
    Query(Box<crate::serf::Query>, oneshot::Sender<Result<crate::serf::QueryId, crate::serf::QueryError>>),
    #[cfg(feature = "serf")]
    AnswerQuery(Box<crate::serf::Question>, Bytes),
}

/// Snapshots for readers.
#[derive(Debug, Default)]
struct Shared(RwLock<Snapshot>);

#[derive(Debug, Default)]
struct Snapshot {
    members: Arc<Vec<Member>>,
    peers: BTreeMap<NetworkId, Vec<NodeName>>,
    tables: BTreeMap<NetworkId, BTreeMap<String, Arc<Vec<Record>>>>,
    stats: Stats,
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Snapshot> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
