//! Foreign objects that the kernel removes with changes of the lab, and ports that the lab takes from other masters.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Others, Record};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::TakenPort;
use crate::resource::object::table::{self, ForeignLists, Messages, Registered, Tables, Visit};
use crate::resource::object::wire::Names;
use crate::resource::object::{ByKey, Foreign, Maker, Message};
use crate::state::Live;

/// Messages that reported foreign objects, by namespace.
pub type LostObjects = BTreeMap<NamespaceName, Tables<Messages>>;

impl Record {
    /// Adds foreign objects that the kernel removes with the changes of a plan, and ports that the plan takes from other masters.
    pub fn add_lost(&mut self, removed: &LostObjects, ports: &BTreeMap<LinkId, TakenPort>) {
        for (namespace, removed) in removed {
            table::visit(&mut AddLost { lost: self.lost.entry(namespace.clone()).or_default(), removed });
        }
        for (id, taken) in ports {
            self.ports.entry(id.clone()).or_insert_with(|| taken.clone());
        }
    }

    /// Adds the lost objects that are not there to a live state, as far as their links still exist. Those of a lab that no longer needs
    /// them are left out.
    pub fn find_missing(&self, live: &mut Live, others: &Others) {
        for (namespace, lost) in &self.lost {
            let missing = missing(namespace, lost, live, others);
            if let Some(objects) = live.foreign_objects.get_mut(namespace) {
                objects.lost = missing;
            }
        }
    }
}

impl Others {
    /// Adds the objects of `host` that the kernel has removed with changes of other labs, like [`Record::find_missing`].
    pub fn find_missing(&self, live: &mut Live) {
        let host = NamespaceName::host();
        if !live.foreign_objects.contains_key(&host) {
            return;
        }
        let mut lost = Tables::default();
        for removed in self.lost_in_host() {
            table::visit(&mut AddLost { lost: &mut lost, removed });
        }
        let missing = missing(&host, &lost, live, self);
        if let Some(objects) = live.foreign_objects.get_mut(&host) {
            objects.lost_with_others = missing;
        }
    }
}

fn missing(namespace: &NamespaceName, lost: &Tables<Messages>, live: &Live, others: &Others) -> Tables<ForeignLists> {
    if !live.foreign_objects.contains_key(namespace) || *lost == Tables::default() {
        return Tables::default();
    }
    let of_namespace = live.indices.iter().chain(&live.taken_indices).filter(|(id, _)| id.namespace == *namespace);
    let names = Names::new(of_namespace.map(|(id, index)| (*index, id.name)));
    let mut find = FindMissing { namespace, lost, names, live, others, missing: Tables::default() };
    table::visit(&mut find);
    find.missing
}

struct AddLost<'a> {
    lost: &'a mut Tables<Messages>,
    removed: &'a Tables<Messages>,
}

impl Visit for AddLost<'_> {
    fn visit<O: Registered>(&mut self) {
        let lost = self.lost.of_mut::<O>();
        let known: HashSet<&Message> = lost.iter().collect();
        let new: Vec<_> = self.removed.of::<O>().iter().filter(|message| !known.contains(message)).cloned().collect();
        lost.extend(new);
    }
}

/// Finds lost objects of one namespace that are not there.
struct FindMissing<'a> {
    namespace: &'a NamespaceName,
    lost: &'a Tables<Messages>,
    names: Names,
    live: &'a Live,
    others: &'a Others,
    missing: Tables<ForeignLists>,
}

impl Visit for FindMissing<'_> {
    fn visit<O: Registered>(&mut self) {
        let lost = self.lost.of::<O>();
        if lost.is_empty() {
            return;
        }
        let Some(there) = self.live.foreign_objects.get(self.namespace) else { return };
        let present = ByKey::new(there.present.of::<O>());
        let is_there = |foreign: &Foreign<O>| {
            present.includes(foreign)
                || self.live.state.objects::<O>().contains_key(&(self.namespace.clone(), foreign.key.clone()))
        };
        let missing = lost.iter().filter_map(|message| Foreign::<O>::decode(message, &self.names));
        let missing: Vec<_> = missing.filter(|foreign| !is_there(foreign) && self.is_needed(foreign)).collect();
        *self.missing.of_mut::<O>() = without_repetitions(missing);
    }
}

/// Leaves one message of each object, the latest: messages tell the rest of lifetimes, too.
fn without_repetitions<O: Registered>(missing: Vec<Foreign<O>>) -> Vec<Foreign<O>> {
    let mut kept: Vec<Foreign<O>> = Vec::with_capacity(missing.len());
    let mut positions: HashMap<O::Key, Vec<usize>> = HashMap::new();
    for foreign in missing {
        let known = positions.entry(foreign.key.clone()).or_default();
        let same = |at: &&usize| O::is_same((&foreign.key, &foreign.value), (&kept[**at].key, &kept[**at].value));
        match known.iter().find(same).copied() {
            Some(at) => kept[at] = foreign,
            None => {
                known.push(kept.len());
                kept.push(foreign);
            }
        }
    }
    kept
}

impl FindMissing<'_> {
    /// Returns whether somebody still needs the object: one of another lab is of no use when that lab has left.
    fn is_needed<O: Registered>(&self, foreign: &Foreign<O>) -> bool {
        let of_lab = |link: LinkName| self.live.of_other_labs.contains(&link);
        foreign.maker != Maker::Topo
            || self.others.object::<O>(&(self.namespace.clone(), foreign.key.clone())).is_some()
            || O::links(&foreign.key, &foreign.value).into_iter().flatten().any(of_lab)
    }
}
