//! Builds the operations of each change and orders them.

use std::collections::{HashMap, HashSet};

use super::objects::{AddDisplaced, AddRestoration};
use super::{Context, Step};
use crate::diff::{Action, Change, ForeignChanges, Sides, Subject};
use crate::graph;
use crate::name::{LinkId, NamespaceName};
use crate::operation::{LinkHandle, Operation};
use crate::ownership;
use crate::resource::link::Link;
use crate::resource::node::isolation::NamespaceKind;
use crate::state::ResourceId;

/// The phases of a plan: removals first, then creations from namespaces up to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// Before anything else, so that processes end while the network is there. The value is the position of the change.
    RemoveParts(std::cmp::Reverse<usize>),
    /// In the reverse order of the registry; the value is the position of the type.
    RemoveObjects(std::cmp::Reverse<usize>),
    DeleteLinks,
    /// Removes alternative names from links, so that other links can get them.
    ReleaseNames,
    DeleteNamespaces,
    CreateNamespaces,
    /// Before links are created, because new links inherit the values.
    NamespaceSysctls,
    Links,
    /// Before the link comes up.
    LinkSysctls,
    /// Settings that the message that creates a link cannot contain.
    FinishLinks,
    /// Options of ports, once all ports have joined and are up.
    SetPorts,
    /// In the order of the registry; the value is the position of the type.
    PutObjects(usize),
    /// Objects that need the links of other namespaces up, or that wait until an address has passed duplicate address detection. They come
    /// last, so that `apply` waits only once.
    PutLate,
    /// Removes objects whose replacements have been added, in the reverse order of the registry.
    RemoveReplaced(std::cmp::Reverse<usize>),
    /// Sysctls that the kernel changes when a link or the other end of its pair is set up. They come when all links are up.
    LateSysctls,
    /// The parts of nodes, when the network is there. The value is the position of the type.
    PutParts(usize),
}

impl Phase {
    /// Returns whether the operations need links that are up.
    fn needs_links_up(self) -> bool {
        matches!(self, Self::LateSysctls | Self::SetPorts | Self::PutObjects(_) | Self::RemoveReplaced(_) | Self::PutLate)
    }

    /// Returns the stage of the phase. Within a stage, the operations of each namespace are contiguous, unless a dependency between
    /// links of different namespaces requires another order.
    fn stage(self) -> Self {
        match self {
            Self::NamespaceSysctls => Self::CreateNamespaces,
            Self::FinishLinks | Self::SetPorts | Self::PutObjects(_) => Self::LinkSysctls,
            other => other,
        }
    }
}

/// An operation that is not ordered yet.
pub(super) struct Node {
    pub(super) change: Option<usize>,
    pub(super) phase: Phase,
    pub(super) operation: Operation,
    /// Links that must be created or changed before this operation.
    pub(super) after: Vec<LinkId>,
    /// The links that the operation creates or changes.
    pub(super) provides: Vec<LinkId>,
    /// The order among independent operations of the same phase.
    pub(super) rank: (usize, i64),
}

impl Node {
    pub(super) fn new(change: usize, phase: Phase, operation: Operation) -> Self {
        Self { change: Some(change), phase, operation, after: Vec::new(), provides: Vec::new(), rank: (change, 0) }
    }
}

pub(super) fn steps(context: &Context<'_>, changes: &[Change], foreign: &ForeignChanges) -> Vec<Step> {
    let mut nodes = Vec::new();
    let mut group = ObjectGroup::default();
    for (position, change) in changes.iter().enumerate() {
        let added = nodes.len();
        context.add_nodes(&mut nodes, position, change);
        let start = group.start(position, &change.id);
        for node in &mut nodes[added..] {
            node.rank.0 = start;
            // The kernel changes some sysctls when others are written.
            if let Operation::WriteSysctl { key, .. } = &node.operation {
                node.rank = (0, key.rank());
            }
        }
    }
    let entries = foreign.entries.iter().map(|(port, entry)| Node {
        change: None,
        after: vec![port.clone()],
        ..Node::new(usize::MAX, Phase::SetPorts, Operation::RestoreEntry(context.handle(port), entry.clone()))
    });
    nodes.extend(entries);
    foreign
        .displaced
        .iter()
        .enumerate()
        .for_each(|(position, object)| object.inspect(AddDisplaced { nodes: &mut nodes, object, position }));
    foreign
        .restored
        .iter()
        .enumerate()
        .for_each(|(position, again)| again.inspect(AddRestoration { nodes: &mut nodes, position }));
    let mut providers: HashMap<(&LinkId, Phase), usize> = HashMap::new();
    for (position, node) in nodes.iter().enumerate() {
        for link in &node.provides {
            providers.insert((link, node.phase), position);
        }
    }
    let mut dependencies = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        for link in &node.after {
            // Objects, ports with a state and late sysctls need their links up.
            let up = node.phase.needs_links_up().then(|| providers.get(&(link, Phase::FinishLinks))).flatten();
            dependencies.extend(up.map(|needed| (position, *needed)));
            dependencies.extend(
                providers.get(&(link, node.phase)).filter(|needed| **needed != position).map(|needed| (position, *needed)),
            );
        }
    }
    // Namespaces with masters that get new ports come last: a bridge that is up floods the IPv6 messages of each new link to all of
    // its ports, which can take seconds of processor time.
    let with_joining_ports: HashSet<&NamespaceName> = context.with_new_ports.keys().map(|link| &link.namespace).collect();
    let rank = |node: &Node| {
        let namespace = node.operation.namespace();
        match node.phase.stage() {
            stage @ Phase::CreateNamespaces => (stage, false, Some(namespace.clone()), node.phase, node.rank),
            stage @ Phase::LinkSysctls => {
                (stage, with_joining_ports.contains(namespace), Some(namespace.clone()), node.phase, node.rank)
            }
            stage => (stage, false, None, node.phase, node.rank),
        }
    };
    let ranks: Vec<_> = nodes.iter().map(rank).collect();
    let order = graph::order(&ranks, &dependencies).expect("`lower` refuses circular link dependencies");
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let ordered = order.into_iter().filter_map(|position| nodes[position].take());
    let steps = ordered.map(|node| Step { change: node.change, operation: node.operation }).collect();
    context.group_deletions(steps)
}

impl Context<'_> {
    fn add_nodes(&self, nodes: &mut Vec<Node>, position: usize, change: &Change) {
        match (&change.id, &change.subject) {
            (ResourceId::Namespace(namespace), _) => {
                let (delete, create) = match change.action {
                    Action::Delete => (true, false),
                    Action::Replace => (true, true),
                    Action::Create | Action::Update => (false, true),
                };
                if delete {
                    nodes.push(Node::new(position, Phase::DeleteNamespaces, Operation::DeleteNamespace(namespace.clone())));
                }
                if create {
                    let has_user = self.desired.node(namespace).is_some_and(|node| node.isolation.has(NamespaceKind::User));
                    let create = if has_user { Operation::CreateUserNamespace } else { Operation::CreateNamespace };
                    nodes.push(Node::new(position, Phase::CreateNamespaces, create(namespace.clone())));
                }
            }
            (ResourceId::Sysctl(namespace, key), Subject::Sysctl(Sides { after: Some(sysctl), .. })) => {
                let (phase, after) = match key.link() {
                    Some(link) if key.follows_mtu() => (Phase::LateSysctls, vec![LinkId::new(namespace, link)]),
                    Some(_) => (Phase::LinkSysctls, Vec::new()),
                    None => (Phase::NamespaceSysctls, Vec::new()),
                };
                let (namespace, key, value) = (namespace.clone(), key.clone(), sysctl.value.clone());
                nodes.push(Node { after, ..Node::new(position, phase, Operation::WriteSysctl { namespace, key, value }) });
            }
            (ResourceId::Link(link), Subject::Link(sides, delta)) => {
                self.add_link_nodes(nodes, position, change.action, link, sides, delta);
            }
            (_, Subject::Object(object)) => self.add_object_nodes(nodes, position, object),
            (ResourceId::Part(namespace, key), Subject::Part(sides)) => {
                self.add_part_nodes(nodes, position, change, (namespace, key), sides);
            }
            // A sysctl cannot be deleted. It disappears with its link or namespace.
            (ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_) | ResourceId::Part(..), _) => {}
        }
    }

    /// Replaces the deletions of single links in `host` by one deletion of the group, if the plan deletes all links of the lab and no
    /// foreign link is in the group. The kernel deletes a group about as fast as a single link.
    fn group_deletions(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let in_host = |step: &Step| matches!(&step.operation, Operation::DeleteLink(link) if link.id.namespace.is_host());
        let ours = || self.live.state.links.iter().filter(|(id, link)| id.namespace.is_host() && !link.external);
        let in_group = |link: &Link| link.marked.other().is_none_or(|mark| mark.group == ownership::group(self.lab));
        let deletes_all = !self.live.group_is_shared && ours().all(|(id, link)| self.is_removed(id) && in_group(link));
        let Some(first) =
            steps.iter().position(in_host).filter(|_| deletes_all && steps.iter().filter(|step| in_host(step)).count() > 1)
        else {
            return steps;
        };
        let links = ours().map(|(id, _)| LinkHandle { id: id.clone(), index: self.live.indices.get(id).copied().unwrap_or(0) });
        let group = Step { change: steps[first].change, operation: Operation::DeleteLinkGroup(links.collect()) };
        steps[first] = group;
        steps.retain(|step| !in_host(step));
        steps
    }

    pub(super) fn handle(&self, link: &LinkId) -> LinkHandle {
        LinkHandle { id: link.clone(), index: self.index(link) }
    }
}

/// Consecutive changes of objects of one type in one namespace. Within a group, the ranks of the objects determine the order.
#[derive(Default)]
struct ObjectGroup<'a> {
    start: usize,
    key: Option<(&'a NamespaceName, &'static str)>,
}

impl<'a> ObjectGroup<'a> {
    /// Returns the position of the first change of the group that this change belongs to. Other resources are not grouped.
    fn start(&mut self, position: usize, id: &'a ResourceId) -> usize {
        let key = match id {
            ResourceId::Object(object) => Some((object.namespace(), object.word())),
            ResourceId::Namespace(_) | ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Part(..) => None,
        };
        if key.is_none() || key != self.key {
            self.start = position;
            self.key = key;
        }
        self.start
    }
}
