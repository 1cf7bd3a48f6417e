//! Predicts which foreign objects the kernel removes along with the changes, and which of them can be added again afterwards.

mod prediction;
mod reachable;

use std::collections::{BTreeMap, BTreeSet};

use super::{Differ, SideEffect, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::record::LostObjects;
use crate::resource::link::{LEAST_IPV6_MTU, Link, LinkSettings, MasterChange, TakenPort};
use crate::resource::object::Message;
use crate::resource::object::table::{Any, Places, Restorations};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{ForeignObjects, ResourceId};

/// What happens to foreign objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForeignChanges {
    /// The objects that are removed for a while, so that those of the lab get their place.
    pub displaced: Vec<Any<Places>>,
    /// The objects that are added again.
    pub restored: Vec<Any<Restorations>>,
    /// The objects that the kernel removes, as far as they can be added again now or later.
    pub removed: LostObjects,
    /// The objects that are missing after the plan and can be added again later.
    pub missing: LostObjects,
    /// The external links that the plan takes from another master.
    pub ports: BTreeMap<LinkId, TakenPort>,
    /// The forwarding entries of external links that are added again.
    pub entries: Vec<(LinkId, Message)>,
}

impl ForeignChanges {
    /// Returns whether nothing is added again.
    pub fn restores_nothing(&self) -> bool {
        self.restored.is_empty() && self.entries.is_empty()
    }

    /// Returns the namespaces in which something is added again.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceName> {
        self.restored.iter().map(Any::<Restorations>::namespace).chain(self.entries.iter().map(|(link, _)| &link.namespace))
    }
}

impl Differ<'_> {
    /// Predicts what happens to foreign objects. The changes must be complete.
    pub(super) fn foreign_objects(&self, side_effects: &mut Vec<SideEffect>) -> ForeignChanges {
        let mut changes = ForeignChanges { ports: self.taken_ports(), ..ForeignChanges::default() };
        for (id, taken) in &changes.ports {
            side_effects.extend(SideEffect::of_port(id, taken));
        }
        changes.entries = self.restored_entries(side_effects);
        // Those of a namespace that is removed go with it.
        let staying = self.live.foreign_objects.iter().filter(|(namespace, _)| !self.namespaces.contains_key(namespace));
        for (namespace, objects) in staying {
            prediction::predict(self, namespace, objects, side_effects, &mut changes);
        }
        changes
    }

    /// Returns the external links that leave a foreign master, with what they lose.
    fn taken_ports(&self) -> BTreeMap<LinkId, TakenPort> {
        let taken = self.changes.iter().filter_map(|change| {
            let (ResourceId::Link(id), Subject::Link(sides, delta)) = (&change.id, &change.subject) else { return None };
            let before = sides.before.as_ref().filter(|link| link.external && delta.master != MasterChange::Keep)?;
            let master = before.settings.master?;
            let is_foreign = self.live.state.link(&LinkId::new(&id.namespace, master)).is_none_or(|link| link.external);
            let mut port = before.port.clone().filter(|_| is_foreign && !self.live.taken_ports.contains_key(id))?;
            port.leave_to_kernel();
            let special = port.special();
            let options = special.as_ref().map(|special| special.encode(None)).unwrap_or_default();
            let vlans = special.and_then(|special| special.vlans().cloned());
            let entries = self.live.forwarding.get(id).cloned().unwrap_or_default();
            Some((id.clone(), TakenPort { master, kind: port.master().to_owned(), options: Message(options), vlans, entries }))
        });
        taken.collect()
    }

    /// Returns the forwarding entries of external links that return to the master from which the lab took them.
    fn restored_entries(&self, side_effects: &mut Vec<SideEffect>) -> Vec<(LinkId, Message)> {
        let mut entries = Vec::new();
        for (id, taken) in &self.live.taken_ports {
            let master = |link: Option<&Link>| link.and_then(|link| link.settings.master);
            if master(self.desired.link(id)) != Some(taken.master) {
                continue;
            }
            let has_returned = master(self.live.state.link(id)) == Some(taken.master);
            let present = self.live.forwarding.get(id).filter(|_| has_returned);
            let missing = taken.entries.iter().filter(|entry| !present.is_some_and(|present| present.contains(entry)));
            for entry in missing {
                side_effects.push(SideEffect::of_entry(id, entry, false));
                entries.push((id.clone(), entry.clone()));
            }
        }
        entries
    }

    /// Returns the links of a namespace on which IPv6 ends, with the reason.
    fn without_inet6(&self, namespace: &NamespaceName) -> BTreeMap<LinkName, String> {
        let mut found = BTreeMap::new();
        for change in &self.changes {
            match (&change.id, &change.subject) {
                (ResourceId::Sysctl(of, key), Subject::Sysctl(sides)) if of == namespace => {
                    let is_on = |side: &Option<Sysctl>| side.as_ref().is_some_and(Sysctl::is_on);
                    let disables = !is_on(&sides.before) && is_on(&sides.after);
                    if disables && key.disables_ipv6() {
                        let links = key.link().map_or_else(|| self.links_in(namespace), |link| vec![link]);
                        found.extend(links.into_iter().map(|link| (link, format!("`{key}` changes"))));
                    }
                }
                (ResourceId::Link(id), Subject::Link(sides, delta)) if id.namespace == *namespace => {
                    let before = sides.before.as_ref().and_then(|link| link.settings.mtu).unwrap_or(u32::MAX);
                    let after = delta.written().mtu.unwrap_or(u32::MAX);
                    if before >= LEAST_IPV6_MTU && after < LEAST_IPV6_MTU {
                        found.insert(id.name, format!("the mtu of `{id}` becomes too small for IPv6"));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn links_in(&self, namespace: &NamespaceName) -> Vec<LinkName> {
        let all = self.live.indices.keys().chain(self.live.taken_indices.keys());
        all.filter(|id| id.namespace == *namespace).map(|id| id.name).collect()
    }

    /// Returns a setting of a link after the changes. Links of the lab get the default of what it does not declare, `None`; the others stay as
    /// they are.
    fn setting<T>(&self, link: &LinkId, of: impl Fn(&LinkSettings) -> Option<T>) -> Option<T> {
        let desired = self.desired.link(link);
        let live = || of(&self.live.state.link(link)?.settings);
        match desired {
            Some(desired) if !desired.external => of(&desired.settings),
            _ => desired.and_then(|desired| of(&desired.settings)).or_else(live),
        }
    }

    /// Returns whether the link is in a list of links that other labs impair, and not one that the lab declares.
    fn is_impaired(&self, link: &LinkId, of: impl Fn(&ForeignObjects) -> &BTreeSet<LinkName>) -> bool {
        let objects = self.live.foreign_objects.get(&link.namespace);
        objects.is_some_and(|objects| of(objects).contains(&link.name)) && self.desired.link(link).is_none()
    }

    /// Returns whether the link is up after the changes.
    fn is_up(&self, link: &LinkId) -> bool {
        let up = self.setting(link, |settings| settings.up);
        up.unwrap_or_else(|| !self.is_impaired(link, |objects| &objects.down))
    }

    /// Returns whether the desired state keeps IPv6 objects off the link, or all objects that need it to be up.
    fn keeps_off(&self, link: &LinkId, is_ipv6: bool) -> bool {
        let settings = self.desired.link(link).map(|link| &link.settings);
        let is_small = || settings.is_some_and(|settings| settings.mtu.is_some_and(|mtu| mtu < LEAST_IPV6_MTU));
        let disables_ipv6 = || self.desired_disable_ipv6(link).is_some_and(Sysctl::is_on);
        settings.is_some_and(|settings| settings.up == Some(false)) || is_ipv6 && (is_small() || disables_ipv6())
    }

    /// Returns the desired value of the sysctl that disables IPv6 on a link, or of that for all links.
    fn desired_disable_ipv6(&self, link: &LinkId) -> Option<&Sysctl> {
        let own = SysctlKey::disable_ipv6(link.name);
        let desired = |key: SysctlKey| self.desired.sysctls.get(&(link.namespace.clone(), key));
        let causes = own.causes();
        desired(own).or_else(|| causes.into_iter().find_map(|(cause, _)| desired(cause)))
    }

    /// Returns whether the link has IPv6 after the changes.
    fn has_inet6(&self, link: &LinkId) -> bool {
        let mtu = self.setting(link, |settings| settings.mtu);
        let is_small = || self.is_impaired(link, |objects| &objects.without_inet6);
        let is_large = mtu.map_or_else(|| !is_small(), |mtu| mtu >= LEAST_IPV6_MTU);
        let disabled = SysctlKey::disable_ipv6(link.name);
        let desired = |key: &SysctlKey| self.desired.sysctls.get(&(link.namespace.clone(), key.clone()));
        let spread = || {
            disabled
                .causes()
                .into_iter()
                .find_map(|(cause, _)| desired(&cause).filter(|_| self.is_written(&link.namespace, &cause)))
        };
        // A link that gets IPv6 inherits its sysctls.
        let inherited = || self.desired_disable_ipv6(link);
        let value =
            desired(&disabled).or_else(spread).or_else(|| self.live.sysctl(&link.namespace, &disabled)).or_else(inherited);
        is_large && !value.is_some_and(Sysctl::is_on)
    }

    /// Returns whether the kernel uses the link for a family after the changes.
    fn is_usable(&self, link: &LinkId, is_ipv6: bool) -> bool {
        self.is_up(link) && (!is_ipv6 || self.has_inet6(link))
    }

    fn is_written(&self, namespace: &NamespaceName, sysctl: &SysctlKey) -> bool {
        let written = |id: &ResourceId| matches!(id, ResourceId::Sysctl(of, key) if of == namespace && key == sysctl);
        self.changes.iter().any(|change| written(&change.id))
    }
}
