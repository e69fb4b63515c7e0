use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Location, PortId, Snooping, network::FOR_EVER};

/// Who wants to hear which group: what IGMP and MLD snooping remembers ([RFC 4541]). Bounded.
///
/// [RFC 4541]: https://www.rfc-editor.org/rfc/rfc4541
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) config: Snooping,
    groups: HashMap<IpAddr, Members>,
    v4: Routing,
    v6: Routing,
    /// While this lies ahead, there may be members that found no room.
    overflow_until: Option<Instant>,
    sweep_at: Option<Instant>,
    query_at: Option<Instant>,
    /// The audience of one frame.
    ports: Vec<PortId>,
    endpoints: Vec<IpAddr>,
}

/// Who gets a frame to a group.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience<'a> {
    Everyone,
    Members { ports: &'a [PortId], endpoints: &'a [IpAddr] },
}

/// A version of IP, for the state that there is once for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Who is a member, or a router, and until when.
#[derive(Debug, Default)]
struct Members(BTreeMap<Location, Instant>);

#[derive(Debug, Default)]
struct Routing {
    routers: Members,
    /// From when on the answers to someone's questions are complete, and how long those count.
    settled: Option<(Instant, Instant)>,
    /// How long someone else asks.
    foreign_until: Option<Instant>,
    query_pending: bool,
}

impl Groups {
    pub(super) fn new(mut config: Snooping) -> Self {
        config.membership = config.membership.min(FOR_EVER);
        config.querier = config.querier.min(FOR_EVER);
        config.query_interval = config.query_interval.clamp(MIN_INTERVAL, FOR_EVER);
        Self {
            config,
            groups: HashMap::new(),
            v4: Routing::default(),
            v6: Routing::default(),
            overflow_until: None,
            sweep_at: None,
            query_at: None,
            ports: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Who gets a frame to a group that comes from `from`.
    pub(super) fn audience(&mut self, now: Instant, group: IpAddr, from: Location) -> Audience<'_> {
        let routing = if group.is_ipv4() { &self.v4 } else { &self.v6 };
        let settled = routing.settled.is_some_and(|(since, until)| since <= now && now < until);
        let members = self.groups.get(&group);
        let overflow = self.overflow_until.is_some_and(|until| until > now);
        if is_always_flooded(group) || !settled || (overflow && members.is_none()) {
            return Audience::Everyone;
        }
        self.ports.clear();
        self.endpoints.clear();
        members
            .into_iter()
            .for_each(|members| members.gather(now, from, &mut self.ports, &mut self.endpoints));
        for (router, expires) in &routing.routers.0 {
            let is_member = members.is_some_and(|members| members.has(now, *router));
            if *router != from && *expires > now && !is_member {
                push(*router, &mut self.ports, &mut self.endpoints);
            }
        }
        Audience::Members { ports: &self.ports, endpoints: &self.endpoints }
    }

    /// The ports that get a report: whoever routes groups.
    pub(super) fn routers(&mut self, now: Instant, family: Family, from: Location) -> &[PortId] {
        let routing = if family == Family::V4 { &self.v4 } else { &self.v6 };
        self.ports.clear();
        self.endpoints.clear();
        routing.routers.gather(now, from, &mut self.ports, &mut self.endpoints);
        &self.ports
    }

    /// A member joined a group, or still is one.
    pub(super) fn join(&mut self, now: Instant, group: IpAddr, member: Location) {
        if !group.is_multicast() || is_always_flooded(group) {
            return;
        }
        if self.groups.len() >= self.config.max_groups && !self.groups.contains_key(&group) {
            self.sweep(now);
            if self.groups.len() >= self.config.max_groups {
                self.overflow_until = Some(now + self.config.membership);
                return;
            }
        }
        let expires = now + self.config.membership;
        self.groups.entry(group).or_default().0.insert(member, expires);
        self.sweep_at.get_or_insert(expires);
    }

    /// The last member at a place left a group.
    pub(super) fn leave(&mut self, group: IpAddr, member: Location) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.0.remove(&member);
            if members.0.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Someone asks who is a member; one that has an address is a router.
    pub(super) fn hear_query(&mut self, now: Instant, family: Family, from: Location, is_router: bool) {
        let config = self.config;
        let routing = self.routing(family);
        routing.ask(now, &config);
        routing.foreign_until = Some(now + config.querier);
        if is_router {
            self.hear_router(now, family, from);
        }
    }

    /// Someone routes groups.
    pub(super) fn hear_router(&mut self, now: Instant, family: Family, from: Location) {
        let expires = now + self.config.querier;
        self.routing(family).routers.0.insert(from, expires);
        self.sweep_at.get_or_insert(expires);
    }

    /// Gives up what a host said.
    pub(super) fn forget(&mut self, gone: impl Fn(Location) -> bool) -> usize {
        let mut forgotten = 0;
        self.groups.retain(|_, members| {
            let before = members.0.len();
            members.0.retain(|member, _| !gone(*member));
            forgotten += before - members.0.len();
            !members.0.is_empty()
        });
        for routing in [&mut self.v4, &mut self.v6] {
            routing.routers.0.retain(|router, _| !gone(*router));
        }
        forgotten
    }

    /// Takes over what another table knows, as far as it may.
    pub(super) fn inherit(&mut self, other: Self, gone: impl Fn(Location) -> bool) {
        *self = Self { config: self.config, ..other };
        self.forget(gone);
        if self.groups.len() > self.config.max_groups {
            self.groups.clear();
            self.v4.settled = None;
            self.v6.settled = None;
        }
    }

    /// The first frame of a group starts the questions.
    pub(super) fn start(&mut self, now: Instant) {
        self.query_at.get_or_insert(now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.sweep_at, self.query_at].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.sweep(now);
        if self.query_at.is_some_and(|at| at <= now) {
            self.query_at = Some(now + self.config.query_interval);
            for routing in [&mut self.v4, &mut self.v6] {
                routing.query_pending = routing.foreign_until.is_none_or(|until| until <= now);
            }
        }
    }

    /// A question that is due, once.
    pub(super) fn poll_query(&mut self, now: Instant) -> Option<Family> {
        let config = self.config;
        for family in [Family::V4, Family::V6] {
            let routing = self.routing(family);
            if std::mem::take(&mut routing.query_pending) {
                routing.ask(now, &config);
                return Some(family);
            }
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        let mut stays = |expires: Instant| {
            if expires > now {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            }
            expires > now
        };
        self.groups.retain(|_, members| {
            members.0.retain(|_, expires| stays(*expires));
            !members.0.is_empty()
        });
        for routing in [&mut self.v4, &mut self.v6] {
            routing.routers.0.retain(|_, expires| stays(*expires));
        }
        self.sweep_at = next.map(|next| next.max(now + self.config.membership / 16));
    }

    const fn routing(&mut self, family: Family) -> &mut Routing {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl Members {
    fn has(&self, now: Instant, member: Location) -> bool {
        self.0.get(&member).is_some_and(|expires| *expires > now)
    }

    fn gather(&self, now: Instant, from: Location, ports: &mut Vec<PortId>, endpoints: &mut Vec<IpAddr>) {
        for (member, expires) in &self.0 {
            if *member != from && *expires > now {
                push(*member, ports, endpoints);
            }
        }
    }
}

impl Routing {
    /// Hosts were asked: when they have answered, it is known who is a member.
    fn ask(&mut self, now: Instant, config: &Snooping) {
        let since = self.settled.filter(|(_, until)| *until > now).map(|(since, _)| since);
        self.settled = Some((since.unwrap_or(now + MAX_RESPONSE), now + config.querier));
    }
}

/// How long hosts may wait before they answer a question: 10 s (RFC 3376 §8.3, RFC 3810 §9.3).
pub(super) const MAX_RESPONSE: Duration = Duration::from_secs(10);

/// Whoever asks more often has mistaken the unit.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

fn push(member: Location, ports: &mut Vec<PortId>, endpoints: &mut Vec<IpAddr>) {
    match member {
        Location::Port(port) => ports.push(port),
        Location::Endpoint(addr) => endpoints.push(addr),
    }
}

/// Groups that hosts join without a word ([RFC 4541 §2.1.2] and §3): 224.0.0.0/24, ff02::1, and what stays on a host.
///
/// [RFC 4541 §2.1.2]: https://www.rfc-editor.org/rfc/rfc4541#section-2.1.2
fn is_always_flooded(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => matches!(group.octets(), [224, 0, 0, _]),
        IpAddr::V6(group) => {
            matches!(group.segments(), [0xff00 | 0xff01, ..] | [0xff02, 0, 0, 0, 0, 0, 0, 1])
        }
    }
}
