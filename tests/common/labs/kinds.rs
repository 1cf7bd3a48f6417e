//! Links of the registered kinds, with options from their tables: a new kind, or a new option, is drawn without a line here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use topo::internals::{InterfaceSpec, Kind, LabFile, ParentRule, Port, Severity, check};

use super::super::{Options, Upper};
use super::{Writer, object, up, with_kind};

/// The kinds that are drawn by their tables alone. What takes ports is written with them.
fn kinds() -> Vec<Kind> {
    let mut kinds = Kind::registered();
    kinds.retain(|kind| !kind.takes_ports());
    kinds
}

/// The kind that a section with these options makes.
fn parsed(kind: &str, options: &Map<String, Value>) -> Kind {
    let section: InterfaceSpec = serde_json::from_value(json!({ kind: options })).expect("samples are of the option's type");
    section.kinds().swap_remove(0).1
}

/// Valid options of a kind: the drawn ones, made what `validate` accepts by other values, by what it misses, or by leaving out
/// what it does not want. `None` when that cannot be.
pub(super) fn options(kind: &str, parent: Value, drawn: &Options) -> Option<Map<String, Value>> {
    let registered = Kind::registered().into_iter().find(|registered| registered.name() == kind)?;
    let parent = Some(parent).filter(|parent| !parent.is_null() && registered.parent_rule() != ParentRule::Never);
    let always = Map::from_iter(parent.map(|parent| ("parent".to_owned(), parent)));
    valid(registered.samples(), &always, drawn, |options| Some(parsed(kind, options).validate().into_iter().next()?.key))
}

/// Valid options of a port of that kind of master, with their key.
pub(super) fn port_options(master: &str, drawn: &Options) -> Option<(&'static str, Map<String, Value>)> {
    let port = Port::registered().into_iter().find(|port| port.master() == master)?;
    let refused = |options: &Map<String, Value>| Some(parsed_port(port.name(), options).validate().into_iter().next()?.key);
    Some((port.name(), valid(port.samples(), &Map::new(), drawn, refused)?))
}

/// The port that a section with these options makes.
fn parsed_port(key: &str, options: &Map<String, Value>) -> Port {
    let section: InterfaceSpec = serde_json::from_value(json!({ key: options })).expect("samples are of the option's type");
    section.ports().swap_remove(0)
}

/// The drawn options with what they always have, made what is not `refused`, which returns the name of the option that is.
fn valid(
    samples: Vec<(&'static str, Vec<Value>)>,
    always: &Map<String, Value>,
    drawn: &Options,
    refused: impl Fn(&Map<String, Value>) -> Option<&'static str>,
) -> Option<Map<String, Value>> {
    let rows: Vec<_> = samples.into_iter().filter(|(_, samples)| !samples.is_empty()).collect();
    let drawn = drawn.iter().filter(|_| !rows.is_empty());
    let mut chosen: BTreeMap<&str, usize> =
        drawn.map(|(row, value)| (rows[usize::from(*row) % rows.len()].0, usize::from(*value))).collect();
    // Every value of an option is tried once.
    for _ in 0..100 {
        let mut options = always.clone();
        for (name, samples) in &rows {
            let value = chosen.get(name).map(|value| samples[value % samples.len()].clone());
            options.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        let Some(refused) = refused(&options) else { return Some(options) };
        let (name, samples) = rows.iter().find(|(name, _)| *name == refused)?;
        match chosen.get(name) {
            None => drop(chosen.insert(name, 0)),
            Some(value) if *value < 8 + samples.len() => drop(chosen.insert(name, value.max(&7) + 1)),
            Some(_) => drop(chosen.remove(name)),
        }
    }
    None
}

impl Writer<'_> {
    pub(super) fn uppers(&mut self) {
        let lab = self.lab;
        for (number, upper) in lab.uppers.iter().filter(|(_, upper)| lab.has_space(upper.space)) {
            let sized = self.upper(*number, upper);
            if !sized && upper.mtu.is_some() {
                self.upper(*number, &Upper { mtu: None, ..upper.clone() });
            }
        }
    }

    /// Writes a link, unless the lab would be refused because of it.
    fn upper(&mut self, number: u8, upper: &Upper) -> bool {
        let kinds = kinds();
        let kind = kinds[usize::from(upper.kind) % kinds.len()].name();
        let below = upper.below.and_then(|below| self.below(below));
        let parent = below.as_ref().map_or(Value::Null, |below| self.reference(below, upper.space));
        let Some(options) = options(kind, parent, &upper.options) else { return false };
        let link = parsed(kind, &options);
        let held_down = link.follows_parent() && below.as_ref().is_some_and(|below| !self.interfaces[below].up);
        let tunnel = link.mtu_bound(1500).is_some_and(|bound| bound.most < 1500);
        let narrow = tunnel || below.as_ref().is_some_and(|below| self.interfaces[below].narrow);
        let carrier = below.is_none_or(|below| self.interfaces[&below].carrier);
        let inet = upper.inet.map(|host| format!("10.5{number}.0.{host}/24"));
        let inet6 = upper.inet6.filter(|_| !narrow).map(|host| format!("fd00:5{number}::{host}/64"));
        let down = upper.down || held_down;
        let addresses = inet.into_iter().chain(inet6).collect::<Vec<_>>().into();
        let members = object(vec![("addresses", addresses), ("mtu", json!(upper.mtu)), ("up", up(down))]);
        let (key, name) = (format!("upper {number}"), format!("u{number}"));
        self.add(key.clone(), upper.space, &name, down, with_kind(members, kind, options.into()));
        if let Some(interface) = self.interfaces.get_mut(&key) {
            interface.narrow = narrow;
            interface.carrier = carrier;
        }
        let accepted = self.is_accepted();
        if !accepted {
            self.interfaces.remove(&key);
            self.members.get_mut(&upper.space).map(|members| members.remove(&name));
        }
        accepted
    }

    /// Whether what is written so far is a lab without errors.
    fn is_accepted(&self) -> bool {
        let lab: LabFile = serde_json::from_value(self.file("random")).expect("it is well-formed");
        let problems = check(&lab, &BTreeMap::new());
        problems.iter().all(|problem| problem.severity != Severity::Error)
    }
}
