//! Networks: created completely or not at all.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use overlay_core::Vni;
use overlay_ipam::{Command as IpamCommand, Denied, Granted, IdSpace, Rest, Subnet, SubnetRequest};

use super::address::{ingress_of, network_key};
use super::names::check_dns_name;
use super::routes::purpose;
use super::{change, keys, not_found};
use crate::object::{Meta, Network, SealSecret, VXLAN_ID_LIST};
use crate::spec::{IpamConfig, NetworkSpec};
use crate::{
    Change, ChangeEvent, NetworkId, NodeId, ObjectKind, Rejection, RejectionKind, State, Timestamp, Value,
};

impl State {
    pub(super) fn create_network(
        &mut self,
        out: &mut Vec<Change>,
        id: NetworkId,
        spec: &NetworkSpec,
        fresh: Option<&SealSecret>,
    ) -> Result<Value, Rejection> {
        self.check_network(id, spec)?;
        let (plane, algorithm) = keys::protection(spec)?;
        let keys = algorithm.map(|algorithm| keys::first(algorithm, fresh, self.now)).transpose()?;
        let subnets = requests(spec)?;
        let pieces = subnets.len();
        let command = IpamCommand::CreateNetwork { network: network_key(id), subnets };
        let at = self.now.as_millis();
        self.ipam.check(at, &command).map_err(|denied| self.denied_network(&denied))?;
        let (space, vnis) = take_vnis(self.vnis_now(), spec, pieces)?;
        let [vni, ..] = *vnis else { return Err(no_vni(&space)) };
        let before = spec.ingress.then(|| self.clone());
        let granted = self.ipam.apply(at, &command).map_err(|denied| self.denied_network(&denied))?;
        let subnets = match granted {
            Granted::Network(subnets) => subnets,
            Granted::Leases(_) | Granted::Done => Vec::new(),
        };
        self.vnis = space;
        let warning = warning(&subnets);
        let spec = NetworkSpec { driver: "overlay".to_owned(), scope: "swarm".to_owned(), ..spec.clone() };
        let meta = Meta::new(self.index, self.now);
        out.push(change(ObjectKind::Network, id, &spec.name, ChangeEvent::Created));
        let network = Network { id, meta, spec, vni, vnis, subnets, warning: warning.clone(), plane, keys };
        self.networks.insert(id, network);
        if let Some(before) = before
            && let Err(rejection) = self.attach_everyone(id)
        {
            *self = before;
            out.clear();
            return Err(rejection);
        }
        Ok(Value::Warning(warning))
    }

    pub(super) fn remove_network(
        &mut self,
        out: &mut Vec<Change>,
        id: NetworkId,
    ) -> Result<Value, Rejection> {
        let network = self.networks.get(&id).ok_or_else(|| not_found(ObjectKind::Network, id))?;
        self.check_unused(network)?;
        let (name, vnis) = (network.spec.name.clone(), network.vnis.clone());
        let command = IpamCommand::DeleteNetwork { network: network_key(id) };
        let _ = self.ipam.apply(self.now.as_millis(), &command); // only refused if it is gone already
        let moment = self.moment();
        let ready_ms = moment.now_ms.saturating_add(self.ipam.config().hold.subnet_ms);
        for vni in &vnis {
            self.vnis.rest(vni.get(), Rest { ready_ms, mark: self.ipam.mark() });
        }
        self.left_by_all(id, &vnis);
        for node in self.nodes.values_mut() {
            node.attachments.remove(&id);
        }
        for task in self.tasks.values_mut() {
            task.networks.retain(|attachment| attachment.network_id != id);
        }
        self.networks.remove(&id);
        out.push(change(ObjectKind::Network, id, &name, ChangeEvent::Removed));
        Ok(Value::Done)
    }

    fn check_network(&self, id: NetworkId, spec: &NetworkSpec) -> Result<(), Rejection> {
        let invalid = |text: String| Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
        check_dns_name(&spec.name)?;
        if self.networks.contains_key(&id) || self.networks.values().any(|known| known.spec.name == spec.name)
        {
            let text = format!("network with name {} already exists", spec.name);
            return Err(Rejection::plain(RejectionKind::AlreadyExists, text));
        }
        if !matches!(spec.driver.as_str(), "" | "overlay") {
            return invalid(format!(
                "network driver {} is not available in a swarm: use overlay",
                spec.driver
            ));
        }
        if spec.ingress {
            if spec.attachable {
                return invalid("ingress network cannot be attachable".to_owned());
            }
            if let Some(present) = ingress_of(self) {
                let text = format!("ingress network ({}) is already present", present.id);
                return Err(Rejection::rpc(RejectionKind::AlreadyExists, text));
            }
        }
        Ok(())
    }

    fn check_unused(&self, network: &Network) -> Result<(), Rejection> {
        let in_use = |text: String| Err(Rejection::rpc(RejectionKind::FailedPrecondition, text));
        let id = network.id;
        if network.is_ingress() {
            let mut services = self.services.values();
            if let Some(user) =
                services.find(|service| service.endpoint.spec.ingress_ports().next().is_some())
            {
                let text =
                    format!("ingress network cannot be removed because service {} depends on it", user.id);
                return in_use(text);
            }
        }
        let uses = |target: &str| target == id.as_str();
        let mut services = self.services.values();
        let service = services.find(|service| service.spec.task_networks().iter().any(|n| uses(&n.target)));
        if let Some(service) = service {
            return in_use(format!("network {id} is in use by service {}", service.id));
        }
        let mut tasks = self.tasks.values().filter(|task| task.is_wanted() && !task.has_ended());
        if let Some(task) = tasks.find(|task| task.attachment(id).is_some()) {
            return in_use(format!("network {id} is in use by task {}", task.id));
        }
        let mut containers = self.containers.values();
        if let Some(container) = containers.find(|container| container.attachment.network_id == id) {
            return in_use(format!("network {id} is in use by task {}", container.id));
        }
        Ok(())
    }

    /// Gives every node its address in a new ingress network. After a refusal some have theirs.
    fn attach_everyone(&mut self, ingress: NetworkId) -> Result<(), Rejection> {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.attach_node(node, &[ingress])
                .map_err(|denied| Rejection::plain(RejectionKind::ResourceExhausted, denied.to_string()))?;
        }
        Ok(())
    }

    /// The VNIs without those whose rest is over.
    pub(super) fn vnis_now(&self) -> IdSpace {
        let mut vnis = self.vnis.clone();
        vnis.thaw(&self.moment());
        vnis
    }

    /// Docker's texts for what the allocator refuses, with the reason behind them.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other refusals explain themselves")]
    pub(super) fn denied_network(&self, denied: &Denied) -> Rejection {
        let plain = Rejection::plain;
        match denied {
            Denied::Overlap { wanted, network, subnet, next_free } => {
                let known = network.as_str().parse().ok().and_then(|id: NetworkId| self.networks.get(&id));
                let name = known.map_or("this request", |known| known.spec.name.as_str());
                let hint = next_free.map(|free| format!("; {free} is free")).unwrap_or_default();
                let text = format!("{OVERLAP}: {wanted} overlaps {subnet} of network {name}{hint}");
                plain(RejectionKind::PermissionDenied, text)
            }
            Denied::Excluded { wanted, by, route, next_free } => {
                let name = self.node_name(by);
                let hint = next_free.map(|free| format!("; {free} is free")).unwrap_or_default();
                let text = format!("{OVERLAP}: {wanted} overlaps {route}, which node {name} uses{hint}");
                plain(RejectionKind::PermissionDenied, text)
            }
            Denied::PoolsExhausted { .. } => {
                let hint = self.pool_in_the_way().unwrap_or_default();
                let text = format!("all predefined address pools have been fully subnetted: {denied}{hint}");
                plain(RejectionKind::ResourceExhausted, text)
            }
            Denied::GatewayOutside { gateway, subnet } => plain(
                RejectionKind::InvalidArgument,
                format!(
                    "{CONFIG}invalid gateway {gateway}: parent subnet {subnet} doesn't contain this address"
                ),
            ),
            Denied::RangeOutside { range, subnet } => plain(
                RejectionKind::InvalidArgument,
                format!("{CONFIG}invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"),
            ),
            Denied::AuxOutside { name, addr, subnet } => plain(
                RejectionKind::InvalidArgument,
                format!(
                    "{CONFIG}invalid auxiliary address {name}={addr}: parent subnet {subnet} doesn't contain this address"
                ),
            ),
            // A network that is refused has no key that anybody knows.
            Denied::InUse { addr, holder, next_free, .. } => {
                let hint = next_free.map(|free| format!("; {free} is free")).unwrap_or_default();
                let text = format!("{CONFIG}{addr} is in use by {holder}{hint}");
                plain(RejectionKind::InvalidArgument, text)
            }
            Denied::AddressesExhausted { family, .. } => {
                let text = format!("{CONFIG}no {family} address is left for the gateway");
                plain(RejectionKind::InvalidArgument, text)
            }
            _ => plain(RejectionKind::InvalidArgument, format!("{CONFIG}{denied}")),
        }
    }
}

/// What to ask the allocator for. No entry means one default subnet of each family that is enabled.
fn requests(spec: &NetworkSpec) -> Result<Vec<SubnetRequest>, Rejection> {
    let mut requests = Vec::new();
    for config in spec.subnets() {
        requests.push(request(config)?);
    }
    let has = |v6: bool| {
        let family = |r: &SubnetRequest| r.subnet.map_or(!v6, |subnet| subnet.addr().is_ipv6() == v6);
        requests.iter().any(family)
    };
    let (v4, v6) = (has(false), has(true));
    if !v4 && spec.enable_ipv4.unwrap_or(true) {
        requests
            .push(SubnetRequest { subnet: Some(IpNet::V4(Ipv4Net::default())), ..SubnetRequest::default() });
    }
    if !v6 && spec.enable_ipv6.unwrap_or(false) {
        requests
            .push(SubnetRequest { subnet: Some(IpNet::V6(Ipv6Net::default())), ..SubnetRequest::default() });
    }
    if requests.is_empty() {
        let text = "IPv4 or IPv6 must be enabled";
        return Err(Rejection::plain(RejectionKind::InvalidArgument, text));
    }
    Ok(requests)
}

pub(super) fn request(config: &IpamConfig) -> Result<SubnetRequest, Rejection> {
    let subnet = optional::<IpNet>(&config.subnet).map_err(|()| {
        let given = &config.subnet;
        Rejection::plain(
            RejectionKind::Internal,
            format!("Invalid subnet {given} : invalid CIDR address: {given}"),
        )
    })?;
    // all zeros mean any subnet of that length
    let named = subnet.filter(|subnet| !subnet.network().is_unspecified());
    if let Some((net, purpose)) = named.and_then(|net| Some((net, purpose(net)?))) {
        return Err(invalid(format!("invalid subnet {net}: it has addresses for {purpose}")));
    }
    let range = optional::<IpNet>(&config.ip_range)
        .map_err(|()| invalid(format!("invalid ip-range {}: invalid CIDR address", config.ip_range)))?;
    let gateway = optional::<IpAddr>(&config.gateway)
        .map_err(|()| invalid(format!("invalid gateway {}: invalid address", config.gateway)))?;
    if subnet.is_none() && (gateway.is_some() || range.is_some()) {
        return Err(invalid("every ip-range or gateway must have a corresponding subnet".to_owned()));
    }
    let mut aux = std::collections::BTreeMap::new();
    for (name, text) in &config.auxiliary_addresses {
        let addr = text.parse().map_err(|_| invalid(format!("invalid auxiliary address {name}: {text}")))?;
        aux.insert(name.clone(), addr);
    }
    Ok(SubnetRequest { subnet: subnet.or(Some(IpNet::V4(Ipv4Net::default()))), range, gateway, aux })
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, ()> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

pub(super) fn invalid(text: String) -> Rejection {
    Rejection::plain(RejectionKind::InvalidArgument, format!("{CONFIG}{text}"))
}

/// One VNI per subnet: those of the request's option, else the next ones.
fn take_vnis(mut space: IdSpace, spec: &NetworkSpec, count: usize) -> Result<(IdSpace, Vec<Vni>), Rejection> {
    let wanted = spec.options.get(VXLAN_ID_LIST).map_or("", String::as_str);
    let mut vnis = Vec::new();
    for text in wanted.split(',').map(str::trim).filter(|text| !text.is_empty()).take(count) {
        let vni = text.parse().ok().and_then(|number| Vni::new(number).ok());
        let vni = vni.ok_or_else(|| invalid(format!("invalid VXLAN id {text}")))?;
        if space.is_resting(vni.get()) {
            space.release(vni.get()); // the user knows what they ask for
        }
        space.claim(vni.get()).map_err(|error| invalid(format!("VXLAN id {error}")))?;
        vnis.push(vni);
    }
    while vnis.len() < count {
        let vni = space.take_next().and_then(|number| Vni::new(number).ok());
        let vni = vni.ok_or_else(|| no_vni(&space))?;
        vnis.push(vni);
    }
    Ok((space, vnis))
}

/// What rests is never handed out, also if nothing else is left; but the answer says when it is ready.
pub(super) fn no_vni(space: &IdSpace) -> Rejection {
    let resting = space.resting().count();
    let used = space.count().saturating_sub(u64::try_from(resting).unwrap_or(u64::MAX));
    let ready = space.resting().next().and_then(|(_, rest)| i64::try_from(rest.ready_ms).ok());
    let until = ready.map(|ready| format!(" until {}", Timestamp::from_millis(ready))).unwrap_or_default();
    let text = format!("no VXLAN id is left ({used} in use, {resting} resting{until})");
    Rejection::rpc(RejectionKind::ResourceExhausted, text)
}

/// What was corrected, in words.
pub(super) fn warning(subnets: &[Subnet]) -> String {
    let corrected = |subnet: &Subnet| {
        let given = subnet.normalised_from?;
        Some(format!("subnet {given} has host bits set: {} is used", subnet.net))
    };
    subnets.iter().filter_map(corrected).collect::<Vec<_>>().join("; ")
}

const OVERLAP: &str = "invalid pool request: Pool overlaps with other one on this address space";
const CONFIG: &str = "invalid network config:\n";
