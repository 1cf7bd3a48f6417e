//! The mtus that interfaces will have, as far as the file tells.

use std::collections::BTreeMap;

use super::interface::{Interface, Table, find};
use super::sibling::parent;
use crate::name::LinkId;
use crate::resource::link::rules::MtuAround;
use crate::yaml::problem::Problems;

/// The largest mtu that each interface can have; each is worked out once.
struct Known<'t, 'l> {
    table: &'t Table<'l>,
    mtus: BTreeMap<LinkId, Option<u32>>,
}

impl Known<'_, '_> {
    /// The given one, or what its kind takes from its parent and from those of its ports whose mtu is known.
    fn of(&mut self, id: &LinkId) -> Option<u32> {
        if let Some(known) = self.mtus.get(id) {
            return *known;
        }
        self.mtus.insert(id.clone(), None); // Links in a circle, which is an error of its own, do not go round for ever.
        let mtu = find(self.table, id).and_then(|interface| interface.link.settings.mtu.or_else(|| self.derived(interface)));
        self.mtus.insert(id.clone(), mtu);
        mtu
    }

    fn derived(&mut self, interface: &Interface<'_>) -> Option<u32> {
        let parent = parent(interface).and_then(|parent| self.of(&parent));
        let smallest_port = match interface.link.kind.follows_ports_mtu() {
            true => Some(self.smallest_port(interface)?),
            false => None,
        };
        interface.link.kind.default_mtu(MtuAround { parent, smallest_port })
    }

    fn smallest_port(&mut self, master: &Interface<'_>) -> Option<u32> {
        let namespace = self.table.get(&master.id.namespace)?;
        let ports = namespace.interfaces.values().filter(|port| port.link.settings.master == Some(master.id.name));
        ports.filter_map(|port| self.of(&port.id)).min()
    }
}

/// Reports the links that are to have a larger mtu than their parent allows: the kernel would refuse it, or shrink it without a word.
pub(super) fn check(table: &Table<'_>, upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut known = Known { table, mtus: BTreeMap::new() };
    for interface in upper {
        let (Some(mtu), Some(parent)) = (interface.link.settings.mtu, parent(interface)) else { continue };
        let Some(below) = known.of(&parent) else { continue };
        let Some(bound) = interface.link.kind.mtu_bound(below) else { continue };
        if mtu > bound.most {
            let message = format!("mtu {mtu} is too large: the parent `{parent}` has mtu {below}");
            let problem = problems.error(interface.setting_path("mtu"), message);
            let why = if bound.most < below { " (the outer headers take the rest)" } else { "" };
            problem.hint(format!("use at most {}{why}", bound.most));
            if let Some(below) = find(table, &parent).filter(|below| below.link.settings.mtu.is_some()) {
                problem.also(below.setting_path("mtu"), "mtu of the parent");
            }
        }
    }
}
