//! Neighbours in the lab file.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{Neighbor, NeighborKey};
use crate::name::{LinkName, escape};
use crate::scalar;
use crate::value::Mac;

/// A neighbour or a proxy, ip-neighbour(8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighborSpec {
    /// The IP address of the neighbour, or that the proxy answers for.
    pub to: IpAddr,
    /// The MAC address of the neighbour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<LinkAddress>,
    /// The interface.
    pub dev: LinkName,
    /// The state; default `permanent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nud: Option<Nud>,
    /// Answer requests for the address (proxy ARP, proxy NDP) instead of knowing where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub proxy: bool,
    /// The neighbour is a router. An IPv6 proxy says so in its answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub router: bool,
    /// Let the kernel resolve the address, and keep it resolved; instead of `lladdr` and `nud`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub managed: bool,
    /// A control plane maintains the entry: the kernel does not collect it as garbage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub extern_learn: bool,
}

/// The state of an entry (`ndm_state`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nud {
    /// It is valid for good, and nothing but an administrator changes it.
    #[default]
    Permanent,
    /// It is valid without being confirmed, until the link loses its carrier.
    Noarp,
    /// It is valid until its time is over; then it is stale.
    Reachable,
    /// It is valid, and confirmed at its next use.
    Stale,
}
scalar!(
    Nud,
    "the state of a neighbour",
    |_: i128| Err("the state of a neighbour is a word: `permanent`, `noarp`, `reachable` or `stale`"),
    |text: &str| match text {
        "permanent" => Ok(Nud::Permanent),
        "noarp" => Ok(Nud::Noarp),
        "reachable" => Ok(Nud::Reachable),
        "stale" => Ok(Nud::Stale),
        "none" | "incomplete" | "delay" | "probe" | "failed" => Err(format!(
            "the state `{text}` cannot be declared: only the kernel sets it while it looks for the neighbour; \
             use `permanent`, `noarp`, `reachable` or `stale`"
        )),
        text =>
            Err(format!("`{}` is not a state of a neighbour; use `permanent`, `noarp`, `reachable` or `stale`", escape(text))),
    }
);

/// A link-layer address (NDA_LLADDR): a MAC address. Live entries of other links have addresses of other lengths.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Mac")]
pub struct LinkAddress(pub Vec<u8>);

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

impl Serialize for LinkAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for LinkAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Mac>() {
            Ok(Mac([0, 0, 0, 0, 0, 0])) => Err("the MAC address of a neighbour must not be zero".into()),
            Ok(Mac(bytes)) => Ok(Self(bytes.to_vec())),
            Err(_) if text.parse::<IpAddr>().is_ok() => Err(format!(
                "`{text}` is not a MAC address; IP addresses as link-layer addresses, as tunnels have, cannot be declared"
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}
scalar!(
    LinkAddress,
    "a MAC address",
    |number: i128| Err(format!("`{number}` is not a MAC address; put quotes around it")),
    |text: &str| text.parse()
);

pub(super) fn raise(key: &NeighborKey, value: &Neighbor) -> NeighborSpec {
    let is_default = key.proxy || value.managed || value.nud == Nud::default();
    NeighborSpec {
        to: key.to,
        lladdr: value.lladdr.clone(),
        dev: key.dev,
        nud: (!is_default).then_some(value.nud),
        proxy: key.proxy,
        router: value.router,
        managed: value.managed,
        extern_learn: value.extern_learn,
    }
}
