use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// One running task of a service as everyone on the network sees it.
///
/// ```
/// use overlay_lb::{Endpoint, Phase, Protocol, PublishedPort};
///
/// let web = Endpoint {
///     id: "t1".into(),
///     service_id: "s1".into(),
///     service_name: "web".into(),
///     task_name: "web.1.t1".into(),
///     node: "node-1".into(),
///     addresses: vec!["10.0.1.3".parse()?],
///     vips: vec!["10.0.1.2".parse()?],
///     aliases: vec!["www".into()],
///     ports: vec![PublishedPort { protocol: Protocol::Tcp, published: 8080, target: 80 }],
///     phase: Phase::Ready,
/// };
/// assert!(web.takes_new_flows());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Endpoint {
    /// Names the task in the whole cluster.
    pub id: String,
    /// The service that the task belongs to; empty for a container on its own.
    pub service_id: String,
    /// What clients call the service; empty for a container on its own.
    pub service_name: String,
    /// What clients call this task alone: `web.1.x7k…`.
    pub task_name: String,
    /// The node that the task runs on.
    pub node: String,
    /// The task's own addresses on this network.
    pub addresses: Vec<IpAddr>,
    /// The service's virtual addresses on this network; none if clients shall see the tasks (`dnsrr`).
    pub vips: Vec<IpAddr>,
    /// Further names that clients may use for the service.
    pub aliases: Vec<String>,
    /// The ports that every node of the cluster offers for this service.
    pub ports: Vec<PublishedPort>,
    /// Where the task is in its life.
    pub phase: Phase,
}

/// A port that is open on every node, and the port that the task listens on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PublishedPort {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// What clients connect to, on any node.
    pub published: u16,
    /// What the task listens on.
    pub target: u16,
}

/// The transport protocols that have ports.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
    /// Stream Control Transmission Protocol.
    Sctp,
}

/// Where a task is in its life; it only ever moves down this list.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It runs, but is not known to be healthy.
    Starting,
    /// It takes new flows.
    Ready,
    /// It keeps its flows and takes no new ones.
    Draining,
    /// It is no more.
    Gone,
}

/// A text that names no [`Protocol`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is none of tcp, udp, sctp")]
pub struct UnknownProtocol(pub String);

/// A text that names no [`Phase`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is none of starting, ready, draining, gone")]
pub struct UnknownPhase(pub String);

impl Endpoint {
    /// Whether a new flow may be sent to the task.
    #[must_use]
    pub fn takes_new_flows(&self) -> bool {
        self.phase == Phase::Ready
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.published, self.target, self.protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(UnknownProtocol(text.to_owned())),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        match text {
            "starting" => Ok(Self::Starting),
            "ready" => Ok(Self::Ready),
            "draining" => Ok(Self::Draining),
            "gone" => Ok(Self::Gone),
            _ => Err(UnknownPhase(text.to_owned())),
        }
    }
}
