//! Scene → nf_tables of one task's namespace: virtual IPs lead to tasks.
//!
//! The rewriting happens in the client's own namespace, so the server sees the client's address.

use std::net::IpAddr;

use overlay_lb::VipPlan;
use overlay_linux::nft::{
    BaseChain, Chain, Field, Hook, NatTo, Reject, Rule, Ruleset, Spread, Stmt, TableKey,
};

/// The desired tables of a task's namespace, one per family.
pub(crate) fn ruleset(plan: &VipPlan) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let families = [
        (TableKey::ip("swarm-vips"), Field::IpDestination, true),
        (TableKey::ip6("swarm-vips"), Field::Ip6Destination, false),
    ];
    for (key, destination, v4) in families {
        let mut rewrite = Chain::base(BaseChain::nat(Hook::Output, -100));
        let mut refuse = Chain::base(BaseChain::filter(Hook::Output, 0));
        for (vip, backends) in plan.vips.iter().filter(|(vip, _)| vip.is_ipv4() == v4) {
            let to_vip = Rule::new().when(destination, *vip);
            let backends: Vec<IpAddr> = backends.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect();
            if backends.is_empty() {
                refuse.rules.push(to_vip.then(Stmt::Reject(Reject::PortUnreachable)));
            } else {
                let to = NatTo::addresses(Spread::RoundRobin, &backends);
                rewrite.rules.push(to_vip.then(Stmt::DestinationNat(to)));
            }
        }
        if v4 || !rewrite.rules.is_empty() || !refuse.rules.is_empty() {
            ruleset.table(key).chain("rewrite", rewrite).chain("refuse", refuse);
        }
    }
    ruleset
}
