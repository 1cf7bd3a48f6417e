//! The lab file as written: types that mirror the YAML, with nothing resolved and nothing filled in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::resource::address::AddressSpec;
use crate::resource::link::for_each_kind;
use crate::resource::object::{Object, for_each_object};
use crate::value::Mac;
use crate::{scalar, text_or_map};

/// A lab: namespaces, what is in them, and the links between them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabFile {
    /// The name of the lab; it marks what the lab owns.
    pub name: LabName,
    /// The network namespaces, by name. `host` is the one that topo runs in.
    #[serde(default)]
    pub namespaces: BTreeMap<NamespaceName, NamespaceSpec>,
    /// Veth pairs.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
}

macro_rules! define_namespace {
    (
        interface { $($interface:tt)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        /// A network namespace and what is inside it.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct NamespaceSpec {
            /// Interfaces by name. `lo` is always there, and up.
            pub interfaces: BTreeMap<LinkName, Box<InterfaceSpec>>,
            $($(#[$doc])* pub $list: Vec<<$type as Object>::Spec>,)*
            /// Kernel settings below `net.`, such as `net.ipv4.ip_forward: 1`.
            pub sysctls: BTreeMap<String, SysctlValue>,
        }

        $(
            impl Listed for $type {
                fn in_namespace(namespace: &NamespaceSpec) -> &[Self::Spec] {
                    &namespace.$list
                }
            }
        )*
    };
}
for_each_object!(define_namespace);

/// A sort of object that has lists in the lab file.
pub trait Listed: Object {
    /// Its list in a namespace.
    fn in_namespace(namespace: &NamespaceSpec) -> &[Self::Spec] {
        let _ = namespace;
        &[]
    }
    /// Its list in an interface.
    fn in_interface(interface: &InterfaceSpec) -> &[Self::Spec] {
        let _ = interface;
        &[]
    }
    /// Its list at the end of a link.
    fn in_endpoint(endpoint: &LongEndpoint) -> &[Self::Spec] {
        let _ = endpoint;
        &[]
    }
}

macro_rules! list_in_interfaces {
    (
        interface { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
        namespace { $($namespace:tt)* }
    ) => {
        $(
            impl Listed for $type {
                fn in_interface(interface: &InterfaceSpec) -> &[Self::Spec] {
                    &interface.$list
                }
                fn in_endpoint(endpoint: &LongEndpoint) -> &[Self::Spec] {
                    &endpoint.$list
                }
            }
        )*
    };
}
for_each_object!(list_in_interfaces);

/// Calls the macro with the settings that every interface has, wherever it is described.
macro_rules! with_settings {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            { $($head)* }
            /// Addresses, in the order in which the kernel is given them.
            addresses: Vec<AddressSpec>,
            /// Hardware address (IFLA_ADDRESS); without one the kernel draws its own.
            mac: Option<Mac>,
            /// Largest packet in bytes, 68 to 65535 (IFLA_MTU).
            mtu: Option<u32>,
            /// Administratively up; default true (IFF_UP).
            up: Option<bool>,
            /// Length of the transmit queue in packets, default 1000 (IFLA_TXQLEN).
            txqueuelen: Option<u32>,
            /// Further names, 1 to 127 bytes each (IFLA_ALT_IFNAME).
            altnames: Option<Vec<String>>,
            /// Use ARP; default true.
            arp: Option<bool>,
            /// Use multicast; default true.
            multicast: Option<bool>,
            /// Receive all multicast; default false.
            allmulti: Option<bool>,
            /// Receive everything; default false.
            promisc: Option<bool>,
            /// Settings of this interface, by family: `ipv4.rp_filter: 0`, `ipv6.accept_ra: 0`.
            sysctls: BTreeMap<String, SysctlValue>,
        }
    };
}

macro_rules! define_settings {
    ({} $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// What may be said of any interface.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct SettingsSpec {
            $($(#[$doc])* pub $field: $type,)+
        }
    };
}
with_settings!(define_settings {});

macro_rules! define_interface {
    ({ $($key:ident => $variant:ident($kind:ty)),+ $(,)? } $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// An interface: exactly one kind (or `external: true`, or the end of a link, or `lo`), and its settings.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InterfaceSpec {
            $(
                #[doc = concat!("Makes it a ", stringify!($key), ".")]
                pub $key: Option<Box<$kind>>,
            )+
            /// It exists already: it may be referred to and given settings, but is never created or deleted.
            pub external: Option<bool>,
            $($(#[$doc])* pub $field: $type,)+
        }

        impl InterfaceSpec {
            /// The keys that choose a kind.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($key)),+];

            /// The keys that choose the kind, of those that are set, with the kind.
            pub fn kinds(&self) -> Vec<(&'static str, crate::resource::link::Kind)> {
                let mut kinds = Vec::new();
                $(kinds.extend(self.$key.as_deref().map(|kind| (stringify!($key), crate::resource::link::Kind::from(kind.clone()))));)+
                kinds
            }

            /// The settings alone.
            pub fn settings(&self) -> SettingsSpec {
                SettingsSpec { $($field: self.$field.clone()),+ }
            }
        }
    };
}
macro_rules! interface_of_kinds {
    ($($kinds:tt)*) => { with_settings!(define_interface { $($kinds)* }); };
}
for_each_kind!(interface_of_kinds);

macro_rules! define_endpoint {
    ({} $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// The end of a link in its long form: where it is, and its settings.
        #[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LongEndpoint {
            /// `namespace:interface`.
            #[schemars(with = "String")]
            pub interface: LinkId,
            $($(#[$doc])* #[serde(default)] pub $field: $type,)+
        }

        impl LongEndpoint {
            /// The settings alone.
            pub fn settings(&self) -> SettingsSpec {
                SettingsSpec { $($field: self.$field.clone()),+ }
            }
        }
    };
}
with_settings!(define_endpoint {});

/// A veth pair: one object with two ends.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The two ends: `namespace:interface`, or a map with `interface` and settings.
    #[schemars(length(min = 2, max = 2))]
    pub endpoints: Vec<Endpoint>,
    /// The mtu of both ends; an end may say otherwise.
    pub mtu: Option<u32>,
    /// Whether both ends are up; an end may say otherwise.
    pub up: Option<bool>,
    /// The length of both transmit queues; an end may say otherwise.
    pub txqueuelen: Option<u32>,
    /// Transmit queues of each end, default 1 (IFLA_NUM_TX_QUEUES).
    pub numtxqueues: Option<u32>,
    /// Receive queues of each end, default 1 (IFLA_NUM_RX_QUEUES).
    pub numrxqueues: Option<u32>,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// `namespace:interface`.
    Short(#[schemars(with = "String")] LinkId),
    /// With settings.
    Long(Box<LongEndpoint>),
}

impl Endpoint {
    /// Which interface it is.
    pub fn interface(&self) -> &LinkId {
        match self {
            Self::Short(id) => id,
            Self::Long(long) => &long.interface,
        }
    }

    /// The long form, if it is in that.
    pub fn long(&self) -> Option<&LongEndpoint> {
        match self {
            Self::Short(_) => None,
            Self::Long(long) => Some(long),
        }
    }
}

/// The value of a kernel setting: a number, a truth value (1 or 0) or a text.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(extend("type" = ["string", "integer", "boolean"]))]
pub struct SysctlValue(#[schemars(with = "String")] pub String);

text_or_map!(Endpoint, "`namespace:interface` or a map", Endpoint::Short, |long| Endpoint::Long(Box::new(long)));
scalar!(
    SysctlValue,
    "a number, a truth value or a text",
    |number: i128| Ok::<_, String>(SysctlValue(number.to_string())),
    |text: &str| if text.contains('\n') || text.len() > 1000 {
        Err("a setting's value is one line of at most 1000 bytes".to_owned())
    } else {
        Ok(SysctlValue(text.to_owned()))
    }
);
impl LinkSpec {
    /// A reference as it stands in the file, for messages.
    pub fn describe(&self) -> String {
        self.endpoints.iter().map(|end| end.interface().to_string()).collect::<Vec<_>>().join(" <-> ")
    }
}
