//! An address on an interface, ip-address(8).
//!
//! ```yaml
//! addresses: [192.0.2.1/24, { address: "2001:db8::1/64", nodad: true }]
//! ```
//!
//! The kernel keeps the order in which addresses were given: the first of an IPv4 subnet is its primary address. So does topo.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::route::Scope;
use super::{FieldChange, owner_change};
use crate::value::Duration;

/// An address as the kernel keeps it. `None` in a desired one means the kernel's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Address {
    /// The other end of a point-to-point address (IFA_ADDRESS where IFA_LOCAL differs).
    pub peer: Option<IpAddr>,
    /// Where the address is valid; default by the address itself (`ifa_scope`). IPv4 only.
    pub scope: Option<Scope>,
    /// An IPv4 label (IFA_LABEL), default the interface's name.
    pub label: Option<String>,
    /// IPv4 broadcast address (IFA_BROADCAST); none by default.
    pub broadcast: Option<IpAddr>,
    /// No duplicate address detection, IPv6 only (IFA_F_NODAD).
    pub nodad: bool,
    /// No connected route (IFA_F_NOPREFIXROUTE).
    pub noprefixroute: bool,
    /// Lifetimes; `None` is forever (IFA_CACHEINFO).
    pub lifetime: Option<Lifetime>,
    /// The metric of the connected route (IFA_RT_PRIORITY).
    pub metric: Option<u32>,
    /// Position among the addresses of its family on the interface, counted in the order in which they were given.
    pub order: u32,
    /// Given by somebody else (IFA_PROTO is not topo's), on a live link that the lab is to adopt.
    pub foreign: bool,
    /// The kernel made a connected route for it, and somebody has taken that away; of live addresses only.
    pub disconnected: bool,
}

/// How long an address is valid and preferred, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lifetime {
    /// After that it is removed (`ifa_valid`).
    pub valid: Duration,
    /// After that it is deprecated: not used for new connections (`ifa_prefered`).
    pub preferred: Duration,
}

impl Address {
    /// The name under which the connected route is shown among the attributes of its address.
    pub const CONNECTED_ROUTE: &str = "connected route";

    /// The scope that the address is given: as ip-address(8) does, `host` for IPv4 loopback addresses, else `global`. Of IPv6
    /// addresses the kernel decides it alone.
    pub fn complete_scope(&self, ip: IpAddr) -> Scope {
        match (self.scope, ip) {
            (Some(scope), IpAddr::V4(_)) => scope,
            (None, IpAddr::V4(ip)) if ip.is_loopback() => Scope::Host,
            _ => Scope::Global,
        }
    }

    /// Every difference that the kernel shows. A lifetime counts down, so that only "forever" and "limited" are told apart,
    /// and any lifetime beyond the desired one.
    pub fn compare(&self, live: &Self, ip: IpAddr) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if self.foreign != live.foreign {
            // Linux 6.1 keeps the old protocol when an address is replaced in place.
            changes.push(FieldChange { forces_replacement: true, ..owner_change(live.foreign) });
        }
        // Hardly ever is there a difference to be shown.
        let mut check = |name: &str, differs: bool, show: &dyn Fn(&Self) -> Value, forces_replacement: bool| {
            if differs {
                changes.push(FieldChange { forces_replacement, ..FieldChange::new(name, show(live), show(self)) });
            }
        };
        let scope = |address: &Self| address.complete_scope(ip);
        check("peer", self.peer != live.peer, &|a| json!(a.peer), true);
        check("broadcast", self.broadcast != live.broadcast, &|a| json!(a.broadcast), true);
        check("scope", scope(self) != scope(live), &|a| json!(scope(a)), true);
        check("label", self.label != live.label, &|a| json!(a.label), true);
        check("nodad", self.nodad != live.nodad, &|a| json!(a.nodad), true);
        check("noprefixroute", self.noprefixroute != live.noprefixroute, &|a| json!(a.noprefixroute), true);
        check("metric", self.metric != live.metric, &|a| json!(a.metric), true);
        let lifetime_differs = match (self.lifetime, live.lifetime) {
            (None, None) => false,
            (Some(desired), Some(live)) => live.valid > desired.valid || live.preferred > desired.preferred,
            _ => true,
        };
        let lifetime = |lifetime: Lifetime| format!("{} valid, {} preferred", lifetime.valid, lifetime.preferred);
        check("lifetime", lifetime_differs, &|a| json!(a.lifetime.map_or("forever".into(), lifetime)), false);
        let route = |a: &Self| json!(if a.disconnected { "missing" } else { "present" });
        check(Self::CONNECTED_ROUTE, self.disconnected != live.disconnected, &route, false);
        changes
    }

    /// All that is set, as a lab file would show it.
    pub fn show(&self) -> Vec<(String, Value)> {
        let mut shown = Vec::new();
        let mut add = |name: &str, value: Option<Value>| shown.extend(value.map(|value| (name.to_owned(), value)));
        add("peer", self.peer.map(|peer| peer.to_string().into()));
        add("scope", self.scope.filter(|scope| *scope != Scope::Global).map(|scope| scope.to_string().into()));
        add("label", self.label.clone().map(Value::from));
        add("broadcast", self.broadcast.map(|ip| ip.to_string().into()));
        add("nodad", self.nodad.then(|| true.into()));
        add("noprefixroute", self.noprefixroute.then(|| true.into()));
        add("valid", self.lifetime.map(|lifetime| lifetime.valid.to_string().into()));
        add("preferred", self.lifetime.map(|lifetime| lifetime.preferred.to_string().into()));
        add("metric", self.metric.map(Value::from));
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn a_lifetime_may_run_down_but_not_be_longer() {
        let with = |seconds| Address {
            lifetime: Some(Lifetime { valid: Duration::seconds(seconds), preferred: Duration::seconds(seconds) }),
            ..Address::default()
        };
        assert_eq!(with(60).compare(&with(10), IP), []);
        assert_eq!(with(60).compare(&with(61), IP).len(), 1);
        assert_eq!(with(60).compare(&Address::default(), IP).len(), 1);
    }

    #[test]
    fn another_peer_needs_another_address() {
        let live = Address { peer: "10.0.0.2".parse().ok(), ..Address::default() };
        assert!(Address::default().compare(&live, IP)[0].forces_replacement);
    }

    #[test]
    fn no_scope_means_the_one_by_default() {
        let scoped = |scope| Address { scope, ..Address::default() };
        assert_eq!(scoped(None).compare(&scoped(Some(Scope::Global)), IP), []);
        assert_eq!(scoped(None).compare(&scoped(Some(Scope::Link)), IP).len(), 1);
        assert_eq!(scoped(None).compare(&scoped(Some(Scope::Link)), "2001:db8::1".parse().unwrap()), []);
    }
}
