use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    net::IpAddr,
};

use crate::{Endpoint, Phase, Protocol, mesh::published};

/// All tasks of one network at one moment: the single source of forwarding, balancing and names.
///
/// Records may come in any order and more than once; equal sets make equal views. Of two records with one id the one
/// further in its life counts, and what is gone is left out.
///
/// ```
/// use overlay_lb::{Endpoint, Phase, View};
///
/// let task = |id: &str, phase| Endpoint {
///     id: id.into(), service_id: "s1".into(), service_name: "web".into(), task_name: format!("web.{id}"),
///     node: "node-1".into(), addresses: vec![], vips: vec![], aliases: vec![], ports: vec![], phase,
/// };
/// let view = View::new([task("1", Phase::Ready), task("1", Phase::Gone), task("2", Phase::Ready)]);
/// assert_eq!(view.endpoints().count(), 1);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct View {
    network: Option<String>,
    endpoints: BTreeMap<String, Endpoint>,
    services: BTreeMap<String, ServiceEntry>,
    vips: BTreeMap<IpAddr, String>,
    ports: BTreeMap<(Protocol, u16), String>,
    conflicts: BTreeSet<Conflict>,
    names: BTreeMap<String, BTreeSet<String>>,
    task_names: BTreeMap<String, BTreeSet<String>>,
    addresses: BTreeMap<IpAddr, BTreeSet<String>>,
}

/// A service as its tasks describe it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service<'a> {
    /// Names the service in the whole cluster.
    pub id: &'a str,
    /// What clients call it.
    pub name: &'a str,
    view: &'a View,
    entry: &'a ServiceEntry,
}

/// Something that only one service can have, and two claim.
///
/// A service with a ready task keeps it, of several the one with the lowest id.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Conflict {
    /// A virtual IP.
    Vip {
        /// What both claim.
        vip: IpAddr,
        /// Id of the service that has it.
        kept: String,
        /// Id of the service that does not.
        refused: String,
    },
    /// A published port.
    Port {
        /// Protocol of what both claim.
        protocol: Protocol,
        /// What both claim.
        published: u16,
        /// Id of the service that has it.
        kept: String,
        /// Id of the service that does not.
        refused: String,
    },
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct ServiceEntry {
    name: String,
    vips: BTreeSet<IpAddr>,
    members: BTreeSet<String>,
}

impl View {
    /// Builds a view from the records of one network.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let mut view = Self { endpoints: settled(endpoints), ..Self::default() };
        let endpoints = std::mem::take(&mut view.endpoints);
        for endpoint in endpoints.values() {
            view.index_service(endpoint);
            view.index_names(endpoint);
        }
        view.settle_claims(&endpoints);
        view.endpoints = endpoints;
        view
    }

    /// The same view of a network with a name: `web` is then also found as `web.NETWORK`.
    #[must_use]
    pub fn named(mut self, network: impl Into<String>) -> Self {
        self.network = Some(network.into().to_ascii_lowercase());
        self
    }

    /// The network's name, in lower case.
    #[must_use]
    pub fn network(&self) -> Option<&str> {
        self.network.as_deref()
    }

    /// Everything that is not gone, by id.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// The task with this id, unless it is gone.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.endpoints.get(id)
    }

    /// Every service with a task that is not gone, by id.
    pub fn services(&self) -> impl Iterator<Item = Service<'_>> {
        self.services.iter().map(|(id, entry)| Service { id, name: &entry.name, view: self, entry })
    }

    /// Virtual IPs and published ports that more than one service claims; empty in a healthy cluster.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// A number that two nodes share if they see the same network, and almost surely do not share otherwise.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut sum = Fingerprint(0xcbf2_9ce4_8422_2325);
        for endpoint in self.endpoints.values() {
            // Writing into a number cannot fail.
            let _ = write!(sum, "{endpoint:?}");
        }
        sum.0
    }

    /// Each virtual IP and the id of the service that has it.
    pub(crate) fn vip_owners(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.vips.iter().map(|(vip, owner)| (*vip, owner.as_str()))
    }

    pub(crate) fn vip_owner(&self, vip: IpAddr) -> Option<&str> {
        self.vips.get(&vip).map(String::as_str)
    }

    /// Each published port and the id of the service that has it.
    pub(crate) fn port_owners(&self) -> impl Iterator<Item = ((Protocol, u16), &str)> {
        self.ports.iter().map(|(port, owner)| (*port, owner.as_str()))
    }

    /// Tasks whose service or alias has this name in lower case.
    pub(crate) fn behind_name(&self, name: &str) -> Option<impl Iterator<Item = &Endpoint> + Clone> {
        self.names.get(name).map(|ids| self.by_id(ids))
    }

    /// Tasks that have this name of their own in lower case.
    pub(crate) fn with_task_name(&self, name: &str) -> Option<impl Iterator<Item = &Endpoint> + Clone> {
        self.task_names.get(name).map(|ids| self.by_id(ids))
    }

    /// Tasks that have this address of their own.
    pub(crate) fn at_address(&self, addr: IpAddr) -> Option<impl Iterator<Item = &Endpoint> + Clone> {
        self.addresses.get(&addr).map(|ids| self.by_id(ids))
    }

    pub(crate) fn service_name(&self, id: &str) -> Option<&str> {
        self.services.get(id).map(|entry| entry.name.as_str())
    }

    fn by_id<'a>(&'a self, ids: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Endpoint> + Clone {
        ids.iter().filter_map(|id| self.endpoints.get(id))
    }

    fn index_service(&mut self, endpoint: &Endpoint) {
        if endpoint.service_id.is_empty() {
            return;
        }
        let entry = self.services.entry(endpoint.service_id.clone()).or_default();
        entry.name.clone_from(&endpoint.service_name);
        entry.vips.extend(&endpoint.vips);
        entry.members.insert(endpoint.id.clone());
    }

    fn index_names(&mut self, endpoint: &Endpoint) {
        let add = |index: &mut BTreeMap<String, BTreeSet<String>>, name: &String| {
            if !name.is_empty() {
                index.entry(name.to_ascii_lowercase()).or_default().insert(endpoint.id.clone());
            }
        };
        add(&mut self.names, &endpoint.service_name);
        endpoint.aliases.iter().for_each(|alias| add(&mut self.names, alias));
        add(&mut self.task_names, &endpoint.task_name);
        for addr in &endpoint.addresses {
            self.addresses.entry(*addr).or_default().insert(endpoint.id.clone());
        }
    }

    /// Gives each virtual IP and port to one service, and notes who else wants it.
    fn settle_claims(&mut self, endpoints: &BTreeMap<String, Endpoint>) {
        let mut vips: BTreeMap<IpAddr, Claims<'_>> = BTreeMap::new();
        let mut ports: BTreeMap<(Protocol, u16), Claims<'_>> = BTreeMap::new();
        for endpoint in endpoints.values().filter(|endpoint| !endpoint.service_id.is_empty()) {
            endpoint.vips.iter().for_each(|vip| vips.entry(*vip).or_default().add(endpoint));
            published(endpoint).into_keys().for_each(|port| ports.entry(port).or_default().add(endpoint));
        }
        for (vip, claims) in vips {
            let (kept, refused) = claims.settle();
            self.conflicts.extend(refused.map(|refused| Conflict::Vip {
                vip,
                kept: kept.to_owned(),
                refused: refused.to_owned(),
            }));
            self.vips.insert(vip, kept.to_owned());
        }
        for ((protocol, published), claims) in ports {
            let (kept, refused) = claims.settle();
            self.conflicts.extend(refused.map(|refused| Conflict::Port {
                protocol,
                published,
                kept: kept.to_owned(),
                refused: refused.to_owned(),
            }));
            self.ports.insert((protocol, published), kept.to_owned());
        }
    }
}

impl<'a> Service<'a> {
    /// The virtual addresses that its tasks name, sorted.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.entry.vips.iter().copied()
    }

    /// Its tasks that are not gone, by id.
    pub fn endpoints(&self) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        self.view.by_id(&self.entry.members)
    }

    /// How many of its tasks take new flows.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.endpoints().filter(|endpoint| endpoint.takes_new_flows()).count()
    }
}

/// The services that want one thing, and whether they have a ready task.
#[derive(Default)]
struct Claims<'a>(BTreeMap<&'a str, bool>);

impl<'a> Claims<'a> {
    fn add(&mut self, endpoint: &'a Endpoint) {
        *self.0.entry(&endpoint.service_id).or_default() |= endpoint.takes_new_flows();
    }

    fn settle(&self) -> (&'a str, impl Iterator<Item = &'a str>) {
        let ready = self.0.iter().find(|(_, ready)| **ready).map(|(id, _)| *id);
        let kept = ready.or_else(|| self.0.keys().next().copied()).unwrap_or_default();
        (kept, self.0.keys().copied().filter(move |id| *id != kept))
    }
}

struct Fingerprint(u64);

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// One record for each id, its lists sorted, without those that are gone.
fn settled(endpoints: impl IntoIterator<Item = Endpoint>) -> BTreeMap<String, Endpoint> {
    let mut settled: BTreeMap<String, Endpoint> = BTreeMap::new();
    for mut endpoint in endpoints {
        sort(&mut endpoint.addresses);
        sort(&mut endpoint.vips);
        sort(&mut endpoint.aliases);
        sort(&mut endpoint.ports);
        let further = |known: &Endpoint| (known.phase, known) < (endpoint.phase, &endpoint);
        if settled.get(&endpoint.id).is_none_or(further) {
            settled.insert(endpoint.id.clone(), endpoint);
        }
    }
    settled.retain(|_, endpoint| endpoint.phase != Phase::Gone);
    settled
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort();
    list.dedup();
}
