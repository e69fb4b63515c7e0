//! Programs a Linux host: links, routes, neighbours, nf_tables and namespaces over netlink.
//!
//! Everything is desired state: say what a namespace should look like, and what differs is changed. No `ip`, `nft`,
//! `tc` or `sysctl` program is run, and inside of a user namespace no root is needed.
//!
//! ```text
//!            ┌─ namespace of the node ────────────────────┐      ┌─ of a task ─┐
//!  192.0.2.1 │  eth0 ═UDP═ ov001001 ── ob001001 ── ve1 ═══╪══════╪═ eth0       │
//!            │  (yours)    vxlan       bridge      veth   │      │ 10.0.1.5/24 │
//!            └────────────────────────────────────────────┘      └─────────────┘
//!  link::Desired ─┐                                 netns::NetNs holds a namespace by descriptor
//!                 ├─ diff ─▶ [Op] ─▶ apply          userns       root without being root
//!  link::Observed ┘                                 mount        private mounts, /proc, host name
//!  nft::…           the same for nf_tables          process      children that cannot be confused
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`netns`] | network namespaces: make, open, pin, run code inside |
//! | [`link`] | interfaces, addresses, routes, rules, neighbours, forwarding entries, sysctls |
//! | [`nft`] | nf_tables |
//! | [`conntrack`] | the connections that the kernel tracks: read and forgotten |
//! | [`user`] | overlay networks in user space: TAP and packet sockets, UDP in super-frames, sealed networks |
//! | [`userns`] | becoming root of a user namespace; leaving other namespaces |
//! | [`mount`] | the file systems of a task |
//! | [`process`] | watching and ending processes by identity, not by number |
//!
//! This is the only crate of the family with `unsafe` code; each block says why it is sound.

pub mod conntrack;
pub mod link;
pub mod mount;
pub mod netns;
pub mod nft;
pub mod process;
pub mod user;
pub mod userns;
