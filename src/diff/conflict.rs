//! Conflicts between a lab and the live network.

use crate::adoption::Adoption;
use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::Obstacle;
use crate::resource::node::isolation::NamespaceKind;
use crate::state::{Live, ResourceId, State};

/// A conflict between the lab and the live network that topo does not resolve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A foreign resource has the name or key of a resource of the lab.
    #[error("`{id}` is in the way: {what}")]
    Foreign {
        /// The resource of the lab.
        id: ResourceId,
        /// The foreign resource.
        what: Obstacle,
    },
    /// The user asked to adopt a link or namespace that the lab does not declare, a link in a namespace, or one that is external.
    #[error("`{0}` cannot be adopted: the lab declares no such namespace, nor such a link of its own in `host`")]
    NotToAdopt(Adoption),
    /// The user asked to adopt a link or namespace that does not exist.
    #[error("`{0}` cannot be adopted: it does not exist")]
    NothingToAdopt(Adoption),
    /// Another lab set a different value.
    #[error("`{id}` belongs to lab `{lab}` too, which needs another value")]
    Held {
        /// What both labs declare.
        id: ResourceId,
        /// The other lab.
        lab: LabName,
    },
    /// The lab wants another owner of a namespace than it has.
    #[error("the isolation of `{namespace}` cannot {} a user namespace while `{namespace}` exists", if *.wanted { "get" } else { "lose" })]
    User {
        /// The namespace.
        namespace: NamespaceName,
        /// Whether the lab wants a user namespace.
        wanted: bool,
    },
    /// topo was started inside of the lab, so that `host` is not where the lab was applied.
    #[error("topo runs in `{0}`, a namespace of this lab, and not in the lab's `host`")]
    Inside(NamespaceName),
    /// The lab declares an external interface that does not exist.
    #[error("the external interface `{0}` does not exist")]
    MissingExternal(LinkId),
}

impl Conflict {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { what: Obstacle::OfLab { what, lab }, .. } => Some(format!(
                "choose another name, or run in a sandbox with `--sandbox`; `topo destroy {lab}` removes the {what} with its lab"
            )),
            Self::Foreign { id: ResourceId::Link(link), .. } if link.namespace.is_host() => Some(format!(
                "to take it over, use `--adopt {link}`; to use it as it is, declare it `external: true`; or run in a sandbox with `--sandbox`"
            )),
            Self::Foreign { id: ResourceId::Namespace(name), what } => Some(format!(
                "{}choose another name, or run in a sandbox with `--sandbox`; if nothing needs it any more, remove it: `ip netns delete {name}`",
                match what {
                    Obstacle::FreeNamespace => format!("to take it over, use `--adopt {}`; or ", Adoption::namespace(name)),
                    Obstacle::OfLab { .. } | Obstacle::Other(_) => String::new(),
                }
            )),
            Self::Held { .. } => Some(
                "labs can share a setting of `host` with the same value; or run one of them in a sandbox with `--sandbox`"
                    .to_owned(),
            ),
            Self::User { namespace, .. } => Some(format!(
                "a user namespace owns the network namespace from its beginning: apply the lab without `{namespace}` first, or destroy it"
            )),
            Self::Inside(_) => Some("run it where the lab was applied".to_owned()),
            Self::Foreign { .. } | Self::NotToAdopt(_) | Self::NothingToAdopt(_) | Self::MissingExternal(_) => None,
        }
    }

    /// What the user can do about conflicts, one hint a line. Of different hints, each says what it is about.
    pub fn hints(conflicts: &[Self]) -> Option<String> {
        let all = conflicts.iter().filter_map(|conflict| Some((conflict.hint()?, conflict.resource())));
        let mut distinct: Vec<(String, Option<ResourceId>)> = Vec::new();
        for (hint, resource) in all {
            if distinct.iter().all(|(known, _)| *known != hint) {
                distinct.push((hint, resource));
            }
        }
        let is_single = distinct.len() == 1;
        let text = |(hint, resource): (String, Option<ResourceId>)| match resource {
            Some(id) if !is_single => format!("`{id}`: {hint}"),
            _ => hint,
        };
        let texts: Vec<_> = distinct.into_iter().map(text).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// Returns the declared resource of the conflict; `None` if the conflict is about what the user asked to adopt.
    pub fn resource(&self) -> Option<ResourceId> {
        match self {
            Self::Foreign { id, .. } | Self::Held { id, .. } => Some(id.clone()),
            Self::MissingExternal(link) => Some(ResourceId::Link(link.clone())),
            Self::User { namespace, .. } => Some(ResourceId::Namespace(namespace.clone())),
            Self::NotToAdopt(_) | Self::NothingToAdopt(_) | Self::Inside(_) => None,
        }
    }
}

/// Returns all conflicts.
pub(super) fn find(desired: &State, live: &Live) -> Vec<Conflict> {
    if let Some(namespace) = &live.inside {
        return vec![Conflict::Inside(namespace.clone())];
    }
    let foreign = live.foreign.iter().filter(|(id, _)| desired.contains(id));
    let mut conflicts: Vec<_> = foreign.map(|(id, what)| Conflict::Foreign { id: id.clone(), what: what.clone() }).collect();
    let has_user =
        |namespace: &NamespaceName| desired.node(namespace).is_some_and(|node| node.isolation.has(NamespaceKind::User));
    let whole = live.state.namespaces.iter().filter(|name| desired.namespaces.contains(*name) && !live.broken.contains(*name));
    conflicts.extend(whole.filter_map(|name| {
        let wanted = has_user(name);
        (wanted != live.user_owned.contains(name)).then(|| Conflict::User { namespace: name.clone(), wanted })
    }));
    let missing = desired.links.iter().filter(|(id, link)| link.external && live.state.link(id).is_none());
    conflicts.extend(desired.adopt.named.iter().filter_map(|id| not_adoptable(id, desired, live)));
    conflicts.extend(missing.map(|(id, _)| Conflict::MissingExternal(id.clone())));
    conflicts
}

/// Returns why a link or a namespace, which its `lo` stands for, cannot be adopted.
fn not_adoptable(id: &LinkId, desired: &State, live: &Live) -> Option<Conflict> {
    let is_namespace = id.name.is_loopback() && desired.namespaces.contains(&id.namespace);
    let is_link = id.namespace.is_host() && desired.link(id).is_some_and(|link| !link.external);
    if !is_namespace && !is_link {
        return Some(Conflict::NotToAdopt(Adoption::Link(id.clone())));
    }
    let resource = if is_namespace { ResourceId::Namespace(id.namespace.clone()) } else { ResourceId::Link(id.clone()) };
    let exists = live.state.contains(&resource) || live.foreign.contains_key(&resource);
    (!exists).then(|| Conflict::NothingToAdopt(Adoption::Link(id.clone())))
}
