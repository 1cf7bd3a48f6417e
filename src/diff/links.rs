//! Links: which are made, changed, replaced or deleted, and which the kernel takes along when another goes.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::mtu::Inheritance;
use super::{Action, Differ, Fate};
use crate::name::LinkId;
use crate::resource::FieldChange;
use crate::resource::link::Link;
use crate::state::{ResourceId, State, side_by_side};

/// A link as it is desired and as it is.
struct Compared<'a> {
    id: &'a LinkId,
    desired: Option<&'a Arc<Link>>,
    live: Option<&'a Arc<Link>>,
    /// What differs, where it is both.
    fields: Vec<FieldChange>,
}

impl Differ<'_> {
    pub(super) fn links(&mut self) {
        let inheritance = Inheritance::new(self.desired, &self.live.state);
        let links = compared(self.desired, &self.live.state, &inheritance);
        self.doom(&links);
        // Most of what is doomed changes.
        self.links.reserve(self.doomed.len());
        for link in links {
            let (id, sides) = (link.id, (link.desired, link.live));
            let Some(fate) = self.fate(link, &inheritance) else { continue };
            if fate.action == Action::Update && fate.fields.iter().any(|field| field.name == "up" && field.after == false) {
                self.lowered.insert(id.clone());
            }
            self.add(ResourceId::Link(id.clone()), sides, fate);
        }
        self.pulled_up();
        self.hold_mtus();
    }

    /// What happens to a link; `None` when nothing does.
    fn fate(&self, Compared { id, desired, live, fields }: Compared<'_>, inheritance: &Inheritance) -> Option<Fate> {
        let doomed = self.doomed.get(id).cloned();
        match (desired, live) {
            (None, None) => None,
            (None, Some(live)) => {
                let goes = !live.external && !id.name.is_loopback();
                goes.then(|| Fate::new(Action::Delete).because(doomed.flatten()))
            }
            // A new namespace comes with its `lo`.
            (Some(link), None) => {
                let as_born = link.kind.is_loopback() && link.compare(&Link::new_loopback(), None).is_empty();
                (!as_born).then(|| Fate::new(Action::Create))
            }
            (Some(link), Some(live)) => {
                if let Some(reason) = doomed {
                    return Some(Fate::new(Action::Replace).of(fields).because(reason));
                }
                let fields = match self.lost_master(id, live) {
                    true => compare_without_master(inheritance, id, link, live),
                    false => fields,
                };
                (!fields.is_empty()).then(|| Fate::new(Action::Update).of(fields))
            }
        }
    }

    /// The kernel brings vlans up with their parent. One that the lab wants down must be taken down again.
    fn pulled_up(&mut self) {
        let rises = |change: &super::Change| change.fields.iter().any(|field| field.name == "up" && field.after == true);
        let mut pulled: Vec<&LinkId> = Vec::new();
        for (id, link) in self.desired.links().filter(|(_, link)| link.settings.up == Some(false) && link.kind.peer().is_none()) {
            let Some(parent) = link.kind.parent().map(|parent| parent.resolve(&id.namespace)) else { continue };
            let parent_rises = self.change_of(&parent).is_some_and(rises);
            if parent_rises && !self.is_born(id) {
                pulled.push(id);
            }
        }
        for id in pulled {
            self.hold(id, "up", false.into(), "its parent comes up and takes it along");
        }
    }

    /// Has an attribute of a link that is as desired written again, because the kernel would change it along with something else.
    pub(super) fn hold(&mut self, id: &LinkId, name: &str, value: Value, reason: &str) {
        let field = FieldChange::new(name, value.clone(), value);
        match self.links.get(id).map(|at| &mut self.changes[*at]) {
            Some(change) if change.fields.iter().any(|field| field.name == name) => {}
            Some(change) => change.fields.push(field),
            None => {
                let resource = ResourceId::Link(id.clone());
                let sides = (self.desired.resources.get(&resource), self.live.state.resources.get(&resource));
                self.add(resource, sides, Fate::new(Action::Update).of(vec![field]).because(Some(reason.to_owned())));
            }
        }
    }

    /// Finds every live link that will be gone: deleted, replaced, or taken along by the kernel because the link below it, the
    /// other end of its pair, or its namespace goes.
    fn doom(&mut self, links: &[Compared<'_>]) {
        let mut pending: Vec<LinkId> = Vec::new();
        for Compared { id, desired, live, fields } in links {
            let Some(link) = live else { continue };
            let gone = desired.is_none() && !link.external || self.namespace_goes(&id.namespace);
            let replaced = fields.iter().any(|field| field.forces_replacement);
            if gone || replaced {
                pending.push((*id).clone());
            }
        }
        if pending.is_empty() {
            return;
        }
        let mut dependants: HashMap<LinkId, Vec<&LinkId>> = HashMap::with_capacity(pending.len());
        for (id, link) in self.live.state.links() {
            if let Some(below) = link.kind.parent() {
                dependants.entry(below.resolve(&id.namespace)).or_default().push(id);
            }
        }
        self.doomed.extend(pending.iter().map(|id| (id.clone(), None)));
        while let Some(id) = pending.pop() {
            for dependant in dependants.get(&id).into_iter().flatten() {
                if !self.doomed.contains_key(*dependant) {
                    let relation = if self.live.state.link(dependant).is_some_and(|link| link.kind.is_pair()) {
                        "the other end"
                    } else {
                        "the link below"
                    };
                    self.doomed.insert((*dependant).clone(), Some(format!("{relation}, `{id}`, goes")));
                    pending.push((*dependant).clone());
                }
            }
        }
    }

    fn lost_master(&self, id: &LinkId, live: &Link) -> bool {
        live.settings.master.is_some_and(|master| self.doomed.contains_key(&LinkId::new(&id.namespace, master)))
    }
}

/// All links, and what differs of those that are desired and there.
fn compared<'a>(desired: &'a State, live: &'a State, inheritance: &Inheritance) -> Vec<Compared<'a>> {
    let compare = |(id, desired, live): (&'a LinkId, Option<&'a Arc<Link>>, Option<&'a Arc<Link>>)| {
        let fields = desired.zip(live).map(|(link, live)| link.compare(live, inheritance.inherited(id, link)));
        Compared { id, desired, live, fields: fields.unwrap_or_default() }
    };
    side_by_side(desired.links(), live.links()).map(compare).collect()
}

fn compare_without_master(inheritance: &Inheritance, id: &LinkId, link: &Link, live: &Link) -> Vec<FieldChange> {
    let mut live = live.clone();
    live.settings.master = None;
    link.compare(&live, inheritance.inherited(id, link))
}
