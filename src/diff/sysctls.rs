//! Compares sysctls. They cannot be created or deleted, only written. A value that a new link inherits needs no write.

use std::collections::BTreeSet;

use super::{Action, Differ, Sides, Subject};
use crate::name::{LinkId, NamespaceName};
use crate::resource::sysctl::SysctlKey;
use crate::state::ResourceId;

impl Differ<'_> {
    pub(super) fn sysctls(&mut self) {
        // In the order of writing: values that the kernel copies to interfaces come first.
        let mut spreading: BTreeSet<(NamespaceName, String)> = BTreeSet::new();
        for round in [Round::All, Round::Namespace, Round::Link] {
            for ((namespace, key), sysctl) in &self.desired.sysctls {
                // The sysctls of a deleted namespace disappear with it.
                if round_of(key) != round || self.is_namespace_deleted(namespace) {
                    continue;
                }
                let created = match key.link() {
                    Some(name) => self.is_created(&LinkId::new(namespace, name)),
                    None => self.namespaces.get(namespace) == Some(&Action::Create),
                };
                let live = self.live.state.sysctls.get(&(namespace.clone(), key.clone())).filter(|_| !created);
                let overwritten = || spread_name(key).is_some_and(|name| spreading.contains(&(namespace.clone(), name)));
                // A link that exists, but lacks a sysctl that it would inherit, has an mtu too small for IPv6.
                let needs_no_write = match live {
                    Some(live) => live.value == sysctl.value && !overwritten(),
                    None => sysctl.inherited,
                };
                if needs_no_write {
                    continue;
                }
                if let Some(name) = spreads(key) {
                    spreading.insert((namespace.clone(), name));
                }
                let (action, reason) = match live {
                    None => (Action::Create, None),
                    Some(present) if present.value == sysctl.value => {
                        (Action::Update, Some("a setting of all interfaces overwrites it".to_owned()))
                    }
                    Some(_) => (Action::Update, None),
                };
                let id = ResourceId::Sysctl(namespace.clone(), key.clone());
                let sides = Sides { before: live.cloned(), after: Some(sysctl.clone()) };
                self.add(id, action, Subject::Sysctl(sides), reason);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    All,
    Namespace,
    Link,
}

fn round_of(key: &SysctlKey) -> Round {
    match key.link() {
        Some(_) => Round::Link,
        None if key.is_of_all() => Round::All,
        None => Round::Namespace,
    }
}

/// Returns the family and the name of a sysctl that the kernel copies to every interface when it is written.
fn spreads(key: &SysctlKey) -> Option<String> {
    match key.path().split('/').collect::<Vec<_>>().as_slice() {
        ["net", "ipv4", "ip_forward"] => Some("ipv4/forwarding".into()),
        ["net", family @ ("ipv4" | "ipv6"), "conf", "all", name] => Some(format!("{family}/{name}")),
        // For IPv4, the kernel also copies `default` to interfaces where it was never set (`devinet_copy_dflt_conf`).
        ["net", "ipv4", "conf", "default", name] if *name != "forwarding" => Some(format!("ipv4/{name}")),
        _ => None,
    }
}

/// Returns the family and the name of a sysctl of an interface.
fn spread_name(key: &SysctlKey) -> Option<String> {
    match key.path().split('/').collect::<Vec<_>>().as_slice() {
        ["net", family @ ("ipv4" | "ipv6"), "conf", _, name] => Some(format!("{family}/{name}")),
        _ => None,
    }
}
