//! Where new subnets may come from: pools, and what is kept out of them.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::{Command, Denied, Ipam, OwnerKey, PoolSpec, bits};

impl Ipam {
    /// The pools after a command that adds or disables one.
    pub(crate) fn plan_pools(&self, command: &Command) -> Result<Vec<PoolSpec>, Denied> {
        let mut pools = self.config.pools.clone();
        match command {
            Command::AddPool { pool } => {
                let pool = PoolSpec { base: pool.base.trunc(), ..*pool };
                if pools.contains(&pool) {
                    return Ok(pools);
                }
                if let Some(other) = pools.iter().find(|other| bits::overlap(other.base, pool.base)) {
                    return Err(Denied::PoolOverlap { base: pool.base, pool: other.base });
                }
                pools.push(pool);
            }
            Command::DisablePool { base } => pools.retain(|pool| pool.base.trunc() != base.trunc()),
            Command::CreateNetwork { .. }
            | Command::GrowNetwork { .. }
            | Command::DeleteNetwork { .. }
            | Command::Acquire { .. }
            | Command::Delegate { .. }
            | Command::Shrink { .. }
            | Command::Release { .. }
            | Command::ReleaseOwner { .. }
            | Command::Exclude { .. }
            | Command::SetPools { .. }
            | Command::SetNodes { .. }
            | Command::Ack { .. }
            | Command::Tick => {}
        }
        Ok(pools)
    }

    pub(crate) fn exclude(&mut self, by: &OwnerKey, nets: &[IpNet]) {
        // nodes of a cluster mostly say the same
        if self.count_exclusion(by, nets) {
            self.pool.avoid(self.excluded.keys().copied());
        }
    }

    /// Whether there is a prefix that nobody excluded before, or that nobody excludes any more.
    pub(crate) fn count_exclusion(&mut self, by: &OwnerKey, nets: &[IpNet]) -> bool {
        let nets: BTreeSet<IpNet> =
            nets.iter().map(IpNet::trunc).filter(|net| net.prefix_len() > 0).collect();
        let mut changed = false;
        for net in &nets {
            let count = self.excluded.entry(*net).or_default();
            changed |= *count == 0;
            *count += 1;
        }
        for net in self.exclusions.remove(by).unwrap_or_default() {
            let count = self.excluded.entry(net).or_default();
            *count -= 1;
            if *count == 0 {
                changed = true;
                self.excluded.remove(&net);
            }
        }
        if !nets.is_empty() {
            self.exclusions.insert(by.clone(), nets.into_iter().collect());
        }
        changed
    }

    /// Who excludes something that overlaps the prefix, and what.
    pub(crate) fn excluder(&self, net: IpNet, grown_from: Option<IpNet>) -> Option<(&OwnerKey, IpNet)> {
        let in_the_way = |route: &&IpNet| {
            bits::overlap(**route, net) && !grown_from.is_some_and(|old| bits::overlap(**route, old))
        };
        let route = self.excluded.keys().find(in_the_way)?;
        let by = self.exclusions.iter().find(|(_, routes)| routes.contains(route));
        by.map(|(by, _)| (by, *route))
    }
}
