//! The types of the lab file. They mirror the YAML; references and defaults are not resolved.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::single::Single;
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::resource::address::AddressSpec;
use crate::resource::ignore::Ignored;
use crate::resource::link::{Port, for_each_kind, for_each_port, for_each_setting};
use crate::resource::node::bind::BindSpec;
use crate::resource::node::file::{FileSpec, NodePath};
use crate::resource::node::hosts::{HostsSpec, ResolvSpec};
use crate::resource::node::isolation::Isolation;
use crate::resource::node::limits::LimitsSpec;
use crate::resource::node::process::{ProcessName, ProcessSpec};
use crate::resource::node::time::TimeSpec;
use crate::resource::object::{Object, for_each_object};
use crate::resource::qdisc::Impairment;
use crate::value::Mac;
use crate::value_schema::{AlternativeName, value_schema};
use crate::{scalar, string_or_map};

/// Whether a key is not set, so that it is not written.
trait Unset {
    fn is_unset(&self) -> bool;
}

impl<T> Unset for Option<T> {
    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

impl<T> Unset for Vec<T> {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Unset for Single<T> {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Unset for BTreeMap<K, V> {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

/// Writes a kind, or a port, without the options that are not set, and without `ports` if there are none.
fn serialize_kind<S: Serializer>(kind: &Option<Box<impl Serialize>>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut options = serde_json::to_value(kind).map_err(serde::ser::Error::custom)?;
    if let Some(options) = options.as_object_mut() {
        let is_unset =
            |name: &str, value: &Value| value.is_null() || name == "ports" && value.as_array().is_some_and(Vec::is_empty);
        options.retain(|name, value| !is_unset(name, value));
    }
    options.serialize(serializer)
}

/// A lab: namespaces, their contents, and the links between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = { "^x-": { "description": "topo ignores this key. It can hold YAML anchors." } }))]
pub struct LabFile {
    /// The name of the lab; marks the objects that the lab owns.
    pub name: LabName,
    /// The network namespaces, by name. `host` is the namespace that topo runs in.
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub namespaces: BTreeMap<NamespaceName, NamespaceSpec>,
    /// Veth pairs.
    #[serde(default, skip_serializing_if = "Unset::is_unset")]
    pub links: Vec<LinkSpec>,
}

macro_rules! define_namespace {
    (
        interface { $($interface:tt)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        /// A network namespace and its contents.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct NamespaceSpec {
            /// Interfaces by name. `lo` always exists and is up.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub interfaces: BTreeMap<LinkName, Box<InterfaceSpec>>,
            $($(#[$doc])* #[serde(skip_serializing_if = "Unset::is_unset")] pub $list: Vec<<$type as Object>::Spec>,)*
            /// Sysctls below `net.`, such as `net.ipv4.ip_forward: 1`.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub sysctls: BTreeMap<String, SysctlValue>,
            /// What others may add or change in the namespace, such as `[addresses, routes]` for a DHCP client. What the lab declares
            /// is kept.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub ignore: Vec<Ignored>,
            /// The kinds of namespaces that the node has of its own besides its network. By default, those that the keys below need.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub isolation: Option<Isolation>,
            /// The host name. By default, a node with a `uts` namespace of its own has its name in the lab.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub hostname: Option<String>,
            /// The NIS domain name, domainname(1).
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub domainname: Option<String>,
            /// The offsets of the clocks, time_namespaces(7).
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub time: Option<TimeSpec>,
            /// /etc/hosts of the node: `true` for the names and addresses of all nodes, or a map of names to addresses.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub hosts: Option<HostsSpec>,
            /// /etc/resolv.conf of the node.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub resolv: Option<ResolvSpec>,
            /// Files in the node's own view of the file system, by absolute path. The machine's files stay as they are.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub files: BTreeMap<NodePath, FileSpec>,
            /// Files and directories of the machine that the node sees at other places, as with `mount --bind`.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub binds: Vec<BindSpec>,
            /// Limits of the memory, the processes and the processor time of the node, cgroups(7).
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub limits: Option<LimitsSpec>,
            /// Processes of the node, by name. Its init starts, watches, restarts and ends them.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub processes: BTreeMap<ProcessName, ProcessSpec>,
        }

        $(
            impl Listed for $type {
                fn in_namespace(namespace: &NamespaceSpec) -> &[Self::Spec] {
                    &namespace.$list
                }
                fn add(namespace: &mut NamespaceSpec, _: Option<LinkName>, spec: Self::Spec) {
                    namespace.$list.push(spec);
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
    /// Its list in a link, for both ends.
    fn in_link(link: &LinkSpec) -> &[Self::Spec] {
        let _ = link;
        &[]
    }
    /// Adds an object to its list in a namespace, or in the interface `link` of it.
    fn add(namespace: &mut NamespaceSpec, link: Option<LinkName>, spec: Self::Spec);
}

/// The list of a link: most interfaces' lists have none.
macro_rules! list_of_link {
    (impair $link:ident) => {
        &$link.impair
    };
    ($list:ident $link:ident) => {{
        let _ = $link;
        &[]
    }};
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
                fn in_link(link: &LinkSpec) -> &[Self::Spec] {
                    list_of_link!($list link)
                }
                fn add(namespace: &mut NamespaceSpec, link: Option<LinkName>, spec: Self::Spec) {
                    if let Some(link) = link {
                        namespace.interfaces.entry(link).or_default().$list.push(spec);
                    }
                }
            }
        )*
    };
}
for_each_object!(list_in_interfaces);

/// Calls the macro with the keys that all interfaces have, for both places where they can be set: the table of settings, the options
/// of ports, and the keys that are in neither.
macro_rules! with_interface_keys {
    ({ $then:ident { $($head:tt)* } { $($(#[$port_doc:meta])* $port:ident => $variant:ident($options:ty),)+ } } $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        $then! {
            { $($head)* }
            /// Addresses, in the order in which they are added.
            addresses: Vec<AddressSpec>,
            /// What it does to the packets that it sends: delay, loss, rate and more, tc-netem(8).
            impair: Single<Impairment>,
            $($(#[$doc])* $field: Option<$type>,)+
            /// Alternative names, 1 to 127 bytes each (IFLA_ALT_IFNAME).
            #[schemars(with = "Option<Vec<AlternativeName>>")]
            altnames: Option<Vec<String>>,
            $($(#[$port_doc])* #[serde(serialize_with = "serialize_kind")] $port: Option<Box<$options>>,)+
            /// Sysctls of this interface: `ipv4.rp_filter: 0`, `ipv6.accept_ra: 0`.
            sysctls: BTreeMap<String, SysctlValue>,
            /// What others may add or change here, such as `[addresses, routes]` for a DHCP client. What the lab declares is kept.
            ignore: Vec<Ignored>,
        }
    };
}

/// Calls the macro with the same keys, given those of ports.
macro_rules! with_ports {
    ({ $then:ident { $($head:tt)* } } $($ports:tt)*) => {
        for_each_setting!(with_interface_keys { $then { $($head)* } { $($ports)* } });
    };
}

macro_rules! define_interface {
    ({ $($key:ident => $variant:ident($kind:ty)),+ $(,)? } $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// An interface: its kind and its settings. An endpoint of a link, `lo` or an `external` interface has no kind.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InterfaceSpec {
            $(
                #[doc = concat!("Gives the interface the kind `", stringify!($key), "`.")]
                #[serde(skip_serializing_if = "Unset::is_unset", serialize_with = "serialize_kind")]
                pub $key: Option<Box<$kind>>,
            )+
            /// The interface exists already: it can be referenced and configured, but is never created or deleted.
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub external: Option<bool>,
            $($(#[$doc])* #[serde(skip_serializing_if = "Unset::is_unset")] pub $field: $type,)+
            /// Transmit queues: 1 to 4096, default 1. A change replaces the interface. Both endpoints of a link have that of the link
            /// (IFLA_NUM_TX_QUEUES).
            #[schemars(range(min = 1, max = 4096))]
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub numtxqueues: Option<u32>,
            /// Receive queues: 1 to 4096, default 1. A change replaces the interface. Both endpoints of a link have that of the link
            /// (IFLA_NUM_RX_QUEUES).
            #[schemars(range(min = 1, max = 4096))]
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub numrxqueues: Option<u32>,
        }

        impl InterfaceSpec {
            /// The keys of all kinds.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($key)),+];

            /// Returns the kinds that are set, with their keys.
            pub fn kinds(&self) -> Vec<(&'static str, crate::resource::link::Kind)> {
                let mut kinds = Vec::new();
                $(kinds.extend(self.$key.as_deref().map(|kind| (stringify!($key), crate::resource::link::Kind::from(kind.clone()))));)+
                kinds
            }

            /// Sets the kind. Returns whether a lab file can name it.
            pub fn set_kind(&mut self, kind: &crate::resource::link::Kind) -> bool {
                match kind {
                    $(crate::resource::link::Kind::$variant(kind) => self.$key = Some(kind.clone()),)+
                    _ => return false,
                }
                true
            }
        }
    };
}
macro_rules! interface_of_kinds {
    ($($kinds:tt)*) => { for_each_port!(with_ports { define_interface { $($kinds)* } }); };
}
for_each_kind!(interface_of_kinds);

macro_rules! define_endpoint {
    ({} $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// The long form of a link endpoint, with settings.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LongEndpoint {
            /// `namespace:interface`.
            pub interface: LinkId,
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Unset::is_unset")] pub $field: $type,)+
        }
    };
}
for_each_port!(with_ports { define_endpoint {} });

macro_rules! list_ports {
    ({ $($section:ident)+ } $($(#[$doc:meta])* $key:ident => $variant:ident($options:ty),)+) => {
        impl InterfaceSpec {
            /// Sets the options as a port.
            pub fn set_port(&mut self, port: &Port) {
                match port {
                    $(Port::$variant(options) => self.$key = Some(options.clone()),)+
                }
            }
        }
        list_ports!(@sections { $($section)+ } { $($key => $variant,)+ });
    };
    (@sections { $($section:ident)+ } $keys:tt) => {
        $(list_ports!(@section $section $keys);)+
    };
    (@section $section:ident { $($key:ident => $variant:ident,)+ }) => {
        impl $section {
            /// Returns the options as a port that are set.
            pub fn ports(&self) -> Vec<Port> {
                let mut ports = Vec::new();
                $(ports.extend(self.$key.clone().map(Port::$variant));)+
                ports
            }
        }
    };
}
for_each_port!(list_ports { InterfaceSpec LongEndpoint });

macro_rules! define_link {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        /// A veth pair.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LinkSpec {
            /// The two endpoints: `namespace:interface`, or a map with `interface` and settings.
            #[schemars(length(min = 2, max = 2))]
            pub endpoints: Vec<Endpoint>,
            $($(
                #[doc = $link]
                #[serde(skip_serializing_if = "Unset::is_unset")]
                pub $field: Option<$type>,
            )?)+
            /// Transmit queues of each endpoint: 1 to 4096, default 1 (IFLA_NUM_TX_QUEUES).
            #[schemars(range(min = 1, max = 4096))]
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub numtxqueues: Option<u32>,
            /// Receive queues of each endpoint: 1 to 4096, default 1 (IFLA_NUM_RX_QUEUES).
            #[schemars(range(min = 1, max = 4096))]
            #[serde(skip_serializing_if = "Unset::is_unset")]
            pub numrxqueues: Option<u32>,
            /// What each endpoint does to the packets that it sends, unless it has an `impair` of its own: delay, loss, rate and more,
            /// tc-netem(8).
            #[serde(default, skip_serializing_if = "Unset::is_unset")]
            pub impair: Single<Impairment>,
        }
    };
}
for_each_setting!(define_link {});

/// An endpoint of a link.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// `namespace:interface`.
    Short(LinkId),
    /// With settings.
    Long(Box<LongEndpoint>),
}

impl Endpoint {
    /// Returns the interface.
    pub fn interface(&self) -> &LinkId {
        match self {
            Self::Short(id) => id,
            Self::Long(long) => &long.interface,
        }
    }

    /// Returns the long form, if it is used.
    pub fn long(&self) -> Option<&LongEndpoint> {
        match self {
            Self::Short(_) => None,
            Self::Long(long) => Some(long),
        }
    }
}

/// The value of a sysctl: a number, a boolean (1 or 0) or a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlValue(pub String);
value_schema!(SysctlValue, "Value of a sysctl", "A number, `true` or `false` for 1 or 0, or a text of one line.", {
    "type": ["string", "integer", "number", "boolean"],
    "pattern": r"^[^\n]*$",
    "maxLength": 1000,
    "examples": [1],
});

impl Serialize for SysctlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<i64>() {
            Ok(number) if number.to_string() == self.0 => serializer.serialize_i64(number),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

string_or_map!(Endpoint, "`namespace:interface` or a map", Endpoint::Short, |long| Endpoint::Long(Box::new(long)));
scalar!(
    SysctlValue,
    "a number, a boolean or a string",
    |number: i128| Ok::<_, String>(SysctlValue(number.to_string())),
    |text: &str| match text.to_ascii_lowercase().as_str() {
        _ if text.contains('\n') || text.len() > 1000 => {
            Err("a sysctl value must be one line of at most 1000 bytes".to_owned())
        }
        "yes" | "on" | "enable" | "enabled" | "y" => Err(format!("`{text}` is not a value of a sysctl; write `1`")),
        "no" | "off" | "disable" | "disabled" | "n" => Err(format!("`{text}` is not a value of a sysctl; write `0`")),
        _ => Ok(SysctlValue(text.to_owned())),
    }
);
impl LinkSpec {
    /// Describes the link in messages.
    pub fn describe(&self) -> String {
        self.endpoints.iter().map(|end| end.interface().to_string()).collect::<Vec<_>>().join(" <-> ")
    }
}
