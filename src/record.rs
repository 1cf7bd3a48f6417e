//! What the kernel cannot remember for a lab, and what follows from it: the values that foreign objects had before the lab
//! changed them, which settings the lab wrote, and which addresses and routes it put onto links that are not its own.
//!
//! It never decides what exists. Without it, what the lab declares is still made so and what carries its mark still goes; only
//! what nobody declares any more cannot be put back. Pure data; reading and writing it is the command line's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::{Link, LinkSettings};
use crate::resource::object::table::{self, IdSets, Registered, Tables, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Live, State};

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
    /// Objects that the lab put into `host` and that no link of its own tells: addresses of external links, routes over them.
    pub objects: Tables<IdSets>,
}

impl Record {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What to look at beyond what the lab declares.
    pub fn interest(&self, declared: &State) -> State {
        let mut interest = State::default();
        let host = NamespaceName::host();
        let mut look_at_link = |id: &LinkId| {
            if !declared.links.contains_key(id) {
                interest.insert_link(id.clone(), Link::external(LinkSettings::default()));
            }
        };
        self.links.keys().for_each(&mut look_at_link);
        for (namespace, link) in self.links_of_objects() {
            look_at_link(&LinkId::new(&namespace, link));
        }
        let of_host = self.host_sysctls.keys().map(|key| (host.clone(), key.clone()));
        let of_lab = self.sysctls.iter().flat_map(|(namespace, keys)| keys.iter().map(|key| (namespace.clone(), key.clone())));
        let sysctls = of_host.chain(of_lab).filter(|id| !declared.sysctls.contains_key(id));
        interest.sysctls.extend(sysctls.map(|id| (id, Sysctl::new(""))));
        table::visit(&mut Interest { record: self, declared, interest: &mut interest });
        interest
    }

    /// The links that the recorded objects are on.
    fn links_of_objects(&self) -> Vec<(NamespaceName, LinkName)> {
        let mut links = Links { record: self, links: Vec::new() };
        table::visit(&mut links);
        links.links
    }

    /// Settings of the lab's own namespaces and links that nobody declares any more, so that the kernel's default is wanted.
    pub fn forgotten<'a>(
        &'a self,
        desired: &'a State,
        live: &'a Live,
    ) -> impl Iterator<Item = (&'a NamespaceName, &'a SysctlKey)> {
        let all = self.sysctls.iter().flat_map(|(namespace, keys)| keys.iter().map(move |key| (namespace, key)));
        all.filter(move |(namespace, key)| {
            let id = ((*namespace).clone(), (*key).clone());
            let stays = (namespace.is_host() || desired.namespaces.contains(*namespace))
                && key.link().is_none_or(|link| desired.link(&LinkId::new(namespace, link)).is_some());
            stays && live.state.sysctls.contains_key(&id) && !desired.sysctls.contains_key(&id)
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
                None => restored.insert_link(id.clone(), Link::external(before.clone())),
            }
        }
        for (key, value) in &self.host_sysctls {
            let id = (NamespaceName::host(), key.clone());
            if live.state.sysctls.contains_key(&id) && !restored.sysctls.contains_key(&id) {
                restored.to_mut().sysctls.insert(id, Sysctl::new(value));
            }
        }
        for (namespace, key) in self.forgotten(desired, live) {
            // What interfaces are born with is the namespace's own `default`, or what the kernel copies to all, if the lab sets
            // that.
            let mut sources = key.of_default().into_iter().chain(key.spread_from());
            let declared =
                sources.find_map(|key| desired.sysctls.get(&(namespace.clone(), key)).map(|sysctl| sysctl.value.clone()));
            let default = declared.or_else(|| defaults.get(&key.of_default().unwrap_or_else(|| key.clone())).cloned());
            if let Some(value) = default {
                restored.to_mut().sysctls.insert((namespace.clone(), key.clone()), Sysctl::new(&value));
            }
        }
        restored
    }

    /// What must be on disk before the network is changed: all that was, and the values that are about to change.
    #[must_use]
    pub fn before(&self, desired: &State, live: &Live) -> Self {
        let mut record = self.clone();
        for (id, link) in desired.links.iter().filter(|(_, link)| link.external) {
            if let Some(live) = live.state.link(id) {
                let touched = link.settings.touching(&live.settings);
                let known = record.links.remove(id).unwrap_or_default();
                let kept = known.or(&touched);
                if kept != LinkSettings::default() {
                    record.links.insert(id.clone(), kept);
                }
            }
        }
        for (namespace, key) in desired.sysctls.keys() {
            if !namespace.is_host() || of_own_link(desired, key) {
                record.sysctls.entry(namespace.clone()).or_default().insert(key.clone());
            } else if let Some(live) = live.state.sysctls.get(&(namespace.clone(), key.clone())) {
                record.host_sysctls.entry(key.clone()).or_insert_with(|| live.value.clone());
            }
        }
        table::visit(&mut Note { desired, objects: &mut record.objects });
        record
    }

    /// What is left to remember once the network is as desired.
    #[must_use]
    pub fn settled(&self, desired: &State) -> Self {
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
        record.host_sysctls.retain(|key, _| desired.sysctls.contains_key(&(host.clone(), key.clone())));
        for (namespace, keys) in &mut record.sysctls {
            keys.retain(|key| desired.sysctls.contains_key(&(namespace.clone(), key.clone())));
        }
        record.sysctls.retain(|_, keys| !keys.is_empty());
        table::visit(&mut Settle { desired, objects: &mut record.objects });
        record
    }
}

/// Whether it is the setting of a link in `host` that the lab makes.
fn of_own_link(desired: &State, key: &SysctlKey) -> bool {
    let link = key.link().map(|name| LinkId::new(&NamespaceName::host(), name));
    link.and_then(|id| desired.link(&id)).is_some_and(|link| !link.external)
}

/// Looks up recorded objects that are not declared.
struct Interest<'a> {
    record: &'a Record,
    declared: &'a State,
    interest: &'a mut State,
}

impl Visit for Interest<'_> {
    fn visit<O: Registered>(&mut self) {
        let recorded = self.record.objects.of::<O>().iter();
        let undeclared = recorded.filter(|id| !self.declared.objects::<O>().contains_key(id));
        self.interest.objects.of_mut::<O>().extend(undeclared.map(|id| (id.clone(), O::default())));
    }
}

/// Collects the links of recorded objects.
struct Links<'a> {
    record: &'a Record,
    links: Vec<(NamespaceName, LinkName)>,
}

impl Visit for Links<'_> {
    fn visit<O: Registered>(&mut self) {
        for (namespace, key) in self.record.objects.of::<O>() {
            let links = O::links(key, &O::default());
            self.links.extend(links.into_iter().flatten().map(|link| (namespace.clone(), link)));
        }
    }
}

/// Notes the objects of `host` that no link of the lab's own tells.
struct Note<'a> {
    desired: &'a State,
    objects: &'a mut Tables<IdSets>,
}

impl Visit for Note<'_> {
    fn visit<O: Registered>(&mut self) {
        let own = |name| self.desired.link(&LinkId::new(&NamespaceName::host(), name)).is_some_and(|link| !link.external);
        let of_host = self.desired.objects::<O>().iter().filter(|((namespace, _), _)| namespace.is_host());
        let untold = of_host.filter(|((_, key), value)| !O::links(key, value).into_iter().flatten().any(own));
        self.objects.of_mut::<O>().extend(untold.map(|(id, _)| id.clone()));
    }
}

/// Forgets the objects that are not declared.
struct Settle<'a> {
    desired: &'a State,
    objects: &'a mut Tables<IdSets>,
}

impl Visit for Settle<'_> {
    fn visit<O: Registered>(&mut self) {
        self.objects.of_mut::<O>().retain(|id| self.desired.objects::<O>().contains_key(id));
    }
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
        state.insert_link(eth0(), Link::external(settings));
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
        desired.namespaces.insert(namespace.clone());
        let mut declared = desired.clone();
        declared.sysctls.insert((namespace.clone(), key.clone()), Sysctl::new("1"));
        let live = Live { state: declared.clone(), ..Live::default() };
        let record = Record::default().before(&declared, &live);
        assert_eq!(record.forgotten(&desired, &live).count(), 1);
        let restored = record.restore(&desired, &live, &BTreeMap::from([(key.clone(), "0".to_owned())]));
        assert_eq!(restored.sysctls[&(namespace, key)], Sysctl::new("0"));
    }
}
