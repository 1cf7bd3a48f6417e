//! Finds out which settings of a network namespace somebody has chosen.

use std::collections::BTreeMap;

use super::conf::Setting;
use super::{Sysctl, SysctlKey};
use crate::name::LinkName;

/// Returns the settings of a namespace that are not as the kernel makes them. `new` are those of a new namespace with nothing but `lo`.
/// Settings of interfaces are compared with `default`, without those that the kernel reports with the interfaces.
pub fn by_somebody(values: &BTreeMap<SysctlKey, Sysctl>, new: &BTreeMap<SysctlKey, Sysctl>) -> Vec<(SysctlKey, Sysctl)> {
    let is_chosen = |key: &SysctlKey, value: &Sysctl| match key.link() {
        // The kernel sets it with the mtu of the interface.
        Some(_) if key.path().starts_with("net/ipv6/conf/") && key.path().ends_with("/mtu") => false,
        // It can be read once somebody has set it.
        _ if key.path().ends_with("/stable_secret") => true,
        Some(_) if Setting::of_key(key).is_some() => false,
        Some(link) if !link.is_loopback() => {
            let default = key.of_default();
            // Some settings of interfaces have no default in a namespace that is not the machine's first.
            let of_new = || default.as_ref().and_then(|key| new.get(&key.for_link(LinkName::LOOPBACK)?));
            let inherited = default.as_ref().and_then(|key| values.get(key)).or_else(of_new);
            inherited.is_some_and(|inherited| !inherited.agrees(value))
        }
        Some(_) | None => new.get(key).is_some_and(|new| !new.agrees(value)),
    };
    values.iter().filter(|(key, value)| is_chosen(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_a_new_namespace_or_from_default_was_chosen() {
        let settings = |pairs: &[(&str, &str)]| -> BTreeMap<SysctlKey, Sysctl> {
            pairs.iter().map(|(key, value)| (SysctlKey::of_namespace(key).unwrap(), Sysctl::new(value))).collect()
        };
        let new = settings(&[
            ("net.ipv4.ip_forward", "0"),
            ("net.ipv4.ping_group_range", "1 0"),
            ("net.ipv4.neigh.default.gc_stale_time", "60"),
            ("net.ipv4.neigh.lo.gc_stale_time", "60"),
            ("net.ipv4.neigh.lo.ucast_solicit", "3"),
        ]);
        let live = settings(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.ping_group_range", "1\t0"),
            ("net.ipv4.neigh.default.gc_stale_time", "90"),
            ("net.ipv4.neigh.lo.gc_stale_time", "60"),
            ("net.ipv4.neigh.eth0.gc_stale_time", "90"),
            ("net.ipv4.neigh.eth1.gc_stale_time", "30"),
            ("net.ipv4.neigh.eth0.ucast_solicit", "5"),
            ("net.ipv4.conf.eth0.forwarding", "1"),
            ("net.ipv6.conf.eth0.mtu", "1400"),
            ("net.netfilter.nf_of_a_module", "1"),
        ]);
        let chosen: Vec<String> = by_somebody(&live, &new).iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(
            chosen,
            [
                "net.ipv4.ip_forward",
                "net.ipv4.neigh.default.gc_stale_time",
                "net.ipv4.neigh.eth0.ucast_solicit",
                "net.ipv4.neigh.eth1.gc_stale_time"
            ]
        );
    }
}
