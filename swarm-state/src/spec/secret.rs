//! Secrets and configs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lenient::nullable;
use super::{Extra, Labels};

/// The body of `POST /secrets/create`. Its `Debug` hides the data.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SecretSpec {
    /// Unique among secrets.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// Base 64, at most 500 KiB before it; never shown by the API.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The body of `POST /configs/create`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConfigSpec {
    /// Unique among configs.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// Base 64, at most 1000 KiB before it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}
