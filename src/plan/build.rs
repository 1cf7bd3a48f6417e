//! Each change's operations, and their order.

use std::collections::{HashMap, HashSet};

use super::{Context, Step};
use crate::diff::{Action, Change, Sides, Subject};
use crate::graph;
use crate::name::{LinkId, NamespaceName};
use crate::operation::{LinkHandle, Operation};
use crate::ownership;
use crate::resource::link::Link;
use crate::state::ResourceId;

/// The phases of a plan. What must be gone is removed first; then the network grows from namespaces up to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// By the position of their sort in the registry, last first.
    RemoveObjects(std::cmp::Reverse<usize>),
    DeleteLinks,
    /// Further names that living links lose, so that others can have them.
    ReleaseNames,
    DeleteNamespaces,
    CreateNamespaces,
    /// Before links are born, since they inherit.
    NamespaceSysctls,
    Links,
    /// Before the link comes up.
    LinkSysctls,
    /// What a link's creating message cannot carry.
    FinishLinks,
    /// By the position of their sort in the registry.
    PutObjects(usize),
    /// Objects that are replaced by new ones, which are there by now.
    RemoveReplaced,
    /// Objects that need an address which must first have passed duplicate address detection: last, so that it is waited for only once.
    PutLate,
}

impl Phase {
    fn puts_objects(self) -> bool {
        matches!(self, Self::PutObjects(_) | Self::RemoveReplaced | Self::PutLate)
    }

    /// Phases of the same stage are gone through for one namespace after the other, so that all that is done in a namespace is
    /// done together: what links need of each other across namespaces is a need between operations, and overrides this.
    fn stage(self) -> Self {
        match self {
            Self::NamespaceSysctls => Self::CreateNamespaces,
            Self::FinishLinks | Self::PutObjects(_) | Self::RemoveReplaced => Self::LinkSysctls,
            other => other,
        }
    }
}

/// An operation before it has its place.
pub(super) struct Node {
    pub(super) change: usize,
    pub(super) phase: Phase,
    pub(super) operation: Operation,
    /// Links whose birth or change must come first.
    pub(super) after: Vec<LinkId>,
    /// The links that the operation bears or changes, for others to wait for.
    pub(super) provides: Vec<LinkId>,
    /// The place among operations of the same phase that need not wait for each other.
    pub(super) rank: (usize, i64),
}

impl Node {
    pub(super) fn new(change: usize, phase: Phase, operation: Operation) -> Self {
        Self { change, phase, operation, after: Vec::new(), provides: Vec::new(), rank: (change, 0) }
    }
}

pub(super) fn steps(context: &Context<'_>, changes: &[Change]) -> Vec<Step> {
    let mut nodes = Vec::new();
    let mut run = Run::default();
    for (position, change) in changes.iter().enumerate() {
        let added = nodes.len();
        context.add_nodes(&mut nodes, position, change);
        let start = run.start(position, &change.id);
        for node in &mut nodes[added..] {
            node.rank.0 = start;
            // The kernel copies these to others, so that they come first.
            if matches!(&node.operation, Operation::WriteSysctl { key, .. } if key.is_of_all()) {
                node.rank = (0, -1);
            }
        }
    }
    let mut providers: HashMap<(&LinkId, Phase), usize> = HashMap::new();
    for (position, node) in nodes.iter().enumerate() {
        for link in &node.provides {
            providers.insert((link, node.phase), position);
        }
    }
    let mut needs = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        for link in &node.after {
            // An object needs its links up, whenever in the stage that happens.
            let up = node.phase.puts_objects().then(|| providers.get(&(link, Phase::FinishLinks))).flatten();
            needs.extend(up.map(|needed| (position, *needed)));
            needs.extend(
                providers.get(&(link, node.phase)).filter(|needed| **needed != position).map(|needed| (position, *needed)),
            );
        }
    }
    // Where a link with new ports comes up, that is done last: a bridge that is up sends what IPv6 says on each new link to all
    // its ports, which keeps the processors busy for seconds.
    let joining: HashSet<&NamespaceName> = context.with_new_ports.keys().map(|link| &link.namespace).collect();
    let place = |node: &Node| {
        let namespace = node.operation.namespace();
        match node.phase.stage() {
            stage @ Phase::CreateNamespaces => (stage, false, Some(namespace.clone()), node.phase, node.rank),
            stage @ Phase::LinkSysctls => (stage, joining.contains(namespace), Some(namespace.clone()), node.phase, node.rank),
            stage => (stage, false, None, node.phase, node.rank),
        }
    };
    let ranks: Vec<_> = nodes.iter().map(place).collect();
    // Needs only lead from a link to the one below it, and `lower` refuses circles of those.
    let order = graph::order(&ranks, &needs).expect("links do not stand on one another in a circle");
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let ordered = order.into_iter().filter_map(|position| nodes[position].take());
    let steps = ordered.map(|node| Step { change: node.change, operation: node.operation }).collect();
    context.delete_at_once(steps)
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
                    nodes.push(Node::new(position, Phase::CreateNamespaces, Operation::CreateNamespace(namespace.clone())));
                }
            }
            (ResourceId::Sysctl(namespace, key), Subject::Sysctl(Sides { after: Some(sysctl), .. })) => {
                let phase = if key.link().is_some() { Phase::LinkSysctls } else { Phase::NamespaceSysctls };
                let (namespace, key, value) = (namespace.clone(), key.clone(), sysctl.value.clone());
                nodes.push(Node::new(position, phase, Operation::WriteSysctl { namespace, key, value }));
            }
            (ResourceId::Link(link), Subject::Link(sides, delta)) => {
                self.add_link_nodes(nodes, position, change.action, link, sides, delta);
            }
            (_, Subject::Object(object)) => self.add_object_nodes(nodes, position, object),
            // A setting cannot be deleted, and is gone with its link or namespace.
            (ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_), _) => {}
        }
    }

    /// Puts one deletion by group in the place of many in `host`, where all links of the lab go and nobody else's is in the group:
    /// the kernel takes about as long for all as for one.
    fn delete_at_once(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let in_host = |step: &Step| matches!(&step.operation, Operation::DeleteLink(link) if link.id.namespace.is_host());
        let ours = || self.live.state.links.iter().filter(|(id, link)| id.namespace.is_host() && !link.external);
        let grouped = |link: &Link| link.marked.other().is_none_or(|mark| mark.group == ownership::group(self.lab));
        let all_go = !self.live.group_is_shared && ours().all(|(id, link)| self.is_gone(id) && grouped(link));
        let Some(first) =
            steps.iter().position(in_host).filter(|_| all_go && steps.iter().filter(|step| in_host(step)).count() > 1)
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

/// A run of changes of objects of one sort in one namespace. Within it their own ranks decide.
#[derive(Default)]
struct Run<'a> {
    start: usize,
    key: Option<(&'a NamespaceName, &'static str)>,
}

impl<'a> Run<'a> {
    /// The position at which the run of this change began; of other resources each change is a run of its own.
    fn start(&mut self, position: usize, id: &'a ResourceId) -> usize {
        let key = match id {
            ResourceId::Object(object) => Some((object.namespace(), object.word())),
            ResourceId::Namespace(_) | ResourceId::Sysctl(..) | ResourceId::Link(_) => None,
        };
        if key.is_none() || key != self.key {
            self.start = position;
            self.key = key;
        }
        self.start
    }
}
