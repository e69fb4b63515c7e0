//! `swarm-bin demo`: a whole swarm on this machine, and the story that it plays.
//!
//! ```text
//!  visible process (launch)          holds the terminal; ends everything when it ends
//!    └─ supervisor                   first process of its own PID, mount and network namespaces
//!        │   swarm-demo ── a bridge, 192.168.99.0/24 (segment)
//!        │      ├── eth1 of master   192.168.99.100 ┐ each node: namespaces of its own, a first process (node)
//!        │      ├── eth1 of node01   192.168.99.101 │ with the daemon as its child; kill -9 of the first process
//!        │      ├── eth1 of node02   192.168.99.102 ┘ takes the whole node, as a power cut would
//!        │      └── eth1 of client   192.168.99.10    where the requests come from (client)
//!        └─ story ── talks to the daemons' sockets, kills a node, measures (summary)
//! ```

mod client;
mod error;
mod launch;
mod node;
mod plan;
mod processes;
mod segment;
mod story;
mod summary;
mod supervisor;
mod tally;
mod watch;
mod world;

pub(crate) use client::ClientArgs;
pub(crate) use error::DemoError;
pub(crate) use launch::{DemoArgs, StopArgs};
pub(crate) use node::NodeArgs;
pub(crate) use supervisor::SupervisorArgs;
