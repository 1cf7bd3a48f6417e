//! What other labs hold of `host`, by their records: sysctls and settings of external links that they changed, and objects that they
//! added to foreign links.
//!
//! Labs can declare the same value. The last of them that no longer declares it restores the value of the machine.

use std::collections::BTreeMap;

use super::Record;
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::resource::link::LinkSettings;
use crate::resource::object::Id;
use crate::resource::object::table::{self, Messages, Registered, Tables, Visit};
use crate::resource::sysctl::SysctlKey;
use crate::state::{Live, State};

/// The records of the other labs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Others(Vec<(LabName, Record)>);

impl Others {
    /// Takes the records of the other labs of the machine.
    pub fn new(records: Vec<(LabName, Record)>) -> Self {
        Self(records)
    }

    /// Returns the objects of `host` that the kernel removes, or has removed, with changes of each of them.
    pub(super) fn lost_in_host(&self) -> impl Iterator<Item = &Tables<Messages>> {
        let host = NamespaceName::host();
        self.0.iter().filter_map(move |(_, record)| record.lost.get(&host))
    }

    /// Returns a lab that set a sysctl of `host`, and the value before.
    pub fn sysctl(&self, key: &SysctlKey) -> Option<(&LabName, &String)> {
        self.0.iter().find_map(|(lab, record)| Some((lab, record.host_sysctls.get(key)?)))
    }

    /// Returns the previous values of the sysctls that the kernel changed with this one, if another lab changed it.
    pub fn effects(&self, cause: &SysctlKey) -> Option<&BTreeMap<SysctlKey, String>> {
        self.0.iter().find_map(|(_, record)| record.host_effects.get(cause))
    }

    /// Returns the settings of an external link that other labs changed, with the values before.
    pub fn settings(&self, link: &LinkId) -> LinkSettings {
        let held = self.0.iter().filter_map(|(_, record)| record.links.get(link));
        held.fold(LinkSettings::default(), |all, settings| all.or(settings))
    }

    /// Removes the links from a live state's lists of impaired ones that other labs have not changed: they are as their owner wants.
    pub fn keep_impaired(&self, live: &mut Live) {
        let host = NamespaceName::host();
        let settings = |name: &LinkName| self.settings(&LinkId::new(&host, *name));
        if let Some(objects) = live.foreign_objects.get_mut(&host) {
            objects.down.retain(|name| settings(name).up.is_some());
            objects.without_inet6.retain(|name| settings(name).mtu.is_some());
        }
    }

    /// Returns a lab that changed one of these settings of an external link.
    pub fn holder_of_settings(&self, link: &LinkId, settings: &LinkSettings) -> Option<&LabName> {
        let holds = |record: &Record| {
            let held = record.links.get(link).map(|held| held.only_those_of(settings));
            held.is_some_and(|held| held != LinkSettings::default())
        };
        self.0.iter().find(|(_, record)| holds(record)).map(|(lab, _)| lab)
    }

    /// Returns a lab that added an object to `host`.
    pub fn object<O: Registered>(&self, id: &Id<O>) -> Option<&LabName> {
        self.0.iter().find(|(_, record)| record.objects.of::<O>().contains(id)).map(|(lab, _)| lab)
    }

    /// Removes the objects from a live state that other labs added, unless they are desired too: their protocol is that of topo, but
    /// they belong to the others.
    pub fn leave_out(&self, live: &mut Live, desired: &State) {
        if !self.0.is_empty() {
            table::visit(&mut LeaveOut { others: self, live, desired });
        }
    }
}

struct LeaveOut<'a> {
    others: &'a Others,
    live: &'a mut Live,
    desired: &'a State,
}

impl Visit for LeaveOut<'_> {
    fn visit<O: Registered>(&mut self) {
        let objects = self.live.state.objects.of_mut::<O>();
        objects.retain(|id, _| {
            !id.0.is_host() || self.desired.objects::<O>().contains_key(id) || self.others.object::<O>(id).is_none()
        });
    }
}
