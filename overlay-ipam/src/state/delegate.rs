//! Blocks for nodes that hand out addresses by themselves.

use ipnet::IpNet;

use crate::{
    Denied, Family, Granted, Ipam, Moment, NetworkKey, Owner, OwnerKey, bits, pool::addr_pool::Span,
    state::leases::Place,
};

/// A block that can be had.
pub(crate) enum Block {
    /// The node has one already.
    Repeat,
    New {
        subnet: usize,
        offset: u128,
        log2: u8,
    },
}

/// What is kept of a block.
pub(crate) struct Kept {
    number: u32,
    offset: u128,
    log2: u8,
}

impl Ipam {
    /// Decides without changing anything.
    pub(crate) fn plan_delegate(
        &self,
        moment: Moment,
        key: &NetworkKey,
        to: &OwnerKey,
        (family, prefix_len): (Family, u8),
    ) -> Result<Block, Denied> {
        let (_, network) = self.find(key)?;
        let owner = Owner::Delegation(to.clone());
        if self.leases(key, &owner).iter().any(|lease| bits::family(lease.addr) == family) {
            return Ok(Block::Repeat);
        }
        let can_be_cut = |net: IpNet| {
            Family::of(net) == family && net.prefix_len() < prefix_len && prefix_len <= net.max_prefix_len()
        };
        let large =
            || (0..network.subnets.len()).zip(&network.subnets).filter(|(_, own)| can_be_cut(own.net));
        if large().next().is_none() {
            let subnets = network.subnets.iter().map(|subnet| subnet.net).collect();
            return Err(Denied::BlockLength { network: key.clone(), prefix_len, subnets });
        }
        let search = |len: u8| {
            large().find_map(|(subnet, own)| {
                let log2 = own.net.max_prefix_len() - len;
                Some((subnet, network.pool_at(subnet, &moment)?.peek_block(log2)?, log2))
            })
        };
        if let Some((subnet, offset, log2)) = search(prefix_len) {
            return Ok(Block::New { subnet, offset, log2 });
        }
        let longest = if family == Family::V4 { 32 } else { 128 };
        let next_free = (prefix_len + 1..=longest).find_map(search).and_then(|(subnet, offset, log2)| {
            let space = network.spaces.get(subnet)?;
            Some(block(space.pool.addr(offset), space.net(), log2))
        });
        Err(Denied::NoBlock { network: key.clone(), prefix_len, next_free })
    }

    pub(crate) fn delegate(
        &mut self,
        key: &NetworkKey,
        to: &OwnerKey,
        family: Family,
        prefix_len: u8,
    ) -> Result<Granted, Denied> {
        let (id, _) = self.find(key)?;
        self.thaw_network(id);
        let owner = Owner::Delegation(to.clone());
        if let Block::New { subnet, offset, log2 } =
            self.plan_delegate(self.moment, key, to, (family, prefix_len))?
        {
            let subnet = u16::try_from(subnet).unwrap_or(u16::MAX);
            if let Some(space) = self.space_mut(id, subnet) {
                space.pool.take_span(Span::new(offset, log2));
            }
            self.generation = self.generation.saturating_add(1);
            let generation = self.generation;
            self.record(&owner, Place { network: id, subnet, offset, log2, generation });
        }
        let leases = self.leases(key, &owner).into_iter();
        Ok(Granted::Leases(leases.filter(|lease| bits::family(lease.addr) == family).collect()))
    }

    /// Decides without changing anything; `None`: there is nothing to do.
    pub(crate) fn plan_shrink(
        &self,
        key: &NetworkKey,
        from: &OwnerKey,
        generation: u64,
        keep: IpNet,
    ) -> Result<Option<Kept>, Denied> {
        let keep = keep.trunc();
        let owner = Owner::Delegation(from.clone());
        let Some((id, network)) = self.known(key) else { return Ok(None) };
        let Some(packed) = self.leases.pack(&owner) else { return Ok(None) };
        let mut blocks = self.leases.of_grant(id, packed).filter(|(_, entry)| entry.generation == generation);
        let mut found = None;
        let kept = blocks.find_map(|(number, entry)| {
            let lease = network.lease(entry, owner.clone());
            let block = lease.block?;
            found = Some(found.map_or(block, |other: IpNet| other.min(block)));
            block.contains(&keep).then(|| {
                let offset = entry.offset() + (bits::first(keep) - bits::first(block));
                Kept { number, offset, log2: keep.max_prefix_len() - keep.prefix_len() }
            })
        });
        match (kept, found) {
            (None, Some(block)) => Err(Denied::OutsideBlock { keep, block, to: from.clone() }),
            (kept, _) => Ok(kept),
        }
    }

    pub(crate) fn shrink(
        &mut self,
        key: &NetworkKey,
        from: &OwnerKey,
        generation: u64,
        keep: IpNet,
    ) -> Result<Granted, Denied> {
        let Some(kept) = self.plan_shrink(key, from, generation, keep)? else { return Ok(Granted::Done) };
        let Some(entry) = self.leases.get(kept.number).copied() else { return Ok(Granted::Done) };
        let (whole, part) = (entry.span(), Span::new(kept.offset, kept.log2));
        if whole == part {
            return Ok(Granted::Done);
        }
        let (lane, rest) = (entry.lane(), self.rest_in(entry.lane()));
        if let Some(space) = self.space_mut(entry.network, entry.subnet) {
            space.unassign(whole, false);
            if whole.first < part.first {
                space.pool.free(Span { first: whole.first, last: part.first - 1 }, lane, rest);
            }
            if part.last < whole.last {
                space.pool.free(Span { first: part.last + 1, last: whole.last }, lane, rest);
            }
            space.assign(part, kept.number, false);
        }
        self.leases.moved(kept.number, kept.offset, kept.log2);
        self.next_mark();
        Ok(Granted::Done)
    }
}

fn block(addr: std::net::IpAddr, within: IpNet, log2: u8) -> IpNet {
    let len = within.max_prefix_len().saturating_sub(log2);
    IpNet::new(addr, len).unwrap_or_else(|_| addr.into())
}
