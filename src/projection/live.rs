//! The live state of a lab as its lab file would have it: without what the kernel makes by itself, and without what no lab file can ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diff::Inheritance;
use crate::name::{LinkId, LinkName, NamespaceName, escape};
use crate::record::Record;
use crate::resource::link::rules::{Flags, ParentRule};
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::resource::node::{Part, PartKey};
use crate::resource::object::table::{self, Registered, Sorted, Tables, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::State;

/// What a lab file cannot describe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Omitted {
    /// The link or the file.
    pub what: String,
    /// The reason, as a clause.
    pub reason: String,
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is left out: {}", escape(&self.what), escape(&self.reason))
    }
}

/// A live state, ready for [`crate::raise`].
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What a lab file needs to say of it.
    pub state: State,
    /// What no lab file can say.
    pub omitted: Vec<Omitted>,
}

/// Returns what has to be observed in addition, so that the live state tells everything about the lab: the foreign links of `host` that the
/// lab uses, the values of the sysctls that the kernel copies to all interfaces, and what interfaces that the lab does not declare inherit.
/// `None` if nothing is missing.
pub fn to_observe(interest: &State, live: &State) -> Option<State> {
    let mut wider = interest.clone();
    for id in referenced(live) {
        wider.insert_link(id, Link::external(LinkSettings::default()));
    }
    for (id, sysctl) in wider.sysctls.iter_mut().filter(|((_, key), _)| key.spreads().is_some()) {
        if let Some(live) = live.sysctls.get(id) {
            *sysctl = live.clone();
        }
    }
    wider.sysctls.extend(inherited(interest, live));
    (wider != *interest).then_some(wider)
}

/// Returns what the lab's interfaces inherit from the sysctls of `default` that are of interest, without what is of interest itself.
fn inherited(interest: &State, live: &State) -> Vec<((NamespaceName, SysctlKey), Sysctl)> {
    let links = live.links.iter().filter(|(id, link)| !id.namespace.is_host() && !link.external && !link.kind.is_loopback());
    let keys = links.flat_map(|(id, _)| {
        interest.sysctls_of(&id.namespace).filter_map(|(key, sysctl)| {
            let own = (id.namespace.clone(), key.for_link(id.name)?);
            Some((own, Sysctl { inherited: true, ..sysctl.clone() }))
        })
    });
    keys.filter(|(key, _)| !interest.sysctls.contains_key(key)).collect()
}

/// Returns the links of `host` that the lab uses, and that are not in its state.
pub fn referenced(state: &State) -> BTreeSet<LinkId> {
    let mut found = BTreeSet::new();
    for (id, link) in &state.links {
        found.extend(link.kind.below(&id.namespace));
        found.extend(link.settings.master.filter(|_| !link.external).map(|master| LinkId::new(&id.namespace, master)));
    }
    table::visit(&mut Linked { objects: &state.objects, found: &mut found });
    found.retain(|id| id.namespace.is_host() && !state.links.contains_key(id));
    found
}

/// Collects the links of objects.
struct Linked<'a> {
    objects: &'a Tables<Sorted>,
    found: &'a mut BTreeSet<LinkId>,
}

impl Visit for Linked<'_> {
    fn visit<O: Registered>(&mut self) {
        for ((namespace, key), value) in self.objects.of::<O>() {
            self.found.extend(O::links(key, value).into_iter().flatten().map(|link| LinkId::new(namespace, link)));
        }
    }
}

/// What tells which of the live values are the lab's choice.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    /// What the lab declares, as far as that is known.
    pub declared: &'a State,
    /// The record of the lab.
    pub record: &'a Record,
    /// Tells whether somebody chose the hardware address of a link.
    pub mac: &'a dyn Fn(&LinkId) -> bool,
}

/// Returns what a lab file has to say of a live state. Of external links, that is what the lab declares or has changed.
pub fn describe(live: &State, chosen: Chosen<'_>) -> Described {
    let mut state = live.clone();
    for id in referenced(live) {
        state.insert_link(id, Link::external(LinkSettings::default()));
    }
    let mut omitted = omit_links(&mut state);
    omitted.extend(omit_files(&mut state));
    state.links = plain_links(&state, chosen);
    table::visit(&mut Simplify(&mut state.objects));
    keep_own_sysctls(&mut state);
    Described { state, omitted }
}

/// Removes the links that no lab file can ask for, with all that needs them.
fn omit_links(state: &mut State) -> Vec<Omitted> {
    let mut omitted = Vec::new();
    loop {
        let reasons = state.links.iter().filter_map(|(id, link)| Some((id.clone(), inexpressible(state, id, link)?)));
        let reasons: Vec<_> = reasons.collect();
        if reasons.is_empty() {
            break;
        }
        for (id, reason) in reasons {
            state.links.remove(&id);
            omitted.push(Omitted { what: id.to_string(), reason });
        }
    }
    if omitted.is_empty() {
        return omitted;
    }
    let known: BTreeSet<LinkId> = state.links.keys().cloned().collect();
    for (id, link) in &mut state.links {
        let is_gone = |master| !known.contains(&LinkId::new(&id.namespace, master));
        if link.settings.master.is_some_and(is_gone) {
            let link = Arc::make_mut(link);
            (link.settings.master, link.port) = (None, None);
        }
    }
    table::visit(&mut Retain { objects: &mut state.objects, known: &known });
    state.sysctls.retain(|(namespace, key), _| key.link().is_none_or(|link| known.contains(&LinkId::new(namespace, link))));
    omitted.sort_by(|one, other| one.what.cmp(&other.what));
    omitted
}

/// Returns why no lab file can ask for a link.
fn inexpressible(state: &State, id: &LinkId, link: &Link) -> Option<String> {
    if id.name.as_str().parse::<LinkName>().is_err() {
        return Some("no lab file can have its name".to_owned());
    }
    if link.external || link.kind.is_loopback() {
        return None;
    }
    let is_missing = |link: &LinkId| !state.links.contains_key(link);
    let parent = link.kind.below(&id.namespace);
    match &link.kind {
        Kind::Device(_) if link.kind.name().is_empty() => Some("it is no virtual link".to_owned()),
        Kind::Device(_) => Some(format!("lab files have no links of the kind `{}`", link.kind.name())),
        kind if kind.is_pair() => {
            let peer = kind.peer().map(|peer| peer.resolve(&id.namespace));
            peer.as_ref().is_none_or(is_missing).then(|| "its other end is not in the lab".to_owned())
        }
        kind if parent.is_none() && kind.parent_rule() == ParentRule::Required => Some("its parent is not in the lab".to_owned()),
        kind => {
            let is_foreign = |underlay: &NamespaceName| !underlay.is_host() && !state.namespaces.contains(underlay);
            let parent = parent.filter(is_missing).map(|parent| format!("its parent `{parent}` is left out"));
            let underlay = || kind.underlay_in(&id.namespace).is_none_or(is_foreign);
            parent.or_else(|| (kind.has_underlay() && underlay()).then(|| "its underlay is not in the lab".to_owned()))
        }
    }
}

/// Removes the objects of unknown links.
struct Retain<'a> {
    objects: &'a mut Tables<Sorted>,
    known: &'a BTreeSet<LinkId>,
}

impl Visit for Retain<'_> {
    fn visit<O: Registered>(&mut self) {
        let known = self.known;
        let is_known = |namespace: &NamespaceName, link| known.contains(&LinkId::new(namespace, link));
        self.objects
            .of_mut::<O>()
            .retain(|(namespace, key), value| O::links(key, value).into_iter().flatten().all(|link| is_known(namespace, link)));
    }
}

/// Removes the attributes of objects that the kernel gives them by itself.
struct Simplify<'a>(&'a mut Tables<Sorted>);

impl Visit for Simplify<'_> {
    fn visit<O: Registered>(&mut self) {
        self.0.of_mut::<O>().iter_mut().for_each(|((_, key), value)| *value = O::plain(key, value));
    }
}

/// Removes the files that are not text.
fn omit_files(state: &mut State) -> Vec<Omitted> {
    let mut omitted = Vec::new();
    state.parts.retain(|(namespace, key), part| match (key, part) {
        (PartKey::File(path), Part::File(file)) if file.raise().is_none() => {
            omitted.push(Omitted { what: format!("{namespace}:{}", path.as_str()), reason: "it is not text".to_owned() });
            false
        }
        _ => true,
    });
    omitted
}

fn plain_links(state: &State, chosen: Chosen<'_>) -> BTreeMap<LinkId, Arc<Link>> {
    let inheritance = Inheritance::new(state, state);
    let parents_flags = |id: &LinkId, link: &Link| {
        let parent = link.kind.below(&id.namespace).and_then(|parent| state.link(&parent));
        parent.map_or_else(Flags::default, |parent| Flags { arp: parent.settings.arp, multicast: parent.settings.multicast })
    };
    let plain = |(id, link): (&LinkId, &Arc<Link>)| {
        let plain = match link.external {
            true => plain_external(id, link, chosen, state),
            false => link.plain(inheritance.inherited(id, link), parents_flags(id, link), (chosen.mac)(id)),
        };
        (id.clone(), Arc::new(plain))
    };
    state.links.iter().map(plain).collect()
}

/// Returns an external link with the settings that the lab declares or has changed, and with a master that is the lab's.
fn plain_external(id: &LinkId, link: &Link, chosen: Chosen<'_>, state: &State) -> Link {
    let declared = chosen.declared.link(id).cloned().unwrap_or_else(|| Link::external(LinkSettings::default()));
    let changed = chosen.record.links.get(id).cloned().unwrap_or_default();
    let mut settings = link.settings.only_those_of(&declared.settings.or(&changed));
    let is_own = |master: &_| state.link(&LinkId::new(&id.namespace, *master)).is_some_and(|master| !master.external);
    settings.master = settings.master.or(link.settings.master.filter(is_own));
    let port = link.port.as_ref().filter(|_| settings.master.is_some()).and_then(|port| match &declared.port {
        Some(declared) => {
            let names: Vec<_> = declared.show().into_iter().map(|(name, _)| name).collect();
            Some(port.only(&names))
        }
        None => port.special(),
    });
    Link { port, ..Link::external(settings) }
}

/// Removes the sysctls that follow from others: those that the kernel copies from `default` and `all` to interfaces.
fn keep_own_sysctls(state: &mut State) {
    let mut all: Vec<_> = std::mem::take(&mut state.sysctls).into_iter().collect();
    all.sort_by_cached_key(|((_, key), _)| (key.rank(), key.link().is_some()));
    let mut kept: BTreeMap<(NamespaceName, SysctlKey), Sysctl> = BTreeMap::new();
    for ((namespace, key), sysctl) in all {
        let value_of = |key: SysctlKey| kept.get(&(namespace.clone(), key));
        let inherits = key.link().is_some_and(|link| !link.is_loopback()) && !namespace.is_host();
        let default = key.of_default().filter(|_| inherits).and_then(value_of).cloned();
        let copies = || key.causes().into_iter().find_map(|(cause, effect)| Some(effect.value(&value_of(cause)?.value)));
        let implied = default.or_else(|| copies().map(|value| Sysctl::new(&value)).filter(|_| !namespace.is_host()));
        let is_alias = key.aliases().into_iter().any(|alias| value_of(alias).is_some());
        if !is_alias && !implied.is_some_and(|implied| implied.agrees(&sysctl)) {
            kept.insert((namespace, key), Sysctl { inherited: false, ..sysctl });
        }
    }
    state.sysctls = kept;
}
