//! The cluster itself.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use overlay_ipam::{Command as IpamCommand, Hold, Ipam, PoolSpec};

use super::{change, in_sequence};
use crate::object::{Cluster, GossipKey, JoinTokens, Meta, RootCa, Rotation};
use crate::spec::{IpamSpec, NetworkSpec, NodeRole, SwarmSpec};
use crate::{
    Change, ChangeEvent, ClusterId, NetworkId, NewNode, ObjectKind, Rejection, RejectionKind, State, Value,
};

impl State {
    pub(super) fn init_cluster(
        &mut self,
        out: &mut Vec<Change>,
        cluster: &Cluster,
        node: &NewNode,
        ingress: NetworkId,
    ) -> Result<Value, Rejection> {
        if self.cluster.is_some() {
            return Err(Rejection::plain(RejectionKind::Unavailable, ALREADY_IN_SWARM));
        }
        let pools = pools(cluster)?;
        let mut next = Self { index: self.index, now: self.now, ..Self::new() };
        next.ipam = Ipam::new(overlay_ipam::Config { pools, hold: HOLD });
        let mut changes = Vec::new();
        let spec = cluster.spec.clone().with_defaults();
        next.cluster = Some(Cluster { meta: Meta::new(self.index, self.now), spec, ..cluster.clone() });
        changes.push(change(ObjectKind::Cluster, cluster.id, "default", ChangeEvent::Created));
        next.create_network(&mut changes, ingress, &ingress_spec(), None)?;
        next.gossip_rotation = Rotation::new(self.now);
        next.join_node(&mut changes, &NewNode { role: NodeRole::Manager, ..node.clone() })?;
        *self = next;
        out.append(&mut changes);
        Ok(Value::Done)
    }

    pub(super) fn update_cluster(
        &mut self,
        out: &mut Vec<Change>,
        version: u64,
        spec: &SwarmSpec,
        tokens: Option<&JoinTokens>,
    ) -> Result<Value, Rejection> {
        self.change_cluster(out, Some(version), |cluster| {
            cluster.spec = spec.clone().with_defaults();
            if let Some(tokens) = tokens {
                cluster.tokens = tokens.clone();
            }
        })
    }

    pub(super) fn set_gossip_keys(
        &mut self,
        out: &mut Vec<Change>,
        keys: &[GossipKey],
    ) -> Result<Value, Rejection> {
        let done = self.change_cluster(out, None, |cluster| cluster.gossip_keys = keys.to_vec())?;
        self.gossip_rotation = Rotation::new(self.now);
        Ok(done)
    }

    pub(super) fn set_root_ca(
        &mut self,
        out: &mut Vec<Change>,
        root_ca: &RootCa,
        tokens: &JoinTokens,
    ) -> Result<Value, Rejection> {
        self.change_cluster(out, None, |cluster| {
            cluster.root_ca = root_ca.clone();
            cluster.tokens = tokens.clone();
        })
    }

    fn change_cluster(
        &mut self,
        out: &mut Vec<Change>,
        version: Option<u64>,
        change_it: impl FnOnce(&mut Cluster),
    ) -> Result<Value, Rejection> {
        let Some(cluster) = &mut self.cluster else {
            return Err(Rejection::plain(RejectionKind::Unavailable, super::NO_SWARM));
        };
        in_sequence(version.unwrap_or(cluster.meta.version), cluster.meta.version)?;
        change_it(cluster);
        cluster.meta.touch(self.index, self.now);
        out.push(change(ObjectKind::Cluster, cluster.id, &cluster.spec.name, ChangeEvent::Updated));
        Ok(Value::Done)
    }
}

/// Docker's ingress network: created with the cluster.
fn ingress_spec() -> NetworkSpec {
    NetworkSpec {
        name: "ingress".to_owned(),
        driver: "overlay".to_owned(),
        scope: "swarm".to_owned(),
        ingress: true,
        ipam: Some(IpamSpec { driver: "default".to_owned(), ..IpamSpec::default() }),
        ..NetworkSpec::default()
    }
}

/// The pools of the cluster (10.0.0.0/8 by default) and an IPv6 prefix that is the cluster's own.
fn pools(cluster: &Cluster) -> Result<Vec<PoolSpec>, Rejection> {
    let wrong = |text: String| Rejection::rpc(RejectionKind::InvalidArgument, text);
    if !(1..=29).contains(&cluster.subnet_size) {
        return Err(wrong(format!("subnet size must be between 1 and 29: {}", cluster.subnet_size)));
    }
    let mut pools: Vec<PoolSpec> = Vec::new();
    for base in &cluster.default_pools {
        let piece = if base.addr().is_ipv4() { cluster.subnet_size } else { 64 };
        if base.prefix_len() > piece {
            return Err(wrong(format!("invalid default address pool {base}: longer than /{piece}")));
        }
        pools.push(PoolSpec { base: base.trunc(), piece });
    }
    if !pools.iter().any(|pool| pool.base.addr().is_ipv4()) {
        pools.push(PoolSpec {
            base: IpNet::V4(Ipv4Net::new_assert([10, 0, 0, 0].into(), 8)),
            piece: cluster.subnet_size,
        });
    }
    if !pools.iter().any(|pool| pool.base.addr().is_ipv6()) {
        pools.push(PoolSpec { base: unique_local(cluster.id), piece: 64 });
    }
    let mut trial =
        Ipam::new(overlay_ipam::Config { pools: pools.clone(), ..overlay_ipam::Config::default() });
    let network = overlay_ipam::NetworkKey::new("trial");
    let command = IpamCommand::CreateNetwork { network, subnets: Vec::new() };
    match trial.apply(0, &command) {
        Ok(_) => Ok(pools),
        Err(denied) => Err(wrong(format!("invalid default address pool: {denied}"))),
    }
}

/// fdxx:xxxx:xxxx::/48, drawn from the cluster's id (RFC 4193).
fn unique_local(cluster: ClusterId) -> IpNet {
    let hash = cluster.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let addr = Ipv6Addr::new(word(0xfd, a), word(b, c), word(d, e), 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(addr, 48))
}

/// How long what was freed rests, unless all nodes that are ready acknowledge earlier that they forgot it. The same time is
/// the limit for nodes that do not answer: one that is gone is called down within seconds, and is not waited for then.
///
/// Addresses of tasks and nodes 30 s (AWS's VPC CNI), virtual addresses 60 s (clients cache names), subnets and VNIs 60 s.
const HOLD: Hold = Hold { address_ms: 30_000, vip_ms: 60_000, subnet_ms: 60_000 };

const ALREADY_IN_SWARM: &str = "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_prefix_is_a_unique_local_one() {
        let net = unique_local(ClusterId::from_random([3; 16]));
        let std::net::IpAddr::V6(addr) = net.addr() else { panic!("{net}") };
        assert_eq!((addr.octets()[0], net.prefix_len(), net.trunc()), (0xfd, 48, net));
    }
}
