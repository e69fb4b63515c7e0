//! More addresses for a network that is in use.

use std::net::IpAddr;

use ipnet::IpNet;
use overlay_core::Vni;
use overlay_ipam::{Command as IpamCommand, Granted, Subnet};

use super::address::network_key;
use super::network::{invalid, no_vni, request, warning};
use super::{change, not_found};
use crate::spec::IpamConfig;
use crate::{Change, ChangeEvent, NetworkId, ObjectKind, Rejection, State, Value};

impl State {
    /// The subnet around one of the network's own grows in place: no address changes, only the length of its prefix.
    /// Any other one is added.
    pub(super) fn grow_network(
        &mut self,
        out: &mut Vec<Change>,
        id: NetworkId,
        config: &IpamConfig,
    ) -> Result<Value, Rejection> {
        let network = self.networks.get(&id).ok_or_else(|| not_found(ObjectKind::Network, id))?;
        let before = network.subnets.clone();
        if config.subnet.is_empty() {
            return Err(invalid("no subnet is given that the network should grow to".to_owned()));
        }
        let subnet = request(config)?;
        let mut vnis = self.vnis_now();
        let vni = vnis.take_next().and_then(|number| Vni::new(number).ok()).ok_or_else(|| no_vni(&vnis))?;
        let command = IpamCommand::GrowNetwork { network: network_key(id), subnet };
        let granted = self.ipam.apply(self.now.as_millis(), &command);
        let subnets = match granted.map_err(|denied| self.denied_network(&denied))? {
            Granted::Network(subnets) => subnets,
            Granted::Leases(_) | Granted::Done => Vec::new(),
        };
        if subnets == before {
            return Ok(Value::Done);
        }
        let more = subnets.len() > before.len();
        let news: Vec<Subnet> = subnets.iter().filter(|subnet| !before.contains(subnet)).cloned().collect();
        if more {
            self.vnis = vnis;
        }
        let (index, now) = (self.index, self.now);
        if let Some(network) = self.networks.get_mut(&id) {
            let asked = network.spec.ipam.iter_mut().flat_map(|ipam| &mut ipam.config);
            for (asked, (old, new)) in asked.zip(before.iter().zip(&subnets)) {
                if old.net != new.net && !asked.subnet.is_empty() {
                    asked.subnet.clone_from(&config.subnet); // what inspecting it shows
                }
            }
            network.subnets.clone_from(&subnets);
            network.vnis.extend(more.then_some(vni));
            network.meta.touch(index, now);
            out.push(change(ObjectKind::Network, id, &network.spec.name, ChangeEvent::Updated));
        }
        self.lengthen(id, &subnets);
        Ok(Value::Warning(warning(&news)))
    }

    /// Gives all addresses in the network the prefix length of their subnet.
    fn lengthen(&mut self, id: NetworkId, subnets: &[Subnet]) {
        let fix =
            |address: &mut IpNet| *address = with_length_of(address.addr(), subnets).unwrap_or(*address);
        for node in self.nodes.values_mut() {
            node.attachments.get_mut(&id).into_iter().flatten().for_each(fix);
        }
        let tasks = self.tasks.values_mut().flat_map(|task| &mut task.networks);
        let containers = self.containers.values_mut().map(|container| &mut container.attachment);
        for attachment in tasks.chain(containers).filter(|attachment| attachment.network_id == id) {
            attachment.addresses.iter_mut().for_each(fix);
        }
        let vips = self.services.values_mut().flat_map(|service| &mut service.endpoint.virtual_ips);
        vips.filter(|vip| vip.network == id).for_each(|vip| fix(&mut vip.addr));
    }
}

fn with_length_of(addr: IpAddr, subnets: &[Subnet]) -> Option<IpNet> {
    let subnet = subnets.iter().find(|subnet| subnet.net.contains(&addr))?;
    IpNet::new(addr, subnet.net.prefix_len()).ok()
}
