//! The mtu that the kernel gives a link when the lab says nothing: often that of the link below.

use std::collections::BTreeMap;

use super::{Differ, Subject};
use crate::name::{LinkId, LinkName};
use crate::resource::link::rules::MtuAround;
use crate::resource::link::{Link, LinkSettings};
use crate::state::State;

impl Differ<'_> {
    /// The kernel fits the mtu of a bridge to its ports' whenever those change, unless it was told one while the bridge lived;
    /// which is the case cannot be seen. So a bridge with an mtu of its own is told again.
    pub(super) fn hold_mtus(&mut self) {
        let (desired, live) = (self.desired, self.live);
        for (id, link) in desired.links.iter().filter(|(_, link)| link.kind.follows_ports_mtu() && !link.external) {
            let Some(mtu) = link.settings.mtu.filter(|_| live.state.link(id).is_some() && !self.is_created(id)) else { continue };
            if self.changes_ports(id) {
                let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
                self.hold(id, &settings, "its ports change, and the kernel would fit it to them");
            }
        }
        // A link that follows its parent's mtu loses its own one whenever that changes.
        for (id, link) in desired.links.iter().filter(|(_, link)| link.kind.follows_parents_mtu() && !link.external) {
            let Some(mtu) = link.settings.mtu.filter(|_| live.state.link(id).is_some() && !self.is_created(id)) else { continue };
            if link.kind.below(&id.namespace).is_some_and(|parent| self.moves_mtu(&parent, DEPTH)) {
                let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
                self.hold(id, &settings, "the mtu of its parent changes, and the kernel would make it the same");
            }
        }
    }

    /// Whether a link that stays may have another mtu, if only for a moment.
    fn moves_mtu(&self, id: &LinkId, depth: u8) -> bool {
        let Some((link, depth)) = self.desired.link(id).zip(depth.checked_sub(1)) else { return false };
        let writes = |subject: &Subject| matches!(subject, Subject::Link(_, delta) if delta.written().mtu.is_some());
        let written = self.change_of(id).is_some_and(|change| writes(&change.subject));
        let below = || link.kind.below(&id.namespace).is_some_and(|below| self.moves_mtu(&below, depth));
        written || link.kind.follows_ports_mtu() && self.changes_ports(id) || below()
    }

    /// Whether a link gets or loses ports, or one of them changes.
    fn changes_ports(&self, id: &LinkId) -> bool {
        let changes = |port: &LinkId| self.change_of(port).is_some() || self.removed.contains_key(port);
        !self.desired.ports(id).eq(self.live.state.ports(id)) || self.desired.ports(id).any(changes)
    }
}

/// How deep links may stand on links before the search for an inherited mtu gives up.
const DEPTH: u8 = 32;

/// Finds inherited mtus.
pub struct Inheritance<'a> {
    desired: &'a State,
    live: &'a State,
    ports: BTreeMap<LinkId, Vec<LinkName>>,
}

impl<'a> Inheritance<'a> {
    /// Looks up `desired` first, and `live` for what is not desired.
    pub fn new(desired: &'a State, live: &'a State) -> Self {
        let mut ports: BTreeMap<LinkId, Vec<LinkName>> = BTreeMap::new();
        for (id, link) in &desired.links {
            if let Some(master) = link.settings.master {
                ports.entry(LinkId::new(&id.namespace, master)).or_default().push(id.name);
            }
        }
        Self { desired, live, ports }
    }

    /// What the kernel would give the link if it were born now and its surroundings were as desired.
    pub fn inherited(&self, id: &LinkId, link: &Link) -> Option<u32> {
        self.inherit(id, link, DEPTH)
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
        let inherited = || desired.filter(|link| !link.external).and_then(|link| self.inherit(id, link, depth));
        stated.or_else(inherited).or_else(|| self.live.link(id)?.settings.mtu)
    }
}
