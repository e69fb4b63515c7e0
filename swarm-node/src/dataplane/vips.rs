//! Scene → nf_tables of one task's namespace: virtual IPs lead to tasks.
//!
//! The rewriting happens in the client's own namespace, so the server sees the client's address.

use std::net::IpAddr;

use overlay_lb::VipPlan;
use overlay_linux::{
    link::Family,
    nft::{BaseChain, Chain, Hook, NatTo, Reject, Rule, Ruleset, Spread, Stmt},
};

use super::version::Version;

/// The desired tables of a task's namespace, one per family.
pub(crate) fn ruleset(plan: &VipPlan) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for version in [Version::V4, Version::V6] {
        let mut rewrite = Chain::base(BaseChain::nat(Hook::Output, -100));
        let mut refuse = Chain::base(BaseChain::filter(Hook::Output, 0));
        for (vip, backends) in plan.vips.iter().filter(|(vip, _)| version.has(**vip)) {
            let to_vip = Rule::new().when(version.destination, *vip);
            let backends: Vec<IpAddr> = backends.iter().copied().filter(|ip| version.has(*ip)).collect();
            if backends.is_empty() {
                refuse.rules.push(to_vip.then(Stmt::Reject(Reject::PortUnreachable)));
            } else {
                let to = NatTo::addresses(Spread::RoundRobin, &backends);
                rewrite.rules.push(to_vip.then(Stmt::DestinationNat(to)));
            }
        }
        if version.family == Family::V4 || !rewrite.rules.is_empty() || !refuse.rules.is_empty() {
            ruleset.table(version.table("swarm-vips")).chain("rewrite", rewrite).chain("refuse", refuse);
        }
    }
    ruleset
}
