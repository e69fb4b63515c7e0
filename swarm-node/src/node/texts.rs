//! Refusals in Docker's words.

/// `managers` vote, this node included.
pub(super) fn manager_must_force(managers: usize) -> String {
    let what = "You are attempting to leave the swarm on a node that is participating as a manager.";
    let force = "Use `--force` to ignore this message.";
    match managers {
        0 | 1 => format!("{what} Removing the last manager erases all current state of the swarm. {force}"),
        n => format!(
            "{what} Removing this node leaves {} managers out of {n}. Without a Raft quorum your swarm will be inaccessible. {force}",
            n - 1
        ),
    }
}

pub(super) const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
pub(super) const WORKER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
pub(super) const ALREADY: &str = "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";
pub(super) const NOT_A_MEMBER: &str = "This node is not part of a swarm";
pub(super) const TIMEOUT_TEXT: &str = "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node.";
