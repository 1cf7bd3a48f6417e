//! Side effects: what the kernel does to foreign resources of `host` when it makes the lab's changes there.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Value, json};

use super::{Differ, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::{TakenPort, entry_title};
use crate::resource::object::Message;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{ForeignUpper, ResourceId};

/// What becomes of a side effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The plan puts back what the kernel takes, or has taken in an earlier plan.
    InPlan,
    /// It is put back when the lab no longer needs the change, or when the change is undone.
    Later,
    /// It cannot be put back.
    None,
}

/// A change that the kernel makes to a foreign resource, as a side effect of a change of the lab.
#[derive(Debug, Clone, PartialEq)]
pub struct SideEffect {
    /// The resource.
    pub id: ResourceId,
    /// Its name in plans.
    pub title: String,
    /// The attribute that changes; `None` if the kernel removes the resource.
    pub attribute: Option<String>,
    /// The value before; `None` if the resource does not exist.
    pub before: Option<Value>,
    /// The value afterwards; `None` if the resource does not exist then.
    pub after: Option<Value>,
    /// The cause as a phrase.
    pub cause: String,
    /// Whether it is put back.
    pub remedy: Remedy,
}

impl SideEffect {
    /// Returns the effect of writing another sysctl on a sysctl.
    fn of_sysctl(key: &SysctlKey, before: &str, after: &str, cause: String) -> Self {
        let (title, attribute) = match key.link().zip(key.name_in_link()) {
            Some((link, name)) => (link.to_string(), name),
            None => (format!("sysctl {key}"), "value".to_owned()),
        };
        Self {
            id: ResourceId::Sysctl(NamespaceName::host(), key.clone()),
            title,
            attribute: Some(attribute),
            before: Some(json!(before)),
            after: Some(json!(after)),
            cause,
            remedy: Remedy::Later,
        }
    }

    /// Returns the effect on a whole resource: whether it is there before and afterwards.
    pub(super) fn of_presence(id: ResourceId, title: String, there: [bool; 2], cause: String, remedy: Remedy) -> Self {
        let [before, after] = there.map(|there| there.then(|| json!("present")));
        Self { id, title, attribute: None, before, after, cause, remedy }
    }

    /// Returns what an external link loses when it leaves its master.
    pub(super) fn of_port(id: &LinkId, taken: &TakenPort) -> Vec<Self> {
        let port = taken.port();
        let options =
            port.iter().flat_map(|port| port.show().into_iter().map(|(name, value)| (format!("{}.{name}", port.name()), value)));
        let option = |(attribute, value): (String, Value)| Self {
            id: ResourceId::Link(id.clone()),
            title: id.name.to_string(),
            attribute: Some(attribute),
            before: Some(value),
            after: Some(json!("default")),
            cause: format!("it leaves `{}`", taken.master),
            remedy: Remedy::Later,
        };
        let entries = taken
            .entries
            .iter()
            .map(|entry| Self { cause: format!("`{}` leaves `{}`", id.name, taken.master), ..Self::of_entry(id, entry, true) });
        options.map(option).chain(entries).collect()
    }

    /// Returns a link that is removed together with the one below it.
    fn of_upper(upper: &ForeignUpper, below: &LinkId) -> Self {
        let (id, title) = (ResourceId::Link(upper.id.clone()), format!("{} {}", upper.kind, upper.id.name));
        let cause = format!("it stands on `{}`, which is removed", below.name);
        Self::of_presence(id, title, [true, false], cause, Remedy::None)
    }

    /// Returns a port whose master is removed.
    fn of_released_port(id: &LinkId, master: LinkName) -> Self {
        Self {
            id: ResourceId::Link(id.clone()),
            title: id.name.to_string(),
            attribute: Some("master".to_owned()),
            before: Some(json!(master.to_string())),
            after: None,
            cause: format!("`{master}` is removed"),
            remedy: Remedy::None,
        }
    }

    /// Returns a forwarding entry that is lost, or added again.
    pub(super) fn of_entry(id: &LinkId, entry: &Message, before: bool) -> Self {
        let title = format!("forwarding entry {} on {}", entry_title(entry), id.name);
        let cause = "the kernel removed it with an earlier change of the lab".to_owned();
        let remedy = if before { Remedy::Later } else { Remedy::InPlan };
        Self::of_presence(ResourceId::Link(id.clone()), title, [before, !before], cause, remedy)
    }
}

/// Writes it as a phrase: ``docker0: ipv4.forwarding 1 -> 0 (side effect of `net.ipv4.ip_forward`)``.
impl fmt::Display for SideEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "none".to_owned(),
        };
        write!(f, "{}: ", self.title)?;
        match (&self.attribute, &self.before, self.remedy) {
            (Some(attribute), before, _) => write!(f, "{attribute} {} -> {}", text(before), text(&self.after))?,
            (None, None, _) => return write!(f, "added again ({})", self.cause),
            (None, Some(_), Remedy::InPlan) => f.write_str("removed and added again")?,
            (None, Some(_), Remedy::Later) if self.id.namespace().is_host() => f.write_str("removed until the lab leaves")?,
            (None, Some(_), Remedy::Later) => f.write_str("removed until the change is undone")?,
            (None, Some(_), Remedy::None) => f.write_str("removed for good")?,
        }
        write!(f, " (side effect: {})", self.cause)
    }
}

impl Differ<'_> {
    /// Predicts how the kernel changes foreign sysctls of `host` with those that are written.
    pub(super) fn effects_on_sysctls(&self) -> Vec<SideEffect> {
        let written = self.changes.iter().filter_map(|change| match (&change.id, &change.subject) {
            (ResourceId::Sysctl(namespace, key), Subject::Sysctl(sides)) if namespace.is_host() => Some((key, sides)),
            _ => None,
        });
        let written: Vec<_> = written.collect();
        if written.is_empty() {
            return Vec::new();
        }
        let restored = |key| self.desired.sysctls.contains_key(&(NamespaceName::host(), key));
        let mut effects = Vec::new();
        for (key, live) in self.live.foreign_sysctls.iter().filter(|(key, _)| !restored((*key).clone())) {
            for (cause, effect) in key.causes() {
                let Some((_, sides)) = written.iter().find(|(written, _)| **written == cause) else { continue };
                let Some((before, after)) = sides.before.as_ref().zip(sides.after.as_ref()) else { continue };
                let value = Sysctl::new(&effect.value(&after.value));
                // Those that were written themselves do not follow `default`.
                let follows = cause.of_all() || Sysctl::new(&effect.value(&before.value)).agrees(live);
                if follows && !value.agrees(live) {
                    effects.push(SideEffect::of_sysctl(key, &live.value, &value.value, format!("`{cause}` changes")));
                    break;
                }
            }
        }
        effects
    }

    /// Predicts which foreign links of `host` the kernel removes together with those of the lab that they stand on, and which lose their
    /// master.
    pub(super) fn effects_on_uppers(&self) -> Vec<SideEffect> {
        let mut effects = Vec::new();
        let mut gone: HashSet<LinkId> = HashSet::new();
        let mut pending: Vec<LinkId> = self.removed.keys().filter(|id| id.namespace.is_host()).cloned().collect();
        let mut uppers: HashMap<LinkName, Vec<&ForeignUpper>> = HashMap::new();
        for upper in &self.live.foreign_uppers {
            uppers.entry(upper.below).or_default().push(upper);
        }
        while let Some(id) = pending.pop() {
            let uppers = uppers.get(&id.name).into_iter().flatten();
            for upper in uppers.filter(|upper| gone.insert(upper.id.clone())) {
                effects.push(SideEffect::of_upper(upper, &id));
                pending.push(upper.id.clone());
            }
        }
        let ports = self.live.foreign_ports.iter().filter(|(id, _)| !gone.contains(id));
        let is_removed = |master: &LinkName| self.removed.contains_key(&LinkId::new(&NamespaceName::host(), *master));
        let released = ports.filter(|(_, master)| is_removed(master));
        effects.extend(released.map(|(id, master)| SideEffect::of_released_port(id, *master)));
        effects.sort_by(|one, other| one.id.cmp(&other.id));
        effects
    }
}
