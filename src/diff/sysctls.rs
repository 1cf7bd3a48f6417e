//! Kernel settings. They cannot be created or deleted, only written; one that a link is born with needs no write.

use std::collections::BTreeSet;

use super::{Action, Differ};
use crate::name::{LinkId, NamespaceName};
use crate::resource::FieldChange;
use crate::resource::sysctl::SysctlKey;
use crate::state::{Resource, ResourceId};

impl Differ<'_> {
    pub(super) fn sysctls(&mut self) {
        // In the order in which they are written: what the kernel copies to others first.
        let mut spreading: BTreeSet<(NamespaceName, String)> = BTreeSet::new();
        for round in [Round::All, Round::Namespace, Round::Link] {
            for (id, namespace, key, sysctl) in self.desired.sysctls() {
                let link = key.link().map(|name| LinkId::new(namespace, name));
                if round_of(key) != round {
                    continue;
                }
                let born = match &link {
                    Some(link) => self.is_born(link),
                    None => self.action(&ResourceId::Namespace(namespace.clone())) == Some(Action::Create),
                };
                let live = match self.live.state.resources.get(id) {
                    Some(Resource::Sysctl(live)) if !born => Some(&live.value),
                    _ => None,
                };
                let overwritten = spread_name(key).is_some_and(|name| spreading.contains(&(namespace.clone(), name)));
                // What a link is born with it has, unless the kernel knows no such setting of it: IPv6's on a link too small for it.
                let needs_no_write = live == Some(&sysctl.value) && !overwritten || live.is_none() && sysctl.inherited;
                if needs_no_write {
                    continue;
                }
                if let Some(name) = spreads(key) {
                    spreading.insert((namespace.clone(), name));
                }
                let Some(live) = live else {
                    self.add(id.clone(), Action::Create, Vec::new(), None);
                    continue;
                };
                let field = FieldChange::new("value", live.clone().into(), sysctl.value.clone().into());
                let reason = (live == &sysctl.value).then(|| "a setting of all interfaces overwrites it".to_owned());
                self.add(id.clone(), Action::Update, vec![field], reason);
            }
        }
        self.forget_sysctls();
    }

    /// Settings whose link or namespace goes are not listed by the kernel afterwards; they need no change of their own.
    fn forget_sysctls(&mut self) {
        let gone = |differ: &Self, id: &ResourceId| differ.namespace_goes(id.namespace());
        let ids: Vec<_> =
            self.changes.keys().filter(|id| matches!(id, ResourceId::Sysctl(..)) && gone(self, id)).cloned().collect();
        for id in ids {
            self.changes.remove(&id);
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

/// For a setting that the kernel copies to every interface when it is written: family and name.
fn spreads(key: &SysctlKey) -> Option<String> {
    match key.path().split('/').collect::<Vec<_>>().as_slice() {
        ["net", "ipv4", "ip_forward"] => Some("ipv4/forwarding".into()),
        ["net", family @ ("ipv4" | "ipv6"), "conf", "all", name] => Some(format!("{family}/{name}")),
        // Of IPv4 the kernel also copies `default` to interfaces of which nobody has set it (`devinet_copy_dflt_conf`).
        ["net", "ipv4", "conf", "default", name] if *name != "forwarding" => Some(format!("ipv4/{name}")),
        _ => None,
    }
}

/// For an interface's setting: the same words.
fn spread_name(key: &SysctlKey) -> Option<String> {
    match key.path().split('/').collect::<Vec<_>>().as_slice() {
        ["net", family @ ("ipv4" | "ipv6"), "conf", _, name] => Some(format!("{family}/{name}")),
        _ => None,
    }
}
