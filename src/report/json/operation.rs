//! The steps of a plan as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::name::{NamespaceName, escape};
use crate::operation::{LinkChange, LinkHandle, MasterChange, NewLink, Operation};
use crate::resource::link::Kind;
use crate::resource::object::table::{Inspect, Puts, Registered};
use crate::resource::object::{Over, Put};
use crate::state::{Attributes, ResourceId};

/// A step of a plan.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OperationReport {
    /// The position in `changes` of the change that it belongs to; null for what puts back foreign objects.
    change: Option<usize>,
    action: Verb,
    /// The sort of resource, as in `changes`; `entry` for a forwarding entry of a bridge.
    kind: String,
    namespace: NamespaceName,
    /// The resources that it acts on: one, or both ends of a pair, or all links of a group.
    resources: Vec<Target>,
    /// The same for people.
    description: String,
}

/// A resource that a step acts on.
#[derive(Debug, Serialize, JsonSchema)]
struct Target {
    /// Its name, unique among resources of its kind.
    address: String,
    /// The attributes that the step sets, with the keys of the lab file.
    attributes: Map<String, Value>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verb {
    /// Creates or adds resources.
    Create,
    /// Changes a resource.
    Change,
    /// Deletes resources.
    Delete,
    /// Adds a foreign object again, if it is not there.
    Restore,
}

/// Returns a step that belongs to the change at this position.
pub fn report(change: Option<usize>, operation: &Operation) -> OperationReport {
    let (action, kind, resources) = parts(operation);
    OperationReport {
        change,
        action,
        kind: kind.to_owned(),
        namespace: operation.namespace().clone(),
        resources,
        description: operation.to_string(),
    }
}

fn parts(operation: &Operation) -> (Verb, &'static str, Vec<Target>) {
    const LINK: &str = "link";
    match operation {
        Operation::CreateNamespace(namespace) => (Verb::Create, "namespace", vec![target(namespace, [])]),
        Operation::CreateUserNamespace(namespace) => {
            (Verb::Create, "namespace", vec![target(namespace, [("user_namespace".to_owned(), true.into())])])
        }
        Operation::DeleteNamespace(namespace) => (Verb::Delete, "namespace", vec![target(namespace, [])]),
        Operation::WriteSysctl { namespace, key, value } => {
            let id = ResourceId::Sysctl(namespace.clone(), key.clone());
            (Verb::Change, id.kind(), vec![target(&id, [("value".to_owned(), value.clone().into())])])
        }
        Operation::CreateLink(new) => (Verb::Create, LINK, new_link(new)),
        Operation::ChangeLink(change) => (Verb::Change, LINK, vec![target(&change.handle.id, changed(change))]),
        Operation::DeleteLink(link) => (Verb::Delete, LINK, vec![handle(link)]),
        Operation::DeleteLinkGroup(links) => (Verb::Delete, LINK, links.iter().map(handle).collect()),
        Operation::Put(put) => {
            let id = put.id();
            let (verb, attributes) = put.inspect(Attribute);
            (verb, id.word(), vec![target(&id, attributes)])
        }
        Operation::Remove(object) => (Verb::Delete, object.id().word(), vec![target(&object.id(), [])]),
        Operation::Restore(again) => (Verb::Restore, again.id().word(), vec![target(&again.id(), [])]),
        Operation::RestoreEntry(port, _) => (Verb::Restore, "entry", vec![handle(port)]),
        Operation::PutPart(put) => {
            let id = ResourceId::Part(put.namespace.clone(), put.key.clone());
            let verb = if put.over.is_some() { Verb::Change } else { Verb::Create };
            (verb, id.kind(), vec![target(&id, put.part.show())])
        }
        Operation::RemovePart(namespace, key) => {
            let id = ResourceId::Part(namespace.clone(), key.clone());
            (Verb::Delete, id.kind(), vec![target(&id, [])])
        }
    }
}

fn target(address: &impl ToString, attributes: impl IntoIterator<Item = (String, Value)>) -> Target {
    Target { address: escape(&address.to_string()).into_owned(), attributes: attributes.into_iter().collect() }
}

fn handle(link: &LinkHandle) -> Target {
    target(&link.id, [])
}

fn new_link(new: &NewLink) -> Vec<Target> {
    let first = target(&new.handle.id, new.link.show());
    let second = new.peer.iter().map(|peer| target(&peer.handle.id, peer.link.show()));
    std::iter::once(first).chain(second).collect()
}

/// Returns the attributes that change. Options of a port stand in a map, as in the lab file.
fn changed(change: &LinkChange) -> Attributes {
    let own = |(name, value): (&str, Value)| (name.to_owned(), value);
    let mut attributes: Attributes = change.settings.show().collect();
    attributes.extend(change.kind.iter().flat_map(Kind::show).map(own));
    match &change.master {
        MasterChange::Keep => {}
        MasterChange::Enslave(master) => attributes.push(("master".to_owned(), json!(master.id.name))),
        MasterChange::Release => attributes.push(("master".to_owned(), Value::Null)),
    }
    if let Some(port) = &change.port {
        attributes.push((port.options.name().to_owned(), port.options.show().into_iter().map(own).collect()));
    }
    attributes.extend(change.mark.as_ref().map(|mark| ("alias".to_owned(), json!(mark.alias))));
    for (name, altnames) in [("remove_altnames", &change.remove_altnames), ("add_altnames", &change.add_altnames)] {
        attributes.extend((!altnames.is_empty()).then(|| (name.to_owned(), json!(altnames))));
    }
    attributes
}

/// Returns what a put does, and the attributes of the object.
struct Attribute;

impl<'a> Inspect<'a, Puts> for Attribute {
    type Result = (Verb, Attributes);

    fn inspect<O: Registered>(self, put: &'a Put<O>) -> (Verb, Attributes) {
        let verb = match put.over {
            Over::Nothing | Over::Anything => Verb::Create,
            Over::Live(_) => Verb::Change,
        };
        let shown = O::show(&put.at.key, &put.at.value);
        (verb, shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}
