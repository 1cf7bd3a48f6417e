//! Links: which are made, changed, replaced or deleted, and which the kernel removes along with another one.

use std::sync::Arc;

use super::mtu::Inheritance;
use super::{Action, Differ, Sides, Subject};
use crate::graph::{LinkGraph, Relation};
use crate::name::LinkId;
use crate::resource::link::{Link, LinkDelta, LinkSettings, MasterChange};
use crate::state::{ResourceId, State, side_by_side};

/// A link as it is desired and as it is.
struct Compared<'a> {
    id: &'a LinkId,
    desired: Option<&'a Arc<Link>>,
    live: Option<&'a Arc<Link>>,
    /// What differs, where it is both.
    delta: LinkDelta,
}

impl Differ<'_> {
    pub(super) fn links(&mut self) {
        let inheritance = Inheritance::new(self.desired, &self.live.state);
        let links = compared(self.desired, &self.live.state, &inheritance);
        self.find_removed(&links);
        // Most of what is removed changes.
        self.links.reserve(self.removed.len());
        for link in links {
            self.link(link);
        }
        self.hold_down();
        self.hold_mtus();
    }

    fn link(&mut self, Compared { id, desired, live, mut delta }: Compared<'_>) {
        let (action, reason) = match (desired, live) {
            (None, None) => return,
            (None, Some(live)) if live.external || id.name.is_loopback() => return,
            (None, Some(_)) => (Action::Delete, self.removed.get(id).cloned().flatten()),
            // A new namespace comes with its `lo`.
            (Some(link), None) if link.is_as_created() => return,
            (Some(_), None) => (Action::Create, None),
            (Some(link), Some(live)) => {
                if let Some(reason) = self.removed.get(id) {
                    (Action::Replace, reason.clone())
                } else {
                    self.mind_lost_master(id, link, live, &mut delta);
                    if delta.is_empty() {
                        return;
                    }
                    if delta.settings.up == Some(false) {
                        self.lowered.insert(id.clone());
                    }
                    (Action::Update, None)
                }
            }
        };
        let kept = |side: Option<&Arc<Link>>, there: bool| side.filter(|_| there).cloned();
        let sides = Sides { before: kept(live, action != Action::Create), after: kept(desired, action != Action::Delete) };
        self.add_link(id, action, sides, delta, reason);
    }

    fn add_link(&mut self, id: &LinkId, action: Action, sides: Sides<Arc<Link>>, delta: LinkDelta, reason: Option<String>) {
        let adopted = || {
            let sides = sides.before.as_ref().zip(sides.after.as_ref());
            let adopts = sides.is_some_and(|(before, after)| after.adopts(before));
            adopts.then(|| "adopted".to_owned())
        };
        let reason = reason.or_else(adopted);
        self.links.insert(id.clone(), self.changes.len());
        self.add(ResourceId::Link(id.clone()), action, Subject::Link(sides, Box::new(delta)), reason);
    }

    /// A port whose master is removed has none then, so that it must join the next one, and need not leave this one.
    fn mind_lost_master(&self, id: &LinkId, link: &Link, live: &Link, delta: &mut LinkDelta) {
        let lost = live.settings.master.is_some_and(|master| self.removed.contains_key(&LinkId::new(&id.namespace, master)));
        if lost {
            delta.master = link.settings.master.map_or(MasterChange::Keep, MasterChange::Enslave);
        }
    }

    /// The kernel brings some links up with their parent. One that the lab wants down must be taken down again.
    fn hold_down(&mut self) {
        let rises = |change: &super::Change| match &change.subject {
            Subject::Link(_, delta) => delta.settings.up == Some(true),
            _ => false,
        };
        let wanted_down = self.desired.links.iter().filter(|(_, link)| link.settings.up == Some(false));
        let pulled = wanted_down.filter(|(id, link)| {
            let parent = link.kind.below(&id.namespace);
            !self.is_created(id) && parent.is_some_and(|parent| self.change_of(&parent).is_some_and(rises))
        });
        let down = LinkSettings { up: Some(false), ..LinkSettings::default() };
        for id in pulled.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.hold(&id, &down, "the kernel brings it up with its parent");
        }
    }

    /// Writes settings of a link that are as desired again, because the kernel would change them along with something else.
    pub(super) fn hold(&mut self, id: &LinkId, settings: &LinkSettings, reason: &str) {
        if let Some(change) = self.links.get(id).map(|at| &mut self.changes[*at]) {
            if let Subject::Link(_, delta) = &mut change.subject {
                let missing = settings.without(&delta.written());
                delta.rewrite = delta.rewrite.or(&missing);
            }
            return;
        }
        let sides = Sides { before: self.live.state.links.get(id).cloned(), after: self.desired.links.get(id).cloned() };
        let delta = LinkDelta { rewrite: settings.clone(), ..LinkDelta::default() };
        self.add_link(id, Action::Update, sides, delta, Some(reason.to_owned()));
    }

    /// Finds every live link that will be gone: deleted, replaced, or removed by the kernel because its parent, the other end of
    /// its pair, or its namespace goes.
    fn find_removed(&mut self, links: &[Compared<'_>]) {
        let mut pending: Vec<LinkId> = Vec::new();
        for Compared { id, desired, live, delta } in links {
            let Some(link) = live else { continue };
            let gone = desired.is_none() && !link.external || self.is_namespace_deleted(&id.namespace);
            if gone || desired.is_some() && delta.replaces {
                pending.push((*id).clone());
            }
        }
        if pending.is_empty() {
            return;
        }
        let graph = LinkGraph::of_state(&self.live.state);
        self.removed.extend(pending.iter().map(|id| (id.clone(), None)));
        while let Some(id) = pending.pop() {
            for (dependent, relation) in graph.removed_with(&id) {
                if !self.removed.contains_key(dependent) {
                    let what = match relation {
                        Relation::Peer => "the other end",
                        Relation::Parent | Relation::Port => "its parent",
                    };
                    let action = if self.goes(&id) { "is deleted" } else { "is replaced" };
                    self.removed.insert(dependent.clone(), Some(format!("{what}, `{id}`, {action}")));
                    pending.push(dependent.clone());
                }
            }
        }
    }

    /// Whether a link that is removed does not come back.
    fn goes(&self, id: &LinkId) -> bool {
        self.desired.link(id).is_none()
    }
}

/// All links, and what differs of those that are desired and there.
fn compared<'a>(desired: &'a State, live: &'a State, inheritance: &Inheritance) -> Vec<Compared<'a>> {
    let compare = |(id, desired, live): (&'a LinkId, Option<&'a Arc<Link>>, Option<&'a Arc<Link>>)| {
        let delta = desired.zip(live).map(|(link, live)| link.delta(live, inheritance.inherited(id, link)));
        Compared { id, desired, live, delta: delta.unwrap_or_default() }
    };
    side_by_side(desired.links.iter(), live.links.iter()).map(compare).collect()
}
