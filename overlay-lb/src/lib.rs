//! Where a flow goes and what a name means: decided from one snapshot, without touching a byte.
//!
//! ```text
//!                                   ┌─ vip_plan()        a virtual IP → its ready tasks, inside of a task's namespace
//!   every task of a network ─▶ View ┼─ mesh_plan(node)   a published port → nodes by hash, then a task of that node
//!   (Endpoint, Phase)               └─ dns::answer(..)   a name → virtual IPs or task addresses, never someone else's
//! ```
//!
//! All three readers see the same [`View`], so a task that drains leaves the virtual IP, the mesh and the names in one
//! step. Equal views give equal plans on every node: nothing here is drawn by chance or remembers an earlier answer.
//!
//! | module | what it decides |
//! |---|---|
//! | [`dns`] | the answer to one question about a name |
//! | the root | [`View`] and the plans; [`slots`], a weighted Maglev table |
#![forbid(unsafe_code)]

pub mod dns;
mod endpoint;
mod maglev;
mod mesh;
mod view;
mod vip;

pub use endpoint::{Endpoint, Phase, Protocol, PublishedPort, UnknownPhase, UnknownProtocol};
pub use maglev::slots;
pub use mesh::{MeshPlan, PortPlan, slot_count};
pub use view::{Conflict, Service, View};
pub use vip::VipPlan;
