//! Links: which are made, changed, replaced or deleted, and which the kernel takes along when another goes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::mtu::Inheritance;
use super::{Action, Differ};
use crate::name::LinkId;
use crate::resource::FieldChange;
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::state::{ResourceId, State};

impl Differ<'_> {
    pub(super) fn links(&mut self) {
        let inheritance = Inheritance::new(self.desired, &self.live.state);
        let mut compared = self.compare_links(&inheritance);
        self.doom(&compared);
        for (id, link) in self.desired.links() {
            let resource = ResourceId::Link(id.clone());
            let Some(live) = self.live.state.link(id) else {
                // A new namespace comes with its `lo`.
                if link.kind == Kind::Loopback && link.settings == LinkSettings::default() {
                    continue;
                }
                self.add(resource, Action::Create, Vec::new(), None);
                continue;
            };
            let fields = compared.remove(id).unwrap_or_default();
            if let Some(reason) = self.doomed.get(id).cloned() {
                self.add(resource, Action::Replace, fields, reason);
                continue;
            }
            let fields = match self.lost_master(id, live) {
                true => compare_without_master(&inheritance, id, link, live),
                false => fields,
            };
            if fields.iter().any(|field| field.name == "up" && field.after == false) {
                self.lowered.insert(id.clone());
            }
            if !fields.is_empty() {
                self.add(resource, Action::Update, fields, None);
            }
        }
        self.hold_mtus();
        let extra = self.live.state.links().filter(|(id, link)| self.desired.link(id).is_none() && !link.external);
        for (id, _) in extra.filter(|(id, _)| !id.name.is_loopback()) {
            let reason = self.doomed.get(id).cloned().flatten();
            self.add(ResourceId::Link(id.clone()), Action::Delete, Vec::new(), reason);
        }
    }

    /// The kernel fits the mtu of a bridge to its ports' whenever those change, unless it was told one while the bridge lived;
    /// which is the case cannot be seen. So a bridge with an mtu of its own is told again.
    fn hold_mtus(&mut self) {
        let of_master = |state: &State, master: &LinkId| -> BTreeSet<LinkId> {
            let is_port = |(id, link): &(&LinkId, &Link)| {
                id.namespace == master.namespace && link.settings.master == Some(master.name)
            };
            state.links().filter(is_port).map(|(id, _)| id.clone()).collect()
        };
        let (desired, live) = (self.desired, self.live);
        for (id, link) in desired.links() {
            let holds = link.kind.takes_ports() && !link.external && link.settings.mtu.is_some() && live.state.link(id).is_some();
            if !holds || self.is_born(id) {
                continue;
            }
            let (wanted, present) = (of_master(desired, id), of_master(&live.state, id));
            let changes = |port: &LinkId| self.action(&ResourceId::Link(port.clone())).is_some() || self.doomed.contains_key(port);
            if wanted == present && !wanted.iter().any(changes) {
                continue;
            }
            let mtu = link.settings.mtu.map_or(Value::Null, Value::from);
            match self.changes.get_mut(&ResourceId::Link(id.clone())) {
                Some(change) if change.fields.iter().any(|field| field.name == "mtu") => {}
                Some(change) => change.fields.push(FieldChange::new("mtu", mtu.clone(), mtu)),
                None => {
                    let reason = Some("its ports change, and the kernel would fit it to them".to_owned());
                    let fields = vec![FieldChange::new("mtu", mtu.clone(), mtu)];
                    self.add(ResourceId::Link(id.clone()), Action::Update, fields, reason);
                }
            }
        }
    }

    fn compare_links(&self, inheritance: &Inheritance) -> BTreeMap<LinkId, Vec<FieldChange>> {
        let mut compared = BTreeMap::new();
        for (id, link) in self.desired.links() {
            if let Some(live) = self.live.state.link(id) {
                let fields = link.compare(live, inheritance.inherited(id, link));
                if !fields.is_empty() {
                    compared.insert(id.clone(), fields);
                }
            }
        }
        compared
    }

    /// Finds every live link that will be gone: deleted, replaced, or taken along by the kernel because the link below it, the
    /// other end of its pair, or its namespace goes.
    fn doom(&mut self, compared: &BTreeMap<LinkId, Vec<FieldChange>>) {
        let mut dependants: BTreeMap<LinkId, Vec<&LinkId>> = BTreeMap::new();
        let mut pending: Vec<(LinkId, Option<String>)> = Vec::new();
        for (id, link) in self.live.state.links() {
            if let Some(below) = link.kind.parent() {
                dependants.entry(below.resolve(&id.namespace)).or_default().push(id);
            }
            let gone = self.desired.link(id).is_none() && !link.external || self.namespace_goes(&id.namespace);
            let replaced = compared.get(id).is_some_and(|fields| fields.iter().any(|field| field.forces_replacement));
            if gone || replaced {
                pending.push((id.clone(), None));
            }
        }
        for (id, reason) in pending.clone() {
            self.doomed.insert(id, reason);
        }
        while let Some((id, _)) = pending.pop() {
            for dependant in dependants.get(&id).into_iter().flatten() {
                if !self.doomed.contains_key(*dependant) {
                    let relation = if self.live.state.link(dependant).is_some_and(|link| matches!(link.kind, Kind::Veth(_))) {
                        "the other end"
                    } else {
                        "the link below"
                    };
                    let reason = Some(format!("{relation}, `{id}`, goes"));
                    self.doomed.insert((*dependant).clone(), reason.clone());
                    pending.push(((*dependant).clone(), reason));
                }
            }
        }
    }

    fn lost_master(&self, id: &LinkId, live: &Link) -> bool {
        live.settings.master.is_some_and(|master| self.doomed.contains_key(&LinkId::new(&id.namespace, master)))
    }
}

fn compare_without_master(inheritance: &Inheritance, id: &LinkId, link: &Link, live: &Link) -> Vec<FieldChange> {
    let mut live = live.clone();
    live.settings.master = None;
    link.compare(&live, inheritance.inherited(id, link))
}
