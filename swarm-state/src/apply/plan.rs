//! Plans: each step is checked by itself; what does not fit any more is skipped.

use super::change;
use crate::object::{SealSecret, UpdateStatus};
use crate::{Change, ChangeEvent, ObjectKind, ServiceId, State, TaskOp, Value};

impl State {
    pub(super) fn plan<'c>(
        &mut self,
        out: &mut Vec<Change>,
        ops: &[TaskOp],
        mut random: impl Iterator<Item = &'c SealSecret>,
    ) -> Value {
        let mut skipped = 0;
        for op in ops {
            if !self.step(out, op, &mut random) {
                skipped += 1;
            }
        }
        self.last_plan = self.index;
        Value::Skipped(skipped)
    }

    fn step<'c>(
        &mut self,
        out: &mut Vec<Change>,
        op: &TaskOp,
        random: &mut impl Iterator<Item = &'c SealSecret>,
    ) -> bool {
        match op {
            TaskOp::Create(create) => create.basis >= self.last_plan && self.create_task(out, create),
            TaskOp::Allocate { task } => self.allocate_task(out, *task),
            TaskOp::Assign { task, node } => self.assign_task(out, *task, *node),
            TaskOp::SetDesired { task, state } => self.set_desired(out, *task, *state),
            TaskOp::SetStatus { task, state, message, err } => {
                self.set_status(out, *task, *state, (message, err))
            }
            TaskOp::Remove { task } => self.remove_task(out, *task),
            TaskOp::SetUpdateStatus { service, spec_version, status } => {
                self.set_update_status(out, *service, *spec_version, status.as_ref())
            }
            TaskOp::Rollback { service, spec_version, message } => {
                self.is_at(*service, *spec_version) && self.roll_back(out, *service, message)
            }
            TaskOp::StepNetworkKeys { network, since } => {
                self.step_network_keys(out, *network, *since, random.next())
            }
            TaskOp::StepGossipKeys { since } => self.step_gossip_keys(*since, random.next()),
        }
    }

    pub(super) fn set_update_status(
        &mut self,
        out: &mut Vec<Change>,
        id: ServiceId,
        spec_version: u64,
        status: Option<&UpdateStatus>,
    ) -> bool {
        let (index, now) = (self.index, self.now);
        let Some(service) = self.services.get_mut(&id) else { return false };
        if service.spec_version != spec_version || service.update_status.as_ref() == status {
            return false;
        }
        let word =
            |status: Option<&UpdateStatus>| status.map_or("", |status| status.state.as_str()).to_owned();
        let mut updated = change(ObjectKind::Service, id, &service.spec.name, ChangeEvent::Updated);
        updated.details.push(("updatestate".to_owned(), word(service.update_status.as_ref()), word(status)));
        service.update_status = status.cloned();
        service.meta.touch(index, now);
        out.push(updated);
        true
    }

    fn is_at(&self, service: ServiceId, spec_version: u64) -> bool {
        self.services.get(&service).is_some_and(|service| service.spec_version == spec_version)
    }
}
