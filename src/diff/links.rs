//! Compares links. Finds those that are created, changed, replaced or deleted, and those that the kernel removes with another link.

use std::sync::Arc;

use super::mtu::Inheritance;
use super::{Action, Differ, Sides, Subject};
use crate::graph::Relation;
use crate::name::{LinkId, LinkName};
use crate::resource::link::{Link, LinkDelta, LinkSettings, MasterChange};
use crate::state::{ResourceId, State, side_by_side};

/// A desired and a live link with the same name.
struct Compared<'a> {
    id: &'a LinkId,
    desired: Option<&'a Arc<Link>>,
    live: Option<&'a Arc<Link>>,
    /// The difference; empty unless both exist.
    delta: LinkDelta,
}

impl Differ<'_> {
    pub(super) fn links(&mut self) {
        let inheritance = Inheritance::new(self.desired, &self.live.state);
        let links = compared(self.desired, &self.live.state, &inheritance);
        self.find_removed(&links);
        // Almost every removed link becomes a change.
        self.links.reserve(self.removed.len());
        for link in links {
            self.link(link);
        }
        self.find_restarted();
        self.rewrite_down();
        self.rewrite_mtus();
        self.rewrite_references();
    }

    fn link(&mut self, Compared { id, desired, live, mut delta }: Compared<'_>) {
        let (action, reason) = match (desired, live) {
            (None, None) => return,
            (None, Some(live)) if live.external || id.name.is_loopback() => return,
            (None, Some(_)) => (Action::Delete, self.removed.get(id).cloned().flatten()),
            // The kernel creates `lo` with the namespace.
            (Some(link), None) if link.is_as_created() => return,
            (Some(_), None) => (Action::Create, None),
            (Some(link), Some(live)) => {
                if let Some(reason) = self.removed.get(id) {
                    (Action::Replace, reason.clone())
                } else {
                    self.adjust_for_removed_master(id, link, live, &mut delta);
                    if delta.is_empty() {
                        return;
                    }
                    if delta.settings.up == Some(false) {
                        self.set_down.insert(id.clone());
                    }
                    (Action::Update, None)
                }
            }
        };
        let side = |link: Option<&Arc<Link>>, present: bool| link.filter(|_| present).cloned();
        let sides = Sides { before: side(live, action != Action::Create), after: side(desired, action != Action::Delete) };
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

    /// Adjusts the delta of a port whose master is removed: the kernel releases it, so it only needs to join its desired master.
    fn adjust_for_removed_master(&self, id: &LinkId, link: &Link, live: &Link, delta: &mut LinkDelta) {
        let lost = live.settings.master.is_some_and(|master| self.removed.contains_key(&LinkId::new(&id.namespace, master)));
        if lost {
            delta.master = link.settings.master.map_or(MasterChange::Keep, MasterChange::Enslave);
            delta.port = link.new_port();
        }
    }

    /// Finds the live links that the kernel restarts because they join or leave a master that wants this, with the links on them that
    /// follow their parents.
    fn find_restarted(&mut self) {
        let live = &self.live.state;
        let master = |id: &LinkId, name: Option<LinkName>| name.map(|name| LinkId::new(&id.namespace, name));
        let restarts = |link: Option<&Link>| link.is_some_and(|link| link.kind.restarts_ports());
        if !live.links.values().chain(self.desired.links.values()).any(|link| restarts(Some(link))) {
            return;
        }
        let mut pending: Vec<LinkId> = Vec::new();
        for (id, link) in live.links.iter().filter(|(id, _)| !self.removed.contains_key(*id)) {
            let desired = self.desired.link(id);
            let kept = link.settings.master.filter(|_| link.external);
            let wanted = desired.and_then(|desired| desired.settings.master).or(kept);
            let [before, after] = [link.settings.master, wanted].map(|name| master(id, name));
            let is_replaced = before.as_ref().is_some_and(|before| self.removed.contains_key(before));
            if before == after && !is_replaced {
                continue;
            }
            let leaves = restarts(before.as_ref().and_then(|master| live.link(master)));
            if leaves || restarts(after.as_ref().and_then(|master| self.desired.link(master))) {
                pending.push(id.clone());
            }
        }
        if pending.is_empty() {
            return;
        }
        let graph = self.live_links();
        while let Some(id) = pending.pop() {
            let follows = |upper: &LinkId| live.link(upper).is_some_and(|link| link.kind.follows_parent());
            let uppers = graph.above(&id).filter(|(upper, relation)| *relation == Relation::Parent && follows(upper));
            pending.extend(uppers.map(|(upper, _)| upper.clone()).filter(|upper| !self.removed.contains_key(upper)));
            self.restarted.insert(id);
        }
    }

    /// Takes links with `up: false` down again that the kernel brings up with their parent. They lose what every link loses that is set down.
    fn rewrite_down(&mut self) {
        let comes_up = |change: &super::Change| match &change.subject {
            Subject::Link(_, delta) => delta.settings.up == Some(true),
            _ => false,
        };
        let desired_down = self.desired.links.iter().filter(|(_, link)| link.settings.up == Some(false));
        let affected = desired_down.filter(|(id, link)| {
            let parent = link.kind.below(&id.namespace).filter(|_| !self.is_created(id));
            let restarts = |parent: &LinkId| link.kind.follows_parent() && self.restarted.contains(parent);
            parent.is_some_and(|parent| restarts(&parent) || self.change_of(&parent).is_some_and(comes_up))
        });
        let down = LinkSettings { up: Some(false), ..LinkSettings::default() };
        for id in affected.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.rewrite(&id, &down, "the kernel brings it up with its parent");
            self.set_down.insert(id);
        }
    }

    /// Writes settings of a link again that match already, because the kernel changes them as a side effect of another change.
    pub(super) fn rewrite(&mut self, id: &LinkId, settings: &LinkSettings, reason: &str) {
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

    /// Writes the references of ports to other ports again, if the kernel removes them because the other port leaves the master.
    fn rewrite_references(&mut self) {
        let leaves = |id: &LinkId, port: LinkName| {
            let port = LinkId::new(&id.namespace, port);
            let leaves =
                |change: &super::Change| matches!(&change.subject, Subject::Link(_, delta) if delta.master != MasterChange::Keep);
            self.removed.contains_key(&port) || self.change_of(&port).is_some_and(leaves)
        };
        let staying = self.desired.links.iter().filter(|(id, _)| self.live.state.link(id).is_some() && !self.is_created(id));
        let lost = staying.filter_map(|(id, link)| {
            let options = link.port.as_ref()?;
            let (option, port) = options.reference()?;
            leaves(id, port).then(|| (id.clone(), options.only(&[option])))
        });
        for (id, options) in lost.collect::<Vec<_>>() {
            if let Some(change) = self.links.get(&id).map(|at| &mut self.changes[*at]) {
                if let Subject::Link(_, delta) = &mut change.subject {
                    delta.port.get_or_insert_with(|| options.only(&[])).update(&options);
                }
                continue;
            }
            let sides = Sides { before: self.live.state.links.get(&id).cloned(), after: self.desired.links.get(&id).cloned() };
            let delta = LinkDelta { port: Some(options), ..LinkDelta::default() };
            let reason = "the port that it refers to leaves, and the kernel would remove the reference";
            self.add_link(&id, Action::Update, sides, delta, Some(reason.to_owned()));
        }
    }

    /// Finds every live link that is deleted or replaced, or that the kernel removes with its parent, with the other end of its pair,
    /// or with its namespace.
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
        let graph = self.live_links();
        self.removed.extend(pending.iter().map(|id| (id.clone(), None)));
        while let Some(id) = pending.pop() {
            for (dependent, relation) in graph.removed_with(&id) {
                if !self.removed.contains_key(dependent) {
                    let what = match relation {
                        Relation::Peer => "the other end",
                        Relation::Parent | Relation::Port => "its parent",
                    };
                    let action = if self.desired.link(&id).is_none() { "is deleted" } else { "is replaced" };
                    self.removed.insert(dependent.clone(), Some(format!("{what}, `{id}`, {action}")));
                    pending.push(dependent.clone());
                }
            }
        }
    }
}

/// Returns all desired and live links, with the difference of those that are both.
fn compared<'a>(desired: &'a State, live: &'a State, inheritance: &Inheritance) -> Vec<Compared<'a>> {
    let ignore = &desired.ignore;
    let compare = |(id, desired, live): (&'a LinkId, Option<&'a Arc<Link>>, Option<&'a Arc<Link>>)| {
        let delta = desired.zip(live).map(|(link, live)| link.delta(live, inheritance.inherited(id, link)));
        let mut delta = delta.unwrap_or_default();
        if let (Some(ignored), Some(link)) = (ignore.of(&id.namespace), desired) {
            delta.spare(&link.settings, &|key| ignored.includes(key, [id.name]));
        }
        Compared { id, desired, live, delta }
    };
    side_by_side(desired.links.iter(), live.links.iter()).map(compare).collect()
}
