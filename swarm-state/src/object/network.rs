//! A network of the swarm.

use overlay_core::Vni;
use overlay_ipam::Subnet;
use serde::{Deserialize, Serialize};

use super::{Attachment, Meta, NetworkKeys, PlaneChoice};
use crate::spec::{Labels, NetworkSpec};
use crate::{NetworkId, NodeId, TaskId};

/// A network, completely allocated.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Version and times.
    pub meta: Meta,
    /// What was asked for.
    pub spec: NetworkSpec,
    /// The identifier on the wire: the first of `vnis`.
    pub vni: Vni,
    /// One per subnet, as Docker numbers them.
    pub vnis: Vec<Vni>,
    /// The subnets that it got.
    pub subnets: Vec<Subnet>,
    /// What was corrected in the request, for the user; empty: nothing.
    pub warning: String,
    /// Who forwards its frames.
    #[serde(default)]
    pub plane: PlaneChoice,
    /// Its keys, if it is sealed. No answer of the API contains them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<NetworkKeys>,
}

/// A container outside of services in an attachable network (`docker run --network`).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AttachedContainer {
    /// Names the attachment, as a task would be named.
    pub id: TaskId,
    /// Version and times.
    pub meta: Meta,
    /// Where the container runs.
    pub node_id: NodeId,
    /// The container's id.
    pub container: String,
    /// The container's name, under which others find it.
    pub name: String,
    /// Its addresses.
    pub attachment: Attachment,
}

/// The option that tells the VNIs.
pub const VXLAN_ID_LIST: &str = "com.docker.network.driver.overlay.vxlanid_list";

impl Network {
    /// The options of the driver: those of the request and the VNIs.
    pub fn driver_options(&self) -> Labels {
        let mut options = self.spec.options.clone();
        let list: Vec<String> = self.vnis.iter().map(|vni| vni.get().to_string()).collect();
        options.insert(VXLAN_ID_LIST.to_owned(), list.join(","));
        options
    }

    /// Whether this is the network of the routing mesh.
    pub const fn is_ingress(&self) -> bool {
        self.spec.ingress
    }
}
