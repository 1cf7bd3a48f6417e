//! Reads the labs of other tools: their topology becomes a lab file, and their commands are to be run in it. What they cannot keep is
//! listed with its place.

pub mod clab;
pub mod commands;
pub mod kathara;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::name::{HOST, LabName, LinkId, LinkName, NameError, NamespaceName};
use crate::projection::Omitted;
use crate::spec::LabFile;
use crate::spec::file::{InterfaceSpec, NamespaceSpec};

/// Why the file of another tool cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A name that no lab file can have.
    #[error("{place}: invalid name")]
    Name {
        /// The position in the file, such as `line 7`.
        place: String,
        /// Why it is no name.
        source: NameError,
    },
    /// Something else.
    #[error("{place}: {message}")]
    Invalid {
        /// The position in the file, such as `line 7`.
        place: String,
        /// What is wrong.
        message: String,
    },
}

impl ImportError {
    fn invalid(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), message: message.into() }
    }
}

/// A command that makes a part of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The position in the file, such as `line 7`.
    pub place: String,
    /// Where it is to be run; `host` for the sandbox itself.
    pub namespace: NamespaceName,
    /// What is to be run.
    pub action: Action,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A command line for a shell.
    Command(String),
    /// The script in this file, beside the imported one.
    Script(String),
}

/// The lab of another tool.
#[derive(Debug)]
pub struct Imported {
    /// Its nodes and links.
    pub lab: LabFile,
    /// What is to be run in it afterwards, in this order.
    pub steps: Vec<Step>,
    /// What no lab file can say.
    pub omitted: Vec<Omitted>,
}

/// An end of a link, with its settings.
type End = (LinkId, Map<String, Value>);

/// A namespace.
#[derive(Default)]
struct Space {
    interfaces: BTreeMap<LinkName, Map<String, Value>>,
    sysctls: Map<String, Value>,
}

/// Collects nodes and links.
struct Builder {
    name: LabName,
    namespaces: BTreeMap<NamespaceName, Space>,
    links: Vec<Value>,
    used: BTreeSet<LinkId>,
}

impl Builder {
    fn new(name: LabName) -> Self {
        Self { name, namespaces: BTreeMap::new(), links: Vec::new(), used: BTreeSet::new() }
    }

    fn add_namespace(&mut self, name: &NamespaceName) {
        self.namespaces.entry(name.clone()).or_default();
    }

    /// Sets a sysctl of a namespace.
    fn set_sysctl(&mut self, namespace: &NamespaceName, name: &str, value: &str) {
        let space = self.namespaces.entry(namespace.clone()).or_default();
        space.sysctls.insert(name.to_owned(), value.into());
    }

    /// Adds a bridge in `host`, or a port to it.
    fn add_bridge(&mut self, name: LinkName, port: Option<LinkName>) {
        let host = self.namespaces.entry(NamespaceName::host()).or_default();
        let bridge = host.interfaces.entry(name).or_default().entry("bridge").or_insert_with(|| json!({}));
        if let (Some(port), Value::Object(options)) = (port, bridge) {
            let ports = options.entry("ports").or_insert_with(|| json!([]));
            if let Value::Array(ports) = ports {
                ports.push(port.to_string().into());
            }
        }
    }

    /// Returns a free name for the port of a bridge in `host`: this one, that of the other end, or a number.
    fn port_name(&self, wanted: Option<&str>, other: &LinkId) -> LinkName {
        let of_other = format!("{}-{}", other.namespace, other.name);
        let numbers = (0..).map(|number| format!("port{number}"));
        let mut names = wanted.map(str::to_owned).into_iter().chain([of_other]).chain(numbers);
        let free = names.find_map(|name| {
            let name: LinkName = name.parse().ok()?;
            (!self.used.contains(&LinkId::new(&NamespaceName::host(), name))).then_some(name)
        });
        free.expect("there are more numbers than links")
    }

    /// Adds a pair, with the settings of both ends.
    fn add_link(&mut self, ends: [End; 2], mtu: Option<Value>, place: &str) -> Result<(), ImportError> {
        let mut endpoints = Vec::new();
        for (id, settings) in ends {
            if !self.used.insert(id.clone()) {
                return Err(ImportError::invalid(place, format!("`{id}` is the end of two links")));
            }
            let mut end = Map::from_iter([("interface".to_owned(), Value::from(id.to_string()))]);
            end.extend(settings);
            endpoints.push(if end.len() == 1 { Value::from(id.to_string()) } else { Value::from(end) });
        }
        let mut link = Map::from_iter([("endpoints".to_owned(), Value::from(endpoints))]);
        link.extend(mtu.map(|mtu| ("mtu".to_owned(), mtu)));
        self.links.push(link.into());
        Ok(())
    }

    fn finish(self, steps: Vec<Step>, omitted: Vec<Omitted>) -> Result<Imported, ImportError> {
        let namespaces: Map<String, Value> = self
            .namespaces
            .into_iter()
            .map(|(name, Space { interfaces, sysctls })| {
                let interfaces: Map<String, Value> =
                    interfaces.into_iter().map(|(name, settings)| (name.to_string(), settings.into())).collect();
                let sections = [("interfaces", interfaces), ("sysctls", sysctls)].into_iter();
                let sections = sections.filter(|(_, section)| !section.is_empty());
                let sections: Map<String, Value> = sections.map(|(key, section)| (key.to_owned(), section.into())).collect();
                (name.to_string(), sections.into())
            })
            .collect();
        let file = json!({ "name": self.name, "namespaces": namespaces, "links": self.links });
        let lab = serde_json::from_value(file).map_err(|error| ImportError::invalid("the lab", error.to_string()))?;
        Ok(Imported { lab, steps, omitted })
    }
}

/// Parses a name.
fn parse_name<T: std::str::FromStr<Err = NameError>>(text: &str, place: &str) -> Result<T, ImportError> {
    text.parse().map_err(|source| ImportError::Name { place: place.to_owned(), source })
}

/// Returns a name for a lab: the text without what names cannot contain.
pub fn lab_name(text: &str) -> LabName {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let text: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(crate::name::NAME_LENGTH).collect();
    text.trim_start_matches(['-', '.']).parse().unwrap_or_else(|_| "imported".parse().expect("it is a name"))
}

fn left_out(place: &str, what: &str, reason: &str) -> Omitted {
    Omitted { what: format!("{place}: {what}"), reason: reason.to_owned() }
}

/// Replaces a name of a namespace by `host` in all keys and texts.
pub fn renamed(value: Value, name: &str) -> Value {
    let text = |text: &str| match text.strip_prefix(name) {
        Some("") => HOST.to_owned(),
        Some(rest) if rest.starts_with([':', ' ']) => format!("{HOST}{rest}"),
        _ => text.to_owned(),
    };
    match value {
        Value::String(string) => text(&string).into(),
        Value::Array(items) => items.into_iter().map(|item| renamed(item, name)).collect(),
        Value::Object(keys) => {
            keys.into_iter().map(|(key, value)| (text(&key), renamed(value, name))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// Returns a lab without the settings of `host` that another one has, too, and without its `lo`: those of a new sandbox are no part of what is
/// imported.
pub fn without(mut lab: LabFile, before: &LabFile) -> LabFile {
    let host = NamespaceName::host();
    let Some(space) = lab.namespaces.get_mut(&host) else { return lab };
    let known = before.namespaces.get(&host);
    space.sysctls.retain(|key, value| known.and_then(|known| known.sysctls.get(key)) != Some(value));
    let lo = space.interfaces.get_mut(&LinkName::LOOPBACK);
    if let Some(lo) = lo {
        lo.up = None;
    }
    space.interfaces.retain(|name, interface| !name.is_loopback() || **interface != InterfaceSpec::default());
    if *space == NamespaceSpec::default() {
        lab.namespaces.remove(&host);
    }
    lab
}
