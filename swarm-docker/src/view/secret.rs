//! Secrets and configs.

use serde::Serialize;
use swarm_state::object::{Config, Secret};
use swarm_state::spec::{ConfigSpec, SecretSpec};

use super::MetaView;

/// A secret, without what it hides.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: SecretSpec,
}

impl SecretView {
    pub fn new(secret: &Secret) -> Self {
        let spec = SecretSpec { data: String::new(), ..secret.spec.clone() };
        Self { meta: MetaView::new(&secret.id, secret.meta), spec }
    }
}

/// A config with its data.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: ConfigSpec,
}

impl ConfigView {
    pub fn new(config: &Config) -> Self {
        Self { meta: MetaView::new(&config.id, config.meta), spec: config.spec.clone() }
    }
}
