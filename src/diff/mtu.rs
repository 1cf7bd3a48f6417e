//! The mtu that the kernel gives a link when the lab says nothing: often that of the link below.

use std::collections::BTreeMap;

use super::Differ;
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
            let changes = |port: &LinkId| self.change_of(port).is_some() || self.removed.contains_key(port);
            if !desired.ports(id).eq(live.state.ports(id)) || desired.ports(id).any(changes) {
                let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
                self.hold(id, &settings, "its ports change, and the kernel would fit it to them");
            }
        }
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
