//! Services.

use super::address::{ingress_of, network_key, vip_owner, virtual_ips};
use super::names::check_dns_name;
use super::{change, in_sequence, not_found};
use crate::object::{Endpoint, Meta, Service, TaskState, UpdateState, UpdateStatus, VirtualIp};
use crate::reconcile::parse_constraint;
use crate::spec::{NetworkTarget, ServiceSpec};
use crate::{
    Change, ChangeEvent, NetworkId, ObjectKind, Rejection, RejectionKind, ServiceId, State, TaskId, Value,
};

impl State {
    pub(super) fn create_service(
        &mut self,
        out: &mut Vec<Change>,
        id: ServiceId,
        spec: &ServiceSpec,
    ) -> Result<Value, Rejection> {
        check_dns_name(&spec.name)?;
        if self.services.contains_key(&id) || self.services.values().any(|known| known.spec.name == spec.name)
        {
            let text =
                format!("name conflicts with an existing object: service {} already exists", spec.name);
            return Err(Rejection::rpc(RejectionKind::AlreadyExists, text));
        }
        let mut filled = spec.clone();
        filled.fill_replicas();
        let spec = &filled;
        let service = Service {
            id,
            meta: Meta::new(self.index, self.now),
            spec: spec.clone(),
            spec_version: self.index,
            previous_spec: None,
            endpoint: Endpoint::default(),
            update_status: None,
        };
        self.settle(service, spec)?;
        out.push(change(ObjectKind::Service, id, &spec.name, ChangeEvent::Created));
        Ok(Value::Done)
    }

    /// `spec` is `None` to go back to the previous one.
    pub(super) fn update_service(
        &mut self,
        out: &mut Vec<Change>,
        id: ServiceId,
        version: u64,
        spec: Option<&ServiceSpec>,
    ) -> Result<Value, Rejection> {
        let known = self.services.get(&id).ok_or_else(|| not_found(ObjectKind::Service, id))?;
        in_sequence(version, known.meta.version)?;
        let mut service = known.clone();
        let wanted = match spec {
            Some(spec) => {
                service.update_status = None;
                let mut spec = spec.clone();
                spec.fill_replicas();
                spec
            }
            None => {
                let text = format!("service {id} does not have a previous spec");
                let none = || Rejection::rpc(RejectionKind::FailedPrecondition, text);
                service.update_status = Some(rollback_started(self, "manually requested rollback"));
                service.previous_spec.clone().ok_or_else(none)?
            }
        };
        self.change_service(out, service, &wanted)?;
        Ok(Value::Done)
    }

    pub(super) fn remove_service(
        &mut self,
        out: &mut Vec<Change>,
        id: ServiceId,
    ) -> Result<Value, Rejection> {
        let service = self.services.remove(&id).ok_or_else(|| not_found(ObjectKind::Service, id))?;
        self.release_all(vip_owner(id));
        self.free_ports(&service.endpoint);
        let tasks: Vec<TaskId> =
            self.tasks.values().filter(|task| task.service_id == id).map(|task| task.id).collect();
        for task in tasks {
            self.set_desired(out, task, TaskState::Remove);
        }
        out.push(change(ObjectKind::Service, id, &service.spec.name, ChangeEvent::Removed));
        Ok(Value::Done)
    }

    /// Goes back to the previous spec because the update failed; stops the update if that cannot be had any more.
    pub(super) fn roll_back(&mut self, out: &mut Vec<Change>, id: ServiceId, message: &str) -> bool {
        let Some(known) = self.services.get(&id) else { return false };
        let Some(wanted) = known.previous_spec.clone() else { return false };
        let (mut service, spec_version) = (known.clone(), known.spec_version);
        let started_at = known.update_status.as_ref().and_then(|status| status.started_at);
        service.update_status = Some(rollback_started(self, message));
        let Err(rejection) = self.change_service(out, service, &wanted) else { return true };
        let message = format!("update paused because it cannot be rolled back: {rejection}");
        let status = UpdateStatus { state: UpdateState::Paused, started_at, completed_at: None, message };
        self.set_update_status(out, id, spec_version, Some(&status))
    }

    /// Makes `wanted` the spec of a service that exists.
    fn change_service(
        &mut self,
        out: &mut Vec<Change>,
        mut service: Service,
        wanted: &ServiceSpec,
    ) -> Result<(), Rejection> {
        let refuse = |text: &str| Err(Rejection::rpc(RejectionKind::Unimplemented, text));
        if wanted.name != service.spec.name {
            return refuse("renaming services is not supported");
        }
        if std::mem::discriminant(&wanted.mode) != std::mem::discriminant(&service.spec.mode) {
            return refuse("service mode change is not allowed");
        }
        service.previous_spec = Some(service.spec.clone());
        service.spec_version = self.index;
        service.meta.touch(self.index, self.now);
        let (id, name) = (service.id, service.spec.name.clone());
        let mut updated = change(ObjectKind::Service, id, &name, ChangeEvent::Updated);
        if service.spec.replicas() != wanted.replicas() {
            let text = |spec: &ServiceSpec| spec.replicas().map(|n| n.to_string()).unwrap_or_default();
            updated.details.push(("replicas".to_owned(), text(&service.spec), text(wanted)));
        }
        let image = |spec: &ServiceSpec| spec.task_template.container_spec.as_ref().map(|c| c.image.clone());
        if image(&service.spec) != image(wanted) {
            let text = |spec: &ServiceSpec| image(spec).unwrap_or_default();
            updated.details.push(("image".to_owned(), text(&service.spec), text(wanted)));
        }
        self.settle(service, wanted)?;
        out.push(updated);
        Ok(())
    }

    /// Checks a spec, takes what it needs, frees what it needs no more, and stores the service.
    fn settle(&mut self, mut service: Service, wanted: &ServiceSpec) -> Result<(), Rejection> {
        let endpoint = wanted.endpoint();
        self.check_template(wanted)?;
        self.check_ports(service.id, &endpoint)?;
        if endpoint.ingress_ports().next().is_some() && ingress_of(self).is_none() {
            let text = "service needs ingress network, but no ingress network is present";
            return Err(Rejection::rpc(RejectionKind::FailedPrecondition, text));
        }
        service.spec = self.with_network_ids(wanted)?;
        let (ports, spaces) = self.resolve_ports(&endpoint, &service.endpoint)?;
        let wants = self.vip_wants(&service);
        let leases = self.acquire(wants).map_err(|denied| {
            let reason = self.in_words(&denied);
            let text = format!("could not find an available IP while allocating VIP: {reason}");
            Rejection::rpc(RejectionKind::ResourceExhausted, text)
        })?;
        self.ports = spaces;
        let virtual_ips = virtual_ips(self, &leases);
        let kept = |old: &VirtualIp| virtual_ips.iter().any(|vip| vip.network == old.network);
        for old in service.endpoint.virtual_ips.iter().filter(|old| !kept(old)) {
            if self.networks.contains_key(&old.network) {
                self.release(old.network, vip_owner(service.id));
            }
        }
        service.endpoint = Endpoint { spec: endpoint, ports, virtual_ips };
        self.services.insert(service.id, service);
        Ok(())
    }

    fn check_template(&self, spec: &ServiceSpec) -> Result<(), Rejection> {
        let invalid = |text: String| Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
        let Some(container) = &spec.task_template.container_spec else {
            return invalid("TaskSpec: missing runtime".to_owned());
        };
        if container.image.is_empty() {
            return invalid("ContainerSpec: image reference must be provided".to_owned());
        }
        for constraint in spec.task_template.constraints() {
            if let Err(error) = parse_constraint(constraint) {
                return invalid(error.to_string());
            }
        }
        for secret in &container.secrets {
            if !secret.secret_id.parse().is_ok_and(|id| self.secrets.contains_key(&id)) {
                return invalid(format!("secret not found: {}", secret.secret_name));
            }
        }
        for config in &container.configs {
            if !config.config_id.parse().is_ok_and(|id| self.configs.contains_key(&id)) {
                return invalid(format!("config not found: {}", config.config_name));
            }
        }
        Ok(())
    }

    /// The spec with ids instead of names of networks.
    fn with_network_ids(&self, spec: &ServiceSpec) -> Result<ServiceSpec, Rejection> {
        let mut spec = spec.clone();
        for target in spec.task_template.networks.iter_mut().chain(&mut spec.networks) {
            target.target = self.target_network(target)?.to_string();
        }
        Ok(spec)
    }

    fn target_network(&self, target: &NetworkTarget) -> Result<NetworkId, Rejection> {
        let by_id = target.target.parse().ok().and_then(|id: NetworkId| self.networks.get(&id));
        let mut all = self.networks.values();
        let found = by_id.or_else(|| all.find(|network| network.spec.name == target.target));
        let Some(network) = found else { return Err(not_found(ObjectKind::Network, &target.target)) };
        if network.is_ingress() {
            let name = &network.spec.name;
            let text = format!("Service cannot be explicitly attached to the ingress network {name:?}");
            return Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
        }
        if self.ipam.subnets(&network_key(network.id)).is_empty() {
            return Err(not_found(ObjectKind::Network, &target.target));
        }
        Ok(network.id)
    }
}

fn rollback_started(state: &State, message: &str) -> UpdateStatus {
    UpdateStatus {
        state: UpdateState::RollbackStarted,
        started_at: Some(state.now),
        completed_at: None,
        message: message.to_owned(),
    }
}
