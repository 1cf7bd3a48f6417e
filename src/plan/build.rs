//! Each change's operations, and their order.

use std::collections::{HashMap, HashSet};

use super::{Context, Step};
use crate::diff::{Action, Change};
use crate::graph;
use crate::name::{LinkId, NamespaceName};
use crate::operation::{LinkHandle, Operation, Presence, RouteAt};
use crate::ownership;
use crate::resource::address::Address;
use crate::resource::link::Link;
use crate::resource::route::{Route, RouteKey};
use crate::state::{Resource, ResourceId};
use crate::value::InterfaceAddress;

/// The phases of a plan. What must be gone goes first; then the network grows from namespaces up to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    DeleteRoutes,
    DeleteAddresses,
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
    Addresses,
    Routes,
    /// Routes whose IPv6 source address must first have passed duplicate address detection: last, so that it is waited for only once.
    SourcedRoutes,
}

impl Phase {
    /// Phases of the same stage are gone through for one namespace after the other, so that all that is done in a namespace is
    /// done together: what links need of each other across namespaces is a need between operations, and overrides this.
    fn stage(self) -> Self {
        match self {
            Self::NamespaceSysctls => Self::CreateNamespaces,
            Self::FinishLinks | Self::Addresses | Self::Routes => Self::LinkSysctls,
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
    let mut group = Group::default();
    for (position, change) in changes.iter().enumerate() {
        let added = nodes.len();
        context.add_nodes(&mut nodes, position, change);
        let start = group.start(position, &change.id);
        for node in &mut nodes[added..] {
            node.rank = rank(start, node);
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
            // A route needs its links up, whenever in the stage that happens.
            let up = (node.phase >= Phase::Routes).then(|| providers.get(&(link, Phase::FinishLinks))).flatten();
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
        match &change.id {
            ResourceId::Namespace(namespace) => {
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
            ResourceId::Sysctl(namespace, key) => {
                if let Some(Resource::Sysctl(sysctl)) = &change.after {
                    let phase = if key.link().is_some() { Phase::LinkSysctls } else { Phase::NamespaceSysctls };
                    let (namespace, key, value) = (namespace.clone(), key.clone(), sysctl.value.clone());
                    nodes.push(Node::new(position, phase, Operation::WriteSysctl { namespace, key, value }));
                }
            }
            ResourceId::Link(link) => self.add_link_nodes(nodes, position, change, link),
            ResourceId::Address(link, key) => self.add_address_nodes(nodes, position, change, link, *key),
            ResourceId::Route(namespace, key) => self.add_route_nodes(nodes, position, change, namespace, key),
        }
    }

    /// Puts one deletion by group in the place of many in `host`, where all links of the lab go and nobody else's is in the group:
    /// the kernel takes about as long for all as for one.
    fn delete_at_once(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let in_host = |step: &Step| matches!(&step.operation, Operation::DeleteLink(link) if link.id.namespace.is_host());
        let ours = || self.live.state.links().filter(|(id, link)| id.namespace.is_host() && !link.external);
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

    fn add_address_nodes(
        &self,
        nodes: &mut Vec<Node>,
        position: usize,
        change: &Change,
        link: &LinkId,
        address: InterfaceAddress,
    ) {
        let deletes = change.action.removes() && !self.is_gone(link);
        if let (true, Some(Resource::Address(before))) = (deletes, &change.before) {
            let link = LinkHandle { id: link.clone(), index: self.live.indices.get(link).copied().unwrap_or(0) };
            let operation = Operation::DeleteAddress { link, address, attributes: before.clone() };
            nodes.push(Node::new(position, Phase::DeleteAddresses, operation));
        }
        let Some(Resource::Address(after)) = &change.after else { return };
        let (link, attributes) = (self.handle(link), after.clone());
        let mut add = |operation| nodes.push(Node::new(position, Phase::Addresses, operation));
        let (presence, connected) = match (change.action, &change.before) {
            (Action::Update, Some(Resource::Address(before))) => (Presence::Replace, !before.disconnected),
            _ => (Presence::New, true),
        };
        // Of IPv6 the kernel itself puts the route back when the address is given again; of IPv4 it does not.
        let only_route =
            change.action == Action::Update && change.fields.iter().all(|field| field.name == Address::CONNECTED_ROUTE);
        let present = !after.disconnected;
        if !only_route || present && address.ip().is_ipv6() {
            let (link, attributes) = (link.clone(), attributes.clone());
            add(Operation::AddAddress { link, address, attributes, presence });
        }
        if present != connected && !(present && address.ip().is_ipv6()) {
            add(Operation::Connect { link, address, attributes, present });
        }
    }

    fn add_route_nodes(
        &self,
        nodes: &mut Vec<Node>,
        position: usize,
        change: &Change,
        namespace: &NamespaceName,
        key: &RouteKey,
    ) {
        // The kernel keeps a route of several ways when one of them dies, and takes the dead one over into what replaces it.
        let outlives = |route: &Route| change.action == Action::Replace && route.nexthops.len() > 1;
        if let Some(Resource::Route(before)) = &change.before
            && (change.action == Action::Delete || outlives(before))
        {
            let links = || before.nexthops.iter().filter_map(|hop| hop.dev).map(|name| LinkId::new(namespace, name));
            let goes_along = !before.nexthops.is_empty() && links().count() > 0 && links().all(|link| self.is_gone(&link));
            if !goes_along && !self.gone_namespaces.contains(namespace) {
                let index = |link: LinkId| self.live.indices.get(&link).copied();
                let operation = Operation::DeleteRoute(Box::new(route(namespace, key, before, index)));
                nodes.push(Node::new(position, Phase::DeleteRoutes, operation));
            }
        }
        if let Some(Resource::Route(after)) = &change.after {
            let presence = match change.action {
                Action::Create => Presence::New,
                Action::Update | Action::Replace | Action::Delete => Presence::Replace,
            };
            let route = Box::new(route(namespace, key, after, |link| Some(self.index(&link))));
            let phase = if after.src.is_some_and(|src| src.is_ipv6()) { Phase::SourcedRoutes } else { Phase::Routes };
            let mut node = Node::new(position, phase, Operation::AddRoute { route, presence });
            node.after = after.nexthops.iter().filter_map(|hop| hop.dev).map(|name| LinkId::new(namespace, name)).collect();
            nodes.push(node);
        }
    }

    pub(super) fn handle(&self, link: &LinkId) -> LinkHandle {
        LinkHandle { id: link.clone(), index: self.index(link) }
    }
}

fn route(
    namespace: &NamespaceName,
    key: &RouteKey,
    route: &Route,
    index: impl Fn(LinkId) -> Option<crate::state::Ifindex>,
) -> RouteAt {
    let indices = route.nexthops.iter().map(|hop| hop.dev.and_then(|name| index(LinkId::new(namespace, name)))).collect();
    RouteAt { namespace: namespace.clone(), key: key.clone(), route: route.clone(), indices }
}

/// Runs of changes of which the order within the run is not that of their names.
#[derive(Default)]
struct Group<'a> {
    start: usize,
    key: Option<(&'a NamespaceName, Option<LinkId>, &'static str)>,
}

impl<'a> Group<'a> {
    /// Where the run began that this change belongs to: the addresses of a link, the routes of a namespace, else the change alone.
    fn start(&mut self, position: usize, id: &'a ResourceId) -> usize {
        let key = match id {
            ResourceId::Address(link, _) => Some((&link.namespace, Some(link.clone()), "address")),
            ResourceId::Route(namespace, _) => Some((namespace, None, "route")),
            ResourceId::Namespace(_) | ResourceId::Sysctl(..) | ResourceId::Link(_) => None,
        };
        if key.is_none() || key != self.key {
            self.start = position;
            self.key = key;
        }
        self.start
    }
}

/// Addresses are given in the file's order and taken away in the reverse, so that a secondary goes before its primary. Routes
/// without a gateway come first, since they may be what makes a gateway reachable. So do the settings that the kernel copies to
/// others.
fn rank(start: usize, node: &Node) -> (usize, i64) {
    let within = match &node.operation {
        Operation::WriteSysctl { key, .. } if key.is_of_all() => return (0, -1),
        Operation::AddAddress { attributes, .. } | Operation::Connect { attributes, .. } => i64::from(attributes.order),
        Operation::DeleteAddress { attributes, .. } => -i64::from(attributes.order),
        Operation::AddRoute { route, .. } => i64::from(route.route.nexthops.iter().any(|hop| hop.via.is_some())),
        _ => 0,
    };
    (start, within)
}
