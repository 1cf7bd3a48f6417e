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

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::name::{LinkId, NamespaceName};
use crate::resource::FieldChange;
use crate::state::{Live, Resource, ResourceId, State, side_by_side};

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

impl Action {
    /// Whether the resource is made, whatever was there before.
    pub fn makes(self) -> bool {
        matches!(self, Self::Create | Self::Replace)
    }

    /// Whether what is there is removed, whatever comes after it.
    pub fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::Replace)
    }
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
    let mut differ = Differ::new(desired, live);
    differ.namespaces();
    differ.links();
    differ.sysctls();
    let lost = differ.addresses();
    differ.routes(&lost);
    let mut changes = differ.changes;
    changes.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(changes)
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
    /// In the order in which they are found, at most one for each resource.
    changes: Vec<Change>,
    /// What happens to namespaces.
    namespaces: HashMap<&'a NamespaceName, Action>,
    /// Where the changes of links are.
    links: HashMap<LinkId, usize>,
    /// Live links that will be gone at some time during the plan, with the reason where it is not their own.
    doomed: HashMap<LinkId, Option<String>>,
    /// Links that go down and stay.
    lowered: HashSet<LinkId>,
}

/// A resource as it is desired and as it is.
type Sides<'r, R> = (Option<&'r R>, Option<&'r R>);

/// What happens to a resource, what differs, and why where it is not obvious.
struct Fate {
    action: Action,
    fields: Vec<FieldChange>,
    reason: Option<String>,
}

impl Fate {
    fn new(action: Action) -> Self {
        Self { action, fields: Vec::new(), reason: None }
    }

    /// The attributes that differ.
    fn of(self, fields: Vec<FieldChange>) -> Self {
        Self { fields, ..self }
    }

    fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }
}

/// What becomes of a link on which others stand.
enum Loss {
    Deleted(LinkId),
    Replaced(LinkId),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted(link) => write!(f, "`{link}` is deleted"),
            Self::Replaced(link) => write!(f, "`{link}` is replaced"),
        }
    }
}

impl<'a> Differ<'a> {
    fn new(desired: &'a State, live: &'a Live) -> Self {
        Self {
            desired,
            live,
            changes: Vec::new(),
            namespaces: HashMap::new(),
            links: HashMap::new(),
            doomed: HashMap::new(),
            lowered: HashSet::new(),
        }
    }

    fn add<R: Clone + Into<Resource>>(&mut self, id: ResourceId, (desired, live): Sides<'_, R>, fate: Fate) {
        let Fate { action, fields, reason } = fate;
        let resource = |side: Option<&R>, there: bool| side.filter(|_| there).cloned().map(Into::into);
        let (before, after) = (resource(live, action != Action::Create), resource(desired, action != Action::Delete));
        let adopted = || fields.iter().any(FieldChange::adopts).then(|| "adopted".to_owned());
        let reason = reason.or_else(adopted);
        if let ResourceId::Link(link) = &id {
            self.links.insert(link.clone(), self.changes.len());
        }
        self.changes.push(Change { id, action, before, after, fields, reason });
    }

    fn namespaces(&mut self) {
        let of = |state: &'a State| state.namespaces().map(|namespace| (namespace, &Resource::Namespace));
        for (namespace, desired, live) in side_by_side(of(self.desired), of(&self.live.state)) {
            let (action, reason) = match (desired, live) {
                (Some(_), None) => (Action::Create, None),
                (None, _) => (Action::Delete, None),
                (Some(_), Some(_)) if self.live.broken.contains(namespace) => {
                    (Action::Replace, Some("its creation or removal was interrupted".to_owned()))
                }
                (Some(_), Some(_)) => continue,
            };
            self.namespaces.insert(namespace, action);
            self.add(ResourceId::Namespace(namespace.clone()), (desired, live), Fate::new(action).because(reason));
        }
    }

    /// What happens to a link itself.
    fn change_of(&self, link: &LinkId) -> Option<&Change> {
        self.links.get(link).map(|at| &self.changes[*at])
    }

    /// Whether the link is made in this plan, whatever was there before.
    fn is_born(&self, link: &LinkId) -> bool {
        self.change_of(link).is_some_and(|change| change.action.makes())
    }

    /// Why what stands on this link is gone, if it is.
    fn loss(&self, link: &LinkId) -> Option<Loss> {
        self.doomed.contains_key(link).then(|| match self.is_born(link) {
            true => Loss::Replaced(link.clone()),
            false => Loss::Deleted(link.clone()),
        })
    }

    fn namespace_goes(&self, namespace: &NamespaceName) -> bool {
        self.namespaces.get(namespace) == Some(&Action::Delete)
    }
}
