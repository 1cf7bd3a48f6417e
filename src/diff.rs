//! (desired, live) into changes: what must be created, changed, replaced or deleted, attribute by attribute, and what the
//! kernel will do by itself on the way.
//!
//! It decides nothing about order or messages; that is the plan's.

mod links;
mod mtu;
mod objects;
mod sysctls;

pub use mtu::Inheritance;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::name::{LinkId, NamespaceName};
use crate::resource::FieldChange;
use crate::resource::link::{Link, LinkDelta};
use crate::resource::object::table::{Any, Inspect, Registered, Verdicts};
use crate::resource::object::{Losses, Verdict};
use crate::resource::sysctl::Sysctl;
use crate::state::{Attributes, Live, ResourceId, State, side_by_side};

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

/// A resource as it is and as it will be.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides<R> {
    /// What is there; `None` when it is created.
    pub before: Option<R>,
    /// What will be there; `None` when it is deleted.
    pub after: Option<R>,
}

/// A change of one resource, by what it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A network namespace; it has no attributes of its own.
    Namespace,
    /// A kernel setting.
    Sysctl(Sides<Sysctl>),
    /// A link, and what differs where it is there before and after.
    Link(Sides<Arc<Link>>, Box<LinkDelta>),
    /// An object.
    Object(Box<Any<Verdicts>>),
}

/// What happens to one resource, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which resource.
    pub id: ResourceId,
    /// What happens to it.
    pub action: Action,
    /// The resource before and after.
    pub subject: Subject,
    /// Why, when it is not obvious.
    pub reason: Option<String>,
}

impl Change {
    /// The attributes that differ, for reports.
    pub fn fields(&self) -> Vec<FieldChange> {
        match &self.subject {
            Subject::Sysctl(Sides { before: Some(before), after: Some(after) }) => {
                vec![FieldChange::new("value", before.value.clone().into(), after.value.clone().into())]
            }
            Subject::Link(Sides { before: Some(before), after: Some(after) }, delta) => after.fields(before, delta),
            Subject::Namespace | Subject::Sysctl(_) | Subject::Link(..) => Vec::new(),
            Subject::Object(object) => object.inspect(Fields),
        }
    }

    /// All attributes before; `None` when nothing is there.
    pub fn before(&self) -> Option<Attributes> {
        match &self.subject {
            Subject::Namespace => (self.action != Action::Create).then(Vec::new),
            Subject::Sysctl(sides) => sides.before.as_ref().map(Sysctl::show),
            Subject::Link(sides, _) => sides.before.as_ref().map(|link| link.show()),
            Subject::Object(object) => object.inspect(Shown { after: false }),
        }
    }

    /// All attributes after; `None` when nothing will be there.
    pub fn after(&self) -> Option<Attributes> {
        match &self.subject {
            Subject::Namespace => (self.action != Action::Delete).then(Vec::new),
            Subject::Sysctl(sides) => sides.after.as_ref().map(Sysctl::show),
            Subject::Link(sides, _) => sides.after.as_ref().map(|link| link.show()),
            Subject::Object(object) => object.inspect(Shown { after: true }),
        }
    }

    /// What plans call the resource: its kind and its name.
    pub fn title(&self) -> String {
        match (&self.id, &self.subject) {
            (ResourceId::Link(id), Subject::Link(sides, _)) => match sides.after.as_ref().or(sides.before.as_ref()) {
                Some(link) if link.external => format!("external {}", id.name),
                Some(link) => format!("{} {}", crate::name::escape(link.kind.name()), id.name),
                None => format!("link {}", id.name),
            },
            (ResourceId::Sysctl(_, key), _) => format!("sysctl {key}"),
            (_, Subject::Object(object)) => object.inspect(Title),
            (id, _) => format!("{} {id}", id.kind()),
        }
    }
}

/// Attributes as a JSON object.
pub fn to_json(attributes: Attributes) -> Value {
    Value::Object(attributes.into_iter().collect::<Map<_, _>>())
}

struct Fields;

impl<'a> Inspect<'a, Verdicts> for Fields {
    type Result = Vec<FieldChange>;
    fn inspect<O: Registered>(self, (_, verdict): &'a (NamespaceName, Verdict<O>)) -> Vec<FieldChange> {
        let sides = verdict.before.as_ref().zip(verdict.after.as_ref());
        sides.map(|(before, after)| O::compare(&verdict.key, after, before)).unwrap_or_default()
    }
}

struct Shown {
    after: bool,
}

impl<'a> Inspect<'a, Verdicts> for Shown {
    type Result = Option<Attributes>;
    fn inspect<O: Registered>(self, (_, verdict): &'a (NamespaceName, Verdict<O>)) -> Option<Attributes> {
        let side = if self.after { &verdict.after } else { &verdict.before };
        let show = |value: &O| O::show(&verdict.key, value).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        side.as_ref().map(show)
    }
}

struct Title;

impl<'a> Inspect<'a, Verdicts> for Title {
    type Result = String;
    fn inspect<O: Registered>(self, (_, verdict): &'a (NamespaceName, Verdict<O>)) -> String {
        let value = verdict.after.as_ref().or(verdict.before.as_ref());
        let title = value.map_or_else(|| verdict.key.to_string(), |value| O::title(&verdict.key, value));
        format!("{} {title}", O::WORD)
    }
}

/// Something in the way, so that the lab cannot be had without touching what is not the lab's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A foreign object has the name or key that the lab wants.
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
    /// The declared resource that it is about; `None` when it is about what the user asked to adopt.
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
    differ.objects();
    let mut changes = differ.changes;
    changes.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(changes)
}

fn conflicts(desired: &State, live: &Live) -> Vec<Conflict> {
    let foreign = live.foreign.iter().filter(|(id, _)| desired.contains(id));
    let mut conflicts: Vec<_> = foreign.map(|(id, what)| Conflict::Foreign { id: id.clone(), what: what.clone() }).collect();
    let missing = desired.links.iter().filter(|(id, link)| link.external && live.state.link(id).is_none());
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
    /// The positions of the changes of links.
    links: HashMap<LinkId, usize>,
    /// Live links that will be gone at some time during the plan, with the reason where it is not their own.
    removed: HashMap<LinkId, Option<String>>,
    /// Links that go down and stay down.
    lowered: HashSet<LinkId>,
    /// What objects lose with links and other objects.
    losses: BTreeMap<NamespaceName, Losses>,
}

impl<'a> Differ<'a> {
    fn new(desired: &'a State, live: &'a Live) -> Self {
        Self {
            desired,
            live,
            changes: Vec::new(),
            namespaces: HashMap::new(),
            links: HashMap::new(),
            removed: HashMap::new(),
            lowered: HashSet::new(),
            losses: BTreeMap::new(),
        }
    }

    fn add(&mut self, id: ResourceId, action: Action, subject: Subject, reason: Option<String>) {
        self.changes.push(Change { id, action, subject, reason });
    }

    fn namespaces(&mut self) {
        let of = |state: &'a State| state.namespaces.iter().map(|namespace| (namespace, ()));
        for (namespace, desired, live) in side_by_side(of(self.desired), of(&self.live.state)) {
            let (action, reason) = match (desired, live) {
                (Some(()), None) => (Action::Create, None),
                (None, _) => (Action::Delete, None),
                (Some(()), Some(())) if self.live.broken.contains(namespace) => {
                    (Action::Replace, Some("its creation or removal was interrupted".to_owned()))
                }
                (Some(()), Some(())) => continue,
            };
            self.namespaces.insert(namespace, action);
            self.add(ResourceId::Namespace(namespace.clone()), action, Subject::Namespace, reason);
        }
    }

    /// What happens to a link itself.
    fn change_of(&self, link: &LinkId) -> Option<&Change> {
        self.links.get(link).map(|at| &self.changes[*at])
    }

    /// Whether the link is made in this plan, whatever was there before.
    fn is_created(&self, link: &LinkId) -> bool {
        self.change_of(link).is_some_and(|change| change.action.makes())
    }

    fn is_namespace_deleted(&self, namespace: &NamespaceName) -> bool {
        self.namespaces.get(namespace) == Some(&Action::Delete)
    }
}
