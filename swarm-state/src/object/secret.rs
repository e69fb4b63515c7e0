//! Secrets and configs.

use serde::{Deserialize, Serialize};

use super::Meta;
use crate::spec::{ConfigSpec, SecretSpec};
use crate::{ConfigId, SecretId};

/// A secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Version and times.
    pub meta: Meta,
    /// Name, labels and data.
    pub spec: SecretSpec,
}

/// A config.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Its id.
    pub id: ConfigId,
    /// Version and times.
    pub meta: Meta,
    /// Name, labels and data.
    pub spec: ConfigSpec,
}
