//! Tasks sorted by service and place, once per plan.

use std::collections::BTreeMap;

use crate::object::{Place, Service, Task};
use crate::{ServiceId, State};

/// A service and its tasks.
pub(super) struct Group<'a> {
    pub(super) service: &'a Service,
    /// By place; within a place by age, the oldest first.
    pub(super) places: BTreeMap<Place, Vec<&'a Task>>,
}

impl<'a> Group<'a> {
    pub(super) fn tasks(&self) -> impl Iterator<Item = &'a Task> {
        self.places.values().flatten().copied()
    }
}

/// All services, and the tasks whose service is gone.
pub(super) struct Groups<'a> {
    groups: BTreeMap<ServiceId, Group<'a>>,
    pub(super) without_service: Vec<&'a Task>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        let group = |service: &'a Service| Group { service, places: BTreeMap::new() };
        let mut groups: BTreeMap<_, _> =
            state.services().iter().map(|(id, service)| (*id, group(service))).collect();
        let mut without_service = Vec::new();
        for task in state.tasks().values() {
            match groups.get_mut(&task.service_id) {
                Some(group) => group.places.entry(task.place()).or_default().push(task),
                None => without_service.push(task),
            }
        }
        for tasks in groups.values_mut().flat_map(|group| group.places.values_mut()) {
            tasks.sort_by_key(|task| (task.meta.created_at, task.spec_version, task.id));
        }
        Self { groups, without_service }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group<'a>> {
        self.groups.values()
    }
}
