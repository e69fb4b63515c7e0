//! Scene → nf_tables of one task's namespace: virtual IPs lead to tasks.
//!
//! The rewriting happens in the client's own namespace, so the server sees the client's address.

use std::net::IpAddr;

use overlay_lb::VipPlan;
use overlay_linux::nft::{
    BaseChain, Chain, Field, Hook, NatTo, Reject, Rule, Ruleset, Spread, Stmt, TableKey,
};

/// The desired tables of a task's namespace.
pub(crate) fn ruleset(plan: &VipPlan) -> Ruleset {
    let mut rewrite = Chain::base(BaseChain::nat(Hook::Output, -100));
    let mut refuse = Chain::base(BaseChain::filter(Hook::Output, 0));
    for (vip, backends) in &plan.vips {
        let IpAddr::V4(_) = vip else { continue }; // the mesh of IPv6 has no rules yet
        let to_vip = Rule::new().when(Field::IpDestination, *vip);
        if backends.is_empty() {
            refuse.rules.push(to_vip.then(Stmt::Reject(Reject::PortUnreachable)));
        } else {
            let to = NatTo::addresses(Spread::RoundRobin, backends);
            rewrite.rules.push(to_vip.then(Stmt::DestinationNat(to)));
        }
    }
    let mut ruleset = Ruleset::default();
    let table = ruleset.table(TableKey::ip("swarm-vips"));
    table.chain("rewrite", rewrite).chain("refuse", refuse);
    ruleset
}
