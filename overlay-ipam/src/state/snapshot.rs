//! The state as it travels: only what cannot be derived, leases by address.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    AddrPool, Config, Hold, Ipam, Lane, NetworkKey, Owner, OwnerKey, PoolSpec, Rest, Subnet,
    pool::addr_pool::Span,
    state::codec::{Reader, Writer, from_text, to_text},
    state::ipam::NOBODY,
    state::leases::{Entry, Place},
    state::network::Network,
    state::space::Space,
    words::key::Name,
};

/// Why bytes are no snapshot of a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum RestoreError {
    #[error("not a snapshot of this version")]
    Version,
    #[error("the snapshot ends too early")]
    Truncated,
    #[error("the snapshot has {left} bytes too many")]
    TooLong { left: usize },
    #[error("a number is too large")]
    Number,
    #[error("a name is no text")]
    Text,
    #[error("{net} is not a subnet of a network, or overlaps another one")]
    Subnet { net: IpNet },
    #[error("an address in {net} has two holders, or one that cannot be")]
    Holder { net: IpNet },
    #[error("the order of events is wrong")]
    Order,
}

impl Ipam {
    /// The whole state in bytes: about 20 per lease. Equal states give equal bytes.
    ///
    /// ```
    /// use overlay_ipam::{Config, Ipam};
    ///
    /// let ipam = Ipam::new(Config::default());
    /// assert_eq!(Ipam::restore(&ipam.snapshot())?, ipam);
    /// # Ok::<(), overlay_ipam::RestoreError>(())
    /// ```
    pub fn snapshot(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.bytes.reserve(self.leases.len() * 24 + 256);
        to.bytes.extend(VERSION);
        to.count(self.config.pools.len());
        for pool in &self.config.pools {
            to.net(pool.base);
            to.byte(pool.piece);
        }
        let Hold { address_ms, vip_ms, subnet_ms } = self.config.hold;
        for number in [address_ms, vip_ms, subnet_ms, self.moment.now_ms, self.moment.settled] {
            to.number(number);
        }
        to.number(self.generation);
        to.number(self.mark);
        to.count(self.acks.len());
        for (node, acked) in self.acks.iter() {
            to.text(&node.to_string());
            to.number(acked);
        }
        to.count(self.exclusions.len());
        for (by, nets) in &self.exclusions {
            to.text(&by.to_string());
            to.count(nets.len());
            nets.iter().for_each(|net| to.net(*net));
        }
        to.count(self.resting.len());
        for (net, rest) in self.resting.iter() {
            to.net(net);
            to.number(rest.ready_ms);
            to.number(rest.mark);
        }
        to.count(self.names.len());
        for (key, network) in self.names.iter().filter_map(|(key, id)| Some((key, self.network(*id)?))) {
            to.text(key.as_str());
            to.count(network.subnets.len());
            for (subnet, space) in network.subnets.iter().zip(&network.spaces) {
                self.write_space(&mut to, subnet, space);
            }
        }
        to.bytes
    }

    /// The state of a snapshot.
    ///
    /// # Errors
    ///
    /// If the bytes are no snapshot, or one of a state that cannot be.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut from = Reader::new(bytes);
        if from.array() != Ok(*VERSION) {
            return Err(RestoreError::Version);
        }
        let mut pools = Vec::new();
        for _ in 0..from.count()? {
            pools.push(PoolSpec { base: from.net()?, piece: from.byte()? });
        }
        let hold = Hold { address_ms: from.number()?, vip_ms: from.number()?, subnet_ms: from.number()? };
        let mut ipam = Self::new(Config { pools, hold });
        (ipam.moment.now_ms, ipam.moment.settled) = (from.number()?, from.number()?);
        (ipam.generation, ipam.mark) = (from.number()?, from.number()?);
        for _ in 0..from.count()? {
            ipam.acks.insert(OwnerKey::new(from.text()?), from.number()?);
        }
        ipam.read_exclusions(&mut from)?;
        for _ in 0..from.count()? {
            let net = from.net()?;
            let rest = Rest { ready_ms: from.number()?, mark: from.number()? };
            if net.prefix_len() == 0 || !ipam.pool.claim_for(net, NOBODY) {
                return Err(RestoreError::Subnet { net });
            }
            ipam.resting.push(net.trunc(), rest);
        }
        for _ in 0..from.count()? {
            ipam.read_network(&mut from)?;
        }
        ipam.index_leases()?;
        let acked = ipam.acks.iter().all(|(_, acked)| acked <= ipam.mark) && ipam.moment.settled <= ipam.mark;
        let all = ipam.acks.lowest().is_none_or(|all| all <= ipam.moment.settled);
        if !(acked && all && ipam.resting.is_sorted()) {
            return Err(RestoreError::Order);
        }
        match from.left() {
            0 => Ok(ipam),
            left => Err(RestoreError::TooLong { left }),
        }
    }

    fn read_exclusions(&mut self, from: &mut Reader<'_>) -> Result<(), RestoreError> {
        for _ in 0..from.count()? {
            let by = OwnerKey::new(from.text()?);
            let mut nets = Vec::new();
            for _ in 0..from.count()? {
                nets.push(from.net()?);
            }
            self.count_exclusion(&by, &nets);
        }
        self.pool.avoid(self.excluded.keys().copied());
        Ok(())
    }

    fn write_space(&self, to: &mut Writer, subnet: &Subnet, space: &Space) {
        let offset = |addr| space.offset(addr).unwrap_or(0);
        to.net(subnet.net);
        to.wide(offset(subnet.gateway));
        to.option(subnet.normalised_from);
        to.option(subnet.range);
        to.wide(space.pool.cursor());
        to.count(space.pool.rests().count());
        let (mut ready_ms, mut mark) = (0, 0);
        for (lane, span, rest) in space.pool.rests() {
            to.byte(if lane == Lane::Virtual { VIRTUAL } else { 0 });
            to.wide(span.first);
            to.wide(span.last - span.first);
            to.signed(rest.ready_ms, ready_ms);
            to.signed(rest.mark, mark);
            (ready_ms, mark) = (rest.ready_ms, rest.mark);
        }
        to.count(space.leases().count());
        let (mut next, mut generation) = (0, 0);
        for entry in space.leases().filter_map(|number| self.leases.get(number)) {
            let owner = self.leases.owner(entry);
            let name = owner.key().map(|key| &key.0);
            let text = if matches!(name, Some(Name::Text(_))) { TEXT } else { 0 };
            let block = if entry.log2 > 0 { BLOCK } else { 0 };
            to.byte(owner.kind() | text | block);
            if entry.log2 > 0 {
                to.byte(entry.log2);
            }
            match name {
                None => {}
                Some(Name::Text(text)) => to.text(text),
                Some(Name::Id(halves)) => halves.iter().for_each(|half| to.bytes.extend(half.to_be_bytes())),
            }
            to.wide(entry.offset() - next);
            to.signed(entry.generation, generation);
            (next, generation) = (entry.span().last + 1, entry.generation);
        }
    }

    fn read_network(&mut self, from: &mut Reader<'_>) -> Result<(), RestoreError> {
        let key = NetworkKey::new(from.text()?);
        if self.names.contains_key(&key) {
            return Err(RestoreError::Order);
        }
        let id = self.settle_in(Network { key, subnets: Vec::new(), spaces: Vec::new() });
        let count = from.count()?;
        if count == 0 || count > usize::from(u16::MAX) {
            return Err(RestoreError::Number);
        }
        for index in 0..count {
            let subnet = u16::try_from(index).unwrap_or(u16::MAX);
            self.read_space(from, (id, subnet))?;
        }
        Ok(())
    }

    fn read_space(&mut self, from: &mut Reader<'_>, (id, index): (u32, u16)) -> Result<(), RestoreError> {
        let net = from.net()?;
        let gateway = from.addr_in(net)?;
        let (normalised_from, range, cursor) = (from.option()?, from.option()?, from.wide()?);
        let wrong = RestoreError::Subnet { net };
        let misplaced = net != net.trunc() || net.prefix_len() == 0;
        if misplaced || range.is_some_and(|range| range != range.trunc() || !net.contains(&range)) {
            return Err(wrong);
        }
        if !self.pool.claim_for(net, id) {
            return Err(wrong);
        }
        let mut pool = AddrPool::new(net, range);
        pool.set_cursor(cursor);
        if pool.cursor() != cursor {
            return Err(RestoreError::Number);
        }
        read_rests(from, &mut pool)?;
        let network = self.network_mut(id).ok_or(wrong)?;
        network.subnets.push(Subnet { net, gateway, normalised_from, range });
        network.spaces.push(Space::of(pool));
        let (mut next, mut generation) = (0_u128, 0);
        for _ in 0..from.count()? {
            let (owner, log2) = read_owner(from)?;
            let offset = next.checked_add(from.wide()?).ok_or(RestoreError::Number)?;
            generation = from.signed(generation)?;
            let place = Place { network: id, subnet: index, offset, log2, generation };
            next = self.read_lease(&owner, place).ok_or(RestoreError::Holder { net })?;
        }
        let holder = self.network(id).and_then(|network| {
            let space = network.spaces.last()?;
            self.leases.get(space.lease_at(space.offset(gateway)?)?)
        });
        match holder.map(|entry| self.leases.owner(entry)) {
            Some(Owner::Gateway) => Ok(()),
            _ => Err(RestoreError::Holder { net }),
        }
    }

    /// Where the next lease can begin; `None` if this one cannot be.
    fn read_lease(&mut self, owner: &Owner, place: Place) -> Option<u128> {
        let is_block = matches!(owner, Owner::Delegation(_));
        let aligned = place.offset.trailing_zeros() >= place.log2.into();
        let can_be = place.generation <= self.generation && aligned && (place.log2 == 0 || is_block);
        if !can_be {
            return None;
        }
        let span = Span::new(place.offset, place.log2);
        let number = self.leases.append(owner, place);
        let space = self.space_mut(place.network, place.subnet)?;
        if !space.pool.take_span(span) {
            return None;
        }
        space.assign(span, number, owner.is_fixed());
        span.last.checked_add(1)
    }

    fn index_leases(&mut self) -> Result<(), RestoreError> {
        let mut leases = std::mem::take(&mut self.leases);
        let net = |entry: &Entry| {
            let subnet = self.network(entry.network)?.subnets.get(usize::from(entry.subnet))?;
            Some(subnet.net)
        };
        let is_v4 = |entry: &Entry| net(entry).map(|net| net.addr().is_ipv4());
        // two leases of one grant
        let clash =
            |a: &Entry, b: &Entry| a.generation != b.generation || (is_v4(a) == is_v4(b) && !a.is_fixed());
        let indexed = leases.index_all(clash);
        let indexed = indexed.map_err(|entry| RestoreError::Holder { net: net(&entry).unwrap_or_default() });
        self.leases = leases;
        indexed
    }
}

fn read_rests(from: &mut Reader<'_>, pool: &mut AddrPool) -> Result<(), RestoreError> {
    let net = pool.net();
    let (mut ready_ms, mut mark) = (0, 0);
    for _ in 0..from.count()? {
        let lane = match from.byte()? {
            0 => Lane::Plain,
            VIRTUAL => Lane::Virtual,
            _ => return Err(RestoreError::Number),
        };
        let first = from.wide()?;
        let last = first.checked_add(from.wide()?).ok_or(RestoreError::Number)?;
        (ready_ms, mark) = (from.signed(ready_ms)?, from.signed(mark)?);
        if !pool.put_to_rest(Span { first, last }, lane, Rest { ready_ms, mark }) {
            return Err(RestoreError::Holder { net });
        }
    }
    if pool.is_in_order() { Ok(()) } else { Err(RestoreError::Order) }
}

/// The owner, and the logarithm of its block's size.
fn read_owner(from: &mut Reader<'_>) -> Result<(Owner, u8), RestoreError> {
    let tag = from.byte()?;
    let log2 = if tag & BLOCK != 0 { from.byte()? } else { 0 };
    let kind = tag & !(TEXT | BLOCK);
    let key = if kind == 0 {
        None
    } else if tag & TEXT != 0 {
        Some(OwnerKey::new(from.text()?))
    } else {
        Some(OwnerKey(Name::Id([u64::from_be_bytes(from.array()?), u64::from_be_bytes(from.array()?)])))
    };
    let owner = Owner::of_kind(kind, key).ok_or(RestoreError::Number)?;
    if log2 < 128 { Ok((owner, log2)) } else { Err(RestoreError::Number) }
}

impl Serialize for Ipam {
    /// The snapshot, as bytes or as text (base 64) where the format is for people.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let snapshot = self.snapshot();
        if serializer.is_human_readable() {
            serializer.serialize_str(&to_text(&snapshot))
        } else {
            serializer.serialize_bytes(&snapshot)
        }
    }
}

impl<'de> Deserialize<'de> for Ipam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            from_text(&text).ok_or_else(|| D::Error::custom("not base 64"))?
        } else {
            Vec::deserialize(deserializer)?
        };
        Self::restore(&bytes).map_err(D::Error::custom)
    }
}

const VERSION: &[u8; 6] = b"ipam/1";
const TEXT: u8 = 0x08;
const BLOCK: u8 = 0x10;
const VIRTUAL: u8 = 1;
