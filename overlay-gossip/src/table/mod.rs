//! Replicated tables: what each node says about what it runs, known to all nodes of a network.
//!
//! | module | concern |
//! |---|---|
//! | `own` | the native tables |
//! | `record`, `watch` | what readers get |

mod key;
mod limits;
mod own;
mod record;
mod watch;

use std::collections::BTreeSet;

use bytes::Bytes;

pub(crate) use self::own::{Tables, hash, is_ours};
pub use self::record::{Phase, PhaseError, Record};
pub use self::watch::{RecordChange, Watch};

use self::key::RowKey;
use self::limits::Limits;
use crate::{NetworkId, NodeName};

/// Why a record was not published. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum PublishError {
    /// Tables and keys have at most 255 bytes, and a table has at least one.
    #[error("a table has 1 to 255 bytes (not {table}) and a key at most 255 (not {key})")]
    Name { table: usize, key: usize },
    /// The value is longer than [`Config::max_value`].
    #[error("a value has at most {max} bytes, not {len}")]
    Value { len: usize, max: usize },
    /// There are [`Config::max_records`] records.
    #[error("there are {max} records already")]
    Full { max: usize },
    /// A phase goes forward only; withdraw the record to start again.
    #[error("the record is {from}, it cannot become {to}")]
    Backwards { from: Phase, to: Phase },
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Members or attachments.
    pub members: bool,
    /// Tables, by network and name.
    pub tables: BTreeSet<(NetworkId, String)>,
}

/// A message for another node.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) to: NodeName,
    pub(crate) body: Bytes,
}
