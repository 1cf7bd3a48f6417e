//! External links that were renamed. A record finds them by their numbers.

use std::collections::BTreeMap;

use super::Record;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::Ifindex;
use crate::resource::object::table::{self, Registered, Visit};
use crate::resource::sysctl::SysctlKey;
use crate::state::{Live, State};

impl Record {
    /// Notes the numbers of the external links of the lab, and of the foreign masters that the lab took ports from.
    pub(super) fn note_indices(&mut self, desired: &State, live: &Live) {
        let host = NamespaceName::host();
        let external = desired.links.iter().filter(|(_, link)| link.external).map(|(id, _)| id.name);
        let masters = self.ports.values().map(|taken| taken.master);
        for name in external.chain(masters).collect::<Vec<_>>() {
            if let Some(index) = live.any_index(&LinkId::new(&host, name)) {
                self.indices.entry(name).or_insert(index);
            }
        }
    }

    /// Forgets the numbers of links that the record says nothing of.
    pub(super) fn forget_indices(&mut self) {
        let mut mentioned: Vec<LinkName> = self.links.keys().chain(self.ports.keys()).map(|id| id.name).collect();
        mentioned.extend(self.ports.values().map(|taken| taken.master));
        mentioned.extend(self.links_of_objects().into_iter().filter(|(namespace, _)| namespace.is_host()).map(|(_, link)| link));
        let effects = self.host_effects.values().flat_map(BTreeMap::keys);
        mentioned.extend(self.host_sysctls.keys().chain(effects).filter_map(SysctlKey::link));
        self.indices.retain(|name, _| mentioned.contains(name));
    }

    /// Gives the links that were renamed their present names. `names` are those of the links of `host`.
    #[must_use]
    pub fn with_present_names(mut self, names: &BTreeMap<Ifindex, LinkName>) -> Self {
        let changed = self.indices.iter().filter_map(|(name, index)| Some((*name, *names.get(index)?)));
        let changed: BTreeMap<LinkName, LinkName> = changed.filter(|(before, now)| before != now).collect();
        if changed.is_empty() {
            return self;
        }
        let now = |name: LinkName| changed.get(&name).copied().unwrap_or(name);
        let id = |id: LinkId| if id.namespace.is_host() { LinkId::new(&id.namespace, now(id.name)) } else { id };
        let key = |key: SysctlKey| key.renamed(now);
        self.links = self.links.into_iter().map(|(link, settings)| (id(link), settings)).collect();
        self.ports = self.ports.into_iter().map(|(link, taken)| (id(link), taken.renamed(now))).collect();
        self.host_sysctls = self.host_sysctls.into_iter().map(|(sysctl, value)| (key(sysctl), value)).collect();
        let effects =
            |effects: BTreeMap<SysctlKey, String>| effects.into_iter().map(|(sysctl, value)| (key(sysctl), value)).collect();
        self.host_effects = self.host_effects.into_iter().map(|(cause, lost)| (key(cause), effects(lost))).collect();
        self.indices = self.indices.into_iter().map(|(name, index)| (now(name), index)).collect();
        table::visit(&mut Rename { record: &mut self, now: &now });
        self
    }
}

/// Renames the links of recorded objects of `host`.
struct Rename<'a> {
    record: &'a mut Record,
    now: &'a dyn Fn(LinkName) -> LinkName,
}

impl Visit for Rename<'_> {
    fn visit<O: Registered>(&mut self) {
        let objects = std::mem::take(self.record.objects.of_mut::<O>());
        let renamed = objects.into_iter().map(|(namespace, key)| {
            let key = if namespace.is_host() { O::renamed(key, self.now) } else { key };
            (namespace, key)
        });
        *self.record.objects.of_mut::<O>() = renamed.collect();
    }
}
