//! What a name means to a task: answered from the views of its own networks, or passed on.
//!
//! | question | answer |
//! |---|---|
//! | a service or alias | its virtual IPs; without any, the addresses of its ready tasks |
//! | `tasks.` and a service or alias | the addresses of its ready tasks |
//! | a task or container | its address, if it is ready |
//! | any of these with `.NETWORK` behind it | the same, in that network alone |
//! | an address, backwards | the task or service that has it |
//! | a known name, another kind | [`Answer::NoData`] at once, never anyone else's business |
//! | an unknown name with a dot in it | [`Answer::Forward`] |
//! | an unknown name without, or `tasks.` something | [`Answer::NxDomain`] |
//!
//! Case and a trailing dot do not matter. Of several views the first that has an address for the name answers.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{Endpoint, View};

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The name of an address.
    Ptr,
    /// Anything else; no name has it.
    Other,
}

/// What to answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Addresses of the family that was asked for; never empty.
    Addresses {
        /// In the order in which to answer.
        addrs: Vec<IpAddr>,
        /// Seconds for which the asker may keep them.
        ttl_s: u32,
    },
    /// The name that belongs to an address.
    Name {
        /// Without a trailing dot.
        name: String,
        /// Seconds for which the asker may keep it.
        ttl_s: u32,
    },
    /// The name is ours and has nothing of this kind: an empty answer without error.
    NoData,
    /// The name can only be ours, and is not.
    NxDomain,
    /// Not ours: ask an upstream server, or refuse if there is none.
    Forward,
}

/// Seconds for which a virtual IP may be kept: it outlives tasks, but not the service.
pub const VIP_TTL_S: u32 = 60;
/// Seconds for which a task's address may be kept; tasks move.
pub const TASK_TTL_S: u32 = 2;

/// Answers one question of a task that is attached to the networks of `views`, and sees no other.
///
/// `rotation` turns the list of addresses, so that counting it up spreads clients that take the first one.
///
/// ```
/// use overlay_lb::{View, dns::{Answer, Kind, answer}};
///
/// let nothing = View::new([]);
/// assert_eq!(answer(&[&nothing], "web", Kind::A, 0), Answer::NxDomain);
/// assert_eq!(answer(&[&nothing], "example.com.", Kind::A, 0), Answer::Forward);
/// ```
#[must_use]
pub fn answer(views: &[&View], name: &str, kind: Kind, rotation: u64) -> Answer {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if let Some(addr) = reversed(&name) {
        return answer_reverse(views, addr, kind);
    }
    let mut known = views.iter().filter_map(|view| found_in(view, &name)).peekable();
    if known.peek().is_none() {
        let ours_alone = name.starts_with("tasks.") || !(name.is_empty() || name.contains('.'));
        return if ours_alone { Answer::NxDomain } else { Answer::Forward };
    }
    let Some(found) = known.find(|found| !found.addrs.is_empty()) else {
        return Answer::NoData;
    };
    let mut addrs: Vec<IpAddr> = found.addrs.into_iter().filter(|addr| is_kind(*addr, kind)).collect();
    let Some(turn) = rotation.checked_rem(addrs.len() as u64) else {
        return Answer::NoData;
    };
    addrs.rotate_left(usize::try_from(turn).unwrap_or(0));
    Answer::Addresses { addrs, ttl_s: found.ttl_s }
}

fn answer_reverse(views: &[&View], addr: IpAddr, kind: Kind) -> Answer {
    match views.iter().find_map(|view| name_of(view, addr)) {
        None => Answer::Forward,
        Some(name) if kind == Kind::Ptr => Answer::Name { name: name.to_owned(), ttl_s: TASK_TTL_S },
        Some(_) => Answer::NoData,
    }
}

struct Found {
    addrs: BTreeSet<IpAddr>,
    ttl_s: u32,
}

/// What `name` stands for in one network; nothing at all if no one there has that name.
fn found_in(view: &View, name: &str) -> Option<Found> {
    lookup(view, name).or_else(|| {
        let inner = name.strip_suffix(view.network()?)?.strip_suffix('.')?;
        lookup(view, inner)
    })
}

fn lookup(view: &View, name: &str) -> Option<Found> {
    if let Some(service) = name.strip_prefix("tasks.") {
        return view.behind_name(service).map(ready_tasks);
    }
    let service = view.behind_name(name).map(virtual_ips_or_tasks);
    service.or_else(|| view.with_task_name(name).map(ready_tasks))
}

fn ready_tasks<'a>(tasks: impl Iterator<Item = &'a Endpoint>) -> Found {
    let ready = tasks.filter(|task| task.takes_new_flows());
    Found { addrs: ready.flat_map(|task| task.addresses.iter().copied()).collect(), ttl_s: TASK_TTL_S }
}

/// A name that several services share prefers those that have a ready task; a service without one keeps its address.
fn virtual_ips_or_tasks<'a>(tasks: impl Iterator<Item = &'a Endpoint> + Clone) -> Found {
    let vips = |tasks: &mut dyn Iterator<Item = &'a Endpoint>| -> BTreeSet<IpAddr> {
        tasks.flat_map(|task| task.vips.iter().copied()).collect()
    };
    let mut addrs = vips(&mut tasks.clone().filter(|task| task.takes_new_flows()));
    let bare = ready_tasks(tasks.clone().filter(|task| task.vips.is_empty()));
    if addrs.is_empty() && bare.addrs.is_empty() {
        addrs = vips(&mut tasks.clone());
    }
    let ttl_s = if bare.addrs.is_empty() { VIP_TTL_S } else { TASK_TTL_S };
    addrs.extend(bare.addrs);
    Found { addrs, ttl_s }
}

/// The task at an address, a ready one first if it changes hands, or the service with that virtual IP.
fn name_of(view: &View, addr: IpAddr) -> Option<&str> {
    let task = view.at_address(addr).and_then(|mut tasks| {
        let mut all = tasks.clone();
        tasks.find(|task| task.takes_new_flows()).or_else(|| all.next())
    });
    match task {
        Some(task) if !task.task_name.is_empty() => Some(&task.task_name),
        _ => view.vip_owner(addr).and_then(|service| view.service_name(service)),
    }
}

const fn is_kind(addr: IpAddr, kind: Kind) -> bool {
    match kind {
        Kind::A => addr.is_ipv4(),
        Kind::Aaaa => addr.is_ipv6(),
        Kind::Ptr | Kind::Other => false,
    }
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` spells backwards ([RFC 1035 §3.5], [RFC 3596 §2.5]).
///
/// [RFC 1035 §3.5]: https://www.rfc-editor.org/rfc/rfc1035#section-3.5
/// [RFC 3596 §2.5]: https://www.rfc-editor.org/rfc/rfc3596#section-2.5
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let [d, c, b, a] = parts::<4>(labels)?.map(|label| label.parse::<u8>().ok());
        return Some(Ipv4Addr::new(a?, b?, c?, d?).into());
    }
    let labels = parts::<32>(name.strip_suffix(".ip6.arpa")?)?;
    let mut bits: u128 = 0;
    for label in labels.iter().rev() {
        let mut digits = label.chars();
        let nibble = digits.next()?.to_digit(16)?;
        if digits.next().is_some() {
            return None;
        }
        bits = bits << 4 | u128::from(nibble);
    }
    Some(Ipv6Addr::from_bits(bits).into())
}

fn parts<const N: usize>(labels: &str) -> Option<[&str; N]> {
    let mut parts = [""; N];
    let mut labels = labels.split('.');
    for part in &mut parts {
        *part = labels.next()?;
    }
    labels.next().is_none().then_some(parts)
}
