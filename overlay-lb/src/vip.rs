use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::View;

/// The virtual IPs of one network and the task addresses behind each: what a task's namespace is programmed with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VipPlan {
    /// Addresses of ready tasks, of the virtual IP's family, sorted. An empty list means: refuse at once.
    pub vips: BTreeMap<IpAddr, Vec<IpAddr>>,
}

impl View {
    /// Which ready tasks stand behind each virtual IP.
    ///
    /// A virtual IP that two services claim belongs to one of them alone (see [`View::conflicts`]): traffic is never mixed.
    #[must_use]
    pub fn vip_plan(&self) -> VipPlan {
        let mut vips: BTreeMap<IpAddr, BTreeSet<IpAddr>> =
            self.vip_owners().map(|(vip, _)| (vip, BTreeSet::new())).collect();
        for endpoint in self.endpoints().filter(|endpoint| endpoint.takes_new_flows()) {
            for vip in &endpoint.vips {
                if self.vip_owner(*vip) == Some(&endpoint.service_id) {
                    let same_family = |addr: &&IpAddr| addr.is_ipv4() == vip.is_ipv4();
                    vips.entry(*vip).or_default().extend(endpoint.addresses.iter().filter(same_family));
                }
            }
        }
        let listed = vips.into_iter().map(|(vip, addrs)| (vip, addrs.into_iter().collect()));
        VipPlan { vips: listed.collect() }
    }
}
