//! Keys of sealed networks and of the gossip: made, and replaced step by step.

use std::time::Duration;

use super::{change, not_found};
use crate::object::{GossipKey, NetworkKeys, PlaneChoice, Rotation, RotationStep, SealAlgorithm, SealSecret};
use crate::spec::NetworkSpec;
use crate::{Change, ChangeEvent, NetworkId, ObjectKind, Rejection, RejectionKind, State, Timestamp, Value};

impl State {
    /// Installs a new key now. While one waits for its use, only the grace is changed.
    pub(super) fn rotate_keys(
        &mut self,
        out: &mut Vec<Change>,
        id: NetworkId,
        grace: Option<Duration>,
        fresh: Option<&SealSecret>,
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        let network = self.networks.get_mut(&id).ok_or_else(|| not_found(ObjectKind::Network, id))?;
        let name = network.spec.name.clone();
        let Some(keys) = &mut network.keys else {
            let text = format!("network {name} is not encrypted: it was created without --opt encrypted");
            return Err(Rejection::plain(RejectionKind::FailedPrecondition, text));
        };
        let grace = grace.unwrap_or(Rotation::GRACE);
        if grace > Rotation::MAX_GRACE {
            let text = format!("a grace of {} s is too long: 24 h are the most", grace.as_secs());
            return Err(Rejection::plain(RejectionKind::InvalidArgument, text));
        }
        if keys.rotation.step == RotationStep::Installed {
            keys.rotation = Rotation { due: keys.rotation.since.plus(grace), grace, ..keys.rotation };
        } else {
            fresh.and_then(|fresh| keys.install(fresh)).ok_or_else(no_random)?;
            keys.rotation = Rotation::installed(now, grace);
        }
        network.meta.touch(index, now);
        out.push(change(ObjectKind::Network, id, &name, ChangeEvent::Updated));
        Ok(Value::Done)
    }

    /// Takes the next step, unless one was taken after `since`.
    pub(super) fn step_network_keys(
        &mut self,
        out: &mut Vec<Change>,
        id: NetworkId,
        since: Timestamp,
        fresh: Option<&SealSecret>,
    ) -> bool {
        let (index, now) = (self.index, self.now);
        let Some(network) = self.networks.get_mut(&id) else { return false };
        let Some(keys) = network.keys.as_mut().filter(|keys| is_next(keys.rotation, since, now)) else {
            return false;
        };
        match keys.rotation.step {
            RotationStep::Resting => {
                if fresh.and_then(|fresh| keys.install(fresh)).is_none() {
                    return false;
                }
            }
            RotationStep::Installed => keys.use_newest(),
            RotationStep::Used => keys.retire_others(),
        }
        keys.rotation.advance(now);
        network.meta.touch(index, now);
        out.push(change(ObjectKind::Network, id, &network.spec.name, ChangeEvent::Updated));
        true
    }

    /// The same for the gossip, whose list of keys begins with the one that is used. The cluster keeps its version: an update
    /// that somebody is writing does not depend on keys.
    pub(super) fn step_gossip_keys(&mut self, since: Timestamp, fresh: Option<&SealSecret>) -> bool {
        let (now, rotation) = (self.now, self.gossip_rotation);
        let Some(keys) = self.cluster.as_mut().map(|cluster| &mut cluster.gossip_keys) else { return false };
        if keys.is_empty() || !is_next(rotation, since, now) {
            return false;
        }
        match rotation.step {
            RotationStep::Resting => {
                let Some(key) = fresh.and_then(|fresh| fresh.0.first_chunk()) else { return false };
                keys.push(GossipKey(*key));
            }
            RotationStep::Installed => {
                keys.rotate_right(1);
                keys.truncate(2);
            }
            RotationStep::Used => keys.truncate(1),
        }
        self.gossip_rotation.advance(now);
        true
    }

    /// Somebody who knew all keys is no part of the cluster any more.
    pub(super) fn hasten_rotations(&mut self) {
        self.gossip_rotation.hasten(self.now);
        for keys in self.networks.values_mut().filter_map(|network| network.keys.as_mut()) {
            keys.rotation.hasten(self.now);
        }
    }
}

/// What the options say about who forwards a network's frames, and whether they are sealed.
pub(super) fn protection(spec: &NetworkSpec) -> Result<(PlaneChoice, Option<SealAlgorithm>), Rejection> {
    let refused = |text: String| Rejection::plain(RejectionKind::InvalidArgument, text);
    let plane = spec.options.get("plane").map(|text| text.parse()).transpose();
    let plane: PlaneChoice = plane.map_err(|error| refused(format!("{error}")))?.unwrap_or_default();
    match spec.options.get("layout").map(String::as_str) {
        None | Some("macvlan" | "bridge") => {}
        Some(other) => return Err(refused(format!("invalid layout {other:?}: use macvlan or bridge"))),
    }
    let algorithm = match spec.options.get("encrypted").map(String::as_str) {
        None | Some("false" | "0") => None,
        Some("" | "true" | "1") => Some(SealAlgorithm::default()),
        Some(name) => Some(name.parse().map_err(|error| refused(format!("option encrypted: {error}")))?),
    };
    if spec.ingress && algorithm.is_some() {
        return Err(refused(ENCRYPTED_INGRESS.to_owned()));
    }
    if spec.ingress && plane == PlaneChoice::User {
        return Err(refused(USER_INGRESS.to_owned()));
    }
    if plane == PlaneChoice::Kernel && algorithm.is_some() {
        return Err(refused(ENCRYPTED_KERNEL.to_owned()));
    }
    if spec.options.contains_key("layout") && (plane == PlaneChoice::User || algorithm.is_some()) {
        return Err(refused(USER_LAYOUT.to_owned()));
    }
    Ok((plane, algorithm))
}

/// The keys of a new network.
pub(super) fn first(
    algorithm: SealAlgorithm,
    fresh: Option<&SealSecret>,
    now: Timestamp,
) -> Result<NetworkKeys, Rejection> {
    fresh.and_then(|fresh| NetworkKeys::new(algorithm, fresh, now)).ok_or_else(no_random)
}

fn is_next(rotation: Rotation, since: Timestamp, now: Timestamp) -> bool {
    rotation.since == since && rotation.due <= now
}

fn no_random() -> Rejection {
    Rejection::plain(RejectionKind::Internal, "no random bytes for the network's key came with the command")
}

const ENCRYPTED_KERNEL: &str = "an encrypted network is forwarded by the node's own process, not by the kernel: leave out --opt plane=kernel, or --opt encrypted";
const ENCRYPTED_INGRESS: &str = "the ingress network cannot be encrypted: its packets are forwarded by the kernel. Attach services to an encrypted overlay network for what they say to each other";
const USER_LAYOUT: &str = "a layout is for networks that the kernel forwards: leave out --opt layout, or --opt plane=user and --opt encrypted";
const USER_INGRESS: &str = "the ingress network is forwarded by the kernel: leave out --opt plane=user";
