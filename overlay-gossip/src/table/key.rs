//! Names of rows.

use std::sync::Arc;

/// Names a row in a network.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct RowKey {
    pub(crate) table: Arc<str>,
    pub(crate) key: Arc<str>,
}

impl RowKey {
    pub(crate) fn new(table: &str, key: &str) -> Self {
        Self { table: Arc::from(table), key: Arc::from(key) }
    }
}
