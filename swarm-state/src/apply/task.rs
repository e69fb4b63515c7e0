//! Tasks: created by plans, moved by reports.

use super::address::{attachments, task_networks, task_owner};
use super::{change, first_task_wants, task_wants};
use crate::object::{ContainerStatus, Meta, Service, Task, TaskState, TaskStatus};
use crate::{
    Change, ChangeEvent, CreateTask, NodeId, ObjectKind, State, TaskId, TaskStatusUpdate, Timestamp, Value,
};

impl State {
    pub(super) fn update_task_statuses(
        &mut self,
        out: &mut Vec<Change>,
        node: NodeId,
        updates: &[TaskStatusUpdate],
    ) -> Value {
        let mut skipped = 0;
        for update in updates {
            if !self.update_task_status(out, node, update) {
                skipped += 1;
            }
        }
        Value::Skipped(skipped)
    }

    fn update_task_status(&mut self, out: &mut Vec<Change>, node: NodeId, update: &TaskStatusUpdate) -> bool {
        let (index, now) = (self.index, self.now);
        let Some(task) = self.tasks.get_mut(&update.task) else { return false };
        let reportable =
            update.status.state > TaskState::Assigned && update.status.state != TaskState::Remove;
        if task.node_id != Some(node)
            || !reportable
            || update.status.state < task.status.state
            || task.has_ended()
        {
            return false;
        }
        let reported = bounded(&update.status);
        if task.status == reported {
            return true;
        }
        if update.status.state == TaskState::Running && task.running_since.is_none() {
            task.running_since = Some(now);
        }
        let before = task.status.state;
        task.status = reported;
        task.ended_at = task.has_ended().then_some(now);
        task.meta.touch(index, now);
        let mut updated = change(ObjectKind::Task, task.id, &task.name, ChangeEvent::Updated);
        if before != task.status.state {
            updated.details.push(("state".to_owned(), before.to_string(), task.status.state.to_string()));
        }
        out.push(updated);
        if task.has_ended() {
            self.free_addresses(out, update.task);
        }
        true
    }

    pub(super) fn create_task(&mut self, out: &mut Vec<Change>, op: &CreateTask) -> bool {
        let Some(service) = self.services.get(&op.service) else { return false };
        let place_fits = if service.spec.mode.is_global() {
            op.slot == 0 && op.node.is_some_and(|node| self.nodes.contains_key(&node))
        } else {
            op.slot > 0 && op.node.is_none()
        };
        if !place_fits
            || service.spec_version != op.spec_version
            || self.tasks.contains_key(&op.task)
            || self.place_is_taken(op)
        {
            return false;
        }
        let service = service.clone();
        let mut task = new_task(&service, op, Meta::new(self.index, self.now));
        out.push(change(ObjectKind::Task, op.task, &task.name, ChangeEvent::Created));
        self.give_addresses(&service, &mut task);
        self.tasks.insert(task.id, task);
        true
    }

    pub(super) fn allocate_task(&mut self, out: &mut Vec<Change>, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let Some(service) = self.services.get(&task.service_id) else { return false };
        if task.status.state != TaskState::New {
            return false;
        }
        let (service, mut task) = (service.clone(), task.clone());
        self.give_addresses(&service, &mut task);
        let given = task.status.state == TaskState::Pending;
        if given {
            task.meta.touch(self.index, self.now);
            out.push(change(ObjectKind::Task, id, &task.name, ChangeEvent::Updated));
            self.tasks.insert(id, task);
        }
        given
    }

    pub(super) fn assign_task(&mut self, out: &mut Vec<Change>, id: TaskId, node: NodeId) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let Some(target) = self.nodes.get(&node) else { return false };
        let free = task.node_id.is_none_or(|preset| preset == node);
        if task.status.state != TaskState::Pending || !task.is_wanted() || !free || !target.takes_tasks() {
            return false;
        }
        let networks: Vec<_> = task.networks.iter().map(|attachment| attachment.network_id).collect();
        match self.attach_node(node, &networks) {
            Ok(true) => self.node_changed(out, node),
            Ok(false) => {}
            Err(denied) => {
                let err = format!("no address for node {node}: {}", self.in_words(&denied));
                return self.note(out, id, "pending task scheduling", &err);
            }
        }
        let now = self.now;
        self.change_task(out, id, |task| {
            task.node_id = Some(node);
            task.status = status(now, TaskState::Assigned, "scheduler assigned task to node");
        })
    }

    /// Asks for a later state; never for an earlier one.
    pub(super) fn set_desired(&mut self, out: &mut Vec<Change>, id: TaskId, state: TaskState) -> bool {
        let allowed =
            matches!(state, TaskState::Ready | TaskState::Running | TaskState::Shutdown | TaskState::Remove);
        match self.tasks.get(&id) {
            Some(task) if allowed && task.desired_state < state => {
                self.change_task(out, id, |task| task.desired_state = state)
            }
            Some(_) | None => false,
        }
    }

    /// Sets what no node reports.
    pub(super) fn set_status(
        &mut self,
        out: &mut Vec<Change>,
        id: TaskId,
        state: Option<TaskState>,
        (message, err): (&str, &str),
    ) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let Some(state) = state else {
            return task.status.state <= TaskState::Pending && self.note(out, id, message, err);
        };
        let ends = match state {
            TaskState::Shutdown => task.status.state < TaskState::Assigned && !task.is_wanted(),
            TaskState::Orphaned => task.status.state <= TaskState::Running && !self.node_is_there(task),
            TaskState::Rejected => task.status.state < TaskState::Assigned,
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Complete
            | TaskState::Failed
            | TaskState::Remove => false,
        };
        if !ends {
            return false;
        }
        self.change_task(out, id, |task| err.clone_into(&mut task.status.err));
        self.end_task(out, id, state, message);
        self.free_addresses(out, id);
        true
    }

    pub(super) fn remove_task(&mut self, out: &mut Vec<Change>, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let never_began = task.status.state < TaskState::Assigned && !task.is_wanted();
        if !never_began && !task.has_ended() {
            return false;
        }
        self.release_all(task_owner(id));
        if let Some(task) = self.tasks.remove(&id) {
            out.push(change(ObjectKind::Task, id, &task.name, ChangeEvent::Removed));
        }
        true
    }

    /// Changes the texts of a task's status.
    fn note(&mut self, out: &mut Vec<Change>, id: TaskId, message: &str, err: &str) -> bool {
        let same = |task: &Task| task.status.message == message && task.status.err == err;
        if self.tasks.get(&id).is_none_or(same) {
            return false;
        }
        self.change_task(out, id, |task| {
            message.clone_into(&mut task.status.message);
            err.clone_into(&mut task.status.err);
        })
    }

    fn change_task(&mut self, out: &mut Vec<Change>, id: TaskId, change_it: impl FnOnce(&mut Task)) -> bool {
        let (index, now) = (self.index, self.now);
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        change_it(task);
        task.meta.touch(index, now);
        out.push(change(ObjectKind::Task, id, &task.name, ChangeEvent::Updated));
        true
    }

    /// A new task gets an address in each of its networks, or waits without any.
    fn give_addresses(&mut self, service: &Service, task: &mut Task) {
        let networks = task_networks(self, service);
        let wants = task_wants(self, service, task.id);
        let first = first_task_wants(self, service, task.id);
        let room = if first.len() > wants.len() { self.room_for(first) } else { Ok(()) };
        match room.and_then(|()| self.acquire(wants)) {
            Ok(leases) => {
                task.networks = attachments(&networks, &leases);
                task.status = status(self.now, TaskState::Pending, "pending task scheduling");
            }
            Err(denied) => {
                task.status.timestamp = self.now;
                "created".clone_into(&mut task.status.message);
                task.status.err = format!("could not find an available IP: {}", self.in_words(&denied));
            }
        }
    }

    fn free_addresses(&mut self, out: &mut Vec<Change>, id: TaskId) {
        self.release_all(task_owner(id));
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.networks.clear();
        let Some(node) = task.node_id else { return };
        if self.detach_node(node) {
            self.node_changed(out, node);
        }
    }

    /// Whether another task is meant to run in that place.
    fn place_is_taken(&self, op: &CreateTask) -> bool {
        let here = self.tasks.values().filter(|task| {
            task.service_id == op.service && task.slot == op.slot && (op.slot > 0 || task.node_id == op.node)
        });
        here.into_iter().any(|task| task.is_wanted() && Some(task.id) != op.replaces)
    }

    fn node_is_there(&self, task: &Task) -> bool {
        let node = task.node_id.and_then(|node| self.nodes.get(&node));
        node.is_some_and(|node| node.status.state != crate::spec::NodeState::Down)
    }
}

fn new_task(service: &Service, op: &CreateTask, meta: Meta) -> Task {
    let place = op.node.map_or_else(|| op.slot.to_string(), |node| node.to_string());
    Task {
        id: op.task,
        meta,
        service_id: op.service,
        name: format!("{}.{place}", service.spec.name),
        slot: op.slot,
        node_id: op.node,
        spec: service.spec.task_template.clone(),
        endpoint_spec: service.endpoint.spec.clone(),
        spec_version: service.spec_version,
        status: TaskStatus::default(),
        desired_state: op.desired.clamp(TaskState::Ready, TaskState::Running),
        not_before: op.not_before,
        running_since: None,
        ended_at: None,
        networks: Vec::new(),
    }
}

/// What a node reports is kept up to a limit: the state must not grow without bound.
fn bounded(status: &TaskStatus) -> TaskStatus {
    let cut = |text: &str| text.chars().take(TEXT).collect::<String>();
    let container = status.container.as_ref().map(|c| ContainerStatus { id: cut(&c.id), ..c.clone() });
    let port_status = status.port_status.iter().take(PORTS).cloned().collect();
    let (message, err) = (cut(&status.message), cut(&status.err));
    TaskStatus { message, err, container, port_status, ..status.clone() }
}

fn status(timestamp: Timestamp, state: TaskState, message: &str) -> TaskStatus {
    TaskStatus { timestamp, state, message: message.to_owned(), ..TaskStatus::default() }
}

/// Characters of a text that a node reports.
const TEXT: usize = 1024;
/// Ports that a node reports for one task.
const PORTS: usize = 1024;
