//! The lab file as written: types that mirror the YAML, with nothing resolved and nothing filled in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::resource::link::{for_each_kind, for_each_setting};
use crate::resource::route::{RouteType, Scope};
use crate::value::{Destination, Duration, InterfaceAddress, Mac};

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

/// A network namespace and what is inside it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceSpec {
    /// Interfaces by name. `lo` is always there, and up.
    pub interfaces: BTreeMap<LinkName, Box<InterfaceSpec>>,
    /// Routes of both families.
    pub routes: Vec<RouteSpec>,
    /// Kernel settings below `net.`, such as `net.ipv4.ip_forward: 1`.
    pub sysctls: BTreeMap<String, SysctlValue>,
}

/// Calls the macro with what may be said of every interface, wherever it is described: the table of settings, and what is no row
/// of it.
macro_rules! with_interface_keys {
    ({ $then:ident { $($head:tt)* } } $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        $then! {
            { $($head)* }
            /// Addresses, in the order in which the kernel is given them.
            addresses: Vec<AddressSpec>,
            $($(#[$doc])* $field: Option<$type>,)+
            /// Further names, 1 to 127 bytes each (IFLA_ALT_IFNAME).
            altnames: Option<Vec<String>>,
            /// Settings of this interface, by family: `ipv4.rp_filter: 0`, `ipv6.accept_ra: 0`.
            sysctls: BTreeMap<String, SysctlValue>,
        }
    };
}

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
        }
    };
}
macro_rules! interface_of_kinds {
    ($($kinds:tt)*) => { for_each_setting!(with_interface_keys { define_interface { $($kinds)* } }); };
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
    };
}
for_each_setting!(with_interface_keys { define_endpoint {} });

macro_rules! define_link {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        /// A veth pair: one object with two ends.
        #[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LinkSpec {
            /// The two ends: `namespace:interface`, or a map with `interface` and settings.
            #[schemars(length(min = 2, max = 2))]
            pub endpoints: Vec<Endpoint>,
            $($(
                #[doc = $link]
                pub $field: Option<$type>,
            )?)+
            /// Transmit queues of each end, default 1 (IFLA_NUM_TX_QUEUES).
            pub numtxqueues: Option<u32>,
            /// Receive queues of each end, default 1 (IFLA_NUM_RX_QUEUES).
            pub numrxqueues: Option<u32>,
        }
    };
}
for_each_setting!(define_link {});

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

/// An address: `192.0.2.1/24`, or a map with `address` and more.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum AddressSpec {
    /// The address alone.
    Short(InterfaceAddress),
    /// With its attributes.
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
    /// Where it is valid.
    pub scope: Option<Scope>,
    /// An IPv4 label: the interface's name, or that name, a colon and more; at most 15 bytes.
    pub label: Option<String>,
    /// No duplicate address detection; IPv6 only.
    #[serde(default)]
    pub nodad: bool,
    /// No connected route.
    #[serde(default)]
    pub noprefixroute: bool,
    /// Removed after this time, whole seconds.
    pub valid_lft: Option<Duration>,
    /// Deprecated after this time, whole seconds, at most `valid_lft`.
    pub preferred_lft: Option<Duration>,
    /// Metric of the connected route.
    pub metric: Option<u32>,
}

impl AddressSpec {
    /// In the long form.
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
    /// `default` or a prefix; a lone address is a host route.
    pub to: Destination,
    /// The family of a `default` without a gateway; default `inet`.
    pub family: Option<Family>,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface of this namespace; may be left out where only one reaches the gateway.
    pub dev: Option<LinkName>,
    /// Several ways instead of `via` and `dev` (ECMP).
    #[serde(default)]
    pub nexthops: Vec<NextHopSpec>,
    /// What the route does; default `unicast`.
    #[serde(rename = "type", default)]
    pub kind: RouteType,
    /// The preference, lower first; default 0, for IPv6 1024.
    pub metric: Option<u32>,
    /// The table, by number or by its name in rt_tables; default `main`.
    pub table: Option<Table>,
    /// The source address of the machine's own packets.
    pub src: Option<IpAddr>,
    /// How far the destination is; IPv4 only.
    pub scope: Option<Scope>,
    /// The type of service that the route is for; IPv4 only.
    pub tos: Option<u8>,
    /// Take the gateway for reachable although no address says so; needs `dev`.
    #[serde(default)]
    pub onlink: bool,
    /// The path's mtu in bytes.
    pub mtu: Option<u32>,
}

/// One way of several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextHopSpec {
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface; may be left out where only one reaches the gateway.
    pub dev: Option<LinkName>,
    /// Its share among the ways, 1 to 256; default 1.
    pub weight: Option<u16>,
    /// Take the gateway for reachable although no address says so; needs `dev`.
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

/// A routing table as written: a number, or a name of rt_tables.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Table {
    /// Its number, from 1.
    Number(u32),
    /// Its name.
    Name(String),
}

/// The value of a kernel setting: a number, a truth value (1 or 0) or a text.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(extend("type" = ["string", "integer", "boolean"]))]
pub struct SysctlValue(#[schemars(with = "String")] pub String);

/// Reads "a text of that form, or a map of that type", keeping the error of whichever the file meant.
macro_rules! text_or_map {
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
text_or_map!(Endpoint, "`namespace:interface` or a map", Endpoint::Short, |long| Endpoint::Long(Box::new(long)));
text_or_map!(AddressSpec, "an address or a map", AddressSpec::Short, |long| AddressSpec::Long(Box::new(long)));

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
    "a number, a truth value or a text",
    |number: i128| Ok::<_, String>(SysctlValue(number.to_string())),
    |text: &str| if text.contains('\n') || text.len() > 1000 {
        Err("a setting's value is one line of at most 1000 bytes".to_owned())
    } else {
        Ok(SysctlValue(text.to_owned()))
    }
);
scalar!(
    Table,
    "a table's number or name",
    |number: i128| u32::try_from(number).ok().filter(|n| *n > 0).map(Table::Number).ok_or("a table's number is 1 to 4294967295"),
    |text: &str| Ok::<_, String>(Table::Name(text.to_owned()))
);

impl LinkSpec {
    /// A reference as it stands in the file, for messages.
    pub fn describe(&self) -> String {
        self.endpoints.iter().map(|end| end.interface().to_string()).collect::<Vec<_>>().join(" <-> ")
    }
}
