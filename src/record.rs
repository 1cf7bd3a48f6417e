//! The record of a lab: what the kernel does not store. It contains the previous values of foreign settings that the lab changed, the
//! sysctls that the lab wrote, and the objects that it added to foreign links.
//!
//! The record does not decide what exists. Without it, `apply` still makes what the lab declares and deletes what has its mark, but
//! cannot restore previous values. It is plain data; the command line reads and writes the file.

mod lost;
mod others;
mod renamed;

pub use lost::LostObjects;
pub use others::Others;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::{Ifindex, Link, LinkSettings, TakenPort};
use crate::resource::object::Id;
use crate::resource::object::table::{self, IdSets, Registered, Tables, Visit};
use crate::resource::sysctl::{Effect, Sysctl, SysctlKey};
use crate::state::{Live, State};

/// The record of a lab.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// The previous settings of external links that the lab changed.
    pub links: BTreeMap<LinkId, LinkSettings>,
    /// The previous values of sysctls of `host` that the lab changed.
    pub host_sysctls: BTreeMap<SysctlKey, String>,
    /// Sysctls of `host` that the kernel changed with those that the lab changed, with their previous values. The keys are the latter.
    /// Left out are those that get their previous value when the kernel changes them back.
    pub host_effects: BTreeMap<SysctlKey, BTreeMap<SysctlKey, String>>,
    /// External links that the lab took from another master, with what they had there.
    pub ports: BTreeMap<LinkId, TakenPort>,
    /// Foreign objects that the kernel removes, or has removed, with changes of the lab, by namespace.
    pub lost: LostObjects,
    /// The numbers of the foreign links of `host` that the record names, by which they are found when they were renamed.
    pub indices: BTreeMap<LinkName, Ifindex>,
    /// The sysctls that the lab wrote in its own namespaces, and of its own links in `host`.
    pub sysctls: BTreeMap<NamespaceName, BTreeSet<SysctlKey>>,
    /// Objects that the kernel does not tell from those of others: in `host`, those that are not on a link of the lab (addresses of
    /// external links, and routes over them); in the lab's namespaces, those that the lab lets others add, and those that expire.
    pub objects: Tables<IdSets>,
}

impl Record {
    /// Returns whether the record contains nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the recorded resources that the lab does not declare, so that they are observed too, but for those that other labs hold.
    pub fn interest(&self, declared: &State, others: &Others) -> State {
        let mut interest = State::default();
        let host = NamespaceName::host();
        let mut add_link = |id: &LinkId| {
            if !declared.links.contains_key(id) {
                interest.insert_link(id.clone(), Link::external(LinkSettings::default()));
            }
        };
        self.links.keys().for_each(&mut add_link);
        for (namespace, link) in self.links_of_objects().into_iter().filter(|(namespace, _)| namespace.is_host()) {
            add_link(&LinkId::new(&namespace, link));
        }
        for (id, taken) in &self.ports {
            // The kernel reads forwarding entries if an external link is to be a port.
            let settings = LinkSettings { master: Some(taken.master), ..LinkSettings::default() };
            interest.insert_link(id.clone(), Link::external(settings));
        }
        let of_host = self.host_sysctls.keys().map(|key| (host.clone(), key.clone()));
        let of_lab = self.sysctls.iter().flat_map(|(namespace, keys)| keys.iter().map(|key| (namespace.clone(), key.clone())));
        let sysctls = of_host.chain(of_lab).filter(|id| !declared.sysctls.contains_key(id));
        interest.sysctls.extend(sysctls.map(|id| (id, Sysctl::new(""))));
        interest.lost_in.extend(self.lost.keys().cloned());
        // The lab may keep away what others have lost.
        let changes_host = || {
            declared.links.keys().any(|id| id.namespace.is_host())
                || declared.sysctls.keys().any(|(namespace, _)| namespace.is_host())
        };
        if others.lost_in_host().next().is_some() && changes_host() {
            interest.lost_in.insert(host);
        }
        table::visit(&mut Interest { record: self, declared, others, interest: &mut interest });
        interest
    }

    /// Returns whether it contains objects of the lab's namespaces.
    pub fn tells_objects_apart(&self) -> bool {
        let mut inside = Inside { record: self, found: false };
        table::visit(&mut inside);
        inside.found
    }

    /// Returns the links of the recorded objects.
    fn links_of_objects(&self) -> Vec<(NamespaceName, LinkName)> {
        let mut links = Links { record: self, links: Vec::new() };
        table::visit(&mut links);
        links.links
    }

    /// Returns the recorded sysctls of the lab's namespaces and links that the lab no longer declares. They revert to the kernel's
    /// defaults.
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

    /// Returns the desired state with the previous values of foreign settings that the lab no longer declares, and with the `defaults`
    /// of sysctls that it no longer declares. What other labs hold stays.
    pub fn restore<'a>(
        &self,
        desired: &'a State,
        live: &Live,
        defaults: &BTreeMap<SysctlKey, String>,
        others: &Others,
    ) -> Cow<'a, State> {
        let mut restored = Cow::Borrowed(desired);
        self.restore_links(&mut restored, live, others);
        self.restore_host_sysctls(&mut restored, live, others);
        self.restore_defaults(&mut restored, desired, live, defaults);
        restored
    }

    /// Adds the previous settings of external links, and the options of ports that return to their master.
    fn restore_links(&self, restored: &mut Cow<'_, State>, live: &Live, others: &Others) {
        for (id, before) in self.links.iter().filter(|(id, _)| live.state.link(id).is_some()) {
            let restored = restored.to_mut();
            let mut before = before.without(&others.settings(id));
            // The former master may have been deleted meanwhile. Then the link has none.
            before.master = before.master.filter(|master| live.any_index(&LinkId::new(&id.namespace, *master)).is_some());
            if before == LinkSettings::default() {
                continue;
            }
            match restored.link_mut(id) {
                Some(link) => link.settings = link.settings.clone().or(&before),
                None => restored.insert_link(id.clone(), Link::external(before)),
            }
        }
        for (id, taken) in &self.ports {
            let returns = master_of(restored, id) == Some(taken.master);
            if returns
                && let Some(link) = restored.to_mut().link_mut(id)
                && link.port.is_none()
            {
                link.port = taken.port();
            }
        }
    }

    /// Adds the previous values of sysctls of `host`, and of those that the kernel changed with them.
    fn restore_host_sysctls(&self, restored: &mut Cow<'_, State>, live: &Live, others: &Others) {
        let host = NamespaceName::host();
        let has_ended = |cause: &SysctlKey, state: &State| {
            others.sysctl(cause).is_none() && !state.sysctls.contains_key(&(host.clone(), cause.clone()))
        };
        let ended: Vec<_> = self.host_effects.iter().filter(|(cause, _)| has_ended(cause, restored)).collect();
        for (key, value) in &self.host_sysctls {
            let id = (NamespaceName::host(), key.clone());
            let is_held = others.sysctl(key).is_some();
            if live.state.sysctls.contains_key(&id) && !restored.sysctls.contains_key(&id) && !is_held {
                restored.to_mut().sysctls.insert(id, Sysctl::new(value));
            }
        }
        for (key, value) in ended.into_iter().flat_map(|(_, effects)| effects) {
            let id = (NamespaceName::host(), key.clone());
            if live.foreign_sysctls.contains_key(key) && !restored.sysctls.contains_key(&id) && others.sysctl(key).is_none() {
                restored.to_mut().sysctls.insert(id, Sysctl::new(value));
            }
        }
    }

    /// Adds the defaults of sysctls of the lab's namespaces and links.
    fn restore_defaults(
        &self,
        restored: &mut Cow<'_, State>,
        desired: &State,
        live: &Live,
        defaults: &BTreeMap<SysctlKey, String>,
    ) {
        for (namespace, key) in self.forgotten(desired, live) {
            // An interface inherits from `default` of its namespace, or from a sysctl that the kernel copies to all interfaces. The
            // value that the lab sets for these takes precedence.
            let inherited = key.of_default().map(|default| (default, Effect::Copy));
            let declared = inherited.into_iter().chain(key.causes()).find_map(|(cause, effect)| {
                desired.sysctls.get(&(namespace.clone(), cause)).map(|sysctl| effect.value(&sysctl.value))
            });
            let default = declared.or_else(|| defaults.get(&key.of_default().unwrap_or_else(|| key.clone())).cloned());
            if let Some(value) = default {
                restored.to_mut().sysctls.insert((namespace.clone(), key.clone()), Sysctl::new(&value));
            }
        }
    }

    /// Returns the record to write before the network is changed: this record with the values that are about to change. Those that
    /// other labs have changed already are the machine's, as they found them.
    #[must_use]
    pub fn before(&self, desired: &State, live: &Live, others: &Others) -> Self {
        let mut record = self.clone();
        for (id, link) in desired.links.iter().filter(|(_, link)| link.external) {
            if let Some(live) = live.state.link(id) {
                let held = others.settings(id).only_those_of(&link.settings);
                let touched = held.or(&link.settings.touching(&live.settings));
                let known = record.links.remove(id).unwrap_or_default();
                let kept = known.or(&touched);
                if kept != LinkSettings::default() {
                    record.links.insert(id.clone(), kept);
                }
            }
        }
        for (namespace, key) in desired.sysctls.iter().filter(|(_, sysctl)| !sysctl.kept).map(|(id, _)| id) {
            if !namespace.is_host() || of_own_link(desired, key) {
                record.sysctls.entry(namespace.clone()).or_default().insert(key.clone());
            } else if let Some(live) = live.state.sysctls.get(&(namespace.clone(), key.clone())) {
                let machines = || others.sysctl(key).map_or_else(|| live.value.clone(), |(_, value)| value.clone());
                record.host_sysctls.entry(key.clone()).or_insert_with(machines);
            }
        }
        record.note_effects(desired, live, others);
        table::visit(&mut Note { desired, objects: &mut record.objects });
        record.note_indices(desired, live);
        record
    }

    /// Adds the values of foreign sysctls that the kernel changes with sysctls of `host`.
    fn note_effects(&mut self, desired: &State, live: &Live, others: &Others) {
        for (cause, previous) in &self.host_sysctls {
            let id = (NamespaceName::host(), cause.clone());
            let sides = desired.sysctls.get(&id).zip(live.state.sysctls.get(&id));
            let is_written = sides.is_some_and(|(desired, live)| !desired.agrees(live));
            if self.host_effects.contains_key(cause) {
                continue;
            }
            let effects = match others.effects(cause) {
                Some(effects) => effects.clone(),
                None if is_written => effects_of(cause, previous, live),
                None => continue,
            };
            if !effects.is_empty() {
                self.host_effects.insert(cause.clone(), effects);
            }
        }
    }

    /// Returns the record to write after the network matches the desired state. `missing` are foreign objects that can be added again
    /// later.
    #[must_use]
    pub fn settled(&self, desired: &State, missing: &LostObjects) -> Self {
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
        record.host_effects.retain(|cause, _| record.host_sysctls.contains_key(cause));
        for (namespace, keys) in &mut record.sysctls {
            keys.retain(|key| desired.sysctls.contains_key(&(namespace.clone(), key.clone())));
        }
        record.sysctls.retain(|_, keys| !keys.is_empty());
        table::visit(&mut Settle { desired, objects: &mut record.objects });
        record.ports.retain(|id, taken| master_of(desired, id).is_some_and(|master| master != taken.master));
        // Objects that are still missing when the lab has left come back with what the user changed.
        let has_left = record.links.is_empty() && record.host_sysctls.is_empty();
        record.lost = missing.clone();
        record.lost.retain(|namespace, _| if namespace.is_host() { !has_left } else { desired.namespaces.contains(namespace) });
        record.forget_indices();
        record
    }
}

/// Returns the master that a link has in a state.
fn master_of(state: &State, id: &LinkId) -> Option<LinkName> {
    state.link(id)?.settings.master
}

/// Returns the foreign sysctls that the kernel changes with this one, unless it changes them back with it to the same value.
fn effects_of(cause: &SysctlKey, previous: &str, live: &Live) -> BTreeMap<SysctlKey, String> {
    let effect = |key: &SysctlKey| key.causes().into_iter().find(|(other, _)| other == cause).map(|(_, effect)| effect);
    let affected = live.foreign_sysctls.iter().filter_map(|(key, value)| Some((key, value, effect(key)?)));
    let lost = affected.filter(|(_, value, effect)| !Sysctl::new(&effect.value(previous)).agrees(value));
    lost.map(|(key, value, _)| (key.clone(), value.value.clone())).collect()
}

/// Returns whether the sysctl belongs to a link in `host` that the lab creates.
fn of_own_link(desired: &State, key: &SysctlKey) -> bool {
    let link = key.link().map(|name| LinkId::new(&NamespaceName::host(), name));
    link.and_then(|id| desired.link(&id)).is_some_and(|link| !link.external)
}

/// Collects recorded objects that the lab does not declare.
struct Interest<'a> {
    record: &'a Record,
    declared: &'a State,
    others: &'a Others,
    interest: &'a mut State,
}

impl Visit for Interest<'_> {
    fn visit<O: Registered>(&mut self) {
        let recorded = self.record.objects.of::<O>().iter();
        let unheld = recorded.filter(|id| self.others.object::<O>(id).is_none());
        let undeclared = unheld.filter(|id| !self.declared.objects::<O>().contains_key(id));
        self.interest.objects.of_mut::<O>().extend(undeclared.map(|id| (id.clone(), O::default())));
    }
}

/// Looks for recorded objects of the lab's namespaces.
struct Inside<'a> {
    record: &'a Record,
    found: bool,
}

impl Visit for Inside<'_> {
    fn visit<O: Registered>(&mut self) {
        self.found |= self.record.objects.of::<O>().iter().any(|(namespace, _)| !namespace.is_host());
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

/// Records the objects that the kernel does not tell from those of others.
struct Note<'a> {
    desired: &'a State,
    objects: &'a mut Tables<IdSets>,
}

impl Visit for Note<'_> {
    fn visit<O: Registered>(&mut self) {
        let own = |name| self.desired.link(&LinkId::new(&NamespaceName::host(), name)).is_some_and(|link| !link.external);
        let is_like_others = |((namespace, key), value): &(&Id<O>, &O)| {
            let links = || O::links(key, value).into_iter().flatten();
            match namespace.is_host() {
                true => !links().any(own),
                false => value.expires() || self.desired.ignore.includes(namespace, O::LIST, links()),
            }
        };
        let alike = self.desired.objects::<O>().iter().filter(is_like_others);
        self.objects.of_mut::<O>().extend(alike.map(|(id, _)| id.clone()));
    }
}

/// Removes objects from the record that the lab does not declare.
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
    fn the_value_before_the_first_change_is_restored() {
        let first = Record::default()
            .before(&with_mtu(Some(1400)), &live(1500), &Others::default())
            .settled(&with_mtu(Some(1400)), &LostObjects::default());
        let second = first
            .before(&with_mtu(Some(1300)), &live(1400), &Others::default())
            .settled(&with_mtu(Some(1300)), &LostObjects::default());
        assert_eq!(mtu(&second.restore(&State::default(), &live(1300), &BTreeMap::new(), &Others::default())), Some(1500));
        assert!(second.settled(&State::default(), &LostObjects::default()).is_empty());
    }

    #[test]
    fn a_removed_setting_of_a_declared_link_is_restored() {
        let record = Record::default().before(&with_mtu(Some(1400)), &live(1500), &Others::default());
        assert_eq!(mtu(&record.restore(&with_mtu(None), &live(1400), &BTreeMap::new(), &Others::default())), Some(1500));
        assert!(record.settled(&with_mtu(None), &LostObjects::default()).is_empty());
    }

    #[test]
    fn nothing_is_restored_on_a_link_that_does_not_exist() {
        let record = Record::default().before(&with_mtu(Some(1400)), &live(1500), &Others::default());
        assert_eq!(*record.restore(&State::default(), &Live::default(), &BTreeMap::new(), &Others::default()), State::default());
    }

    #[test]
    fn a_removed_sysctl_reverts_to_its_default() {
        let (namespace, key): (NamespaceName, _) =
            ("r1".parse().unwrap(), SysctlKey::of_namespace("net.ipv4.ip_forward").unwrap());
        let mut desired = State::default();
        desired.namespaces.insert(namespace.clone());
        let mut declared = desired.clone();
        declared.sysctls.insert((namespace.clone(), key.clone()), Sysctl::new("1"));
        let live = Live { state: declared.clone(), ..Live::default() };
        let record = Record::default().before(&declared, &live, &Others::default());
        assert_eq!(record.forgotten(&desired, &live).count(), 1);
        let restored = record.restore(&desired, &live, &BTreeMap::from([(key.clone(), "0".to_owned())]), &Others::default());
        assert_eq!(restored.sysctls[&(namespace, key)], Sysctl::new("0"));
    }
}
