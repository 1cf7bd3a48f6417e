//! The typed difference between a desired and a live link. The diff computes it, and the plan turns it into operations. Text and JSON are
//! made from it only for reports.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::common::{Inherited, Link};
use super::kind::Kind;
use super::port::Port;
use super::rules::Addressing;
use super::settings::LinkSettings;
use crate::name::LinkName;
use crate::resource::FieldChange;
use crate::resource::option::Mutability;

/// A change of a link's master. `M` identifies the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MasterChange<M> {
    /// No change.
    #[default]
    Keep,
    /// Make the link a port of this master.
    Enslave(M),
    /// Release the link from its master.
    Release,
}

impl<M> MasterChange<M> {
    /// Converts the identity of the new master.
    pub fn map<N>(self, name: impl FnOnce(M) -> N) -> MasterChange<N> {
        match self {
            Self::Keep => MasterChange::Keep,
            Self::Enslave(master) => MasterChange::Enslave(name(master)),
            Self::Release => MasterChange::Release,
        }
    }

    /// Returns the new master.
    pub fn new_master(self) -> Option<M> {
        match self {
            Self::Enslave(master) => Some(master),
            Self::Keep | Self::Release => None,
        }
    }
}

/// The difference between a desired and a live link.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkDelta {
    /// The desired values of the settings that differ, except `master` and `altnames`.
    pub settings: LinkSettings,
    /// Settings that match, but are written again because the kernel changes them as a side effect of another change.
    pub rewrite: LinkSettings,
    /// The kind with only those options set that differ.
    pub kind: Option<Box<Kind>>,
    /// The change of the master.
    pub master: MasterChange<LinkName>,
    /// The port with only those options set that differ. A link that becomes a port has the kernel's defaults at first.
    pub port: Option<Port>,
    /// Alternative names to add.
    pub gains: BTreeSet<String>,
    /// Alternative names to remove.
    pub loses: BTreeSet<String>,
    /// Whether the mark is written, because the owner changes or the mark is damaged.
    pub mark: bool,
    /// Whether the link must be replaced, because the kernel cannot change it in place.
    pub replaces: bool,
}

impl LinkDelta {
    /// Returns whether nothing differs and nothing is rewritten.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Leaves the settings alone that others may change, whose keys `ignored` contains. What the lab declares is still set.
    pub fn spare(&mut self, declared: &LinkSettings, ignored: &dyn Fn(&str) -> bool) {
        let kept = self.settings.only_those_of(declared);
        self.settings.forget(ignored);
        self.settings = self.settings.or(&kept);
        if ignored("altnames") {
            self.loses.clear();
        }
    }

    /// Returns all settings that are written.
    pub fn written(&self) -> LinkSettings {
        self.settings.or(&self.rewrite)
    }
}

impl Link {
    /// Returns the difference between this desired link and the live one.
    pub fn delta(&self, live: &Self, inherited: Inherited) -> LinkDelta {
        let mut delta = LinkDelta { mark: self.marked.compare(&live.marked).is_some(), ..LinkDelta::default() };
        if !self.external {
            self.compare_kind(live, &mut delta);
            delta.replaces |= self.wanted_queues().zip(live.queues).is_some_and(|(wanted, queues)| wanted != queues);
        }
        let mut wanted = self.complete_settings(inherited.mtu);
        if matches!(self.kind.addressing(), Addressing::Parents(_)) {
            wanted.mac = None;
        }
        delta.settings = LinkSettings { master: None, altnames: None, ..wanted.difference(&live.settings) };
        if wanted.master != live.settings.master && !(self.external && wanted.master.is_none()) {
            delta.master = wanted.master.map_or(MasterChange::Release, MasterChange::Enslave);
        }
        self.compare_port(live, inherited, &mut delta);
        if let Some(wanted) = wanted.altnames {
            let live = live.settings.altnames.clone().unwrap_or_default();
            delta.gains = wanted.difference(&live).cloned().collect();
            delta.loses = live.difference(&wanted).cloned().collect();
        }
        delta
    }

    fn compare_port(&self, live: &Self, inherited: Inherited, delta: &mut LinkDelta) {
        if delta.master != MasterChange::Keep {
            delta.port = self.new_port();
        } else if let (Some(desired), Some(live)) = (&self.port, &live.port) {
            let mut desired = desired.clone();
            desired.inherit(inherited.path_cost);
            delta.port = desired.difference(live);
        }
    }

    /// Returns the options to set after the link has become a port.
    pub fn new_port(&self) -> Option<Port> {
        self.port.as_ref().and_then(Port::special)
    }

    fn compare_kind(&self, live: &Self, delta: &mut LinkDelta) {
        match self.kind.compare(&live.kind) {
            Some(options) => {
                delta.replaces = options.iter().any(|option| option.mutability == Mutability::Replace);
                delta.kind = (!options.is_empty()).then(|| Box::new(self.kind.difference(&live.kind)));
            }
            None => delta.replaces = true,
        }
    }

    /// Returns the delta as attributes, in the order of plans.
    pub fn fields(&self, live: &Self, delta: &LinkDelta) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        if delta.mark {
            fields.extend(self.marked.compare(&live.marked));
        }
        if delta.kind.is_some() || delta.replaces {
            fields.extend(self.kind_fields(live));
        }
        fields.extend(delta.settings.compare(&live.settings));
        if !delta.gains.is_empty() || !delta.loses.is_empty() {
            let before = live.settings.altnames.clone().unwrap_or_default();
            let after: BTreeSet<_> = before.union(&delta.gains).filter(|name| !delta.loses.contains(*name)).collect();
            fields.push(FieldChange::new("altnames", json!(before), json!(after)));
        }
        if delta.master != MasterChange::Keep {
            let master = delta.master.new_master();
            let show = |master: Option<LinkName>| master.map_or(Value::Null, |master| String::from(master).into());
            let before = live.settings.master.filter(|before| Some(*before) != master);
            fields.push(FieldChange::new("master", show(before), show(master)));
        }
        if let Some(port) = &delta.port {
            let before = live.port.clone().filter(|_| delta.master == MasterChange::Keep);
            fields.extend(port_fields(port, &before.unwrap_or_else(|| port.only(&[]).complete())));
        }
        let rewritten = LinkSettings::default();
        fields.extend(
            delta.rewrite.compare(&rewritten).into_iter().map(|field| FieldChange { before: field.after.clone(), ..field }),
        );
        fields
    }

    fn kind_fields(&self, live: &Self) -> Vec<FieldChange> {
        let Some(options) = self.kind.compare(&live.kind) else {
            let (before, after) = (live.kind.name().into(), self.kind.name().into());
            return vec![FieldChange { forces_replacement: true, ..FieldChange::new("kind", before, after) }];
        };
        let mut fields: Vec<_> = options
            .into_iter()
            .map(|option| FieldChange {
                name: option.name.to_owned(),
                before: option.before.unwrap_or(Value::Null),
                after: option.after.unwrap_or(Value::Null),
                forces_replacement: option.mutability == Mutability::Replace,
            })
            .collect();
        if let (Some(wanted), Some(queues)) = (self.wanted_queues(), live.queues) {
            let names = [("numtxqueues", wanted.transmit, queues.transmit), ("numrxqueues", wanted.receive, queues.receive)];
            for (name, after, before) in names.into_iter().filter(|(_, after, before)| after != before) {
                fields.push(FieldChange { forces_replacement: true, ..FieldChange::new(name, json!(before), json!(after)) });
            }
        }
        fields
    }
}

/// Returns the options of a port that are written, with their values before.
fn port_fields(written: &Port, before: &Port) -> Vec<FieldChange> {
    let before = before.show();
    let field = |(name, after): (&'static str, Value)| {
        let before = before.iter().find(|(other, _)| *other == name).map_or(Value::Null, |(_, before)| before.clone());
        FieldChange::new(format!("{}.{name}", written.name()), before, after)
    };
    written.show().into_iter().map(field).collect()
}
