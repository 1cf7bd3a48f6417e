//! The mtu of links for which the lab sets none, which the kernel often takes from the parent or the ports, and their path cost.

use std::collections::BTreeMap;

use super::{Differ, Subject};
use crate::name::{LinkId, LinkName};
use crate::resource::link::rules::{MtuAround, PathCost};
use crate::resource::link::{Inherited, Link, LinkSettings};
use crate::state::State;

impl Differ<'_> {
    /// Writes the explicit mtu of links again whose mtu the kernel changes as a side effect.
    ///
    /// The kernel adjusts the mtu of a bridge to its ports whenever they change, unless the mtu of the existing bridge was set before
    /// (BROPT_MTU_SET_BY_USER). It does not report that flag.
    pub(super) fn rewrite_mtus(&mut self) {
        let (desired, live) = (self.desired, self.live);
        for (id, link) in desired.links.iter().filter(|(_, link)| link.kind.follows_ports_mtu() && !link.external) {
            let Some(mtu) = link.settings.mtu.filter(|_| live.state.link(id).is_some() && !self.is_created(id)) else { continue };
            if self.changes_ports(id) {
                let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
                self.rewrite(id, &settings, "its ports change, and the kernel would adjust its mtu to them");
            }
        }
        // The kernel computes the mtu of a tunnel anew when the route changes that its packets take.
        for (id, link) in desired.links.iter().filter(|(_, link)| !link.external) {
            let options = link.kind.mtu_by_route();
            let Some(live) = live.state.link(id).filter(|_| !options.is_empty() && !self.is_created(id)) else { continue };
            let changes = link.kind.compare(&live.kind).into_iter().flatten();
            if changes.into_iter().any(|change| options.contains(&change.name)) {
                let mtu = link.settings.mtu.or_else(|| link.kind.default_mtu(MtuAround::default()));
                let settings = LinkSettings { mtu, ..LinkSettings::default() };
                self.rewrite(id, &settings, "the kernel would take its mtu from the new route");
            }
        }
        // A link that follows its parent's mtu loses its own mtu whenever the parent's changes.
        for (id, link) in desired.links.iter().filter(|(_, link)| link.kind.follows_parents_mtu() && !link.external) {
            let Some(mtu) = link.settings.mtu.filter(|_| live.state.link(id).is_some() && !self.is_created(id)) else { continue };
            if link.kind.below(&id.namespace).is_some_and(|parent| self.can_change_mtu(&parent, MAX_DEPTH)) {
                let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
                self.rewrite(id, &settings, "the mtu of its parent changes, and the kernel would copy it");
            }
        }
    }

    /// Returns whether the mtu of a link can change during the plan, even temporarily.
    fn can_change_mtu(&self, id: &LinkId, depth: u8) -> bool {
        let Some((link, depth)) = self.desired.link(id).zip(depth.checked_sub(1)) else { return false };
        let writes = |subject: &Subject| matches!(subject, Subject::Link(_, delta) if delta.written().mtu.is_some());
        let written = self.change_of(id).is_some_and(|change| writes(&change.subject));
        let below = || link.kind.below(&id.namespace).is_some_and(|below| self.can_change_mtu(&below, depth));
        written || link.kind.follows_ports_mtu() && self.changes_ports(id) || below()
    }

    /// Returns whether a link gets or loses ports, or one of its ports changes.
    fn changes_ports(&self, id: &LinkId) -> bool {
        let changes = |port: &LinkId| self.change_of(port).is_some() || self.removed.contains_key(port);
        !self.desired.ports(id).eq(self.live.state.ports(id)) || self.desired.ports(id).any(changes)
    }
}

/// The largest number of stacked links that the search for an inherited mtu follows.
const MAX_DEPTH: u8 = 32;

/// Determines inherited mtus and path costs.
pub struct Inheritance<'a> {
    desired: &'a State,
    live: &'a State,
    ports: BTreeMap<LinkId, Vec<LinkName>>,
}

impl<'a> Inheritance<'a> {
    /// Looks links up in `desired` first, then in `live`.
    pub fn new(desired: &'a State, live: &'a State) -> Self {
        let mut ports: BTreeMap<LinkId, Vec<LinkName>> = BTreeMap::new();
        for (id, link) in &desired.links {
            if let Some(master) = link.settings.master {
                ports.entry(LinkId::new(&id.namespace, master)).or_default().push(id.name);
            }
        }
        Self { desired, live, ports }
    }

    /// Returns what the kernel would give the link as a new one, with its parent and ports as desired.
    pub fn inherited(&self, id: &LinkId, link: &Link) -> Inherited {
        let path_cost = link.port.is_some().then(|| self.path_cost(id, link, MAX_DEPTH)).flatten();
        Inherited { mtu: self.inherit(id, link, MAX_DEPTH), path_cost }
    }

    fn path_cost(&self, id: &LinkId, link: &Link, depth: u8) -> Option<u32> {
        match link.kind.path_cost() {
            PathCost::Fixed(cost) => Some(cost).filter(|_| !link.external),
            PathCost::Parents => {
                let parent = link.kind.below(&id.namespace)?;
                self.path_cost(&parent, self.desired.link(&parent)?, depth.checked_sub(1)?)
            }
            PathCost::Unknown => None,
        }
    }

    fn inherit(&self, id: &LinkId, link: &Link, depth: u8) -> Option<u32> {
        let parent = link.kind.below(&id.namespace);
        let ports = self.ports.get(id).into_iter().flatten();
        let around = MtuAround {
            parent: parent.and_then(|parent| self.effective(&parent, depth)),
            smallest_port: ports.filter_map(|port| self.effective(&LinkId::new(&id.namespace, *port), depth)).min(),
        };
        link.kind.default_mtu(around)
    }

    fn effective(&self, id: &LinkId, depth: u8) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        let desired = self.desired.link(id);
        let stated = desired.and_then(|link| link.settings.mtu);
        let changes = || self.desired.ignore.includes(&id.namespace, "mtu", [id.name]);
        let inherited = || desired.filter(|link| !link.external && !changes()).and_then(|link| self.inherit(id, link, depth));
        stated.or_else(inherited).or_else(|| self.live.link(id)?.settings.mtu)
    }
}
