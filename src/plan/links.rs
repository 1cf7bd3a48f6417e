//! Builds the operations of links. A new link is created in its namespace with a chosen index; a second operation sets what the
//! creating message cannot contain. A link that the kernel removes together with another link or a namespace is not deleted.

use std::sync::Arc;

use super::Context;
use super::build::{Node, Phase};
use crate::diff::{Action, Sides};
use crate::graph::{LinkGraph, Relation};
use crate::name::{LinkId, NamespaceName};
use crate::operation::{LinkChange, LinkHandle, MasterChange, NewLink, NewPeer, Operation, PortChange};
use crate::ownership::Mark;
use crate::resource::link::{Kind, Link, LinkDelta, LinkSettings, Port};

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
            node.after.extend(self.upper_links_elsewhere(id));
            nodes.push(node);
        }
        match (action, after) {
            (Action::Create | Action::Replace, Some(desired)) => {
                if !desired.kind.is_loopback() && self.creates_pair(id, desired) {
                    nodes.push(self.create(position, id, desired));
                }
                nodes.extend(explicit_mtu(desired).map(|mtu| self.set_mtu(position, id, mtu)));
                nodes.extend(self.finish(position, id, desired));
                nodes.extend(self.set_final_options(position, id, desired));
                nodes.extend(self.rewrite_mtu(position, id, desired));
                nodes.extend(desired.new_port().map(|options| self.set_port(position, id, desired, options)));
            }
            (Action::Update, Some(desired)) => {
                let rewritten = explicit_mtu(desired).filter(|_| delta.rewrite.mtu.is_some());
                nodes.extend(rewritten.map(|mtu| self.set_mtu(position, id, different_mtu(mtu))));
                nodes.extend(self.release_names(position, id, delta));
                nodes.extend(self.update(position, id, desired, delta));
                nodes.extend(delta.written().mtu.and_then(|_| self.rewrite_mtu(position, id, desired)));
                nodes.extend(delta.port.clone().map(|options| self.set_port(position, id, desired, options)));
            }
            _ => {}
        }
    }

    /// Returns the live upper links in other namespaces. They are deleted before the link.
    fn upper_links_elsewhere(&self, id: &LinkId) -> impl Iterator<Item = LinkId> {
        let graph = self.live_links.get_or_init(|| LinkGraph::of_state(&self.live.state));
        let above = graph.removed_with(id).filter(|(_, relation)| *relation == Relation::Parent).map(|(link, _)| link);
        above.filter(|link| link.namespace != id.namespace).cloned()
    }

    /// Returns whether the link needs a deletion of its own. The kernel removes it with its parent, with the other end of its pair,
    /// or with its namespace. The kernel cleans up a deleted namespace asynchronously, so a link that also concerns a remaining
    /// namespace is deleted explicitly.
    fn needs_deleting(&self, id: &LinkId, live: &Link) -> bool {
        if id.name.is_loopback() {
            return false;
        }
        let below = live.kind.parent().map(|below| below.resolve(&id.namespace));
        let with_namespace = |link: &LinkId| self.deleted_namespaces.contains(&link.namespace);
        let Some(below) = below else { return !with_namespace(id) || self.has_remaining_underlay(live, id) };
        if live.kind.is_pair() {
            return match (with_namespace(id), with_namespace(&below)) {
                (true, true) => false,
                (true, false) => !self.is_known(&below),
                (false, true) => true,
                (false, false) => *id < below || !self.is_known(&below),
            };
        }
        let with_parent = self.is_known(&below) && self.is_removed(&below) && self.is_removed_synchronously(&below);
        match with_namespace(id) {
            true => {
                let parent_remains = below.namespace != id.namespace && !with_namespace(&below);
                !with_parent && (parent_remains || self.has_remaining_underlay(live, id))
            }
            false => !with_parent,
        }
    }

    /// Returns whether a live link is removed by the deletion of a link, and not by the asynchronous cleanup of its namespace.
    fn is_removed_synchronously(&self, id: &LinkId) -> bool {
        let Some(live) = self.live.state.link(id).filter(|_| self.is_removed(id)) else { return false };
        if self.needs_deleting(id, live) {
            return true;
        }
        let Some(below) = live.kind.parent().map(|below| below.resolve(&id.namespace)) else { return false };
        match (live.kind.is_pair(), self.live.state.link(&below)) {
            (true, Some(peer)) => self.needs_deleting(&below, peer),
            _ => self.is_removed_synchronously(&below),
        }
    }

    /// Returns whether the underlay of a live link is another namespace that the plan does not delete.
    fn has_remaining_underlay(&self, live: &Link, id: &LinkId) -> bool {
        let remains = |underlay: &NamespaceName| *underlay != id.namespace && !self.deleted_namespaces.contains(underlay);
        live.kind.underlay().is_some_and(remains)
    }

    fn is_known(&self, link: &LinkId) -> bool {
        self.live.indices.contains_key(link)
    }

    /// Returns whether the operation that creates a pair belongs to this end: the end that is a port, so that ports are created in
    /// the order of their names, otherwise the end with the lower name. True for links that are not pairs.
    fn creates_pair(&self, id: &LinkId, link: &Link) -> bool {
        let Some(peer) = link.kind.peer().map(|peer| peer.resolve(&id.namespace)) else { return true };
        let is_port = |link: &Link| link.settings.master.is_some();
        let rank = |is_port: bool, id: &LinkId| (!is_port, id.clone());
        rank(is_port(link), id) < rank(self.desired.link(&peer).is_some_and(is_port), &peer)
    }

    /// Returns whether the creating operation can bring the link up and set its master. That is not the case for the second end of a
    /// pair, unless an end is in `host`, where a further message writes the mark anyway.
    fn is_created_complete(&self, id: &LinkId, link: &Link) -> bool {
        let Some(peer) = link.kind.peer().map(|peer| peer.resolve(&id.namespace)) else { return true };
        id.namespace.is_host() || peer.namespace.is_host() || self.creates_pair(id, link)
    }

    fn create(&self, position: usize, id: &LinkId, link: &Link) -> Node {
        let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace)).filter(|peer| self.desired.link(peer).is_some());
        let parent = link.kind.parent().filter(|_| peer.is_none()).map(|parent| parent.resolve(&id.namespace));
        let mut node = match &peer {
            // The end in `host` is the second one.
            Some(peer) if id.namespace.is_host() && !peer.namespace.is_host() => {
                self.create_operation(position, peer, None, Some(id))
            }
            _ => self.create_operation(position, id, parent.as_ref(), peer.as_ref()),
        };
        node.after.extend(parent);
        for (id, link) in [(Some(id), Some(link)), (peer.as_ref(), peer.as_ref().and_then(|peer| self.desired.link(peer)))] {
            let Some((id, link)) = id.zip(link).filter(|(id, link)| self.is_created_complete(id, link)) else { continue };
            let master = link.settings.master.map(|master| LinkId::new(&id.namespace, master));
            node.after.extend(master.filter(|master| self.is_created(master)));
            node.after.extend(self.master_with_explicit_mtu(id, link));
        }
        node.provides.push(id.clone());
        node.provides.extend(peer);
        node
    }

    fn create_operation(&self, position: usize, first: &LinkId, parent: Option<&LinkId>, second: Option<&LinkId>) -> Node {
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
        let link = self.desired.link(first).expect("only desired links are created");
        let operation = Operation::CreateLink(Box::new(NewLink {
            handle: self.handle(first),
            link: self.initial(first, link),
            parent: parent.map(|parent| self.handle(parent)),
            master: master(first, link),
            up: up(first, link),
            peer,
        }));
        Node::new(position, Phase::Links, operation)
    }

    /// Returns the master of the link if the lab sets the master's mtu. That mtu must be written before the ports change.
    fn master_with_explicit_mtu(&self, id: &LinkId, link: &Link) -> Option<LinkId> {
        let master = LinkId::new(&id.namespace, link.settings.master?);
        self.desired.link(&master).and_then(explicit_mtu).map(|_| master)
    }

    /// Returns the link as the creating message describes it.
    ///
    /// A master whose mtu the lab sets is created with a different mtu: the kernel stops adjusting the mtu to the ports only when a
    /// later message changes it. A master without an explicit mtu, and an upper link of a master, are created with the mtu that they
    /// will have once the ports have joined. A tunnel is always created with an mtu, because the kernel's would depend on routes.
    fn initial(&self, id: &LinkId, link: &Link) -> Link {
        let mut initial = link.clone();
        let parent = link.kind.below(&id.namespace);
        let on_master =
            parent.and_then(|parent| self.desired.link(&parent)).is_some_and(|parent| parent.kind.follows_ports_mtu());
        match explicit_mtu(link) {
            Some(mtu) => initial.settings.mtu = Some(different_mtu(mtu)),
            None if link.kind.follows_ports_mtu() || on_master || !link.kind.mtu_by_route().is_empty() => {
                initial.settings.mtu = link.settings.mtu.or_else(|| self.inheritance.inherited(id, link).mtu);
            }
            None => {}
        }
        if let Some(kind) = self.while_ports_join(id, link) {
            initial.kind = kind;
        }
        initial
    }

    /// Returns the temporary options of a new link with many ports, which apply until all of its ports have joined.
    fn while_ports_join(&self, id: &LinkId, link: &Link) -> Option<Kind> {
        /// With fewer ports the additional message costs more than it saves.
        const MANY: usize = 32;
        let ports = self.with_new_ports.get(id).copied().unwrap_or_default();
        link.kind.while_ports_join().filter(|_| ports >= MANY)
    }

    /// Replaces the temporary options of a new link by the desired ones, once it is up and has its ports.
    fn set_final_options(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let temporary = self.while_ports_join(id, link)?;
        let change = LinkChange { kind: Some(link.kind.difference(&temporary)), ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::FinishLinks, Operation::ChangeLink(Box::new(change)));
        node.after.push(id.clone());
        Some(node)
    }

    fn set_mtu(&self, position: usize, id: &LinkId, mtu: u32) -> Node {
        let settings = LinkSettings { mtu: Some(mtu), ..LinkSettings::default() };
        let change = LinkChange { settings, ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::Links, Operation::ChangeLink(Box::new(change)));
        node.provides.push(id.clone());
        node
    }

    /// Writes the mtu of a link that follows its parent's mtu again, once the parent has all of its ports.
    fn rewrite_mtu(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let mtu = link.settings.mtu.filter(|_| link.kind.follows_parents_mtu())?;
        let parent = link.kind.below(&id.namespace)?;
        self.desired.link(&parent).filter(|parent| parent.kind.follows_ports_mtu())?;
        let after = self.desired.ports(&parent).cloned().chain([parent.clone(), id.clone()]).collect();
        Some(Node { phase: Phase::FinishLinks, after, provides: Vec::new(), ..self.set_mtu(position, id, mtu) })
    }

    /// Returns whether a separate message brings the new link up: if it is the second end of a pair, if it has sysctls that must be
    /// written first, or if its parent comes up late (a vlan cannot be up while its parent is down). A master that gets new ports
    /// also comes up late, because a bridge that is up floods the IPv6 messages of each new port to all other ports.
    fn comes_up_late(&self, id: &LinkId, link: &Link) -> bool {
        if self.with_sysctls.contains(id) || self.with_new_ports.contains_key(id) || !self.is_created_complete(id, link) {
            return true;
        }
        let parent = link.kind.below(&id.namespace);
        let late = |parent: &LinkId| {
            self.is_created(parent) && self.desired.link(parent).is_some_and(|link| self.comes_up_late(parent, link))
        };
        parent.is_some_and(|parent| late(&parent))
    }

    /// Sets what the creating message could not contain.
    fn finish(&self, position: usize, id: &LinkId, link: &Link) -> Option<Node> {
        let second = !self.is_created_complete(id, link);
        let loopback = link.kind.is_loopback();
        let wants_up = link.settings.up != Some(false);
        let mut settings = match loopback {
            true => link.settings.difference(&Link::new_loopback().settings),
            // The kernel brings a vlan up with its parent, so a vlan with `up: false` must be taken down afterwards.
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

    /// Sets options of a port. The kernel accepts them only from a message of their own after the link has joined the master, and the
    /// state only while the other end of the pair is up.
    fn set_port(&self, position: usize, id: &LinkId, link: &Link, options: Port) -> Node {
        let peer = link.kind.peer().filter(|_| options.needs_carrier()).map(|peer| peer.resolve(&id.namespace));
        let reference = options.reference().map(|(_, port)| self.handle(&LinkId::new(&id.namespace, port)));
        let change = LinkChange { port: Some(Box::new(PortChange { options, reference })), ..LinkChange::of(self.handle(id)) };
        let mut node = Node::new(position, Phase::SetPorts, Operation::ChangeLink(Box::new(change)));
        node.after.extend(peer);
        node
    }

    /// Removes alternative names from a link, before another link can get them.
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
            mark: delta.mark.then(|| desired.marked.other().cloned().unwrap_or_else(|| Mark::of_link(self.lab, id))),
            add_altnames: delta.gains.iter().cloned().collect(),
            ..nothing.clone()
        };
        if changed == nothing {
            return None;
        }
        let mut node = Node::new(position, Phase::Links, Operation::ChangeLink(Box::new(changed)));
        node.after.extend(desired.kind.below(&id.namespace));
        node.after.extend(enslaved_to.filter(|master| self.is_created(master)));
        node.after.extend(self.master_with_explicit_mtu(id, desired));
        // The kernel adjusts a bridge's mtu to its ports, so the ports come first.
        if desired.kind.follows_ports_mtu() && desired.settings.mtu.is_none() && delta.settings.mtu.is_some() {
            node.after.extend(self.desired.ports(id).cloned());
        }
        node.provides.push(id.clone());
        Some(node)
    }
}

/// Returns the mtu that the lab sets on a link whose mtu would otherwise follow its ports.
fn explicit_mtu(link: &Link) -> Option<u32> {
    link.settings.mtu.filter(|_| link.kind.follows_ports_mtu() && !link.external)
}

/// Returns another mtu. It is larger where possible, so that upper links do not shrink.
fn different_mtu(mtu: u32) -> u32 {
    const MAX: u32 = 65535;
    if mtu < MAX { mtu + 1 } else { mtu - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::from_nothing;

    /// Plans a bridge with this number of ports. Returns each write of `mcast_snooping`, and whether the bridge is up at that time.
    fn snooping(ports: usize, options: &str) -> Vec<(Option<bool>, bool)> {
        let links = (0..ports).map(|n| format!("{{ endpoints: [a:p{n}, b:e{n}] }}")).collect::<Vec<_>>().join(", ");
        let bridge = format!("{{ bridge: {{ ports: [\"p*\"]{options} }} }}");
        let lab = format!("namespaces: {{ a: {{ interfaces: {{ br0: {bridge} }} }}, b: {{}} }}\nlinks: [{links}]\n");
        let (mut up, mut written) = (false, Vec::new());
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
                written.push((bridge.mcast_snooping, up));
            }
        }
        written
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
