//! `swarm-bin bench`: how fast the data plane is, against Docker's and against others, on this machine.
//!
//! ```text
//!  visible process (launch)        holds the terminal; ends everything when it ends
//!    └─ supervisor                 first process of its own PID, mount and network namespaces
//!        ├─ layouts ── for each one a pair of hosts and a pair of containers, in namespaces of their own (layout, lab)
//!        │     container ─ eth0 ─┐ host ─ eth0 ═ underlay, MTU 1500 ═ eth0 ─ host ┌─ eth0 ─ container
//!        │       client          └─ the plane under test ═══════════════════════─┘          server
//!        ├─ rounds ── for each round, each layout, each test: a pair of processes that carry traffic (measure, load)
//!        ├─ costs ── nanoseconds of the packet path in this process (micro)
//!        └─ samples ─▶ rows with median, least, most; ratios are taken within a round (report, goals)
//! ```

mod args;
mod error;
mod goals;
mod host;
mod lab;
mod launch;
mod layout;
mod load;
mod measure;
mod micro;
mod program;
mod report;
mod supervisor;

pub(crate) use args::BenchCommand;
pub(crate) use error::BenchError;
pub(crate) use host::HostArgs;
pub(crate) use load::LoadArgs;
pub(crate) use supervisor::RunArgs;
