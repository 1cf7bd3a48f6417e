//! The operations of links: born in place with chosen numbers, finished by what the creating message cannot carry, changed
//! while they live, and deleted only where the kernel does not do it along with something else.

use std::sync::Arc;

use super::Context;
use super::build::{Node, Phase};
use crate::diff::{Action, Sides};
use crate::graph::{LinkGraph, Relation};
use crate::name::{LinkId, NamespaceName};
use crate::operation::{LinkChange, LinkHandle, MasterChange, NewLink, NewPeer, Operation};
use crate::ownership::Mark;
use crate::resource::link::{Kind, Link, LinkDelta, LinkSettings};

impl Context<'_> {
    pub(super) fn add_link_nodes(
        &self,
        nodes: &mut Vec<Node>,
        position: usize,
        action: Action,
        id: &LinkId,
        Sides { before, after }: &Sides<Arc<Link>>,
        delta: &LinkDelta,
    ) {
        if let (true, Some(live)) = (action.removes(), before)
            && self.needs_deleting(id, live)
        {
            let handle = LinkHandle { id: id.clone(), index: self.live.indices.get(id).copied().unwrap_or(0) };
            let mut node = Node::new(position, Phase::DeleteLinks, Operation::DeleteLink(handle));
            node.provides.push(id.clone());
            node.after.extend(self.standing_elsewhere(id));
            nodes.push(node);
        }
        match (action, after) {
            (Action::Create | Action::Replace, Some(desired)) => {
                if !desired.kind.is_loopback() && self.bears_pair(id, desired) {
                    nodes.push(self.birth(position, id, desired));
                }
                nodes.extend(mtu_of_its_own(desired).map(|mtu| self.resize(position, id, mtu)));
                nodes.extend(self.finish(position, id, desired));
                nodes.extend(self.complete(position, id, desired));
                nodes.extend(self.hold_mtu(position, id, desired));
            }
            (Action::Update, Some(desired)) => {
                let reasserted = mtu_of_its_own(desired).filter(|_| delta.rewrite.mtu.is_some());
                nodes.extend(reasserted.map(|mtu| self.resize(position, id, beside(mtu))));
                nodes.extend(self.release_names(position, id, delta));
                nodes.extend(self.update(position, id, desired, delta));
                nodes.extend(delta.written().mtu.and_then(|_| self.hold_mtu(position, id, desired)));
            }
            _ => {}
        }
    }

    /// The live links in other namespaces whose parent it is; they are deleted first.
    fn standing_elsewhere(&self, id: &LinkId) -> impl Iterator<Item = LinkId> {
        let graph = self.live_links.get_or_init(|| LinkGraph::of_state(&self.live.state));
        let above = graph.removed_with(id).filter(|(_, relation)| *relation == Relation::Parent).map(|(link, _)| link);
        above.filter(|link| link.namespace != id.namespace).cloned()
    }

    /// Whether a message of its own must delete the link: not when it goes with the link below, with the other end of its pair,
    /// or with a namespace. What spans namespaces is deleted explicitly when one of them stays, because there the kernel's
    /// clean-up, which comes some time after the namespace is gone, would still be seen.
    fn needs_deleting(&self, id: &LinkId, live: &Link) -> bool {
        if id.name.is_loopback() {
            return false;
        }
        let below = live.kind.parent().map(|below| below.resolve(&id.namespace));
        let goes = |link: &LinkId| self.gone_namespaces.contains(&link.namespace);
        let Some(below) = below else { return !goes(id) || self.spans(live, id) };
        if live.kind.is_pair() {
            return match (goes(id), goes(&below)) {
                (true, true) => false,
                (true, false) => !self.is_known(&below),
                (false, true) => true,
                (false, false) => *id < below || !self.is_known(&below),
            };
        }
        let along = self.is_known(&below) && self.is_gone(&below) && self.goes_at_once(&below);
        match goes(id) {
            true => !along && (below.namespace != id.namespace && !goes(&below) || self.spans(live, id)),
            false => !along,
        }
    }

    /// Whether a live link is gone as soon as links have been deleted, rather than some time after its namespace.
    fn goes_at_once(&self, id: &LinkId) -> bool {
        let Some(live) = self.live.state.link(id).filter(|_| self.is_gone(id)) else { return false };
        if self.needs_deleting(id, live) {
            return true;
        }
        let Some(below) = live.kind.parent().map(|below| below.resolve(&id.namespace)) else { return false };
        match (live.kind.is_pair(), self.live.state.link(&below)) {
            (true, Some(peer)) => self.needs_deleting(&below, peer),
            _ => self.goes_at_once(&below),
        }
    }

    /// Whether a link in a namespace that goes keeps something in one that stays.
    fn spans(&self, live: &Link, id: &LinkId) -> bool {
        let elsewhere = |underlay: &NamespaceName| *underlay != id.namespace && !self.gone_namespaces.contains(underlay);
        live.kind.underlay().is_some_and(elsewhere)
    }

    fn is_known(&self, link: &LinkId) -> bool {
        self.live.indices.contains_key(link)
    }

    /// Whether this link's birth is sent for it: of a pair, the end that is a port, so that ports come in the order of their names,
    /// else the end whose name comes first.
    fn bears_pair(&self, id: &LinkId, link: &Link) -> bool {
        let Some(peer) = link.kind.peer().map(|peer| peer.resolve(&id.namespace)) else { return true };
        let is_port = |link: &Link| link.settings.master.is_some();
        let rank = |is_port: bool, id: &LinkId| (!is_port, id.clone());
        rank(is_port(link), id) < rank(self.desired.link(&peer).is_some_and(is_port), &peer)
    }

    /// Whether the messages of its birth can bring a link up and make it a port: of a pair those of the first end, and of the
    /// second where that is in `host` and gets a message for its mark anyway.
    fn is_born_complete(&self, id: &LinkId, link: &Link) -> bool {
        let Some(peer) = link.kind.peer().map(|peer| peer.resolve(&id.namespace)) else { return true };
        id.namespace.is_host() || peer.namespace.is_host() || self.bears_pair(id, link)
    }

    fn birth(&self, position: usize, id: &LinkId, link: &Link) -> Node {
        let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace)).filter(|peer| self.desired.link(peer).is_some());
        let parent = link.kind.parent().filter(|_| peer.is_none()).map(|parent| parent.resolve(&id.namespace));
        let mut node = match &peer {
            // The end in `host` is the second one.
            Some(peer) if id.namespace.is_host() && !peer.namespace.is_host() => self.birth_of(position, peer, None, Some(id)),
            _ => self.birth_of(position, id, parent.as_ref(), peer.as_ref()),
        };
        node.after.extend(parent);
        for (id, link) in [(Some(id), Some(link)), (peer.as_ref(), peer.as_ref().and_then(|peer| self.desired.link(peer)))] {
            let Some((id, link)) = id.zip(link).filter(|(id, link)| self.is_born_complete(id, link)) else { continue };
            let master = link.settings.master.map(|master| LinkId::new(&id.namespace, master));
            node.after.extend(master.filter(|master| self.is_born(master)));
            node.after.extend(self.sized_master(id, link));
        }
        node.provides.push(id.clone());
        node.provides.extend(peer);
        node
    }

    fn birth_of(&self, position: usize, first: &LinkId, parent: Option<&LinkId>, second: Option<&LinkId>) -> Node {
        let master =
            |id: &LinkId, link: &Link| link.settings.master.map(|master| self.handle(&LinkId::new(&id.namespace, master)));
        let up = |id: &LinkId, link: &Link| link.settings.up != Some(false) && !self.comes_up_late(id, link);
        let peer = second.and_then(|second| Some((second, self.desired.link(second)?))).map(|(second, link)| {
            let complete = second.namespace.is_host();
            Box::new(NewPeer {
                handle: self.handle(second),
                link: link.clone(),
                master: master(second, link).filter(|_| complete),
                up: complete && up(second, link),
            })
        });
        let link = self.desired.link(first).expect("what is born is desired");
        let operation = Operation::CreateLink(Box::new(NewLink {
            handle: self.handle(first),
            link: self.newborn(first, link),
            parent: parent.map(|parent| self.handle(parent)),
            master: master(first, link),
            up: up(first, link),
            peer,
        }));
        Node::new(position, Phase::Links, operation)
    }

    /// The link's master, when that has an mtu of its own, which must be known to the kernel before the ports change.
    fn sized_master(&self, id: &LinkId, link: &Link) -> Option<LinkId> {
        let master = LinkId::new(&id.namespace, link.settings.master?);
        self.desired.link(&master).and_then(mtu_of_its_own).map(|_| master)
    }

    /// The link as its creating message describes it. A master with an mtu of its own gets another one first, because the kernel
    /// only takes a change for a wish, and fits the mtu to the ports' otherwise. One without gets what the ports will give it. So
    /// does what stands on a master, whose own mtu may still be another while its ports are on their way.
    fn newborn(&self, id: &LinkId, link: &Link) -> Link {
        let mut newborn = link.clone();
        let parent = link.kind.below(&id.namespace);
        let on_master = parent.and_then(|parent| self.desired.link(&parent)).is_some_and(|parent| parent.kind.takes_ports());
        match mtu_of_its_own(link) {
            Some(mtu) => newborn.settings.mtu = Some(beside(mtu)),
            None if link.kind.takes_ports() || on_master => {
                newborn.settings.mtu = link.settings.mtu.or_else(|| self.inheritance.inherited(id, link));
            }
            None => {}
        }
        if let Some(kind) = self.while_ports_join(id, link) {
            newborn.kind = kind;
        }
        newborn
    }

    /// What a new link is until its ports are there, if that is something else than what it is to be.
    fn while_ports_join(&self, id: &LinkId, link: &Link) -> Option<Kind> {
        /// Fewer are not worth another message.
        const MANY: usize = 32;
        let ports = self.with_new_ports.get(id).copied().unwrap_or_default();
        link.kind.while_ports_join().filter(|_| ports >= MANY)
    }

    /// Makes a new link what it is to be, once it is up and has its ports.
    fn complete(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let newborn = self.while_ports_join(id, link)?;
        let change = LinkChange { kind: Some(link.kind.difference(&newborn)), ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::FinishLinks, Operation::ChangeLink(Box::new(change)));
        node.after.push(id.clone());
        Some(node)
    }

    fn resize(&self, position: usize, id: &LinkId, mtu: u32) -> Node {
        let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
        let change = LinkChange { settings, ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::Links, Operation::ChangeLink(Box::new(change)));
        node.provides.push(id.clone());
        node
    }

    /// Gives a link that follows its parent's mtu its own one again, once the parent has all of its ports.
    fn hold_mtu(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let mtu = link.settings.mtu.filter(|_| link.kind.follows_parents_mtu())?;
        let parent = link.kind.below(&id.namespace)?;
        self.desired.link(&parent).filter(|parent| parent.kind.follows_ports_mtu())?;
        let after = self.desired.ports(&parent).cloned().chain([parent.clone(), id.clone()]).collect();
        Some(Node { phase: Phase::FinishLinks, after, provides: Vec::new(), ..self.resize(position, id, mtu) })
    }

    /// Whether a new link can only be brought up by a message of its own: the second end of most pairs, one with settings that
    /// must be in force before, and one over a link that is itself late (a vlan cannot be up over a parent that is down). A bridge
    /// could come up before its ports, but then the kernel would send what IPv6 says on each new port to all that are there.
    fn comes_up_late(&self, id: &LinkId, link: &Link) -> bool {
        if self.with_sysctls.contains(id) || self.with_new_ports.contains_key(id) || !self.is_born_complete(id, link) {
            return true;
        }
        let parent = link.kind.below(&id.namespace);
        let late = |parent: &LinkId| {
            self.is_born(parent) && self.desired.link(parent).is_some_and(|link| self.comes_up_late(parent, link))
        };
        parent.is_some_and(|parent| late(&parent))
    }

    /// What the creating message could not carry.
    fn finish(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let second = !self.is_born_complete(id, link);
        let loopback = link.kind.is_loopback();
        let wants_up = link.settings.up != Some(false);
        let mut settings = match loopback {
            true => link.settings.difference(&Link::new_loopback().settings),
            // The kernel brings a vlan up with its parent, so that one that is to stay down is taken down after that.
            false => LinkSettings { up: self.comes_up_late(id, link).then_some(wants_up), ..LinkSettings::default() },
        };
        let add_altnames: Vec<String> = link.settings.altnames.iter().flatten().cloned().collect();
        (settings.altnames, settings.master) = (None, None);
        let master = match link.settings.master {
            Some(master) if second => MasterChange::Enslave(self.handle(&LinkId::new(&id.namespace, master))),
            _ => MasterChange::Keep,
        };
        if settings == LinkSettings::default() && add_altnames.is_empty() && master == MasterChange::Keep {
            return None;
        }
        let change = LinkChange { settings, master, add_altnames, ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::FinishLinks, Operation::ChangeLink(Box::new(change)));
        node.after.extend(link.kind.below(&id.namespace));
        node.provides.push(id.clone());
        Some(node)
    }

    /// Takes alternative names from a link, before another one can want them.
    fn release_names(&self, position: usize, id: &LinkId, delta: &LinkDelta) -> Option<Node> {
        let remove_altnames: Vec<_> = delta.loses.iter().cloned().collect();
        let releases = !remove_altnames.is_empty();
        let change = LinkChange { remove_altnames, ..LinkChange::of(self.handle(id)) };
        releases.then(|| Node::new(position, Phase::ReleaseNames, Operation::ChangeLink(Box::new(change))))
    }

    fn update(&self, position: usize, id: &LinkId, desired: &Link, delta: &LinkDelta) -> Option<Node> {
        let master = delta.master.map(|master| self.handle(&LinkId::new(&id.namespace, master)));
        let enslaved_to = delta.master.new_master().map(|master| LinkId::new(&id.namespace, master));
        let nothing = LinkChange::of(self.handle(id));
        let changed = LinkChange {
            kind: delta.kind.as_deref().cloned(),
            settings: delta.written(),
            master,
            mark: delta.mark.then(|| desired.marked.other().cloned().unwrap_or_else(|| Mark::of(self.lab))),
            add_altnames: delta.gains.iter().cloned().collect(),
            ..nothing.clone()
        };
        if changed == nothing {
            return None;
        }
        let mut node = Node::new(position, Phase::Links, Operation::ChangeLink(Box::new(changed)));
        node.after.extend(desired.kind.below(&id.namespace));
        node.after.extend(enslaved_to.filter(|master| self.is_born(master)));
        node.after.extend(self.sized_master(id, desired));
        // The kernel lets a bridge's mtu follow its ports', so that by then there may be nothing left to do.
        if desired.kind.follows_ports_mtu() && desired.settings.mtu.is_none() && delta.settings.mtu.is_some() {
            node.after.extend(self.desired.ports(id).cloned());
        }
        node.provides.push(id.clone());
        Some(node)
    }
}

/// The mtu that the lab gives a link with ports, so that it is not to follow theirs.
fn mtu_of_its_own(link: &Link) -> Option<u32> {
    link.settings.mtu.filter(|_| link.kind.follows_ports_mtu() && !link.external)
}

/// An mtu that is not the given one, and above it where that is possible, so that nothing on top has to shrink.
fn beside(mtu: u32) -> u32 {
    const MOST: u32 = 65535;
    if mtu < MOST { mtu + 1 } else { mtu - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::from_nothing;

    /// What the plan that makes a bridge with so many ports says about snooping when, with whether the bridge is up by then.
    fn snooping(ports: usize, options: &str) -> Vec<(Option<bool>, bool)> {
        let links = (0..ports).map(|n| format!("{{ endpoints: [a:p{n}, b:e{n}] }}")).collect::<Vec<_>>().join(", ");
        let bridge = format!("{{ bridge: {{ ports: [\"p*\"]{options} }} }}");
        let lab = format!("namespaces: {{ a: {{ interfaces: {{ br0: {bridge} }} }}, b: {{}} }}\nlinks: [{links}]\n");
        let (mut up, mut said) = (false, Vec::new());
        for operation in from_nothing(&lab).operations() {
            let kind = match operation {
                Operation::CreateLink(new) => Some(new.link.kind),
                Operation::ChangeLink(change) if change.handle.id.name.as_str() == "br0" => {
                    up |= change.settings.up == Some(true);
                    change.kind
                }
                _ => None,
            };
            if let Some(Kind::Bridge(bridge)) = kind {
                said.push((bridge.mcast_snooping, up));
            }
        }
        said
    }

    #[test]
    fn a_bridge_with_many_ports_snoops_when_it_is_up() {
        let default = snooping(3, "");
        assert_eq!(default.len(), 1);
        assert_ne!(default[0].0, Some(false));
        assert_eq!(snooping(32, ""), [(Some(false), false), (Some(true), true)]);
        assert_eq!(snooping(32, ", mcast_snooping: false"), [(Some(false), false)]);
    }
}
