//! Both sides of a plan as states that differ only in what the plan changes: the lab as its file has it, and the same with the live values in
//! the place of all that differs. So everything that the comparison ignores is the same on both sides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::live::{self, Chosen};
use crate::diff::{self, Action, Change, SideEffect, Subject};
use crate::name::{LinkId, NamespaceName, escape};
use crate::record::Record;
use crate::resource::ignore::Ignore;
use crate::resource::link::{Link, LinkDelta, LinkSettings, MasterChange};
use crate::resource::node::{Part, PartKey};
use crate::resource::object::Verdict;
use crate::resource::object::table::{self, Inspect, Registered, Sorted, Tables, Verdicts, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Live, ResourceId, State};

/// Both sides of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides {
    /// The live side.
    pub live: State,
    /// The desired side.
    pub desired: State,
    /// All changes, as lines for people.
    pub changes: Vec<Line>,
}

/// A change as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text.
    pub text: String,
    /// Whether lab files of both sides need it to tell the whole truth: the change does not show in them, and does not only follow from
    /// another one. That is so for a damaged mark, or a process that has ended.
    pub is_needed: bool,
}

/// Returns both sides of the changes from the live state that was `seen` to `desired`. `record` is that of the lab.
pub fn sides(desired: &State, seen: &Live, record: &Record, changes: &[Change], side_effects: &[SideEffect]) -> Sides {
    // A deleted link has its hardware address from the kernel, or else it does not matter any more.
    let chosen = Chosen { declared: desired, record, mac: &|_| false };
    let described = live::describe(&seen.state, chosen).state;
    let mut building = Building { desired, live: &seen.state, described, side: desired.clone(), changes: Vec::new() };
    building.namespaces(changes);
    for change in changes {
        building.add(change);
    }
    building.keep_ignored();
    let restored = side_effects.iter().filter(|effect| effect.before.is_none());
    let shown = |effect: &SideEffect| Line { text: format!("! {}", escape(&effect.to_string())), is_needed: true };
    building.changes.extend(restored.map(shown));
    Sides { live: building.side, desired: desired.clone(), changes: building.changes }
}

/// The live side as it is being built.
struct Building<'a> {
    desired: &'a State,
    live: &'a State,
    /// What a lab file would say of the live state.
    described: State,
    side: State,
    changes: Vec<Line>,
}

impl Building<'_> {
    /// Removes new namespaces with all that is in them, and adds deleted ones.
    fn namespaces(&mut self, changes: &[Change]) {
        let of = |action| {
            let of_action = changes.iter().filter(move |change| change.action == action);
            let namespaces = of_action.filter_map(|change| match &change.id {
                ResourceId::Namespace(namespace) => Some(namespace),
                ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_) | ResourceId::Part(..) => None,
            });
            namespaces.collect::<BTreeSet<&NamespaceName>>()
        };
        let (created, deleted) = (of(Action::Create), of(Action::Delete));
        if !created.is_empty() {
            retain(&mut self.side, &|namespace| !created.contains(namespace));
        }
        if !deleted.is_empty() {
            let mut gone = self.described.clone();
            retain(&mut gone, &|namespace| deleted.contains(namespace));
            gone.ignore = Ignore::default();
            self.side.extend(gone);
        }
    }

    fn add(&mut self, change: &Change) {
        let is_seen = match (&change.id, &change.subject) {
            (ResourceId::Namespace(_), _) => change.action != Action::Replace,
            (ResourceId::Sysctl(namespace, key), Subject::Sysctl(sides)) => self.sysctl((namespace.clone(), key.clone()), sides),
            (ResourceId::Link(id), Subject::Link(_, delta)) => self.link(id, change.action, delta),
            (ResourceId::Part(namespace, key), Subject::Part(sides)) => self.part((namespace.clone(), key.clone()), sides),
            (_, Subject::Object(object)) => object.inspect(Before(&mut self.side.objects)),
            (_, Subject::Namespace | Subject::Sysctl(_) | Subject::Link(..) | Subject::Part(_)) => false,
        };
        let follows = change.reason.is_some() && change.fields().is_empty();
        self.changes.push(Line { text: text(change), is_needed: !is_seen && !follows });
    }

    /// Puts the live sysctl in the place of the desired one. Returns whether that shows.
    fn sysctl(&mut self, id: (NamespaceName, SysctlKey), sides: &diff::Sides<Sysctl>) -> bool {
        let values = [&sides.before, &sides.after].map(|side| side.as_ref().map(|sysctl| &sysctl.value));
        let is_seen = values[0] != values[1];
        match &sides.before {
            Some(before) if is_seen => drop(self.side.sysctls.insert(id, Sysctl { inherited: false, ..before.clone() })),
            Some(_) => {}
            None => drop(self.side.sysctls.remove(&id)),
        }
        is_seen
    }

    /// Puts the live part of a node in the place of the desired one. Returns whether that shows.
    fn part(&mut self, id: (NamespaceName, PartKey), sides: &diff::Sides<Part>) -> bool {
        let shown = [&sides.before, &sides.after].map(|side| side.as_ref().map(Part::show));
        match &sides.before {
            Some(before) => drop(self.side.parts.insert(id, before.clone())),
            None => drop(self.side.parts.remove(&id)),
        }
        shown[0] != shown[1]
    }

    /// Puts the live link in the place of the desired one. Returns whether that shows.
    fn link(&mut self, id: &LinkId, action: Action, delta: &LinkDelta) -> bool {
        let described = self.described.links.get(id).cloned();
        let before = match (action, self.live.link(id)) {
            (Action::Create, _) | (_, None) => None,
            (Action::Delete, _) => described,
            (Action::Update | Action::Replace, Some(live)) => {
                let desired = self.desired.link(id).cloned().unwrap_or_else(|| Link::external(LinkSettings::default()));
                let is_other = live.kind.name() != desired.kind.name() && !desired.external;
                if is_other { described } else { Some(Arc::new(with_live(desired, live, delta))) }
            }
        };
        let is_seen = before.as_ref() != self.desired.links.get(id) && (before.is_some() || action == Action::Create);
        match before {
            Some(before) => drop(self.side.links.insert(id.clone(), before)),
            None => drop(self.side.links.remove(id)),
        }
        is_seen
    }

    /// Removes what is ignored in namespaces that are not there.
    fn keep_ignored(&mut self) {
        let mut kept = Ignore::default();
        let is_there = |namespace: &NamespaceName| namespace.is_host() || self.side.namespaces.contains(namespace);
        for (namespace, ignored) in self.side.ignore.iter().filter(|(namespace, _)| is_there(namespace)) {
            for (link, words) in ignored.iter() {
                for word in words {
                    kept.add(namespace, link, *word);
                }
            }
        }
        self.side.ignore = kept;
    }
}

/// Keeps these namespaces alone, with what is in them.
fn retain(state: &mut State, is_kept: &dyn Fn(&NamespaceName) -> bool) {
    state.namespaces.retain(is_kept);
    state.sysctls.retain(|(namespace, _), _| is_kept(namespace));
    state.links.retain(|id, _| is_kept(&id.namespace));
    state.parts.retain(|(namespace, _), _| is_kept(namespace));
    table::visit(&mut Retain { objects: &mut state.objects, is_kept });
}

struct Retain<'a> {
    objects: &'a mut Tables<Sorted>,
    is_kept: &'a dyn Fn(&NamespaceName) -> bool,
}

impl Visit for Retain<'_> {
    fn visit<O: Registered>(&mut self) {
        let is_kept = self.is_kept;
        self.objects.of_mut::<O>().retain(|(namespace, _), _| is_kept(namespace));
    }
}

/// Returns the desired link with the live values of all that differs.
fn with_live(desired: Link, live: &Link, delta: &LinkDelta) -> Link {
    let mut link = desired;
    link.settings = live.settings.only_those_of(&delta.settings).or(&link.settings);
    if !delta.gains.is_empty() || !delta.loses.is_empty() {
        let names = link.settings.altnames.take().unwrap_or_default();
        let names = names.union(&delta.loses).filter(|name| !delta.gains.contains(*name)).cloned().collect();
        link.settings.altnames = Some(names);
    }
    if delta.master != MasterChange::Keep {
        link.settings.master = live.settings.master;
        link.port = live.settings.master.and_then(|_| live.port.as_ref()?.special());
    } else if let (Some(changed), Some(port)) = (&delta.port, &live.port) {
        let names: Vec<_> = changed.show().into_iter().map(|(name, _)| name).collect();
        link.port.get_or_insert_with(|| port.only(&[])).update(&port.only(&names));
    }
    if delta.kind.is_some() || delta.replaces {
        take_kind(&mut link, live);
    }
    link
}

/// Takes over the options of the live kind that differ, its parent or other end, and the queues.
fn take_kind(link: &mut Link, live: &Link) {
    let differing = link.kind.compare(&live.kind).unwrap_or_default();
    let names: Vec<_> = differing.iter().map(|change| change.name).collect();
    link.kind.take(&live.kind, &names);
    if let Some(slot) = link.kind.parent_slot() {
        *slot = live.kind.parent().cloned();
    }
    if link.wanted_queues().zip(live.queues).is_some_and(|(wanted, queues)| wanted != queues) {
        link.queues = live.queues;
    }
}

/// Puts the live object in the place of the desired one. Returns whether that shows.
struct Before<'a>(&'a mut Tables<Sorted>);

impl<'v> Inspect<'v, Verdicts> for Before<'_> {
    type Result = bool;
    fn inspect<O: Registered>(self, (namespace, verdict): &'v (NamespaceName, Verdict<O>)) -> bool {
        let id = (namespace.clone(), verdict.key.clone());
        let before = verdict.before.as_ref().map(|before| O::plain(&verdict.key, before));
        let raise = |value: &O| O::raise(&verdict.key, value);
        let is_seen = before.as_ref().map(raise) != verdict.after.as_ref().map(raise);
        match before {
            Some(before) => drop(self.0.of_mut::<O>().insert(id, before)),
            None => drop(self.0.of_mut::<O>().remove(&id)),
        }
        is_seen
    }
}

/// Describes a change in one line.
fn text(change: &Change) -> String {
    let symbol = match change.action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace => "-/+",
        Action::Delete => "-",
    };
    let fields: Vec<_> =
        change.fields().iter().map(|field| format!("{}: {} -> {}", field.name, field.before, field.after)).collect();
    let why = change.reason.clone().unwrap_or_else(|| fields.join(", "));
    let namespace = change.id.namespace();
    escape(&format!("{symbol} {namespace}: {}: {why}", change.title())).into_owned()
}
