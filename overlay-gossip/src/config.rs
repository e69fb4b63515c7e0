//! Everything that can be tuned, with the values of four profiles.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::{Key, NodeName, Vsn};

/// How to run a member. Start from [`Config::new`] and change fields.
///
/// ```
/// use std::time::Duration;
/// use overlay_gossip::{Config, NodeName, Profile};
///
/// let mut config = Config::new(NodeName::new("a")?, Profile::Lan);
/// assert_eq!(config.probe_interval, Duration::from_secs(1));
/// config.gossip_nodes = 4;
/// # Ok::<(), overlay_gossip::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name, unique in the cluster.
    pub name: NodeName,
    /// The profile that the timers below were taken from.
    pub profile: Profile,
    /// Where other members reach this one. The driver sets it.
    pub advertise: SocketAddr,
    /// What the member says about itself, at most 512 bytes; cut off there.
    pub meta: Bytes,
    /// Protocol versions to announce. As bare memberlist; use [`Vsn::SERF`] to meet serf.
    pub vsn: Vsn,
    /// Keys of the cluster: the first one seals, all of them open. Empty: plain text, where anybody who can send a
    /// datagram can declare any member dead.
    pub keys: Vec<Key>,
    /// Refuse plain text when there are keys. `false` only while keys are being rolled out.
    pub verify_incoming: bool,
    /// Seal what is sent when there are keys. `false` only while keys are being rolled out.
    pub verify_outgoing: bool,
    /// A clear-text prefix that keeps clusters apart, at most 255 bytes; empty: none. memberlist 0.3 and later.
    pub label: String,
    /// Compress packets where that makes them smaller. Off: it costs more time than all the rest; receivers
    /// understand both.
    pub compress: bool,
    /// Which life of the node this is; must be larger in each life (milliseconds since 1970 do). 0: the driver takes
    /// the time of day. Records of earlier lives vanish when a larger one is seen.
    pub boot: u64,

    /// Time between two probes. 1 s, as memberlist on a LAN.
    pub probe_interval: Duration,
    /// How long a direct answer may take before others are asked to try. 500 ms, as memberlist on a LAN.
    pub probe_timeout: Duration,
    /// How many others are asked to try. 3, as memberlist.
    pub indirect_checks: usize,
    /// Try TCP when UDP got no answer. On, as memberlist.
    pub tcp_ping: bool,
    /// Multiplies the time that a suspect has to object. 4, as memberlist on a LAN.
    pub suspicion_mult: u32,
    /// How much longer that time is while nobody else has confirmed the suspicion. 6, as memberlist.
    pub suspicion_max_mult: u32,
    /// How many confirmations bring the time down to its minimum. `suspicion_mult - 2`, as memberlist.
    pub confirmations: u32,
    /// Of the members that hear of a suspicion, about this many try the suspect themselves at once, so that
    /// confirmations do not wait for their turn. 8; 0 is what memberlist does.
    pub verifiers: u32,
    /// How long a suspect has to object when enough members were refused by its host, which says that the process is
    /// gone. 500 ms. Zero: such evidence is not used, as memberlist.
    pub refused_timeout: Duration,
    /// How many members must have been refused (fewer in a cluster that has fewer). 3.
    pub refused_reports: usize,
    /// How many members must have asked a suspect themselves, by UDP and TCP and in vain, to leave it only
    /// [`witnessed_timeout`](Self::witnessed_timeout) to object (fewer in a cluster that has fewer). 4.
    pub witnesses: usize,
    /// See [`witnesses`](Self::witnesses). 1.5 probe intervals. Zero: such evidence is not used, as memberlist.
    pub witnessed_timeout: Duration,
    /// Accuse nobody while this node hears from nobody, up to the longest time of a suspicion: the problem is its own.
    /// On; memberlist is not so modest.
    pub self_doubt: bool,
    /// Compare views of the cluster with each ping, and repair what differs. On; HashiCorp's members take no part.
    pub repair: bool,
    /// How many members to keep a TCP connection to, so that the end of a process is seen at once. 3; 0: none, as
    /// memberlist.
    pub watch: usize,
    /// How many members a node that joins compares its view with, soon after the first one answered. 2; memberlist: 0.
    pub join_more: usize,
    /// Worst health score plus one; the score multiplies the probe interval. 8, as memberlist.
    pub awareness_max: u32,

    /// Time between two rounds of gossip. 200 ms, as memberlist on a LAN.
    pub gossip_interval: Duration,
    /// How many members each round goes to. 3, as memberlist.
    pub gossip_nodes: usize,
    /// Multiplies how often a message is sent. 4, as memberlist on a LAN.
    pub retransmit_mult: u32,
    /// How long a dead member is still gossiped to. 30 s, as memberlist on a LAN.
    pub gossip_to_the_dead: Duration,
    /// Time between two full exchanges over TCP, up to 32 members; grows with the logarithm beyond. 30 s, as
    /// memberlist on a LAN. Zero: never.
    pub push_pull_interval: Duration,
    /// Time between two attempts to reach a dead member or an unanswered seed, so that partitions heal. 5 s;
    /// memberlist never tries. Zero: never.
    pub reconnect_interval: Duration,
    /// How long a TCP exchange may take. 10 s, as memberlist on a LAN.
    pub tcp_timeout: Duration,
    /// How long a leaving node keeps talking. 1 s.
    pub leave_timeout: Duration,
    /// A dead member may be replaced by one of the same name at another address after this time. Zero: at once,
    /// since the cluster decides who owns a name; memberlist: never, unless configured.
    pub dead_reclaim: Duration,
    /// A dead member and its suspended records are forgotten after this time. 24 h, as Docker.
    pub dead_forget: Duration,
    /// Largest datagram to build. 1400 bytes, as memberlist.
    pub packet_size: usize,
    /// Largest TCP message to accept or send. 8 MiB; memberlist 20 MiB.
    pub max_stream: usize,
    /// Most members to remember. 1 million.
    pub max_members: usize,

    /// How records travel. All nodes of a cluster have the same; [`TableFormat::Native`], unless Docker's are among
    /// them.
    pub table_format: TableFormat,
    /// How long a changed record waits for others to travel with. 5 ms.
    pub table_delay: Duration,
    /// Time between two comparisons of tables with a random member per network. 2 s. In
    /// [`TableFormat::NetworkDb`], [`push_pull_interval`](Self::push_pull_interval) is the time between two bulk syncs.
    pub table_sync_interval: Duration,
    /// How long a withdrawn record is remembered. 10 min; at least 30 min in [`TableFormat::NetworkDb`].
    pub tombstone: Duration,
    /// How long the records of an owner's earlier life stay (suspended) after its new life was noticed, so that a
    /// restarted node can publish again what still holds. 10 s.
    pub table_retire: Duration,
    /// Most records to remember, own and foreign. 1 million.
    pub max_records: usize,
    /// Largest value of a record; longer ones are refused. 64 KiB.
    pub max_value: usize,
    /// A rule to break, to see that the simulator's checks notice.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub broken: Option<Rule>,
}

/// A rule of the protocol that can be broken on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(not(feature = "sim"), expect(unreachable_pub, reason = "tests of the simulator name it"))]
pub enum Rule {
    /// A dead member is believed alive only by a claim that is newer than its death.
    DeathNeedsNews,
    /// A node that is called dead objects.
    ObjectsToDeath,
    /// An objection has a higher incarnation than the accusation.
    IncarnationsGrow,
    /// A suspect objects.
    Refutes,
    /// News replace older ones about the same member.
    NewsReplace,
    /// Records are taken over only if they are newer.
    VersionsGrow,
    /// Records of others are passed on as they are.
    OwnersWrite,
    /// What is missing is repaired by comparing tables.
    TablesSync,
}

/// A set of timers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Profile {
    /// memberlist's defaults for a LAN.
    #[default]
    Lan,
    /// memberlist's defaults for a WAN.
    Wan,
    /// memberlist's defaults for one host.
    Local,
    /// A LAN with cycles to spare: a silent death is seen in 2 to 3 s, a refused connection in about 1 s.
    Fast,
}

/// How the records of tables travel from node to node.
///
/// In Docker's format a node is a member of a cluster of Docker's NetworkDB nodes, and the same can be said and read
/// with less precision:
///
/// | native | in NetworkDB |
/// |---|---|
/// | each owner has keys of its own | one record under each key; if another node that is up has it: [`Taken`] |
/// | [`Starting`] | nobody else hears of it |
/// | [`Ready`], [`Draining`] | it is there, and others read `Ready`; Docker has "draining" in the value |
/// | [`Gone`] | deleted; remembered for 30 minutes at least |
/// | the value | opaque bytes; what Docker has there is in [`wire::networkdb`](crate::wire::networkdb) |
/// | the version, which only its owner gives | a Lamport time, which anybody may exceed |
/// | records arrive within milliseconds | within a few times 200 ms; everything is compared every 30 s |
///
/// Records of lost nodes are suspended in both. Docker before 2026 forgets them, and is told again when their owner
/// is back. Of what this crate does beyond memberlist, only what needs no partner works: nodes announce
/// [`Vsn::DOCKER`]. Serf's messages have no place in this format: with it, no node speaks serf.
///
/// [`Taken`]: crate::PublishError::Taken
/// [`Starting`]: crate::Phase::Starting
/// [`Ready`]: crate::Phase::Ready
/// [`Draining`]: crate::Phase::Draining
/// [`Gone`]: crate::Phase::Gone
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TableFormat {
    /// That of this crate.
    #[default]
    Native,
    /// That of Docker's NetworkDB.
    NetworkDb,
}

impl Config {
    /// The values of a profile for a member of this name.
    #[must_use]
    pub fn new(name: NodeName, profile: Profile) -> Self {
        let lan = Self::lan(name);
        let ms = Duration::from_millis;
        match profile {
            Profile::Lan => lan,
            Profile::Wan => Self {
                profile,
                probe_interval: ms(5000),
                probe_timeout: ms(3000),
                suspicion_mult: 6,
                confirmations: 4,
                gossip_interval: ms(500),
                gossip_nodes: 4,
                gossip_to_the_dead: ms(60_000),
                push_pull_interval: ms(60_000),
                reconnect_interval: ms(10_000),
                tcp_timeout: ms(30_000),
                refused_timeout: ms(2000),
                witnessed_timeout: ms(7500),
                leave_timeout: ms(3000),
                table_sync_interval: ms(5000),
                ..lan
            },
            Profile::Local => Self {
                profile,
                probe_timeout: ms(200),
                suspicion_mult: 3,
                confirmations: 1,
                indirect_checks: 1,
                retransmit_mult: 2,
                gossip_interval: ms(100),
                gossip_to_the_dead: ms(15_000),
                push_pull_interval: ms(15_000),
                tcp_timeout: ms(1000),
                ..lan
            },
            Profile::Fast => Self {
                profile,
                probe_interval: ms(500),
                probe_timeout: ms(200),
                suspicion_mult: 2,
                confirmations: 1,
                gossip_interval: ms(100),
                push_pull_interval: ms(15_000),
                reconnect_interval: ms(2000),
                tcp_timeout: ms(5000),
                witnessed_timeout: ms(750),
                leave_timeout: ms(600),
                table_sync_interval: ms(1000),
                ..lan
            },
        }
    }

    /// Turns off all that memberlist does not do, to measure what it is worth.
    #[must_use]
    pub fn without_improvements(self) -> Self {
        Self {
            verifiers: 0,
            refused_timeout: Duration::ZERO,
            witnessed_timeout: Duration::ZERO,
            self_doubt: false,
            repair: false,
            watch: 0,
            join_more: 0,
            reconnect_interval: Duration::ZERO,
            ..self
        }
    }

    /// Whether this node breaks a rule on purpose.
    #[cfg(feature = "sim")]
    pub(crate) fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "never, outside of simulations")]
    pub(crate) fn breaks(&self, _rule: Rule) -> bool {
        false
    }

    fn lan(name: NodeName) -> Self {
        Self {
            name,
            profile: Profile::Lan,
            advertise: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7946),
            meta: Bytes::new(),
            vsn: Vsn::MEMBERLIST,
            keys: Vec::new(),
            verify_incoming: true,
            verify_outgoing: true,
            label: String::new(),
            compress: false,
            boot: 0,
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            tcp_ping: true,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            confirmations: 2,
            verifiers: 8,
            refused_timeout: Duration::from_millis(500),
            refused_reports: 3,
            witnesses: 4,
            witnessed_timeout: Duration::from_millis(1500),
            self_doubt: true,
            repair: true,
            watch: 3,
            join_more: 2,
            awareness_max: 8,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            retransmit_mult: 4,
            gossip_to_the_dead: Duration::from_secs(30),
            push_pull_interval: Duration::from_secs(30),
            reconnect_interval: Duration::from_secs(5),
            tcp_timeout: Duration::from_secs(10),
            leave_timeout: Duration::from_secs(1),
            dead_reclaim: Duration::ZERO,
            dead_forget: Duration::from_secs(24 * 3600),
            packet_size: 1400,
            max_stream: 8 << 20,
            max_members: 1_000_000,
            table_format: TableFormat::Native,
            table_delay: Duration::from_millis(5),
            table_sync_interval: Duration::from_secs(2),
            tombstone: Duration::from_secs(600),
            table_retire: Duration::from_secs(10),
            max_records: 1_000_000,
            max_value: 64 << 10,
            #[cfg(feature = "sim")]
            broken: None,
        }
    }
}
