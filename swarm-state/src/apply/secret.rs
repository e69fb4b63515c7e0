//! Secrets and configs.

use super::names::check_file_name;
use super::{change, in_sequence, not_found};
use crate::object::{Config, Meta, Secret};
use crate::spec::{ConfigSpec, Labels, SecretSpec};
use crate::{Change, ChangeEvent, ConfigId, ObjectKind, Rejection, RejectionKind, SecretId, State, Value};

impl State {
    pub(super) fn create_secret(
        &mut self,
        out: &mut Vec<Change>,
        id: SecretId,
        spec: &SecretSpec,
    ) -> Result<Value, Rejection> {
        check_file_name(&spec.name)?;
        check_size("secret", &spec.data, SECRET_BYTES)?;
        if self.secrets.contains_key(&id) || self.secrets.values().any(|known| known.spec.name == spec.name) {
            return Err(exists("secret", &spec.name));
        }
        self.secrets.insert(id, Secret { id, meta: Meta::new(self.index, self.now), spec: spec.clone() });
        out.push(change(ObjectKind::Secret, id, &spec.name, ChangeEvent::Created));
        Ok(Value::Done)
    }

    pub(super) fn update_secret(
        &mut self,
        out: &mut Vec<Change>,
        id: SecretId,
        version: u64,
        labels: &Labels,
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        let secret = self.secrets.get_mut(&id).ok_or_else(|| not_found(ObjectKind::Secret, id))?;
        in_sequence(version, secret.meta.version)?;
        secret.spec.labels = labels.clone();
        secret.meta.touch(index, now);
        out.push(change(ObjectKind::Secret, id, &secret.spec.name, ChangeEvent::Updated));
        Ok(Value::Done)
    }

    pub(super) fn remove_secret(&mut self, out: &mut Vec<Change>, id: SecretId) -> Result<Value, Rejection> {
        let secret = self.secrets.get(&id).ok_or_else(|| not_found(ObjectKind::Secret, id))?;
        let name = secret.spec.name.clone();
        let users =
            self.names_of_services(|container| container.secrets.iter().any(|s| s.secret_id == id.as_str()));
        unused("secret", &name, &users)?;
        self.secrets.remove(&id);
        out.push(change(ObjectKind::Secret, id, &name, ChangeEvent::Removed));
        Ok(Value::Done)
    }

    pub(super) fn create_config(
        &mut self,
        out: &mut Vec<Change>,
        id: ConfigId,
        spec: &ConfigSpec,
    ) -> Result<Value, Rejection> {
        check_file_name(&spec.name)?;
        check_size("config", &spec.data, CONFIG_BYTES)?;
        if self.configs.contains_key(&id) || self.configs.values().any(|known| known.spec.name == spec.name) {
            return Err(exists("config", &spec.name));
        }
        self.configs.insert(id, Config { id, meta: Meta::new(self.index, self.now), spec: spec.clone() });
        out.push(change(ObjectKind::Config, id, &spec.name, ChangeEvent::Created));
        Ok(Value::Done)
    }

    pub(super) fn update_config(
        &mut self,
        out: &mut Vec<Change>,
        id: ConfigId,
        version: u64,
        labels: &Labels,
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        let config = self.configs.get_mut(&id).ok_or_else(|| not_found(ObjectKind::Config, id))?;
        in_sequence(version, config.meta.version)?;
        config.spec.labels = labels.clone();
        config.meta.touch(index, now);
        out.push(change(ObjectKind::Config, id, &config.spec.name, ChangeEvent::Updated));
        Ok(Value::Done)
    }

    pub(super) fn remove_config(&mut self, out: &mut Vec<Change>, id: ConfigId) -> Result<Value, Rejection> {
        let config = self.configs.get(&id).ok_or_else(|| not_found(ObjectKind::Config, id))?;
        let name = config.spec.name.clone();
        let users =
            self.names_of_services(|container| container.configs.iter().any(|c| c.config_id == id.as_str()));
        unused("config", &name, &users)?;
        self.configs.remove(&id);
        out.push(change(ObjectKind::Config, id, &name, ChangeEvent::Removed));
        Ok(Value::Done)
    }

    fn names_of_services(&self, uses: impl Fn(&crate::spec::ContainerSpec) -> bool) -> Vec<&str> {
        let users = self
            .services
            .values()
            .filter(|s| s.spec.task_template.container_spec.as_ref().is_some_and(&uses));
        users.map(|service| service.spec.name.as_str()).collect()
    }
}

fn check_size(kind: &str, base64: &str, limit: usize) -> Result<(), Rejection> {
    if base64.len() / 4 * 3 <= limit + 2 {
        return Ok(());
    }
    let text = format!("{kind} data must be at most {limit} bytes");
    Err(Rejection::rpc(RejectionKind::InvalidArgument, text))
}

fn exists(kind: &str, name: &str) -> Rejection {
    Rejection::rpc(RejectionKind::AlreadyExists, format!("{kind} {name} already exists"))
}

fn unused(kind: &str, name: &str, users: &[&str]) -> Result<(), Rejection> {
    if users.is_empty() {
        return Ok(());
    }
    let services = if users.len() == 1 { "service" } else { "services" };
    let text = format!("{kind} '{name}' is in use by the following {services}: {}", users.join(", "));
    Err(Rejection::rpc(RejectionKind::InvalidArgument, text))
}

/// 500 KiB, as Docker.
const SECRET_BYTES: usize = 500 * 1024;
/// 1000 KiB, as Docker.
const CONFIG_BYTES: usize = 1000 * 1024;
