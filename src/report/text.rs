//! Formats a plan as text, with Terraform's symbols: `+` create, `~` update in place, `-/+` replace, `-` destroy.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use crate::diff::{Action, Change};
use crate::name::{LabName, NamespaceName, SandboxName, escape};
use crate::plan::Plan;
use crate::resource::node::file::CHECKSUM;
use crate::state::ResourceId;

/// The last line of a plan without changes.
pub const NO_CHANGES: &str = "No changes. The network matches the lab.";

/// Whether the text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI escape sequences.
    Ansi,
    /// Without colour.
    None,
}

impl Colour {
    /// Colours a text by the action.
    pub fn paint(self, action: Action, text: &str) -> String {
        let code = match action {
            Action::Create => 32,
            Action::Update => 33,
            Action::Replace => 35,
            Action::Delete => 31,
        };
        match self {
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::None => text.to_owned(),
        }
    }

    /// Makes a text bold.
    pub fn bold(self, text: &str) -> String {
        match self {
            Self::Ansi => format!("\u{1b}[1m{text}\u{1b}[0m"),
            Self::None => text.to_owned(),
        }
    }
}

/// Returns the sign of an action, aligned to the right.
pub fn symbol(action: Action) -> &'static str {
    match action {
        Action::Create => "  +",
        Action::Update => "  ~",
        Action::Replace => "-/+",
        Action::Delete => "  -",
    }
}

/// Returns the first line of a plan: the lab and where the plan applies.
pub fn heading(lab: &LabName, sandbox: Option<&SandboxName>, colour: Colour) -> String {
    let place = match sandbox {
        None => "on this machine".to_owned(),
        Some(name) => format!("in sandbox `{name}`"),
    };
    colour.bold(&format!("Lab `{lab}` {place}"))
}

/// Returns the plan as text: the changes, grouped by namespace in the order of their first operation, and the totals.
pub fn plan(plan: &Plan, colour: Colour) -> String {
    let mut out = String::new();
    for (namespace, changes) in groups(plan) {
        let _ = writeln!(out, "{}", colour.bold(&namespace.to_string()));
        for change in changes {
            self::change(&mut out, change, colour);
        }
        for effect in plan.side_effects.iter().filter(|effect| effect.id.namespace() == namespace) {
            let _ = writeln!(out, "{} {}", colour.paint(Action::Delete, "  !"), escape(&effect.to_string()));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}", totals(plan));
    out
}

/// Colours the text of a plan that was made without colour.
pub fn coloured(text: &str, colour: Colour) -> String {
    let actions = [Action::Create, Action::Update, Action::Replace, Action::Delete];
    let last = text.lines().last();
    let line = |line: &str| {
        let action = actions.into_iter().find(|action| line.starts_with(&format!("{} ", symbol(*action))));
        let effect = line.strip_prefix("  ! ").map(|effect| format!("{} {effect}", colour.paint(Action::Delete, "  !")));
        match action {
            Some(action) => format!("{}{}\n", colour.paint(action, symbol(action)), &line[symbol(action).len()..]),
            None if line.is_empty() || line.starts_with(' ') || Some(line) == last => {
                effect.unwrap_or_else(|| line.to_owned()) + "\n"
            }
            None => colour.bold(line) + "\n",
        }
    };
    text.lines().map(line).collect()
}

/// Returns the last line of a plan.
pub fn totals(plan: &Plan) -> String {
    if plan.is_empty() {
        return NO_CHANGES.to_owned();
    }
    let summary = plan.summary();
    format!("Plan: {} to add, {} to change, {} to destroy.", summary.add, summary.change, summary.destroy)
}

/// Groups the changes by namespace, in the order of the first operation of each.
pub(super) fn groups(plan: &Plan) -> Vec<(&NamespaceName, Vec<&Change>)> {
    let mut groups: HashMap<&NamespaceName, (usize, Vec<&Change>)> = HashMap::new();
    for change in &plan.changes {
        groups.entry(change.id.namespace()).or_insert((usize::MAX, Vec::new())).1.push(change);
    }
    for effect in &plan.side_effects {
        groups.entry(effect.id.namespace()).or_insert((usize::MAX, Vec::new()));
    }
    for (position, step) in plan.steps.iter().enumerate() {
        if let Some((first, _)) = groups.get_mut(step.operation.namespace()).filter(|_| step.change.is_none()) {
            *first = position.min(*first);
        }
        let change = step.change.map(|change| plan.changes[change].id.namespace());
        if let Some((first, _)) = change.and_then(|namespace| groups.get_mut(namespace)) {
            *first = position.min(*first);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by_key(|(namespace, (first, _))| (*first, *namespace));
    groups.into_iter().map(|(namespace, (_, changes))| (namespace, changes)).collect()
}

/// Returns in one line how a resource differs from what the lab says.
pub fn difference(change: &Change, colour: Colour) -> String {
    let fields: Vec<String> = change
        .fields()
        .iter()
        .map(|field| format!("{} is {} instead of {}", field.name, value(&field.before), value(&field.after)))
        .collect();
    let how = match change.action {
        Action::Create => "is missing".to_owned(),
        Action::Delete => "is not in the lab".to_owned(),
        Action::Update | Action::Replace if !fields.is_empty() => fields.join(", "),
        Action::Update | Action::Replace => escape(change.reason.as_deref().unwrap_or("differs")).into_owned(),
    };
    format!("{}: {}", subject(change), colour.paint(change.action, &how))
}

/// Returns in one line what was done with a resource.
pub fn repair(change: &Change, colour: Colour) -> String {
    let fields: Vec<String> = change
        .fields()
        .iter()
        .map(|field| format!("{} {} -> {}", field.name, value(&field.before), value(&field.after)))
        .collect();
    let how = match change.action {
        Action::Create => "added".to_owned(),
        Action::Delete => "removed".to_owned(),
        Action::Update if !fields.is_empty() => fields.join(", "),
        Action::Update => "changed".to_owned(),
        Action::Replace => "made anew".to_owned(),
    };
    format!("{}: {}", subject(change), colour.paint(change.action, &how))
}

/// Returns the resource of a change, with its namespace.
pub fn subject(change: &Change) -> String {
    match &change.id {
        ResourceId::Namespace(_) => change.title(),
        id => format!("{} {}", id.namespace(), change.title()),
    }
}

/// Writes one change: a line with its title, and a line for each attribute that differs.
fn change(out: &mut String, change: &Change, colour: Colour) {
    let _ = write!(out, "{} {}", colour.paint(change.action, symbol(change.action)), change.title());
    if change.action == Action::Create {
        details(out, change);
    }
    if let Some(reason) = &change.reason {
        let _ = write!(out, "  # {}", escape(reason));
    }
    out.push('\n');
    for field in change.fields() {
        let forces = if field.forces_replacement { "  # forces replacement" } else { "" };
        let _ = writeln!(out, "        {}: {} -> {}{forces}", field.name, value(&field.before), value(&field.after));
    }
}

/// Writes the attributes of a new resource on the same line, in the style of ip(8).
fn details(out: &mut String, change: &Change) {
    for (name, shown) in change.after().unwrap_or_default() {
        let _ = match (&change.id, name.as_str()) {
            (_, "kind" | "type" | CHECKSUM) => continue,
            (ResourceId::Sysctl(..), _) => write!(out, " = {}", value(&shown)),
            _ => write!(out, " {name} {}", value(&shown)),
        };
    }
}

fn value(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => escape(text),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::Array(list) => format!("[{}]", list.iter().map(self::value).collect::<Vec<_>>().join(", ")).into(),
        Value::Object(members) if members.is_empty() => "none".into(),
        Value::Object(members) => {
            let members: Vec<_> = members.iter().map(|(name, member)| format!("{name}: {}", self::value(member))).collect();
            format!("{{ {} }}", members.join(", ")).into()
        }
        other => escape(&other.to_string()).into_owned().into(),
    }
}
