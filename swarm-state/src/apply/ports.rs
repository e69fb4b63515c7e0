//! Published ports.

use std::collections::{BTreeMap, BTreeSet};

use overlay_ipam::IdSpace;

use crate::object::{Endpoint, Service};
use crate::spec::{EndpointMode, EndpointSpec, PortConfig, Protocol, PublishMode};
use crate::{Rejection, RejectionKind, ServiceId, State};

impl State {
    /// Checks the ports of a spec, against itself and against all other services.
    pub(super) fn check_ports(&self, id: ServiceId, spec: &EndpointSpec) -> Result<(), Rejection> {
        let invalid = |text: String| Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
        let mut seen = BTreeSet::new();
        for port in &spec.ports {
            if port.target_port == 0 {
                return invalid("EndpointSpec: target port must be between 1 and 65535".to_owned());
            }
            if port.mode() == PublishMode::Ingress && spec.mode() == EndpointMode::Dnsrr {
                return invalid(
                    "EndpointSpec: port published with ingress mode can't be used with dnsrr mode".to_owned(),
                );
            }
            if let Some(use_of) = self.reserved(port) {
                return invalid(format!(
                    "port '{}' is needed by the swarm itself for {use_of}; publish another one",
                    port.published_port
                ));
            }
            if port.published_port != 0 && !seen.insert((port.protocol(), port.published_port)) {
                return invalid("EndpointSpec: duplicate published ports provided".to_owned());
            }
        }
        for port in spec.ports.iter().filter(|port| port.published_port != 0) {
            if let Some((service, taken)) = self.holder(id, port) {
                let how =
                    if taken == PublishMode::Ingress { "an ingress port" } else { "a host-published port" };
                return invalid(format!(
                    "port '{}' is already in use by service '{}' ({}) as {how}",
                    port.published_port, service.spec.name, service.id
                ));
            }
        }
        Ok(())
    }

    /// What a port is for that no service may take: the cluster would cut itself off.
    fn reserved(&self, port: &PortConfig) -> Option<&'static str> {
        let data_path = self.cluster.as_ref().map_or(4789, |cluster| cluster.data_path_port);
        match (port.protocol(), port.published_port) {
            (Protocol::Tcp, 2377) => Some("its managers"),
            (Protocol::Tcp | Protocol::Udp, 7946) => Some("the gossip of its nodes"),
            (Protocol::Udp, port) if port == data_path => Some("VXLAN"),
            _ => None,
        }
    }

    /// The service that has the port already. Two services may both open a port on the nodes of their tasks.
    fn holder(&self, id: ServiceId, port: &PortConfig) -> Option<(&Service, PublishMode)> {
        let others = self.services.values().filter(|service| service.id != id);
        others.into_iter().find_map(|service| {
            let same = |other: &&PortConfig| {
                other.published_port == port.published_port
                    && other.protocol() == port.protocol()
                    && (other.mode() == PublishMode::Ingress || port.mode() == PublishMode::Ingress)
            };
            service.endpoint.ports.iter().find(same).map(|other| (service, other.mode()))
        })
    }

    /// Gives numbers to the ports that have none. Returns the ports and what is taken then; changes nothing.
    pub(super) fn resolve_ports(
        &self,
        spec: &EndpointSpec,
        before: &Endpoint,
    ) -> Result<(Vec<PortConfig>, BTreeMap<Protocol, IdSpace>), Rejection> {
        let mut spaces = self.ports.clone();
        free(&mut spaces, before);
        let mut ports = spec.ports.clone();
        let meshed = |port: &&mut PortConfig| port.mode() == PublishMode::Ingress;
        for port in
            ports.iter().filter(|port| port.mode() == PublishMode::Ingress && port.published_port != 0)
        {
            let _ = space(&mut spaces, port.protocol()).claim(port.published_port.into()); // checked by `check_ports`
        }
        for port in ports.iter_mut().filter(meshed).filter(|port| port.published_port == 0) {
            let space = space(&mut spaces, port.protocol());
            let kept = before.ports.iter().zip(&before.spec.ports).find_map(|(had, asked)| {
                let same = asked.published_port == 0
                    && asked.target_port == port.target_port
                    && asked.protocol() == port.protocol()
                    && asked.mode() == PublishMode::Ingress;
                (same && space.claim(had.published_port.into()).is_ok()).then_some(had.published_port)
            });
            let picked = kept.or_else(|| space.take_next().and_then(|number| u16::try_from(number).ok()));
            port.published_port = picked.ok_or_else(|| {
                Rejection::rpc(RejectionKind::ResourceExhausted, "no published port is left in 30000-32767")
            })?;
        }
        Ok((ports, spaces))
    }

    /// Frees the ports of a service that is gone.
    pub(super) fn free_ports(&mut self, endpoint: &Endpoint) {
        free(&mut self.ports, endpoint);
    }
}

fn free(spaces: &mut BTreeMap<Protocol, IdSpace>, endpoint: &Endpoint) {
    for port in endpoint.ports.iter().filter(|port| port.mode() == PublishMode::Ingress) {
        if let Some(space) = spaces.get_mut(&port.protocol()) {
            space.release(port.published_port.into());
        }
    }
}

fn space(spaces: &mut BTreeMap<Protocol, IdSpace>, protocol: Protocol) -> &mut IdSpace {
    spaces.entry(protocol).or_insert_with(|| IdSpace::new(DYNAMIC_PORTS))
}

/// Ports that the cluster picks, as Docker.
pub(crate) const DYNAMIC_PORTS: std::ops::RangeInclusive<u32> = 30_000..=32_767;
