//! Foreign objects of `host` that the kernel removes with changes of the lab, and ports that the lab takes from other masters.

use std::collections::BTreeMap;

use super::Record;
use crate::name::{LinkId, NamespaceName};
use crate::resource::link::TakenPort;
use crate::resource::object::Foreign;
use crate::resource::object::table::{self, ForeignLists, Messages, Registered, Tables, Visit};
use crate::resource::object::wire::Names;
use crate::state::Live;

impl Record {
    /// Adds foreign objects that the kernel removes with the changes of a plan, and ports that the plan takes from other masters.
    pub fn add_lost(&mut self, removed: &Tables<Messages>, ports: &BTreeMap<LinkId, TakenPort>) {
        table::visit(&mut AddLost { lost: &mut self.lost, removed });
        for (id, taken) in ports {
            self.ports.entry(id.clone()).or_insert_with(|| taken.clone());
        }
    }

    /// Returns the lost objects that are not there, as far as their links still exist.
    pub fn missing(&self, live: &Live) -> Tables<ForeignLists> {
        let mut missing = Missing { record: self, live, names: None, missing: Tables::default() };
        table::visit(&mut missing);
        missing.missing
    }
}

struct AddLost<'a> {
    lost: &'a mut Tables<Messages>,
    removed: &'a Tables<Messages>,
}

impl Visit for AddLost<'_> {
    fn visit<O: Registered>(&mut self) {
        let lost = self.lost.of_mut::<O>();
        let new: Vec<_> = self.removed.of::<O>().iter().filter(|message| !lost.contains(message)).cloned().collect();
        lost.extend(new);
    }
}

/// Finds lost objects that are not there.
struct Missing<'a> {
    record: &'a Record,
    live: &'a Live,
    /// The names of the links of `host`, if there are lost objects.
    names: Option<Names>,
    missing: Tables<ForeignLists>,
}

impl Visit for Missing<'_> {
    fn visit<O: Registered>(&mut self) {
        let lost = self.record.lost.of::<O>();
        if lost.is_empty() {
            return;
        }
        let live = self.live;
        let names = self.names.get_or_insert_with(|| {
            let of_host = live.indices.iter().chain(&live.taken_indices).filter(|(id, _)| id.namespace.is_host());
            Names::new(of_host.map(|(id, index)| (*index, id.name)))
        });
        let host = NamespaceName::host();
        let is_there = |foreign: &Foreign<O>| {
            let same = |other: &Foreign<O>| O::is_same((&foreign.key, &foreign.value), (&other.key, &other.value));
            live.foreign_objects.of::<O>().iter().any(same)
                || live.state.objects::<O>().contains_key(&(host.clone(), foreign.key.clone()))
        };
        let missing = lost.iter().filter_map(|message| Foreign::<O>::decode(message, names)).filter(|foreign| !is_there(foreign));
        self.missing.of_mut::<O>().extend(missing);
    }
}
