//! Addresses in the lab file.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, AddressKey};
use crate::resource::route::Scope;
use crate::string_or_map;
use crate::value::{Duration, InterfaceAddress};

/// An address: `192.0.2.1/24`, or a map with `address` and attributes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AddressSpec {
    /// The address alone.
    Short(InterfaceAddress),
    /// The address with attributes.
    Long(Box<LongAddress>),
}
string_or_map!(AddressSpec, "an address or a map", AddressSpec::Short, |long| AddressSpec::Long(Box::new(long)));

/// An address with its attributes, ip-address(8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongAddress {
    /// The address, with its prefix length; with a `peer` the prefix length is the peer's.
    pub address: InterfaceAddress,
    /// The other end of a point-to-point interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// An IPv4 broadcast address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<IpAddr>,
    /// The area where the address is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// An IPv4 label: the interface's name, or `NAME:SUFFIX`; at most 15 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Skip duplicate address detection; IPv6 only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub nodad: bool,
    /// Do not create the connected route.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub noprefixroute: bool,
    /// Time until the address is removed, in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_lft: Option<Duration>,
    /// Time until the address is deprecated, in whole seconds, at most `valid_lft`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_lft: Option<Duration>,
    /// Metric of the connected route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl LongAddress {
    /// The address without attributes.
    pub(super) fn of(address: InterfaceAddress) -> Self {
        Self {
            address,
            peer: None,
            broadcast: None,
            scope: None,
            label: None,
            nodad: false,
            noprefixroute: false,
            valid_lft: None,
            preferred_lft: None,
            metric: None,
        }
    }
}

impl AddressSpec {
    /// The address without its prefix length.
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Short(address) => address.ip(),
            Self::Long(long) => long.address.ip(),
        }
    }

    /// Returns the address.
    pub fn address(&self) -> InterfaceAddress {
        match self {
            Self::Short(address) => *address,
            Self::Long(long) => long.address,
        }
    }

    /// Converts to the long form.
    pub fn long(&self) -> LongAddress {
        match self {
            Self::Short(address) => LongAddress::of(*address),
            Self::Long(long) => (**long).clone(),
        }
    }
}

pub(super) fn raise(key: &AddressKey, value: &Address) -> AddressSpec {
    let long = LongAddress {
        peer: value.peer,
        broadcast: value.broadcast,
        scope: value.scope,
        label: value.label.clone(),
        nodad: value.nodad,
        noprefixroute: value.noprefixroute,
        valid_lft: value.lifetime.map(|lifetime| lifetime.valid),
        preferred_lft: value
            .lifetime
            .map(|lifetime| lifetime.preferred)
            .filter(|preferred| value.lifetime.is_some_and(|lifetime| lifetime.valid != *preferred)),
        metric: value.metric,
        ..LongAddress::of(key.address)
    };
    match long == LongAddress::of(key.address) {
        true => AddressSpec::Short(key.address),
        false => AddressSpec::Long(Box::new(long)),
    }
}
