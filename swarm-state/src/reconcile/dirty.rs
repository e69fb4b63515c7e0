//! Whether a task still is what its service asks for.

use super::constraint::admitted;
use crate::State;
use crate::object::{Service, Task};

/// Whether the task must be replaced. A new placement that its node meets, and no more, does not count.
pub(crate) fn is_dirty(state: &State, service: &Service, task: &Task) -> bool {
    if task.spec_version == service.spec_version {
        return false;
    }
    let template = &service.spec.task_template;
    if task.endpoint_spec != service.endpoint.spec {
        return true;
    }
    if task.spec == *template {
        return false;
    }
    let mut moved = task.spec.clone();
    moved.placement.clone_from(&template.placement);
    if moved != *template {
        return true;
    }
    let node = task.node_id.and_then(|node| state.node(node));
    !node.is_some_and(|node| admitted(node, template.constraints()))
}
