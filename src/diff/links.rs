//! Links: which are made, changed, replaced or deleted, and which the kernel takes along when another goes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::mtu::Inheritance;
use super::{Action, Differ};
use crate::name::LinkId;
use crate::resource::FieldChange;
use crate::resource::link::{Kind, Link};
use crate::state::{ResourceId, side_by_side};

/// A link as it is desired and as it is.
type Pair<'a> = (&'a LinkId, Option<&'a Link>, Option<&'a Link>);

impl Differ<'_> {
    pub(super) fn links(&mut self) {
        let inheritance = Inheritance::new(self.desired, &self.live.state);
        let links: Vec<Pair<'_>> = side_by_side(self.desired.links(), self.live.state.links()).collect();
        let mut compared = compare_links(&links, &inheritance);
        self.doom(&links, &compared);
        for &(id, desired, live) in &links {
            let Some(link) = desired else { continue };
            let Some(live) = live else {
                // A new namespace comes with its `lo`.
                if link.kind != Kind::Loopback || !link.compare(&Link::new_loopback(), None).is_empty() {
                    self.add(ResourceId::Link(id.clone()), Action::Create, Vec::new(), None);
                }
                continue;
            };
            let fields = compared.remove(id).unwrap_or_default();
            if let Some(reason) = self.doomed.get(id).cloned() {
                self.add(ResourceId::Link(id.clone()), Action::Replace, fields, reason);
                continue;
            }
            let fields = match self.lost_master(id, live) {
                true => compare_without_master(&inheritance, id, link, live),
                false => fields,
            };
            if fields.iter().any(|field| field.name == "up" && field.after == false) {
                self.lowered.insert(id.clone());
            }
            if !fields.is_empty() {
                self.add(ResourceId::Link(id.clone()), Action::Update, fields, None);
            }
        }
        self.pulled_up();
        self.hold_mtus();
        let extra = links
            .iter()
            .filter(|(id, desired, live)| desired.is_none() && live.is_some_and(|link| !link.external) && !id.name.is_loopback());
        for (id, _, _) in extra {
            let reason = self.doomed.get(*id).cloned().flatten();
            self.add(ResourceId::Link((*id).clone()), Action::Delete, Vec::new(), reason);
        }
    }

    /// The kernel brings vlans up with their parent. One that the lab wants down must be taken down again.
    fn pulled_up(&mut self) {
        let rises = |change: &super::Change| change.fields.iter().any(|field| field.name == "up" && field.after == true);
        let mut pulled = Vec::new();
        for (id, link) in self.desired.links().filter(|(_, link)| link.settings.up == Some(false) && link.kind.peer().is_none()) {
            let resource = ResourceId::Link(id.clone());
            let Some(parent) = link.kind.parent().map(|parent| parent.resolve(&id.namespace)) else { continue };
            let parent_rises = self.changes.get(&ResourceId::Link(parent)).is_some_and(rises);
            if parent_rises && !self.is_born(id) {
                pulled.push(resource);
            }
        }
        for resource in pulled {
            self.hold(resource, "up", false.into(), "its parent comes up and takes it along");
        }
    }

    /// Has an attribute that is as desired written again, because the kernel would change it along with something else.
    pub(super) fn hold(&mut self, id: ResourceId, name: &str, value: Value, reason: &str) {
        let field = FieldChange::new(name, value.clone(), value);
        match self.changes.get_mut(&id) {
            Some(change) if change.fields.iter().any(|field| field.name == name) => {}
            Some(change) => change.fields.push(field),
            None => self.add(id, Action::Update, vec![field], Some(reason.to_owned())),
        }
    }

    /// Finds every live link that will be gone: deleted, replaced, or taken along by the kernel because the link below it, the
    /// other end of its pair, or its namespace goes.
    fn doom(&mut self, links: &[Pair<'_>], compared: &BTreeMap<LinkId, Vec<FieldChange>>) {
        let mut pending: Vec<(LinkId, Option<String>)> = Vec::new();
        for &(id, desired, live) in links {
            let Some(link) = live else { continue };
            let gone = desired.is_none() && !link.external || self.namespace_goes(&id.namespace);
            let replaced = compared.get(id).is_some_and(|fields| fields.iter().any(|field| field.forces_replacement));
            if gone || replaced {
                pending.push((id.clone(), None));
            }
        }
        if pending.is_empty() {
            return;
        }
        let mut dependants: BTreeMap<LinkId, Vec<&LinkId>> = BTreeMap::new();
        for (id, link) in self.live.state.links() {
            if let Some(below) = link.kind.parent() {
                dependants.entry(below.resolve(&id.namespace)).or_default().push(id);
            }
        }
        for (id, reason) in pending.clone() {
            self.doomed.insert(id, reason);
        }
        while let Some((id, _)) = pending.pop() {
            for dependant in dependants.get(&id).into_iter().flatten() {
                if !self.doomed.contains_key(*dependant) {
                    let relation = if self.live.state.link(dependant).is_some_and(|link| matches!(link.kind, Kind::Veth(_))) {
                        "the other end"
                    } else {
                        "the link below"
                    };
                    let reason = Some(format!("{relation}, `{id}`, goes"));
                    self.doomed.insert((*dependant).clone(), reason.clone());
                    pending.push(((*dependant).clone(), reason));
                }
            }
        }
    }

    fn lost_master(&self, id: &LinkId, live: &Link) -> bool {
        live.settings.master.is_some_and(|master| self.doomed.contains_key(&LinkId::new(&id.namespace, master)))
    }
}

/// What differs of links that are desired and there.
fn compare_links(links: &[Pair<'_>], inheritance: &Inheritance) -> BTreeMap<LinkId, Vec<FieldChange>> {
    let mut compared = BTreeMap::new();
    for &(id, desired, live) in links {
        if let (Some(link), Some(live)) = (desired, live) {
            let fields = link.compare(live, inheritance.inherited(id, link));
            if !fields.is_empty() {
                compared.insert(id.clone(), fields);
            }
        }
    }
    compared
}

fn compare_without_master(inheritance: &Inheritance, id: &LinkId, link: &Link, live: &Link) -> Vec<FieldChange> {
    let mut live = live.clone();
    live.settings.master = None;
    link.compare(&live, inheritance.inherited(id, link))
}
