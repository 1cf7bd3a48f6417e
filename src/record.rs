//! What the kernel cannot remember for a lab, and what follows from it: the values that foreign objects had before the lab
//! changed them, which settings the lab wrote, and which addresses and routes it put onto links that are not its own.
//!
//! It never decides what exists. Without it, what the lab declares is still made so and what carries its mark still goes; only
//! what nobody declares any more cannot be put back. Pure data; reading and writing it is the command line's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{LinkId, NamespaceName};
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::resource::route::RouteKey;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Live, Resource, ResourceId, State};
use crate::value::InterfaceAddress;

/// What is written down about a lab.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// The settings that external links had before the lab changed them.
    pub links: BTreeMap<LinkId, LinkSettings>,
    /// The values that the host's settings had before the lab changed them.
    pub host_sysctls: BTreeMap<SysctlKey, String>,
    /// Settings that the lab wrote in its own namespaces, and of its own links in `host`.
    pub sysctls: BTreeMap<NamespaceName, BTreeSet<SysctlKey>>,
    /// Addresses that the lab gave to external links.
    pub addresses: BTreeSet<(LinkId, InterfaceAddress)>,
    /// Routes that the lab put into `host`.
    pub routes: BTreeSet<RouteKey>,
}

impl Record {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What to look at beyond what the lab declares.
    pub fn interest(&self, declared: &State) -> BTreeMap<ResourceId, Resource> {
        let mut interest = BTreeMap::new();
        let host = NamespaceName::host();
        let mut look_at = |id: ResourceId, resource: Resource| {
            if !declared.resources.contains_key(&id) {
                interest.entry(id).or_insert(resource);
            }
        };
        for id in self.links.keys() {
            look_at(ResourceId::Link(id.clone()), Resource::Link(Arc::new(external(LinkSettings::default()))));
        }
        for key in self.host_sysctls.keys() {
            look_at(ResourceId::Sysctl(host.clone(), key.clone()), Resource::Sysctl(Sysctl::new("")));
        }
        for (namespace, keys) in &self.sysctls {
            for key in keys {
                look_at(ResourceId::Sysctl(namespace.clone(), key.clone()), Resource::Sysctl(Sysctl::new("")));
            }
        }
        for (link, address) in &self.addresses {
            look_at(ResourceId::Link(link.clone()), Resource::Link(Arc::new(external(LinkSettings::default()))));
            look_at(ResourceId::Address(link.clone(), *address), Resource::Address(crate::resource::address::Address::default()));
        }
        for key in &self.routes {
            look_at(ResourceId::Route(host.clone(), key.clone()), Resource::Route(crate::resource::route::Route::default()));
        }
        interest
    }

    /// Settings of the lab's own namespaces and links that nobody declares any more, so that the kernel's default is wanted.
    pub fn forgotten<'a>(
        &'a self,
        desired: &'a State,
        live: &'a Live,
    ) -> impl Iterator<Item = (&'a NamespaceName, &'a SysctlKey)> {
        let all = self.sysctls.iter().flat_map(|(namespace, keys)| keys.iter().map(move |key| (namespace, key)));
        all.filter(move |(namespace, key)| {
            let id = ResourceId::Sysctl((*namespace).clone(), (*key).clone());
            let stays = (namespace.is_host() || desired.has_namespace(namespace))
                && key.link().is_none_or(|link| desired.link(&LinkId::new(namespace, link)).is_some());
            stays && live.state.resources.contains_key(&id) && !desired.resources.contains_key(&id)
        })
    }

    /// Adds to what is desired that everything foreign which the lab has changed, and no longer declares, becomes what it was,
    /// and that forgotten settings take their `defaults`.
    pub fn restore<'a>(&self, desired: &'a State, live: &Live, defaults: &BTreeMap<SysctlKey, String>) -> Cow<'a, State> {
        let mut restored = Cow::Borrowed(desired);
        for (id, before) in self.links.iter().filter(|(id, _)| live.state.link(id).is_some()) {
            let restored = restored.to_mut();
            match restored.link_mut(id) {
                Some(link) => link.settings = link.settings.clone().or(before),
                None => restored.insert(ResourceId::Link(id.clone()), Resource::Link(Arc::new(external(before.clone())))),
            }
        }
        for (key, value) in &self.host_sysctls {
            let id = ResourceId::Sysctl(NamespaceName::host(), key.clone());
            if live.state.resources.contains_key(&id) && !restored.resources.contains_key(&id) {
                restored.to_mut().insert(id, Resource::Sysctl(Sysctl::new(value)));
            }
        }
        for (namespace, key) in self.forgotten(desired, live) {
            // What interfaces are born with is the namespace's own `default`, or what the kernel copies to all, if the lab sets
            // that.
            let declared = key.of_default().into_iter().chain(key.spread_from()).find_map(|key| {
                match desired.resources.get(&ResourceId::Sysctl(namespace.clone(), key)) {
                    Some(Resource::Sysctl(sysctl)) => Some(sysctl.value.clone()),
                    _ => None,
                }
            });
            let default = declared.or_else(|| defaults.get(&key.of_default().unwrap_or_else(|| key.clone())).cloned());
            if let Some(value) = default {
                let id = ResourceId::Sysctl(namespace.clone(), key.clone());
                restored.to_mut().insert(id, Resource::Sysctl(Sysctl::new(&value)));
            }
        }
        restored
    }

    /// What must be on disk before the network is changed: all that was, and the values that are about to change.
    #[must_use]
    pub fn before(&self, desired: &State, live: &Live) -> Self {
        let mut record = self.clone();
        for (id, link) in desired.links().filter(|(_, link)| link.external) {
            if let Some(live) = live.state.link(id) {
                let touched = link.settings.touching(&live.settings);
                let known = record.links.remove(id).unwrap_or_default();
                let kept = known.or(&touched);
                if kept != LinkSettings::default() {
                    record.links.insert(id.clone(), kept);
                }
            }
        }
        for (id, resource) in &desired.resources {
            match (id, live.state.resources.get(id), resource) {
                (ResourceId::Sysctl(namespace, key), _, _) if !namespace.is_host() || of_own_link(desired, key) => {
                    record.sysctls.entry(namespace.clone()).or_default().insert(key.clone());
                }
                (ResourceId::Sysctl(namespace, key), Some(Resource::Sysctl(live)), _) if namespace.is_host() => {
                    record.host_sysctls.entry(key.clone()).or_insert_with(|| live.value.clone());
                }
                (ResourceId::Address(link, address), _, _) if desired.link(link).is_some_and(|link| link.external) => {
                    record.addresses.insert((link.clone(), *address));
                }
                (ResourceId::Route(namespace, key), _, _) if namespace.is_host() => {
                    record.routes.insert(key.clone());
                }
                _ => {}
            }
        }
        record
    }

    /// What is left to remember once the network is as desired.
    #[must_use]
    pub fn settled(&self, desired: &State) -> Self {
        let declared = |id: ResourceId| desired.resources.contains_key(&id);
        let host = NamespaceName::host();
        let mut record = self.clone();
        record.links = self
            .links
            .iter()
            .filter_map(|(id, before)| {
                let kept = before.only_those_of(&desired.link(id)?.settings);
                (kept != LinkSettings::default()).then(|| (id.clone(), kept))
            })
            .collect();
        record.host_sysctls.retain(|key, _| declared(ResourceId::Sysctl(host.clone(), key.clone())));
        for (namespace, keys) in &mut record.sysctls {
            keys.retain(|key| declared(ResourceId::Sysctl(namespace.clone(), key.clone())));
        }
        record.sysctls.retain(|_, keys| !keys.is_empty());
        record.addresses.retain(|(link, address)| declared(ResourceId::Address(link.clone(), *address)));
        record.routes.retain(|key| declared(ResourceId::Route(host.clone(), key.clone())));
        record
    }
}

/// Whether it is the setting of a link in `host` that the lab makes.
fn of_own_link(desired: &State, key: &SysctlKey) -> bool {
    let link = key.link().map(|name| LinkId::new(&NamespaceName::host(), name));
    link.and_then(|id| desired.link(&id)).is_some_and(|link| !link.external)
}

fn external(settings: LinkSettings) -> Link {
    Link { settings, external: true, ..Link::new(Kind::default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0() -> LinkId {
        "host:eth0".parse().unwrap()
    }

    fn with_mtu(mtu: Option<u32>) -> State {
        let mut state = State::default();
        let settings = LinkSettings { mtu, ..LinkSettings::default() };
        state.insert(ResourceId::Link(eth0()), Resource::Link(Arc::new(external(settings))));
        state
    }

    fn live(mtu: u32) -> Live {
        Live { state: with_mtu(Some(mtu)), ..Live::default() }
    }

    fn mtu(state: &State) -> Option<u32> {
        state.link(&eth0())?.settings.mtu
    }

    #[test]
    fn the_first_value_is_the_one_that_comes_back() {
        let first = Record::default().before(&with_mtu(Some(1400)), &live(1500)).settled(&with_mtu(Some(1400)));
        let second = first.before(&with_mtu(Some(1300)), &live(1400)).settled(&with_mtu(Some(1300)));
        assert_eq!(mtu(&second.restore(&State::default(), &live(1300), &BTreeMap::new())), Some(1500));
        assert!(second.settled(&State::default()).is_empty());
    }

    #[test]
    fn a_setting_that_leaves_the_file_comes_back_although_the_link_stays_declared() {
        let record = Record::default().before(&with_mtu(Some(1400)), &live(1500));
        assert_eq!(mtu(&record.restore(&with_mtu(None), &live(1400), &BTreeMap::new())), Some(1500));
        assert!(record.settled(&with_mtu(None)).is_empty());
    }

    #[test]
    fn nothing_comes_back_to_a_link_that_is_gone() {
        let record = Record::default().before(&with_mtu(Some(1400)), &live(1500));
        assert_eq!(*record.restore(&State::default(), &Live::default(), &BTreeMap::new()), State::default());
    }

    #[test]
    fn a_setting_that_the_lab_forgets_takes_its_default() {
        let (namespace, key): (NamespaceName, _) =
            ("r1".parse().unwrap(), SysctlKey::of_namespace("net.ipv4.ip_forward").unwrap());
        let mut desired = State::default();
        desired.insert(ResourceId::Namespace(namespace.clone()), Resource::Namespace);
        let mut declared = desired.clone();
        declared.insert(ResourceId::Sysctl(namespace.clone(), key.clone()), Resource::Sysctl(Sysctl::new("1")));
        let live = Live { state: declared.clone(), ..Live::default() };
        let record = Record::default().before(&declared, &live);
        assert_eq!(record.forgotten(&desired, &live).count(), 1);
        let restored = record.restore(&desired, &live, &BTreeMap::from([(key.clone(), "0".to_owned())]));
        assert_eq!(restored.resources[&ResourceId::Sysctl(namespace, key)], Resource::Sysctl(Sysctl::new("0")));
    }
}
