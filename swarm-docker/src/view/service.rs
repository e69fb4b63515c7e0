//! Services.

use serde::Serialize;
use swarm_state::object::{Service, UpdateStatus};
use swarm_state::spec::{
    EndpointMode, EndpointSpec, FailureAction, Nanos, PortConfig, RestartCondition, ServiceSpec,
    UpdateConfig, UpdateOrder,
};
use swarm_state::{State, Timestamp};

use super::MetaView;

/// A service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: ServiceSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_spec: Option<ServiceSpec>,
    pub endpoint: EndpointView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_status: Option<UpdateStatusView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_status: Option<ServiceStatusView>,
}

/// What clients reach.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointView {
    pub spec: EndpointSpec,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
    #[serde(rename = "VirtualIPs", skip_serializing_if = "Vec::is_empty")]
    pub virtual_ips: Vec<VirtualIpView>,
}

/// An address of a service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VirtualIpView {
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// With prefix length.
    pub addr: String,
}

/// How the last change of the template goes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStatusView {
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    pub message: String,
}

/// How many tasks there are: `?status=true`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceStatusView {
    pub running_tasks: u64,
    pub desired_tasks: u64,
    pub completed_tasks: u64,
}

impl ServiceView {
    pub fn new(service: &Service) -> Self {
        let dnsrr = service.endpoint.spec.mode() == EndpointMode::Dnsrr;
        let bare = dnsrr && service.endpoint.ports.is_empty(); // Docker allocates nothing then
        let vip = |vip: &swarm_state::object::VirtualIp| VirtualIpView {
            network_id: vip.network.to_string(),
            addr: vip.addr.to_string(),
        };
        Self {
            meta: MetaView::new(&service.id, service.meta),
            spec: shown(&service.spec),
            previous_spec: service.previous_spec.as_ref().map(shown),
            endpoint: EndpointView {
                spec: if bare { EndpointSpec::default() } else { service.endpoint.spec.clone() },
                ports: service.endpoint.ports.clone(),
                virtual_ips: service.endpoint.virtual_ips.iter().map(vip).collect(),
            },
            update_status: service.update_status.as_ref().map(update_status),
            service_status: None,
        }
    }

    /// With the numbers of tasks.
    #[must_use]
    pub fn with_status(mut self, state: &State, service: &Service) -> Self {
        let counts = state.service_counts(service);
        self.service_status = Some(ServiceStatusView {
            running_tasks: counts.running,
            desired_tasks: counts.desired,
            completed_tasks: counts.completed,
        });
        self
    }

    /// With the defaults written out that hold where the spec says nothing.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        let template = &mut self.spec.task_template;
        if let Some(container) = &mut template.container_spec {
            container.stop_grace_period = Some(container.stop_grace_period());
        }
        let mut policy = template.restart_policy();
        policy.condition.get_or_insert(RestartCondition::Any);
        policy.delay = Some(policy.delay());
        policy.max_attempts.get_or_insert(0);
        template.restart_policy = Some(policy);
        for config in [&mut self.spec.update_config, &mut self.spec.rollback_config] {
            let config =
                config.get_or_insert_with(|| UpdateConfig { parallelism: 1, ..UpdateConfig::default() });
            config.failure_action.get_or_insert(FailureAction::Pause);
            config.monitor = config.monitor.filter(|monitor| monitor.0 > 0).or(Some(Nanos::from_secs(5)));
            config.order.get_or_insert(UpdateOrder::StopFirst);
        }
        let endpoint = self.spec.endpoint_spec.get_or_insert_default();
        endpoint.mode.get_or_insert(EndpointMode::Vip);
        self
    }
}

/// The spec as Docker shows it: with the runtime, and the isolation that all containers have.
fn shown(spec: &ServiceSpec) -> ServiceSpec {
    let mut spec = spec.clone();
    if spec.task_template.runtime.is_empty() {
        spec.task_template.runtime = RUNTIME.to_owned();
    }
    if let Some(container) = &mut spec.task_template.container_spec {
        container.extra.entry(ISOLATION.0).or_insert_with(|| ISOLATION.1.into());
    }
    spec
}

/// The reverse: what clients read and send back must not look like a change.
pub(crate) fn normalised(mut spec: ServiceSpec) -> ServiceSpec {
    if spec.task_template.runtime == RUNTIME {
        spec.task_template.runtime.clear();
    }
    if let Some(container) = &mut spec.task_template.container_spec
        && container.extra.get(ISOLATION.0).is_some_and(|value| value == ISOLATION.1 || value == "")
    {
        container.extra.remove(ISOLATION.0);
    }
    spec
}

fn update_status(status: &UpdateStatus) -> UpdateStatusView {
    UpdateStatusView {
        state: status.state.as_str(),
        started_at: status.started_at,
        completed_at: status.completed_at,
        message: status.message.clone(),
    }
}

const RUNTIME: &str = "container";
const ISOLATION: (&str, &str) = ("Isolation", "default");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_and_sent_back_is_no_change() {
        let spec: ServiceSpec =
            serde_json::from_str(r#"{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"x"}}}"#).unwrap();
        assert_ne!(shown(&spec), spec);
        assert_eq!(normalised(shown(&spec)), spec);
    }
}
