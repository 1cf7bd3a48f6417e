//! What `topo watch` tells, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::diff::Change;
use crate::kernel::linux::monitor::Sender;
use crate::name::{LabName, NamespaceName, escape};
use crate::report::json;
use crate::report::text::{self, Colour};
use crate::state::ResourceId;
use crate::value::timestamp;

/// Who has changed which namespace.
pub(super) type Senders = BTreeMap<NamespaceName, BTreeSet<Sender>>;

/// An event.
pub(super) enum Event<'a> {
    /// It begins.
    Watching { namespaces: usize, heals: bool },
    /// These resources are not as the lab says.
    Drift { changes: &'a [Change], by: &'a Senders },
    /// These differ no more, or not alone: somebody else has put them right, or removed what they are in.
    Cleared { changes: &'a [Change] },
    /// These were put right.
    Healed { changes: &'a [Change], time: Duration },
    /// Somebody changes an attribute again and again: it is left alone for this time.
    LeftAlone { resource: &'a ResourceId, attribute: &'a str, time: Duration, by: &'a Senders },
    /// The lab file has changed.
    Reloaded { heals: bool },
    /// Notifications were lost: all is looked at.
    Lost,
    /// Something failed. It is tried again.
    Failed { error: &'a str },
}

impl Event<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::Watching { .. } => "watching",
            Self::Drift { .. } => "drift",
            Self::Cleared { .. } => "cleared",
            Self::Healed { .. } => "healed",
            Self::LeftAlone { .. } => "left_alone",
            Self::Reloaded { .. } => "reloaded",
            Self::Lost => "lost",
            Self::Failed { .. } => "failed",
        }
    }

    /// Returns the event as a JSON object.
    pub(super) fn to_json(&self, lab: &LabName) -> Value {
        let mut object = json!({ "time": now(), "event": self.word(), "lab": lab });
        let mut add = |name: &str, value: Value| object[name] = value;
        let changes = |changes: &[Change]| changes.iter().map(json::change).collect::<Value>();
        match self {
            Self::Watching { namespaces, heals } => {
                add("namespaces", (*namespaces).into());
                add("heal", (*heals).into());
            }
            Self::Drift { changes: differing, by } => {
                let change = |change: &Change| {
                    let mut object = json::change(change);
                    object["by"] = senders(by, change.id.namespace());
                    object
                };
                add("changes", differing.iter().map(change).collect());
            }
            Self::Cleared { changes: cleared } => {
                add("resources", cleared.iter().map(|change| escape(&change.id.to_string()).into_owned()).collect());
            }
            Self::Healed { changes: healed, time } => {
                add("changes", changes(healed));
                add("milliseconds", u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into());
            }
            Self::LeftAlone { resource, attribute, time, by } => {
                add("attribute", (*attribute).into());
                add("resource", escape(&resource.to_string()).into());
                add("seconds", time.as_secs().into());
                add("by", senders(by, resource.namespace()));
            }
            Self::Failed { error } => add("error", (*error).into()),
            Self::Reloaded { .. } | Self::Lost => {}
        }
        object
    }

    /// Returns the event as lines of text, each with the time of day in UTC.
    pub(super) fn to_text(&self, lab: &LabName, colour: Colour) -> String {
        let time = now();
        let time = time.get(11..23).unwrap_or(&time);
        self.lines(lab, colour).iter().map(|line| format!("{time}  {line}\n")).collect()
    }

    fn lines(&self, lab: &LabName, colour: Colour) -> Vec<String> {
        match self {
            Self::Watching { namespaces, heals } => {
                let heals = if *heals { ", and puts drift right" } else { "" };
                vec![format!("topo watches lab `{lab}`, {namespaces} namespaces{heals}")]
            }
            Self::Drift { changes, by } => first(changes, |change| {
                format!("drift    {}{}", text::difference(change, colour), by_whom(by, change.id.namespace()))
            }),
            Self::Cleared { changes } => first(changes, |change| format!("cleared  {}", text::subject(change))),
            Self::Healed { changes, time } => {
                first(changes, |change| format!("healed   {}  # in {} ms", text::repair(change, colour), time.as_millis()))
            }
            Self::LeftAlone { resource, attribute, time, by } => vec![format!(
                "{} `{}` ({attribute}) is changed again and again: it is left alone for {} s{}",
                resource.kind(),
                escape(&resource.to_string()),
                time.as_secs(),
                by_whom(by, resource.namespace()),
            )],
            Self::Reloaded { heals: true } => {
                vec!["the lab file has changed; drift is put right again once `topo apply` has applied it".to_owned()]
            }
            Self::Reloaded { heals: false } => vec!["the lab file has changed".to_owned()],
            Self::Lost => vec!["notifications were lost; all is looked at".to_owned()],
            Self::Failed { error } => vec![format!("failed: {}", escape(error))],
        }
    }
}

/// Returns the time of day and the date in UTC.
fn now() -> String {
    timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns lines for the first of many, and how many are left out.
fn first(all: &[Change], line: impl Fn(&Change) -> String) -> Vec<String> {
    const LIMIT: usize = 20;
    let rest = all.len().saturating_sub(LIMIT);
    let rest = (rest > 0).then(|| format!("         and {rest} more"));
    all.iter().take(LIMIT).map(line).chain(rest).collect()
}

fn senders(by: &Senders, namespace: &NamespaceName) -> Value {
    by.get(namespace).into_iter().flatten().map(|sender| json!({ "pid": sender.pid, "command": sender.command })).collect()
}

fn by_whom(by: &Senders, namespace: &NamespaceName) -> String {
    let all: Vec<String> = by
        .get(namespace)
        .into_iter()
        .flatten()
        .map(|sender| match &sender.command {
            Some(command) => format!("process {} ({})", sender.pid, escape(command)),
            None => format!("process {}", sender.pid),
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("  # by {}", all.join(", ")) }
}
