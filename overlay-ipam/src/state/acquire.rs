//! Addresses for owners: all of a batch, or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    AddrPool, Denied, Family, Granted, Ipam, Lease, Moment, Owner, Want, bits, pool::addr_pool::Span,
    state::leases::Place, state::network::Network,
};

/// An address that has been taken out of its pool.
#[derive(Clone, Copy)]
struct Choice {
    /// Index of the subnet.
    subnet: usize,
    offset: u128,
}

/// What an acquisition works on: the state itself, or copies of the pools that it touches.
trait Books {
    fn ipam(&self) -> &Ipam;
    fn pool(&mut self, network: u32, subnet: usize) -> Option<&mut AddrPool>;
    fn holder(&self, network: u32, subnet: usize, offset: u128) -> Option<Owner>;
    /// The address is out of its pool, whose cursor was there before.
    fn taken(&mut self, network: u32, choice: Choice, cursor: u128);
}

impl Ipam {
    pub(crate) fn acquire(&mut self, wants: &[Want]) -> Result<Granted, Denied> {
        let before = self.generation;
        let mut books = Live { ipam: self, journal: Vec::with_capacity(wants.len()) };
        let mut leases = Vec::with_capacity(wants.len());
        for want in wants {
            if let Err(denied) = books.acquire(want, &mut leases) {
                books.undo();
                self.generation = before;
                return Err(denied);
            }
        }
        Ok(Granted::Leases(leases))
    }

    /// Decides without changing anything.
    pub(crate) fn check_acquire(&self, moment: Moment, wants: &[Want]) -> Result<(), Denied> {
        let mut books = Trial { ipam: self, moment, pools: BTreeMap::new(), holders: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        for want in wants {
            let (id, _) = self.find(&want.network)?;
            let held = self.holds(id, &want.owner) || !seen.insert((id, &want.owner));
            if !held {
                let choices = choose(&mut books, id, want)?;
                for choice in choices.into_iter().flatten() {
                    books.holders.insert((id, choice.subnet, choice.offset), want.owner.clone());
                }
            }
        }
        Ok(())
    }

    fn holds(&self, id: u32, owner: &Owner) -> bool {
        self.leases.pack(owner).is_some_and(|packed| self.leases.of_grant(id, packed).next().is_some())
    }
}

struct Live<'i> {
    ipam: &'i mut Ipam,
    journal: Vec<Undo>,
}

struct Undo {
    network: u32,
    choice: Choice,
    cursor: u128,
    /// Once it is written down.
    lease: Option<u32>,
}

impl Live<'_> {
    fn acquire(&mut self, want: &Want, leases: &mut Vec<Lease>) -> Result<(), Denied> {
        let (id, _) = self.ipam.find(&want.network)?;
        if self.ipam.holds(id, &want.owner) {
            leases.extend(self.ipam.leases(&want.network, &want.owner));
            return Ok(());
        }
        self.ipam.thaw_network(id);
        let start = self.journal.len();
        choose(self, id, want)?;
        self.ipam.generation = self.ipam.generation.saturating_add(1);
        let generation = self.ipam.generation;
        for undo in self.journal.iter_mut().skip(start) {
            let subnet = u16::try_from(undo.choice.subnet).unwrap_or(u16::MAX);
            let place = Place { network: id, subnet, offset: undo.choice.offset, log2: 0, generation };
            let lease = self.ipam.record(&want.owner, place);
            undo.lease = Some(lease);
            let entry = self.ipam.leases.get(lease).zip(self.ipam.network(id));
            leases.extend(entry.map(|(entry, network)| network.lease(entry, want.owner.clone())));
        }
        if let Some(network) = self.ipam.network(id) {
            let first = leases.len() - (self.journal.len() - start);
            network.sort(&want.owner, leases.get_mut(first..).unwrap_or_default());
        }
        Ok(())
    }

    fn undo(&mut self) {
        for undo in self.journal.drain(..).rev() {
            let subnet = u16::try_from(undo.choice.subnet).unwrap_or(u16::MAX);
            let span = Span::new(undo.choice.offset, 0);
            if let Some(space) = self.ipam.space_mut(undo.network, subnet) {
                if undo.lease.is_some() {
                    space.unassign(span, false);
                }
                space.pool.free(span, crate::Lane::Plain, None);
                space.pool.set_cursor(undo.cursor);
            }
            if let Some(lease) = undo.lease {
                self.ipam.leases.remove(lease);
            }
        }
    }
}

impl Books for Live<'_> {
    fn ipam(&self) -> &Ipam {
        self.ipam
    }

    fn pool(&mut self, network: u32, subnet: usize) -> Option<&mut AddrPool> {
        Some(&mut self.ipam.network_mut(network)?.spaces.get_mut(subnet)?.pool)
    }

    fn holder(&self, network: u32, subnet: usize, offset: u128) -> Option<Owner> {
        let number = self.ipam.network(network)?.spaces.get(subnet)?.lease_at(offset)?;
        self.ipam.leases.get(number).map(|entry| self.ipam.leases.owner(entry))
    }

    fn taken(&mut self, network: u32, choice: Choice, cursor: u128) {
        self.journal.push(Undo { network, choice, cursor, lease: None });
    }
}

struct Trial<'i> {
    ipam: &'i Ipam,
    moment: Moment,
    pools: BTreeMap<(u32, usize), AddrPool>,
    /// Of addresses that the batch has taken.
    holders: BTreeMap<(u32, usize, u128), Owner>,
}

impl Books for Trial<'_> {
    fn ipam(&self) -> &Ipam {
        self.ipam
    }

    fn pool(&mut self, network: u32, subnet: usize) -> Option<&mut AddrPool> {
        if !self.pools.contains_key(&(network, subnet)) {
            let pool = self.ipam.network(network)?.pool_at(subnet, &self.moment)?.into_owned();
            self.pools.insert((network, subnet), pool);
        }
        self.pools.get_mut(&(network, subnet))
    }

    fn holder(&self, network: u32, subnet: usize, offset: u128) -> Option<Owner> {
        let in_batch = self.holders.get(&(network, subnet, offset)).cloned();
        in_batch.or_else(|| {
            let number = self.ipam.network(network)?.spaces.get(subnet)?.lease_at(offset)?;
            self.ipam.leases.get(number).map(|entry| self.ipam.leases.owner(entry))
        })
    }

    fn taken(&mut self, _network: u32, _choice: Choice, _cursor: u128) {}
}

/// Takes one address of each family of the network. After a refusal some may have been taken.
fn choose(books: &mut impl Books, id: u32, want: &Want) -> Result<[Option<Choice>; 2], Denied> {
    let mut choices = [None, None];
    if want.owner.is_fixed() || matches!(want.owner, Owner::Delegation(_)) {
        return Err(Denied::Fixed { network: want.network.clone(), owner: want.owner.clone() });
    }
    let preferred = match want.prefer {
        Some(addr) => Some((bits::family(addr), take_preferred(books, id, want, addr)?)),
        None => None,
    };
    let families = books.ipam().network(id).map(families).unwrap_or_default();
    for (choice, family) in choices.iter_mut().zip(families) {
        *choice = match (preferred, family) {
            (_, None) => None,
            (Some((its, preferred)), Some(family)) if its == family => Some(preferred),
            (_, Some(family)) => {
                let next = take_next(books, id, family);
                Some(next.ok_or_else(|| exhausted(books, id, want, family))?)
            }
        };
    }
    Ok(choices)
}

fn take_preferred(books: &mut impl Books, id: u32, want: &Want, addr: IpAddr) -> Result<Choice, Denied> {
    let place = books.ipam().network(id).and_then(|network| {
        let mut spaces = network.spaces.iter().enumerate();
        spaces.find_map(|(subnet, space)| Some(Choice { subnet, offset: space.offset(addr)? }))
    });
    let Some(choice) = place else {
        let subnets = books.ipam().subnets(&want.network).iter().map(|subnet| subnet.net).collect();
        return Err(Denied::OutsideSubnet { network: want.network.clone(), addr, subnets });
    };
    let Choice { subnet, offset } = choice;
    if let Some(pool) = books.pool(id, subnet) {
        let cursor = pool.cursor();
        if pool.take_span(Span::new(offset, 0)) {
            books.taken(id, choice, cursor);
            return Ok(choice);
        }
    }
    let holder = books.holder(id, subnet, offset);
    let rest = books.pool(id, subnet).and_then(|pool| pool.rest_of(offset));
    let network = want.network.clone();
    let next_free = peek_next(books, id, bits::family(addr));
    match (holder, rest) {
        (Some(holder), _) => Err(Denied::InUse { network, addr, holder, next_free }),
        (None, Some(rest)) => Err(Denied::Held { network, addr, ready_ms: rest.ready_ms, next_free }),
        (None, None) => {
            let subnets = books.ipam().subnets(&want.network);
            let subnet = subnets.get(subnet).map(|subnet| subnet.net).unwrap_or_default();
            Err(Denied::Reserved { addr, subnet })
        }
    }
}

/// Subnets in their order, each from its cursor on.
fn take_next(books: &mut impl Books, id: u32, family: Family) -> Option<Choice> {
    let subnets = books.ipam().network(id).map_or(0, |network| network.spaces.len());
    for subnet in 0..subnets {
        let pool = books.pool(id, subnet).filter(|pool| Family::of(pool.net()) == family);
        if let Some(pool) = pool {
            let cursor = pool.cursor();
            if let Some(offset) = pool.allocate_offset() {
                let choice = Choice { subnet, offset };
                books.taken(id, choice, cursor);
                return Some(choice);
            }
        }
    }
    None
}

fn peek_next(books: &mut impl Books, id: u32, family: Family) -> Option<IpAddr> {
    let subnets = books.ipam().network(id).map_or(0, |network| network.spaces.len());
    (0..subnets).find_map(|subnet| {
        let pool = books.pool(id, subnet).filter(|pool| Family::of(pool.net()) == family)?;
        pool.peek().map(|offset| pool.addr(offset))
    })
}

fn exhausted(books: &mut impl Books, id: u32, want: &Want, family: Family) -> Denied {
    let (mut in_use, mut held, mut reserved, mut outside) = (0_u128, 0_u128, 0_u128, 0_u128);
    let mut ready_ms = None;
    let fixed: Vec<u32> = books
        .ipam()
        .network(id)
        .map_or_else(Vec::new, |network| network.spaces.iter().map(|space| space.fixed()).collect());
    for (subnet, fixed) in fixed.into_iter().enumerate() {
        let Some(pool) = books.pool(id, subnet).filter(|pool| Family::of(pool.net()) == family) else {
            continue;
        };
        let usage = pool.usage(&Moment::default());
        in_use += usage.in_use - u128::from(fixed);
        held += usage.held;
        reserved += usage.reserved + u128::from(fixed);
        outside += usage.free - usage.available;
        ready_ms = ready_ms.into_iter().chain(pool.next_ready()).min();
    }
    Denied::AddressesExhausted {
        network: want.network.clone(),
        family,
        in_use: bits::saturate(in_use),
        held: bits::saturate(held),
        reserved: bits::saturate(reserved),
        outside: bits::saturate(outside),
        ready_ms,
    }
}

/// In the order of the subnets.
fn families(network: &Network) -> [Option<Family>; 2] {
    let mut families = network.subnets.iter().map(|subnet| Family::of(subnet.net));
    let first = families.next();
    [first, families.find(|family| Some(*family) != first)]
}
