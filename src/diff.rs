//! Compares the desired state with the live one. Returns the resources that must be created, changed, replaced or deleted, with the
//! attributes that differ. Takes into account what the kernel changes as a side effect.
//!
//! The plan decides about order and messages.

mod conflict;
mod foreign;
mod held;
mod links;
mod losses;
mod mtu;
mod objects;
mod parts;
mod side_effect;
mod sysctls;

pub use conflict::Conflict;
pub use foreign::ForeignChanges;
pub use held::held_by_others;
pub use mtu::Inheritance;
pub use side_effect::{Remedy, SideEffect};

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::graph::LinkGraph;
use crate::name::{LinkId, NamespaceName};
use crate::resource::FieldChange;
use crate::resource::link::{Link, LinkDelta};
use crate::resource::node::Part;
use crate::resource::object::table::{Any, Inspect, Registered, Verdicts};
use crate::resource::object::{Losses, Verdict};
use crate::resource::sysctl::Sysctl;
use crate::state::{Attributes, Live, ResourceId, State, side_by_side};

/// An action on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create it.
    Create,
    /// Change it in place.
    Update,
    /// Delete it and create it again, because the kernel cannot change it in place.
    Replace,
    /// Delete it.
    Delete,
}

impl Action {
    /// Returns whether the action creates the resource: `Create` and `Replace`.
    pub fn creates(self) -> bool {
        matches!(self, Self::Create | Self::Replace)
    }

    /// Returns whether the action removes the live resource: `Delete` and `Replace`.
    pub fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::Replace)
    }
}

/// A resource before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Sides<R> {
    /// The live resource; `None` if it is created.
    pub before: Option<R>,
    /// The desired resource; `None` if it is deleted.
    pub after: Option<R>,
}

/// The resource that changes, by its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A network namespace; it has no attributes of its own.
    Namespace,
    /// A sysctl.
    Sysctl(Sides<Sysctl>),
    /// A link. The delta is empty unless both sides are present.
    Link(Sides<Arc<Link>>, Box<LinkDelta>),
    /// An object.
    Object(Box<Any<Verdicts>>),
    /// A part of a node.
    Part(Sides<Part>),
}

/// A resource, and the names of attributes of it, or one word for it as a whole: `missing`, `extra`, `replaced`, `value`.
pub type Attribute = (ResourceId, String);

/// A change of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The identity of the resource.
    pub id: ResourceId,
    /// The action.
    pub action: Action,
    /// The resource before and after.
    pub subject: Subject,
    /// The reason, if it is not obvious.
    pub reason: Option<String>,
}

impl Change {
    /// Returns the attributes that differ, for reports.
    pub fn fields(&self) -> Vec<FieldChange> {
        match &self.subject {
            Subject::Sysctl(Sides { before: Some(before), after: Some(after) }) => {
                vec![FieldChange::new("value", before.value.clone().into(), after.value.clone().into())]
            }
            Subject::Link(Sides { before: Some(before), after: Some(after) }, delta) => after.fields(before, delta),
            Subject::Part(Sides { before: Some(before), after: Some(after) }) => after.compare(before),
            Subject::Namespace | Subject::Sysctl(_) | Subject::Link(..) | Subject::Part(_) => Vec::new(),
            Subject::Object(object) => object.inspect(Fields),
        }
    }

    /// Returns all live attributes; `None` if the resource is created.
    pub fn before(&self) -> Option<Attributes> {
        match &self.subject {
            Subject::Namespace => (self.action != Action::Create).then(Vec::new),
            Subject::Sysctl(sides) => sides.before.as_ref().map(Sysctl::show),
            Subject::Link(sides, _) => sides.before.as_ref().map(|link| link.show()),
            Subject::Object(object) => object.inspect(Shown { after: false }),
            Subject::Part(sides) => sides.before.as_ref().map(Part::show),
        }
    }

    /// Returns all desired attributes; `None` if the resource is deleted.
    pub fn after(&self) -> Option<Attributes> {
        match &self.subject {
            Subject::Namespace => (self.action != Action::Delete).then(Vec::new),
            Subject::Sysctl(sides) => sides.after.as_ref().map(Sysctl::show),
            Subject::Link(sides, _) => sides.after.as_ref().map(|link| link.show()),
            Subject::Object(object) => object.inspect(Shown { after: true }),
            Subject::Part(sides) => sides.after.as_ref().map(Part::show),
        }
    }

    /// Returns what differs: the resource, and the names of its attributes, or the action.
    pub fn attribute(&self) -> Attribute {
        let fields: Vec<String> = self.fields().into_iter().map(|field| field.name).collect();
        let action = match self.action {
            Action::Create => "missing",
            Action::Update => "value",
            Action::Replace => "replaced",
            Action::Delete => "extra",
        };
        (self.id.clone(), if fields.is_empty() { action.to_owned() } else { fields.join(", ") })
    }

    /// Returns the title of the resource in plans: its kind and its name.
    pub fn title(&self) -> String {
        match (&self.id, &self.subject) {
            (ResourceId::Link(id), Subject::Link(sides, _)) => match sides.after.as_ref().or(sides.before.as_ref()) {
                Some(link) if link.external => format!("external {}", id.name),
                Some(link) => format!("{} {}", crate::name::escape(link.kind.name()), id.name),
                None => format!("link {}", id.name),
            },
            (ResourceId::Sysctl(_, key), _) => format!("sysctl {key}"),
            (_, Subject::Object(object)) => object.inspect(Title),
            (ResourceId::Part(_, key), _) => match key.name() {
                Some(name) => format!("{} {name}", key.word()),
                None => key.word().to_owned(),
            },
            (id, _) => format!("{} {id}", id.kind()),
        }
    }
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

/// The difference of two states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// The changes, sorted by resource.
    pub changes: Vec<Change>,
    /// What the kernel does to foreign resources with these changes.
    pub side_effects: Vec<SideEffect>,
    /// What happens to foreign objects.
    pub foreign: ForeignChanges,
}

/// Returns the difference from `live` to `desired`.
///
/// # Errors
/// Returns all conflicts.
pub fn diff(desired: &State, live: &Live) -> Result<Difference, Vec<Conflict>> {
    let conflicts = conflict::find(desired, live);
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut differ = Differ::new(desired, live);
    differ.namespaces();
    differ.links();
    differ.sysctls();
    differ.objects();
    differ.parts();
    let mut side_effects = differ.effects_on_sysctls();
    side_effects.extend(differ.effects_on_uppers());
    let foreign = differ.foreign_objects(&mut side_effects);
    let mut changes = differ.changes;
    changes.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Difference { changes, side_effects, foreign })
}

struct Differ<'a> {
    desired: &'a State,
    live: &'a Live,
    /// At most one change for each resource, in the order of discovery.
    changes: Vec<Change>,
    /// The actions on namespaces.
    namespaces: HashMap<&'a NamespaceName, Action>,
    /// The positions of link changes in `changes`.
    links: HashMap<LinkId, usize>,
    /// Live links that are deleted or replaced, with the reason if it is another link.
    removed: HashMap<LinkId, Option<String>>,
    /// Links that are set down.
    set_down: HashSet<LinkId>,
    /// Links that the kernel sets down and up again.
    restarted: HashSet<LinkId>,
    /// What the live links need of one another; made when something is removed or changes for others.
    live_links: OnceCell<Rc<LinkGraph>>,
    /// The links and objects that dependent objects lose.
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
            set_down: HashSet::new(),
            restarted: HashSet::new(),
            live_links: OnceCell::new(),
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

    /// Returns the graph of the live links.
    fn live_links(&self) -> Rc<LinkGraph> {
        self.live_links.get_or_init(|| Rc::new(LinkGraph::of_state(&self.live.state))).clone()
    }

    /// Returns the change of a link.
    fn change_of(&self, link: &LinkId) -> Option<&Change> {
        self.links.get(link).map(|at| &self.changes[*at])
    }

    /// Returns whether the link is created or replaced.
    fn is_created(&self, link: &LinkId) -> bool {
        self.change_of(link).is_some_and(|change| change.action.creates())
    }

    fn is_namespace_deleted(&self, namespace: &NamespaceName) -> bool {
        self.namespaces.get(namespace) == Some(&Action::Delete)
    }
}
