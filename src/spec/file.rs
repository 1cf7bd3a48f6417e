//! The types of the lab file. They mirror the YAML; references and defaults are not resolved.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::resource::link::for_each_kind;
use crate::resource::route::{RouteType, Scope};
use crate::value::{Destination, Duration, InterfaceAddress, Mac};

/// A lab: namespaces, their contents, and the links between them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabFile {
    /// The name of the lab; marks the objects that the lab owns.
    pub name: LabName,
    /// The network namespaces, by name. `host` is the namespace that topo runs in.
    #[serde(default)]
    pub namespaces: BTreeMap<NamespaceName, NamespaceSpec>,
    /// Veth pairs.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
}

/// A network namespace and its contents.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceSpec {
    /// Interfaces by name. `lo` always exists and is up.
    pub interfaces: BTreeMap<LinkName, Box<InterfaceSpec>>,
    /// Routes of both families.
    pub routes: Vec<RouteSpec>,
    /// Sysctls below `net.`, such as `net.ipv4.ip_forward: 1`.
    pub sysctls: BTreeMap<String, SysctlValue>,
}

/// Calls the macro with the settings that all interfaces have, for both places where they can be set.
macro_rules! with_settings {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            { $($head)* }
            /// Addresses, in the order in which they are added.
            addresses: Vec<AddressSpec>,
            /// MAC address (IFLA_ADDRESS); the kernel chooses one by default.
            mac: Option<Mac>,
            /// Maximum packet size in bytes, 68 to 65535 (IFLA_MTU).
            mtu: Option<u32>,
            /// Administratively up; default true (IFF_UP).
            up: Option<bool>,
            /// Length of the transmit queue in packets, default 1000 (IFLA_TXQLEN).
            txqueuelen: Option<u32>,
            /// Alternative names, 1 to 127 bytes each (IFLA_ALT_IFNAME).
            altnames: Option<Vec<String>>,
            /// Use ARP; default true.
            arp: Option<bool>,
            /// Use multicast; default true.
            multicast: Option<bool>,
            /// Receive all multicast packets; default false.
            allmulti: Option<bool>,
            /// Promiscuous mode: receive all packets; default false.
            promisc: Option<bool>,
            /// Sysctls of this interface: `ipv4.rp_filter: 0`, `ipv6.accept_ra: 0`.
            sysctls: BTreeMap<String, SysctlValue>,
        }
    };
}

macro_rules! define_settings {
    ({} $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// The settings of any interface.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct SettingsSpec {
            $($(#[$doc])* pub $field: $type,)+
        }
    };
}
with_settings!(define_settings {});

macro_rules! define_interface {
    ({ $($key:ident => $variant:ident($kind:ty)),+ $(,)? } $($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// An interface: its kind and its settings. An endpoint of a link, `lo` or an `external` interface has no kind.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InterfaceSpec {
            $(
                #[doc = concat!("Makes the interface a ", stringify!($key), ".")]
                pub $key: Option<Box<$kind>>,
            )+
            /// The interface exists already: it can be referenced and configured, but is never created or deleted.
            pub external: Option<bool>,
            $($(#[$doc])* pub $field: $type,)+
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

            /// Returns the settings.
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
        /// The long form of a link endpoint, with settings.
        #[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LongEndpoint {
            /// `namespace:interface`.
            #[schemars(with = "String")]
            pub interface: LinkId,
            $($(#[$doc])* #[serde(default)] pub $field: $type,)+
        }

        impl LongEndpoint {
            /// Returns the settings.
            pub fn settings(&self) -> SettingsSpec {
                SettingsSpec { $($field: self.$field.clone()),+ }
            }
        }
    };
}
with_settings!(define_endpoint {});

/// A veth pair.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The two endpoints: `namespace:interface`, or a map with `interface` and settings.
    #[schemars(length(min = 2, max = 2))]
    pub endpoints: Vec<Endpoint>,
    /// The mtu of both endpoints; an endpoint can override it.
    pub mtu: Option<u32>,
    /// Whether both endpoints are up; an endpoint can override it.
    pub up: Option<bool>,
    /// The length of both transmit queues; an endpoint can override it.
    pub txqueuelen: Option<u32>,
    /// Transmit queues of each endpoint, default 1 (IFLA_NUM_TX_QUEUES).
    pub numtxqueues: Option<u32>,
    /// Receive queues of each endpoint, default 1 (IFLA_NUM_RX_QUEUES).
    pub numrxqueues: Option<u32>,
}

/// An endpoint of a link.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// `namespace:interface`.
    Short(#[schemars(with = "String")] LinkId),
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

/// An address: `192.0.2.1/24`, or a map with `address` and attributes.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum AddressSpec {
    /// The address alone.
    Short(InterfaceAddress),
    /// The address with attributes.
    Long(Box<LongAddress>),
}

/// An address with its attributes, ip-address(8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongAddress {
    /// The address, with its prefix length; with a `peer` the prefix length is the peer's.
    pub address: InterfaceAddress,
    /// The other end of a point-to-point interface.
    pub peer: Option<IpAddr>,
    /// An IPv4 broadcast address.
    pub broadcast: Option<IpAddr>,
    /// The area where the address is valid.
    pub scope: Option<Scope>,
    /// An IPv4 label: the interface's name, or `NAME:SUFFIX`; at most 15 bytes.
    pub label: Option<String>,
    /// Skip duplicate address detection; IPv6 only.
    #[serde(default)]
    pub nodad: bool,
    /// Do not create the connected route.
    #[serde(default)]
    pub noprefixroute: bool,
    /// Time until the address is removed, in whole seconds.
    pub valid_lft: Option<Duration>,
    /// Time until the address is deprecated, in whole seconds, at most `valid_lft`.
    pub preferred_lft: Option<Duration>,
    /// Metric of the connected route.
    pub metric: Option<u32>,
}

impl AddressSpec {
    /// Converts to the long form.
    pub fn long(&self) -> LongAddress {
        match self {
            Self::Short(address) => LongAddress {
                address: *address,
                peer: None,
                broadcast: None,
                scope: None,
                label: None,
                nodad: false,
                noprefixroute: false,
                valid_lft: None,
                preferred_lft: None,
                metric: None,
            },
            Self::Long(long) => (**long).clone(),
        }
    }
}

/// A route, ip-route(8).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// `default` or a prefix; an address without prefix length is a host route.
    pub to: Destination,
    /// The family of a `default` without a gateway; default `inet`.
    pub family: Option<Family>,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The outgoing interface; optional if the gateway is reachable over one interface only.
    pub dev: Option<LinkName>,
    /// The next hops of a multipath route (ECMP), instead of `via` and `dev`.
    #[serde(default)]
    pub nexthops: Vec<NextHopSpec>,
    /// The route type; default `unicast`.
    #[serde(rename = "type", default)]
    pub kind: RouteType,
    /// The metric; lower is preferred. Default 0, for IPv6 1024.
    pub metric: Option<u32>,
    /// The table, by number or by its name in rt_tables; default `main`.
    pub table: Option<Table>,
    /// The preferred source address of locally generated packets.
    pub src: Option<IpAddr>,
    /// The scope of the destination; IPv4 only.
    pub scope: Option<Scope>,
    /// The type of service (TOS) that the route matches; IPv4 only.
    pub tos: Option<u8>,
    /// Treat the gateway as directly reachable even if no address covers it; requires `dev`.
    #[serde(default)]
    pub onlink: bool,
    /// The path mtu in bytes.
    pub mtu: Option<u32>,
}

/// A next hop of a multipath route.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextHopSpec {
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The outgoing interface; optional if the gateway is reachable over one interface only.
    pub dev: Option<LinkName>,
    /// The weight relative to the other next hops, 1 to 256; default 1.
    pub weight: Option<u16>,
    /// Treat the gateway as directly reachable even if no address covers it; requires `dev`.
    #[serde(default)]
    pub onlink: bool,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// A routing table: its number, or a name from rt_tables.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Table {
    /// The number, from 1.
    Number(u32),
    /// The name.
    Name(String),
}

/// The value of a sysctl: a number, a boolean (1 or 0) or a string.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(extend("type" = ["string", "integer", "boolean"]))]
pub struct SysctlValue(#[schemars(with = "String")] pub String);

/// Implements `Deserialize` for a short form (a string) or a long form (a map). Errors are those of the form that the file uses.
macro_rules! string_or_map {
    ($type:ty, $expecting:literal, $text:expr, $map:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map($text).map_err(E::custom)
                    }
                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map($map)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}
string_or_map!(Endpoint, "`namespace:interface` or a map", Endpoint::Short, |long| Endpoint::Long(Box::new(long)));
string_or_map!(AddressSpec, "an address or a map", AddressSpec::Short, |long| AddressSpec::Long(Box::new(long)));

/// Implements `Deserialize` for a type that is read from a number, a boolean or a string.
macro_rules! scalar {
    ($type:ty, $expecting:literal, $number:expr, $text:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scalar;
                impl Visitor<'_> for Scalar {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        $number(i128::from(number)).map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        $number(i128::from(number)).map_err(E::custom)
                    }
                    fn visit_bool<E: de::Error>(self, value: bool) -> Result<$type, E> {
                        $number(i128::from(value)).map_err(E::custom)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        $text(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Scalar)
            }
        }
    };
}
scalar!(
    SysctlValue,
    "a number, a boolean or a string",
    |number: i128| Ok::<_, String>(SysctlValue(number.to_string())),
    |text: &str| if text.contains('\n') || text.len() > 1000 {
        Err("a sysctl value must be one line of at most 1000 bytes".to_owned())
    } else {
        Ok(SysctlValue(text.to_owned()))
    }
);
scalar!(
    Table,
    "a table number or name",
    |number: i128| u32::try_from(number)
        .ok()
        .filter(|n| *n > 0)
        .map(Table::Number)
        .ok_or("table number is out of range (1 to 4294967295)"),
    |text: &str| Ok::<_, String>(Table::Name(text.to_owned()))
);

impl LinkSpec {
    /// Describes the link in messages.
    pub fn describe(&self) -> String {
        self.endpoints.iter().map(|end| end.interface().to_string()).collect::<Vec<_>>().join(" <-> ")
    }
}
