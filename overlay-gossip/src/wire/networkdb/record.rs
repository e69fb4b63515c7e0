//! The values of Docker's two tables.

use super::protobuf::{Fields, fields, push};
use crate::wire::WireError;

/// A value of `overlay_peer_table`: behind which host an address is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerRecord<'a> {
    /// The address with its prefix length: `10.0.1.5/24`.
    pub endpoint_ip: &'a str,
    /// Its MAC address.
    pub endpoint_mac: &'a str,
    /// The host.
    pub tunnel_endpoint_ip: &'a str,
}

/// A value of `endpoint_table`: what a task is called and where it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointRecord<'a> {
    /// The name of the task.
    pub name: &'a str,
    /// Its service.
    pub service_name: &'a str,
    /// The service's identifier.
    pub service_id: &'a str,
    /// The service's virtual address.
    pub virtual_ip: &'a str,
    /// The task's address.
    pub endpoint_ip: &'a str,
    /// Published ports; on the ingress network only.
    pub ingress_ports: Vec<Port<'a>>,
    /// More names of the service.
    pub aliases: Vec<&'a str>,
    /// More names of the task.
    pub task_aliases: Vec<&'a str>,
    /// It takes no new connections.
    pub service_disabled: bool,
}

/// A published port.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Port<'a> {
    /// Its name, if it has one.
    pub name: &'a str,
    /// 0: TCP, 1: UDP, 2: SCTP.
    pub protocol: u32,
    /// The task's port.
    pub target: u32,
    /// The port of every node.
    pub published: u32,
}

impl<'a> PeerRecord<'a> {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`WireError`] when it is none.
    pub fn parse(value: &'a [u8]) -> Result<Self, WireError> {
        let mut record = Self::default();
        fields(value, |field, value| {
            match field {
                1 => record.endpoint_ip = value.text()?,
                2 => record.endpoint_mac = value.text()?,
                3 => record.tunnel_endpoint_ip = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }

    /// The record as bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Fields::default();
        out.bytes(1, self.endpoint_ip.as_bytes()).bytes(2, self.endpoint_mac.as_bytes());
        out.bytes(3, self.tunnel_endpoint_ip.as_bytes());
        out.0
    }
}

impl<'a> EndpointRecord<'a> {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`WireError`] when it is none.
    pub fn parse(value: &'a [u8]) -> Result<Self, WireError> {
        let mut record = Self::default();
        fields(value, |field, value| {
            match field {
                1 => record.name = value.text()?,
                2 => record.service_name = value.text()?,
                3 => record.service_id = value.text()?,
                4 => record.virtual_ip = value.text()?,
                5 => record.endpoint_ip = value.text()?,
                6 => push(&mut record.ingress_ports, Port::parse(value.bytes()?)?)?,
                7 => push(&mut record.aliases, value.text()?)?,
                8 => push(&mut record.task_aliases, value.text()?)?,
                9 => record.service_disabled = value.int()? != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }

    /// The record as bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Fields::default();
        out.bytes(1, self.name.as_bytes()).bytes(2, self.service_name.as_bytes());
        out.bytes(3, self.service_id.as_bytes()).bytes(4, self.virtual_ip.as_bytes());
        out.bytes(5, self.endpoint_ip.as_bytes());
        for port in &self.ingress_ports {
            let mut item = Fields::default();
            item.bytes(1, port.name.as_bytes()).int(2, port.protocol.into());
            item.int(3, port.target.into()).int(4, port.published.into());
            out.item(6, &item.0);
        }
        for alias in &self.aliases {
            out.item(7, alias.as_bytes());
        }
        for alias in &self.task_aliases {
            out.item(8, alias.as_bytes());
        }
        out.int(9, self.service_disabled.into());
        out.0
    }
}

impl<'a> Port<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, WireError> {
        let mut port = Self::default();
        fields(value, |field, value| {
            match field {
                1 => port.name = value.text()?,
                2 => port.protocol = value.u32()?,
                3 => port.target = value.u32()?,
                4 => port.published = value.u32()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(port)
    }
}
