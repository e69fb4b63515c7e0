//! Addresses for owners: plan the whole batch, then take it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    Denied, Family, Granted, Ipam, NetworkKey, Owner, Want, bits,
    ipam::{Grant, Network},
    space::{Obstacle, Space},
};

/// What a want comes to.
pub(crate) enum Step<'w> {
    /// The owner has its addresses already, or gets them earlier in the batch.
    Repeat(&'w Want),
    New(&'w Want, Vec<Choice>),
}

#[derive(Clone, Copy)]
pub(crate) struct Choice {
    /// Index of the subnet.
    subnet: usize,
    offset: u128,
    /// Chosen by us, so the cursor moves.
    dynamic: bool,
}

/// A subnet with what the batch has taken of it so far.
struct Draft<'s, 'w> {
    space: Cow<'s, Space>,
    cursor: u128,
    picked: BTreeMap<u128, &'w Owner>,
}

/// By network and index of the subnet.
type Drafts<'s, 'w> = BTreeMap<(&'w NetworkKey, usize), Draft<'s, 'w>>;

impl Ipam {
    /// Decides without changing anything.
    pub(crate) fn plan_acquire<'w>(&self, now_ms: u64, wants: &'w [Want]) -> Result<Vec<Step<'w>>, Denied> {
        let mut drafts = Drafts::new();
        let mut seen = BTreeSet::new();
        let mut steps = Vec::with_capacity(wants.len());
        for want in wants {
            let network = self.find(&want.network)?;
            if network.grants.contains_key(&want.owner) || !seen.insert((&want.network, &want.owner)) {
                steps.push(Step::Repeat(want));
                continue;
            }
            if want.owner.is_fixed() {
                return Err(Denied::Fixed { network: want.network.clone(), owner: want.owner.clone() });
            }
            for (index, space) in network.spaces.iter().enumerate() {
                drafts.entry((&want.network, index)).or_insert_with(|| self.draft(space, now_ms));
            }
            steps.push(Step::New(want, self.choose_addrs(network, want, &mut drafts)?));
        }
        Ok(steps)
    }

    pub(crate) fn commit_acquire(&mut self, steps: Vec<Step<'_>>) -> Granted {
        let mut leases = Vec::with_capacity(steps.len());
        for step in steps {
            let want = match step {
                Step::Repeat(want) => want,
                Step::New(want, choices) => {
                    self.install(want, &choices);
                    want
                }
            };
            leases.extend(self.leases(&want.network, &want.owner));
        }
        Granted::Leases(leases)
    }

    fn install(&mut self, want: &Want, choices: &[Choice]) {
        let Some(network) = self.networks.get_mut(&want.network) else { return };
        let mut addrs = Vec::with_capacity(choices.len());
        for choice in choices {
            if let Some(space) = network.spaces.get_mut(choice.subnet) {
                space.take(choice.offset, want.owner.clone());
                if choice.dynamic {
                    space.cursor = space.after(choice.offset);
                }
                addrs.push(space.addr(choice.offset));
            }
        }
        self.generation = self.generation.saturating_add(1);
        network.grants.insert(want.owner.clone(), Grant { generation: self.generation, addrs });
        // the key that is stored already: all leases share its text
        let key = self.networks.get_key_value(&want.network).map_or(&want.network, |(key, _)| key);
        self.owners.entry(want.owner.clone()).or_default().insert(key.clone());
    }

    fn draft<'s, 'w>(&self, space: &'s Space, now_ms: u64) -> Draft<'s, 'w> {
        let mut space = Cow::Borrowed(space);
        if space.is_due(now_ms, &self.config.hold) {
            space.to_mut().thaw(now_ms, &self.config.hold);
        }
        Draft { cursor: space.cursor, space, picked: BTreeMap::new() }
    }

    /// One address for each family of the network.
    fn choose_addrs<'w>(
        &self,
        network: &Network,
        want: &'w Want,
        drafts: &mut Drafts<'_, 'w>,
    ) -> Result<Vec<Choice>, Denied> {
        let preferred = match want.prefer {
            Some(addr) => Some((bits::family(addr), self.choose_preferred(network, want, addr, drafts)?)),
            None => None,
        };
        let mut choices = Vec::with_capacity(1);
        for family in families(network) {
            let choice = match preferred {
                Some((its, choice)) if its == family => choice,
                _ => next_free(network, want, family, drafts)
                    .ok_or_else(|| self.addresses_exhausted(want, family, drafts))?,
            };
            if let Some(draft) = drafts.get_mut(&(&want.network, choice.subnet)) {
                draft.picked.insert(choice.offset, &want.owner);
                if choice.dynamic {
                    draft.cursor = draft.space.after(choice.offset);
                }
            }
            choices.push(choice);
        }
        Ok(choices)
    }

    fn choose_preferred<'w>(
        &self,
        network: &Network,
        want: &'w Want,
        addr: IpAddr,
        drafts: &Drafts<'_, 'w>,
    ) -> Result<Choice, Denied> {
        let found = (0..network.spaces.len()).find_map(|subnet| {
            let draft = drafts.get(&(&want.network, subnet))?;
            Some((subnet, draft, draft.space.offset(addr)?))
        });
        let Some((subnet, draft, offset)) = found else {
            let subnets = network.subnets.iter().map(|subnet| subnet.net).collect();
            return Err(Denied::OutsideSubnet { network: want.network.clone(), addr, subnets });
        };
        let free = || {
            let choice = next_free(network, want, bits::family(addr), drafts)?;
            drafts.get(&(&want.network, choice.subnet)).map(|draft| draft.space.addr(choice.offset))
        };
        let in_batch = draft.picked.get(&offset).map(|owner| Obstacle::Holder((*owner).clone()));
        let network = want.network.clone();
        match in_batch.or_else(|| draft.space.obstacle(offset, &self.config.hold)) {
            None => Ok(Choice { subnet, offset, dynamic: false }),
            Some(Obstacle::Edge) => Err(Denied::Reserved { addr, subnet: draft.space.net() }),
            Some(Obstacle::Holder(holder)) => Err(Denied::InUse { network, addr, holder, next_free: free() }),
            Some(Obstacle::Resting { ready_ms }) => {
                Err(Denied::Held { network, addr, ready_ms, next_free: free() })
            }
        }
    }

    fn addresses_exhausted(&self, want: &Want, family: Family, drafts: &Drafts<'_, '_>) -> Denied {
        let (mut in_use, mut held, mut reserved, mut ready_ms) = (0_u128, 0_u128, 0_u128, None);
        for ((network, _), draft) in drafts {
            if **network != want.network || Family::of(draft.space.net()) != family {
                continue;
            }
            let usage = draft.space.usage(0, &self.config.hold);
            in_use += usage.in_use + u128::try_from(draft.picked.len()).unwrap_or(0);
            held += usage.held;
            reserved += usage.reserved;
            ready_ms = ready_ms.into_iter().chain(draft.space.next_ready(&self.config.hold)).min();
        }
        Denied::AddressesExhausted {
            network: want.network.clone(),
            family,
            in_use: bits::saturate(in_use),
            held: bits::saturate(held),
            reserved: bits::saturate(reserved),
            ready_ms,
        }
    }
}

/// The next dynamic address: subnets in their order, each from its cursor on.
fn next_free(network: &Network, want: &Want, family: Family, drafts: &Drafts<'_, '_>) -> Option<Choice> {
    (0..network.spaces.len()).find_map(|subnet| {
        let draft = drafts.get(&(&want.network, subnet))?;
        if Family::of(draft.space.net()) != family {
            return None;
        }
        let offset = draft.space.pick(draft.cursor, |offset| draft.picked.contains_key(&offset))?;
        Some(Choice { subnet, offset, dynamic: true })
    })
}

/// In the order of the subnets.
fn families(network: &Network) -> impl Iterator<Item = Family> {
    let first = network.subnets.first().map(|subnet| Family::of(subnet.net));
    let other =
        network.subnets.iter().map(|subnet| Family::of(subnet.net)).find(|family| Some(*family) != first);
    first.into_iter().chain(other)
}
