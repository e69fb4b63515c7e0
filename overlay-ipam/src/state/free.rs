//! What ends: networks and leases. What they had rests.

use ipnet::IpNet;

use crate::{
    Denied, Granted, Ipam, NetworkKey, Owner,
    state::{ipam::NOBODY, leases::Entry, space::Space},
};

impl Ipam {
    pub(crate) fn delete(&mut self, key: &NetworkKey) -> Result<Granted, Denied> {
        let (id, network) = self.find(key)?;
        let numbers: Vec<u32> = network.spaces.iter().flat_map(Space::leases).collect();
        let nets: Vec<IpNet> = network.subnets.iter().map(|subnet| subnet.net).collect();
        for number in numbers {
            self.leases.remove(number);
        }
        self.names.remove(key);
        if let Some(place) = usize::try_from(id).ok().and_then(|id| self.networks.get_mut(id)) {
            *place = None;
        }
        self.vacant.push(id);
        let rest = self.rest(self.config.hold.subnet_ms);
        for net in nets {
            match rest {
                Some(rest) => {
                    self.pool.pass_to(net, NOBODY);
                    self.resting.push(net, rest);
                }
                None => drop(self.pool.release(net)),
            }
        }
        self.next_mark();
        Ok(Granted::Done)
    }

    pub(crate) fn release(&mut self, network: &NetworkKey, owner: &Owner, generation: u64) {
        let Some((id, _)) = self.known(network).filter(|_| !owner.is_fixed()) else { return };
        let Some(packed) = self.leases.pack(owner) else { return };
        let mut released = false;
        loop {
            let next = self.leases.of_grant(id, packed).next().map(|(number, entry)| (number, *entry));
            let Some((number, entry)) = next.filter(|(_, entry)| entry.generation == generation) else {
                break;
            };
            self.free(number, &entry);
            released = true;
        }
        if released {
            self.next_mark();
        }
    }

    pub(crate) fn release_owner(&mut self, owner: &Owner) {
        let Some(packed) = self.leases.pack(owner).filter(|_| !owner.is_fixed()) else { return };
        let mut released = false;
        loop {
            let next = self.leases.of_owner(packed).next().map(|(number, entry)| (number, *entry));
            let Some((number, entry)) = next else { break };
            self.free(number, &entry);
            released = true;
        }
        if released {
            self.next_mark();
        }
    }

    /// Ends a lease; its addresses rest.
    fn free(&mut self, number: u32, entry: &Entry) {
        let lane = entry.lane();
        let rest = self.rest_in(lane);
        if let Some(space) = self.space_mut(entry.network, entry.subnet) {
            space.unassign(entry.span(), entry.is_fixed());
            space.pool.free(entry.span(), lane, rest);
        }
        self.leases.remove(number);
    }
}
