use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use overlay_core::VXLAN_PORT;
use overlay_core::seal::Session;

/// How a [`UserPlane`](super::UserPlane) works. The default suits a host with one underlay address family, IPv4.
///
/// ```
/// use overlay_linux::user::{Integrity, PlaneConfig};
///
/// let config = PlaneConfig { local: "[::]:4789".parse()?, integrity: Integrity::Inner, ..PlaneConfig::default() };
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// Where datagrams arrive, and the address that they are sent from. `0.0.0.0:4789`.
    ///
    /// `[::]` takes both address families.
    pub local: SocketAddr,
    /// The UDP port of the other hosts. 4789.
    pub remote_port: u16,
    /// How many source ports are used, one for each inner flow by hash, so that routers and network cards can spread
    /// the load. 4; at least 1.
    pub source_ports: usize,
    /// How damaged frames are recognised.
    pub integrity: Integrity,
    /// The run of this host in sealed networks: newer than that of every run before. From the time of
    /// the start, with some chance.
    pub session: Session,
    /// How long the thread looks for work before it sleeps, counted from the last time it found some. 30 µs; 0: not at
    /// all.
    ///
    /// Saves the time that waking up takes where answers come fast. Where they do not, it is tried ever more rarely; with
    /// [`Priority::RealTime`] never.
    pub busy_poll: Duration,
    /// Who waits for whom when there are more threads than processors.
    pub priority: Priority,
    /// The processor that the thread stays on; `None`: any.
    pub processor: Option<usize>,
    /// How many frames are read from a port at once, each into a buffer of 64 KiB. 32; from 1 to 1024.
    pub frames: usize,
    /// How many super-frames are read at once while they are large: small batches stay in the processor's cache. 8.
    pub large_frames: usize,
    /// How many messages are read from the underlay at once, each into a buffer of 64 KiB. 16; from 1 to 1024.
    pub messages: usize,
    /// The bytes that the underlay's sockets may queue in each direction, if the kernel lets us have them. 8 MiB.
    pub socket_buffer: usize,
}

/// How frames are recognised that were damaged on their way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Integrity {
    /// By the checksum of the outer datagram, which the kernel has verified. Datagrams without one are refused by a
    /// filter on the socket. Inner checksums are not computed: the receiving task is told that they are right.
    #[default]
    Outer,
    /// By the checksums of the inner TCP and UDP packets, computed here: for peers that send datagrams without one.
    Inner,
}

/// The scheduling of the plane's thread. What is not permitted is told in the statistics and does no harm.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Priority {
    /// As its creator.
    #[default]
    Inherited,
    /// A nice value: -20 is served first, 19 last. Below 0 needs `CAP_SYS_NICE` in the first user namespace.
    Nice(i8),
    /// Before all threads that are not real-time, with a priority of 1 to 99 (`SCHED_RR`). Needs `CAP_SYS_NICE`.
    RealTime(u8),
}

impl Default for PlaneConfig {
    fn default() -> Self {
        Self {
            local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, VXLAN_PORT)),
            remote_port: VXLAN_PORT,
            source_ports: 4,
            integrity: Integrity::default(),
            session: new_session(),
            busy_poll: Duration::from_micros(30),
            priority: Priority::default(),
            processor: None,
            frames: 32,
            large_frames: 8,
            messages: 16,
            socket_buffer: 8 << 20,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver is where time and chance come from")]
fn new_session() -> Session {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Every state of this hasher has keys of its own.
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    Session::at(since_1970, u32::from_ne_bytes([a, b, c, d]))
}
