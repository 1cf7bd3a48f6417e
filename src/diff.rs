//! (desired, live) into changes: what must be created, changed, replaced or deleted, attribute by attribute, and what the
//! kernel will do by itself on the way.
//!
//! It decides nothing about order or messages; that is the plan's.

mod addresses;
mod links;
mod mtu;
mod routes;
mod sysctls;

pub use mtu::Inheritance;

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{LinkId, NamespaceName};
use crate::resource::FieldChange;
use crate::state::{Live, Resource, ResourceId, State};

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed while it lives.
    Update,
    /// It is deleted and made anew, because the kernel cannot change it.
    Replace,
    /// It is removed.
    Delete,
}

/// What happens to one resource, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which resource.
    pub id: ResourceId,
    /// What happens to it.
    pub action: Action,
    /// What is there.
    pub before: Option<Resource>,
    /// What will be there.
    pub after: Option<Resource>,
    /// The attributes that differ.
    pub fields: Vec<FieldChange>,
    /// Why, when it is not obvious.
    pub reason: Option<String>,
}

/// Something that stands in the way, so that the lab cannot be had without touching what is not the lab's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// An object of somebody else's has the name or key that the lab wants.
    #[error("`{id}` is in the way: {what}")]
    Foreign {
        /// What the lab wants.
        id: ResourceId,
        /// What is there.
        what: String,
    },
    /// A link is to be adopted that the lab does not want, or that is never foreign.
    #[error("`{0}` cannot be adopted: the lab declares no such link of its own in `host`")]
    NotToAdopt(LinkId),
    /// A link is to be adopted that is not there.
    #[error("`{0}` cannot be adopted: it does not exist")]
    NothingToAdopt(LinkId),
    /// The lab declares an interface as external, and it is not there.
    #[error("the external interface `{0}` does not exist")]
    MissingExternal(LinkId),
}

impl Conflict {
    /// What the lab declares that it is about; `None` when it is about what the user asked to adopt.
    pub fn resource(&self) -> Option<ResourceId> {
        match self {
            Self::Foreign { id, .. } => Some(id.clone()),
            Self::MissingExternal(link) => Some(ResourceId::Link(link.clone())),
            Self::NotToAdopt(_) | Self::NothingToAdopt(_) => None,
        }
    }
}

/// The changes from `live` to `desired`, sorted by resource.
///
/// # Errors
/// All conflicts at once, when there are any.
pub fn diff(desired: &State, live: &Live) -> Result<Vec<Change>, Vec<Conflict>> {
    let conflicts = conflicts(desired, live);
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut differ = Differ { desired, live, changes: BTreeMap::new(), doomed: BTreeMap::new(), lowered: BTreeSet::new() };
    differ.namespaces();
    differ.links();
    differ.sysctls();
    let lost = differ.addresses();
    differ.routes(&lost);
    Ok(differ.changes.into_values().collect())
}

fn conflicts(desired: &State, live: &Live) -> Vec<Conflict> {
    let foreign = live.foreign.iter().filter(|(id, _)| desired.resources.contains_key(id));
    let mut conflicts: Vec<_> = foreign.map(|(id, what)| Conflict::Foreign { id: id.clone(), what: what.clone() }).collect();
    let missing = desired.links().filter(|(id, link)| link.external && live.state.link(id).is_none());
    for id in &desired.adopt {
        let wanted = id.namespace.is_host() && desired.link(id).is_some_and(|link| !link.external);
        let refused = live.foreign.contains_key(&ResourceId::Link(id.clone()));
        match live.state.link(id) {
            _ if !wanted => conflicts.push(Conflict::NotToAdopt(id.clone())),
            None if !refused => conflicts.push(Conflict::NothingToAdopt(id.clone())),
            _ => {}
        }
    }
    conflicts.extend(missing.map(|(id, _)| Conflict::MissingExternal(id.clone())));
    conflicts
}

struct Differ<'a> {
    desired: &'a State,
    live: &'a Live,
    changes: BTreeMap<ResourceId, Change>,
    /// Live links that will be gone at some time during the plan, with the reason where it is not their own.
    doomed: BTreeMap<LinkId, Option<String>>,
    /// Links that go down and stay.
    lowered: BTreeSet<LinkId>,
}

impl Differ<'_> {
    fn add(&mut self, id: ResourceId, action: Action, fields: Vec<FieldChange>, reason: Option<String>) {
        let before = match action {
            Action::Create => None,
            Action::Update | Action::Replace | Action::Delete => self.live.state.resources.get(&id).cloned(),
        };
        let after = match action {
            Action::Delete => None,
            Action::Create | Action::Update | Action::Replace => self.desired.resources.get(&id).cloned(),
        };
        let adopted = || fields.iter().any(FieldChange::adopts).then(|| "adopted".to_owned());
        let reason = reason.or_else(adopted);
        self.changes.insert(id.clone(), Change { id, action, before, after, fields, reason });
    }

    fn namespaces(&mut self) {
        let (desired, live) = (self.desired, self.live);
        for namespace in desired.namespaces().filter(|namespace| !live.state.has_namespace(namespace)) {
            self.add(ResourceId::Namespace(namespace.clone()), Action::Create, Vec::new(), None);
        }
        for namespace in live.broken.iter().filter(|namespace| desired.has_namespace(namespace)) {
            let reason = Some("its creation or removal was interrupted".to_owned());
            self.add(ResourceId::Namespace(namespace.clone()), Action::Replace, Vec::new(), reason);
        }
        for namespace in live.state.namespaces().filter(|namespace| !desired.has_namespace(namespace)) {
            self.add(ResourceId::Namespace(namespace.clone()), Action::Delete, Vec::new(), None);
        }
    }

    fn action(&self, id: &ResourceId) -> Option<Action> {
        self.changes.get(id).map(|change| change.action)
    }

    /// Whether the link is made in this plan, whatever was there before.
    fn is_born(&self, link: &LinkId) -> bool {
        matches!(self.action(&ResourceId::Link(link.clone())), Some(Action::Create | Action::Replace))
    }

    /// Why what stands on this link is gone, if it is.
    fn loss(&self, link: &LinkId) -> Option<String> {
        match self.doomed.contains_key(link) {
            true if self.is_born(link) => Some(format!("`{link}` is replaced")),
            true => Some(format!("`{link}` is deleted")),
            false => None,
        }
    }

    fn namespace_goes(&self, namespace: &NamespaceName) -> bool {
        self.action(&ResourceId::Namespace(namespace.clone())) == Some(Action::Delete)
    }
}
