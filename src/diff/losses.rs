//! Finds what objects lose when links are removed, set down, lose their carrier, or get another hardware address.

use std::collections::{BTreeSet, HashSet};

use super::{Action, Differ, Subject};
use crate::graph::Relation;
use crate::name::{LinkId, NamespaceName};
use crate::readiness::settles;
use crate::resource::link::rules::Carrier;
use crate::resource::link::{Link, MasterChange};
use crate::resource::object::{LinkLoss, Losses};
use crate::state::ResourceId;

impl Differ<'_> {
    pub(super) fn find_losses(&mut self) {
        let gone = self.removed.keys().map(|link| {
            let loss = if self.is_created(link) { LinkLoss::Replaced } else { LinkLoss::Deleted };
            (link.clone(), loss)
        });
        let restarted = self.restarted.iter().map(|link| (link.clone(), LinkLoss::Restarted));
        let set_down = self.set_down.iter().map(|link| (link.clone(), LinkLoss::Down));
        for (LinkId { namespace, name }, loss) in restarted.chain(set_down).chain(gone).collect::<Vec<_>>() {
            self.losses_in(&namespace).links.insert(name, loss);
        }
        for LinkId { namespace, name } in self.readdressed() {
            self.losses_in(&namespace).readdressed.insert(name);
        }
        for LinkId { namespace, name } in self.without_carrier() {
            self.losses_in(&namespace).without_carrier.insert(name);
        }
    }

    fn losses_in(&mut self, namespace: &NamespaceName) -> &mut Losses {
        self.losses.entry(namespace.clone()).or_insert_with(|| Losses::of_namespace(namespace))
    }

    /// Live links that get another hardware address or change whether they use ARP. A link without an address of its own has that of its
    /// parent, and a bridge chooses one of its ports'.
    fn readdressed(&self) -> BTreeSet<LinkId> {
        let mut pending: Vec<LinkId> = Vec::new();
        for change in &self.changes {
            let (ResourceId::Link(id), Subject::Link(sides, delta)) = (&change.id, &change.subject) else { continue };
            let written = delta.written();
            if change.action == Action::Update && (written.mac.is_some() || written.arp.is_some()) {
                pending.push(id.clone());
            }
            if change.action != Action::Update || delta.master != MasterChange::Keep {
                let masters = [&sides.before, &sides.after].into_iter().flatten().filter_map(|link| link.settings.master);
                let masters = masters.map(|master| LinkId::new(&id.namespace, master));
                pending.extend(masters.filter(|master| self.chooses_mac(master)));
            }
        }
        let mut found = BTreeSet::new();
        if pending.is_empty() {
            return found;
        }
        let graph = self.live_links();
        while let Some(id) = pending.pop() {
            let follows = |upper: &LinkId, relation: Relation| match relation {
                Relation::Peer => false,
                Relation::Port => self.chooses_mac(upper),
                Relation::Parent => self.shares_mac(upper, &id),
            };
            let uppers = graph.above(&id).filter(|(upper, relation)| follows(upper, *relation));
            let uppers: Vec<LinkId> = uppers.map(|(upper, _)| upper.clone()).collect();
            if found.insert(id) {
                pending.extend(uppers);
            }
        }
        found
    }

    /// Whether the link is there and stays, and the lab leaves it to choose the address of a port.
    fn chooses_mac(&self, master: &LinkId) -> bool {
        let stays = self.live.state.link(master).is_some() && !self.removed.contains_key(master);
        let chooses = |link: &Link| link.kind.follows_ports_mac() && link.settings.mac.is_none();
        stays && self.desired.link(master).is_some_and(chooses)
    }

    fn shares_mac(&self, upper: &LinkId, parent: &LinkId) -> bool {
        let mac = |id: &LinkId| self.live.state.link(id).and_then(|link| link.settings.mac);
        mac(upper).is_some() && mac(upper) == mac(parent)
    }

    /// Live links that lose their carrier with the other end of their pair, with their parent, or with the last of their ports.
    fn without_carrier(&self) -> BTreeSet<LinkId> {
        let leaving: HashSet<&LinkId> = self.leaving().collect();
        let down: HashSet<&LinkId> = self.set_down.iter().chain(&self.restarted).collect();
        let mut pending: Vec<LinkId> = down.iter().chain(&leaving).map(|id| (*id).clone()).collect();
        let mut found = BTreeSet::new();
        if pending.is_empty() {
            return found;
        }
        let graph = self.live_links();
        let is_down = |port: &LinkId| {
            let down = |link: &Link| link.settings.up == Some(false);
            self.live.state.link(port).is_some_and(down) && self.desired.link(port).is_none_or(down)
        };
        let has_peer_down = |port: &LinkId| {
            let peer = self.live.state.link(port).and_then(|link| Some(link.kind.peer()?.resolve(&port.namespace)));
            peer.is_some_and(|peer| is_down(&peer))
        };
        // One that has none already, and gets none from the lab.
        let lacks_carrier = |port: &LinkId| is_down(port) || has_peer_down(port) || !settles(self.desired, self.live, port);
        while let Some(id) = pending.pop() {
            let set_down = down.contains(&id);
            for (upper, relation) in graph.above(&id) {
                let loses = match relation {
                    Relation::Peer => set_down,
                    Relation::Parent => set_down || found.contains(&id),
                    Relation::Port => {
                        let needs_ports = self.live.state.link(upper).is_some_and(|link| link.kind.carrier() == Carrier::Ports);
                        let loses = |port: &LinkId| leaving.contains(port) || found.contains(port) || down.contains(port);
                        needs_ports && graph.ports(upper).all(|port| loses(port) || lacks_carrier(port))
                    }
                };
                if loses && found.insert(upper.clone()) {
                    pending.push(upper.clone());
                }
            }
        }
        found
    }

    /// Live ports that their master loses.
    fn leaving(&self) -> impl Iterator<Item = &LinkId> {
        let leaves = |change: &&super::Change| match &change.subject {
            Subject::Link(sides, delta) => {
                let was_port = sides.before.as_ref().is_some_and(|link| link.settings.master.is_some());
                was_port && (change.action.removes() || delta.master != MasterChange::Keep)
            }
            Subject::Namespace | Subject::Sysctl(_) | Subject::Object(_) | Subject::Part(_) => false,
        };
        self.changes.iter().filter(leaves).filter_map(|change| match &change.id {
            ResourceId::Link(id) => Some(id),
            _ => None,
        })
    }
}
