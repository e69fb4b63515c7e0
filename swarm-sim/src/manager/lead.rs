//! What only the leader does: reconcile, and notice which nodes are gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use overlay_gossip::MemberState;
use overlay_raft::Input;
use rand::Rng;
use swarm_state::spec::NodeState;
use swarm_state::{Action, NodeId, NodeStatusUpdate, TaskId, reconcile};

use super::{Manager, ManagerOutput, Moment, Purpose};
use crate::Mutation;

/// A leadership.
#[derive(Debug)]
pub(super) struct Lead {
    since: Instant,
    /// When to look again.
    pub(super) due: Instant,
    /// Decisions are made once this index is applied: it contains everything of earlier leaders.
    pub(super) ready_at: Option<u64>,
}

impl Manager {
    /// Whether this manager leads and it is time to look.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.due <= now)
    }

    /// Looks for what has to be done; `members` is what this node's gossip says.
    pub(crate) fn lead(&mut self, moment: Moment, members: &BTreeMap<NodeId, MemberState>) {
        let Some(lead) = &mut self.lead else { return };
        if lead.due > moment.now {
            return;
        }
        lead.due = moment.now + LOOK;
        if !self.is_ready() {
            return;
        }
        self.sweep_sessions(moment.now);
        self.notice_the_gone(moment, members);
        if !self.is_pending(Purpose::Plan) {
            let rng = &mut self.rng;
            let ops = reconcile::plan(&self.state, moment.at, &mut || TaskId::from_random(rng.random()));
            if !ops.is_empty() {
                self.propose(moment, Action::Plan { ops }, Purpose::Plan);
            } else if let (Some(deadline), Some(lead)) =
                (reconcile::next_deadline(&self.state, moment.at), &mut self.lead)
            {
                let pause = deadline.since(moment.at).max(Duration::from_millis(1));
                lead.due = lead.due.min(moment.now + pause);
            }
        }
        self.tell_sessions(moment.now);
    }

    /// Whether everything that earlier leaders committed is applied.
    pub(super) fn is_ready(&self) -> bool {
        let ready_at = self.lead.as_ref().and_then(|lead| lead.ready_at);
        ready_at.is_some_and(|index| self.raft.status().applied >= index)
    }

    /// Notices that this manager leads now, or does not any more; says whether that changed.
    pub(super) fn follow_leadership(&mut self, moment: Moment) -> bool {
        let leads = self.raft.is_leader();
        if leads == self.lead.is_some() {
            return false;
        }
        if leads {
            let term = self.raft.status().term;
            self.lead = Some(Lead { since: moment.now, due: moment.now, ready_at: None });
            self.sessions.clear();
            self.out.push_back(ManagerOutput::Leads { term });
            self.ask_barrier(moment);
        } else {
            self.lead = None;
            self.dismiss_sessions();
            self.out.push_back(ManagerOutput::Note(format!("{} leads no more", self.me)));
        }
        true
    }

    pub(super) fn ask_barrier(&mut self, moment: Moment) {
        if self.raft.is_leader() {
            let id = self.proposal(Purpose::Barrier);
            let _ = self.raft.handle_input(moment.now, Input::Read { id });
        }
    }

    fn notice_the_gone(&mut self, moment: Moment, members: &BTreeMap<NodeId, MemberState>) {
        if self.is_pending(Purpose::Presence) || self.mutation == Some(Mutation::DeafLeader) {
            return;
        }
        let since = self.lead.as_ref().map_or(moment.now, |lead| lead.since);
        let mut gone = Vec::new();
        for node in self.state.nodes().values().filter(|node| node.status.state == NodeState::Ready) {
            if node.id == self.me.node_id() {
                continue;
            }
            let session = self.sessions.get(&node.id);
            let heard = session.map_or(since, |session| session.heard);
            let silent = moment.now.saturating_duration_since(heard);
            let connected = session.is_some_and(|session| session.open);
            let dead = members.get(&node.id) == Some(&MemberState::Dead);
            if (dead && (!connected || silent > FRESH)) || silent > FORGOTTEN {
                let message = "heartbeat failure".to_owned();
                gone.push(NodeStatusUpdate { id: node.id, state: NodeState::Down, message });
            }
        }
        if gone.is_empty() {
            return;
        }
        for update in &gone {
            // Whoever comes back registers again; a session from before would hide that it is there.
            if let Some(number) = self.sessions.get(&update.id).map(|session| session.number) {
                self.close(update.id, number);
            }
            let host = self.state.node(update.id).map(|node| node.description.hostname.clone());
            let text = format!("{}: {} is down", self.me, host.unwrap_or_default());
            self.out.push_back(ManagerOutput::Note(text));
        }
        self.propose(moment, Action::SetNodeStatus { nodes: gone }, Purpose::Presence);
    }
}

/// How often nodes are looked at, and the longest pause of the reconcilers.
const LOOK: Duration = Duration::from_millis(100);
/// A node that the gossip calls dead is believed to be so unless its session spoke within this time.
const FRESH: Duration = Duration::from_millis(1500);
/// A node that the gossip does not know is down after this silence.
const FORGOTTEN: Duration = Duration::from_secs(15);
