//! Whether a task still is what its service asks for.

use serde_json::Value;

use super::constraint::admitted;
use crate::State;
use crate::object::{Service, Task};
use crate::spec::{EndpointSpec, Nanos, TaskSpec};

/// Whether the task must be replaced. A new placement that its node meets, and no more, does not count; neither
/// does writing out a default.
pub(crate) fn is_dirty(state: &State, service: &Service, task: &Task) -> bool {
    if task.spec_version == service.spec_version {
        return false;
    }
    let template = &service.spec.task_template;
    if !same_endpoint(&task.endpoint_spec, &service.endpoint.spec) {
        return true;
    }
    if task.spec == *template {
        return false;
    }
    if meaning(&task.spec) != meaning(template) {
        return true;
    }
    let placement = |spec: &TaskSpec| spec.placement.clone().unwrap_or_default();
    if placement(&task.spec) == placement(template) {
        return false;
    }
    let node = task.node_id.and_then(|node| state.node(node));
    !node.is_some_and(|node| admitted(node, template.constraints()))
}

fn same_endpoint(a: &EndpointSpec, b: &EndpointSpec) -> bool {
    let same = |(a, b): (&crate::spec::PortConfig, &crate::spec::PortConfig)| {
        (a.protocol(), a.mode(), a.target_port, a.published_port)
            == (b.protocol(), b.mode(), b.target_port, b.published_port)
    };
    a.mode() == b.mode() && a.ports.len() == b.ports.len() && a.ports.iter().zip(&b.ports).all(same)
}

/// The spec without its placement, with defaults written out and everything empty left out.
fn meaning(spec: &TaskSpec) -> Value {
    let mut spec = TaskSpec { placement: None, ..spec.clone() };
    let mut policy = spec.restart_policy();
    policy.condition = Some(policy.condition());
    policy.delay = Some(policy.delay());
    spec.restart_policy = Some(policy);
    if spec.runtime == "container" {
        spec.runtime.clear();
    }
    if let Some(container) = &mut spec.container_spec {
        container.stop_grace_period = Some(container.stop_grace_period.unwrap_or(Nanos::from_secs(10)));
        if container.extra.get("Isolation").is_some_and(|isolation| isolation == "default") {
            container.extra.remove("Isolation");
        }
    }
    prune(serde_json::to_value(spec).unwrap_or_default())
}

/// Leaves out what is null, empty, zero or false.
fn prune(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, prune(value)));
            Value::Object(fields.filter(|(key, value)| key == "Init" || !says_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(prune).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
