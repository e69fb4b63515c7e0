//! The names under which things are held.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes any text; two keys are the same if their texts are.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into().into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.as_str().to_owned()
            }
        }
    };
}

key! {
    /// Names a network. Cheap to clone.
    ///
    /// ```
    /// assert_eq!(overlay_ipam::NetworkKey::new("web").to_string(), "web");
    /// ```
    NetworkKey
}

key! {
    /// Names whatever holds an address: a task, a service, a node. Cheap to clone.
    ///
    /// ```
    /// assert_eq!(overlay_ipam::OwnerKey::new("web.1").as_str(), "web.1");
    /// ```
    OwnerKey
}

/// Who holds an address of a network. An owner has at most one address of each family in a network.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Owner {
    /// The network itself: one per subnet, from its creation until its deletion.
    Gateway,
    /// The virtual address of a service.
    Vip(OwnerKey),
    /// The load balancer endpoint of a node.
    Lb(OwnerKey),
    /// A task or container.
    Task(OwnerKey),
    /// Something that asked for a fixed address.
    Static(OwnerKey),
    /// An address that is used by something outside, named when the network is created; stays until its
    /// deletion.
    Aux(OwnerKey),
}

impl Owner {
    /// Whether the address belongs to the network's definition: it cannot be acquired or released.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Gateway | Self::Aux(_))
    }

    /// Whether the longer quarantine applies: virtual addresses are cached by clients and kernels.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Vip(_))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("the gateway"),
            Self::Vip(key) => write!(f, "service {key}"),
            Self::Lb(key) => write!(f, "node {key}"),
            Self::Task(key) => write!(f, "task {key}"),
            Self::Static(key) => write!(f, "static {key}"),
            Self::Aux(key) => write!(f, "auxiliary address {key}"),
        }
    }
}
