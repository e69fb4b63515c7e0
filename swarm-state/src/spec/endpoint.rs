//! How a service is reached.

use serde::{Deserialize, Serialize};

use super::Extra;
use super::lenient::{is_default, nullable};
use super::word::words;

/// How clients find a service.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointSpec {
    /// Absent means [`EndpointMode::Vip`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<EndpointMode>,
    /// Ports that are reachable from outside of the cluster.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl EndpointSpec {
    /// The mode, with Docker's default.
    pub fn mode(&self) -> EndpointMode {
        self.mode.unwrap_or_default()
    }

    /// The ports published through the routing mesh.
    pub fn ingress_ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.iter().filter(|port| port.mode() == PublishMode::Ingress)
    }
}

/// One published port.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortConfig {
    /// A name for people.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Absent means TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The port inside the task.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub target_port: u16,
    /// The port outside; 0: the cluster picks one from 30000.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub published_port: u16,
    /// Absent means [`PublishMode::Ingress`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_mode: Option<PublishMode>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl PortConfig {
    /// The protocol, with Docker's default.
    pub fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    /// The publish mode, with Docker's default.
    pub fn mode(&self) -> PublishMode {
        self.publish_mode.unwrap_or_default()
    }
}

words! {
    /// Virtual IP, or several DNS answers.
    EndpointMode {
        /// One address per network; connections are spread behind it.
        Vip = "vip",
        /// The name resolves to the addresses of the tasks.
        Dnsrr = "dnsrr",
    }

    /// A transport that can be published.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
    }

    /// Where a published port is open.
    PublishMode {
        /// On every node, by the routing mesh.
        Ingress = "ingress",
        /// On the node of the task only.
        Host = "host",
    }
}
