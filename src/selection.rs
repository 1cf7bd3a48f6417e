//! A part of a lab: the namespaces that the user chose, and what these require. The rest is to stay as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::name::{LinkId, NamePattern, NamespaceName};
use crate::record::Record;
use crate::resource::link::Link;
use crate::resource::node::PartKey;
use crate::resource::object::table::{self, Registered, Visit};
use crate::resource::sysctl::Sysctl;
use crate::state::State;

/// A pattern that matches no namespace of the lab.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no namespace of the lab matches `{}`", crate::name::escape(&.0.0))]
pub struct NoMatch(pub NamePattern);

/// A part of a lab.
#[derive(Debug, PartialEq)]
pub struct Selected {
    /// The state to reach: what was chosen as the lab has it, the rest as it is.
    pub desired: State,
    /// Namespaces and links that were not chosen, and that are made or removed because the chosen ones require it.
    pub required: Vec<String>,
}

/// Returns the lab with only those namespaces changed that match, and what they require: the other ends of pairs, parents and masters, with
/// the namespaces that these are in. `host` matches, too.
///
/// # Errors
/// Fails if a pattern matches nothing.
pub fn select(desired: &State, live: &State, record: &Record, patterns: &[NamePattern]) -> Result<Selected, NoMatch> {
    let known: BTreeSet<&NamespaceName> = desired.namespaces.iter().chain(&live.namespaces).collect();
    let host = NamespaceName::host();
    let mut chosen = BTreeSet::new();
    for pattern in patterns {
        let all = known.iter().copied().chain([&host]);
        let matching: Vec<NamespaceName> = all.filter(|name| pattern.matches(name.as_str())).cloned().collect();
        if matching.is_empty() {
            return Err(NoMatch(pattern.clone()));
        }
        chosen.extend(matching);
    }
    let part = Part { desired, live, chosen: &chosen, links: links(desired, live, &chosen) };
    let namespaces = part.required_namespaces();
    let is_new = |name: &&NamespaceName| !live.namespaces.contains(*name);
    let required_links = part.links.iter().filter(|id| !chosen.contains(&id.namespace) && !exists_in_both(id, desired, live));
    let required =
        namespaces.iter().filter(is_new).map(ToString::to_string).chain(required_links.map(ToString::to_string)).collect();
    Ok(Selected { desired: part.merge(&namespaces, record), required })
}

/// Returns whether the lab has the link, and it is there.
fn exists_in_both(id: &LinkId, desired: &State, live: &State) -> bool {
    desired.link(id).is_some() && live.link(id).is_some()
}

/// Returns the links in these namespaces, and all that they require or take along, whether that exists or not.
fn links(desired: &State, live: &State, chosen: &BTreeSet<NamespaceName>) -> BTreeSet<LinkId> {
    let mut found = BTreeSet::new();
    let all = desired.links.keys().chain(live.links.keys());
    let mut pending: Vec<LinkId> = all.filter(|id| chosen.contains(&id.namespace)).cloned().collect();
    while let Some(id) = pending.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        if let Some(link) = desired.link(&id) {
            pending.extend(link.kind.below(&id.namespace));
            pending.extend(link.settings.master.map(|master| LinkId::new(&id.namespace, master)));
        }
        let ends = [desired, live].into_iter().filter_map(|state| state.link(&id)?.kind.peer());
        pending.extend(ends.map(|peer| peer.resolve(&id.namespace)));
        // The kernel removes with a link what is on it.
        if desired.link(&id).is_none() {
            let is_above =
                |(other, link): &(&LinkId, &Arc<Link>)| link.kind.below(&other.namespace).is_some_and(|below| below == id);
            pending.extend(live.links.iter().filter(is_above).map(|(other, _)| other.clone()));
        }
    }
    found
}

struct Part<'a> {
    desired: &'a State,
    live: &'a State,
    chosen: &'a BTreeSet<NamespaceName>,
    /// The links that are to be as the lab has them.
    links: BTreeSet<LinkId>,
}

impl Part<'_> {
    /// Returns the namespaces of the lab that were not chosen, and that required links are in.
    fn required_namespaces(&self) -> BTreeSet<NamespaceName> {
        let of_links = self.links.iter().map(|id| id.namespace.clone());
        let underlays = self.links.iter().filter_map(|id| self.desired.link(id)?.kind.underlay().cloned());
        let is_required = |name: &NamespaceName| self.desired.namespaces.contains(name) && !self.chosen.contains(name);
        of_links.chain(underlays).filter(is_required).collect()
    }

    fn merge(&self, required: &BTreeSet<NamespaceName>, record: &Record) -> State {
        let (desired, live, chosen) = (self.desired, self.live, self.chosen);
        let mut merged = State { ignore: desired.ignore.clone(), lost_in: desired.lost_in.clone(), ..State::default() };
        merged.namespaces.extend(desired.namespaces.iter().filter(|name| chosen.contains(*name)).cloned());
        merged.namespaces.extend(live.namespaces.iter().filter(|name| !chosen.contains(*name)).cloned());
        merged.namespaces.extend(required.iter().cloned());
        self.merge_links(&mut merged, required, record);
        let is_kept = |name: &NamespaceName| !chosen.contains(name);
        let lost = |id: &LinkId| self.links.contains(id) && desired.link(id).is_none();
        table::visit(&mut MergeObjects { part: self, merged: &mut merged });
        let of_chosen = desired.sysctls.iter().filter(|((name, _), _)| chosen.contains(name));
        let of_rest = live.sysctls.iter().filter(|((name, key), _)| {
            let is_recorded = !name.is_host() || record.host_sysctls.contains_key(key);
            is_kept(name) && is_recorded && !key.link().is_some_and(|link| lost(&LinkId::new(name, link)))
        });
        let of_rest = of_rest.map(|(id, sysctl)| (id.clone(), Sysctl { kept: true, ..sysctl.clone() }));
        merged.sysctls = of_chosen.map(|(id, sysctl)| (id.clone(), sysctl.clone())).chain(of_rest).collect();
        // A new namespace is made with its node: what owns it cannot be changed later.
        let is_new = |name: &NamespaceName| required.contains(name) && !live.namespaces.contains(name);
        let of_chosen =
            desired.parts.iter().filter(|((name, key), _)| chosen.contains(name) || *key == PartKey::Node && is_new(name));
        let of_rest = live.parts.iter().filter(|((name, _), _)| is_kept(name));
        merged.parts = of_chosen.chain(of_rest).map(|(id, part)| (id.clone(), part.clone())).collect();
        merged.adopt = desired.adopt.clone();
        merged.adopt.named.retain(|id| merged.links.contains_key(id) || desired.link(id).is_none());
        merged
    }

    fn merge_links(&self, merged: &mut State, required: &BTreeSet<NamespaceName>, record: &Record) {
        let (desired, live) = (self.desired, self.live);
        let is_new = |name: &NamespaceName| required.contains(name) && !live.namespaces.contains(name);
        let wanted = |id: &LinkId| self.links.contains(id) || id.name.is_loopback() && is_new(&id.namespace);
        let of_lab = desired.links.iter().filter(|(id, _)| wanted(id)).map(|(id, link)| (id.clone(), link.clone()));
        let rest = live.links.iter().filter(|(id, _)| !self.links.contains(*id)).map(|(id, link)| {
            let kept = if link.external { Arc::new(recorded(id, link, record)) } else { link.clone() };
            (id.clone(), kept)
        });
        merged.links = of_lab.chain(rest).collect();
    }
}

/// Returns an external link with those of its settings that the lab has changed before.
fn recorded(id: &LinkId, link: &Link, record: &Record) -> Link {
    let changed = record.links.get(id).cloned().unwrap_or_default();
    let mut settings = link.settings.only_those_of(&changed);
    settings.master = link.settings.master.filter(|_| record.ports.contains_key(id));
    Link { port: link.port.clone().filter(|_| settings.master.is_some()), ..Link::external(settings) }
}

struct MergeObjects<'a> {
    part: &'a Part<'a>,
    merged: &'a mut State,
}

impl Visit for MergeObjects<'_> {
    fn visit<O: Registered>(&mut self) {
        let Part { desired, live, chosen, links } = self.part;
        let is_lost = |id: LinkId| links.contains(&id) && desired.link(&id).is_none();
        let of_chosen = desired.objects::<O>().iter().filter(|((name, _), _)| chosen.contains(name));
        let of_rest = live.objects::<O>().iter().filter(|((name, key), value)| {
            let mut on = O::links(key, value).into_iter().flatten();
            !chosen.contains(name) && !on.any(|link| is_lost(LinkId::new(name, link)))
        });
        *self.merged.objects.of_mut::<O>() = of_chosen.chain(of_rest).map(|(id, value)| (id.clone(), value.clone())).collect();
    }
}
