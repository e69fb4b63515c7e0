//! Encrypted networks: every datagram authenticated and encrypted, or dropped.
//!
//! ```text
//!   a frame ── Seal::seal(vni, buffer) ──▶ datagram ═══ UDP 4789 ═══▶ Seal::open(from, payload) ── Opened ──▶ Vtep
//!                 ▲                                                       │
//!   you ── set_keys(vni, active, keys)                                    └──▶ OpenError: dropped, counted
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | `key` | [`Algorithm`], [`KeyId`], [`SealKey`], and [`Session`], the sender's run |
//! | `header` | the 24 bytes in front of the ciphertext |
//! | `derive` | how a network's key becomes the keys that seal datagrams |
//! | `window` | which counters of a session were seen |
//! | `sessions` | the runs of other hosts: their keys and windows, which of them are superseded |
//! | `stats` | why a datagram was refused, and how often |
//!
//! The format, its limits and test vectors are specified in `docs/specs/sealed-vxlan.md`.
//!
//! ```
//! use overlay_core::Vni;
//! use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
//!
//! let vni = Vni::new(4097)?;
//! let keys = [(KeyId::new(1), SealKey::new(Algorithm::Aes128Gcm, &[7; 16])?)].into();
//! let (mut a, mut b) = (Seal::new(Session::new(1)), Seal::new(Session::new(2)));
//! a.set_keys(vni, KeyId::new(1), &keys)?;
//! b.set_keys(vni, KeyId::new(1), &keys)?;
//!
//! let mut datagram = [&[0; Seal::HEADER_LEN][..], b"an Ethernet frame", &[0; Seal::TAG_LEN]].concat();
//! a.seal(vni, &mut datagram)?;
//! let mut replay = datagram.clone();
//! let opened = b.open([192, 0, 2, 1].into(), &mut datagram)?;
//! assert_eq!((opened.vni(), opened.frame()), (vni, &b"an Ethernet frame"[..]));
//! assert!(b.open([192, 0, 2, 1].into(), &mut replay).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derive;
mod header;
mod key;
mod sessions;
mod state;
mod stats;
mod window;

pub use key::{Algorithm, AlgorithmError, KeyError, KeyId, SealKey, Session};
pub use state::{Opened, Seal, SealError};
pub use stats::{OpenError, SealStats};
