//! Observes what no lab owns, as though it were a lab's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Goal;
use crate::kernel::{Kernel, ObserveError};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::projection::{Omitted, referenced, to_observe};
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::resource::object::table::{self, ForeignLists, Registered, Tables, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Live, ResourceId, State};

/// A network that no lab owns.
pub struct Foreign {
    /// What is there, as though it were the lab's of the goal.
    pub live: Live,
    /// What a lab cannot take over.
    pub omitted: Vec<Omitted>,
}

/// Observes the namespaces that the goal adopts, and the links of `host` that they are connected to: other ends of pairs, parents and
/// masters. Virtual links become the lab's, others are external to it. Writes nothing.
///
/// # Errors
/// Fails if the network cannot be read.
pub fn observe_foreign(kernel: &mut impl Kernel, goal: &mut Goal) -> Result<Foreign, ObserveError> {
    let mut rejected = BTreeSet::new();
    loop {
        let live = goal.own(kernel.observe(&goal.interest)?);
        if !widen(goal, &live, &mut rejected) {
            let reason = "its other end, or the bridge that it is a port of, cannot be in the lab";
            let mut omitted: Vec<Omitted> =
                rejected.iter().map(|id: &LinkId| Omitted { what: id.to_string(), reason: reason.to_owned() }).collect();
            let present = live.foreign_objects.get(&NamespaceName::host()).map(|objects| &objects.present);
            let interest = Arc::make_mut(&mut goal.interest);
            present.inspect(|present| table::visit(&mut AdoptObjects { present, interest, omitted: &mut omitted }));
            return Ok(Foreign { live: goal.own(kernel.observe(&goal.interest)?), omitted });
        }
    }
}

/// Adds these sysctls, which the lab is to have, and observes them.
///
/// # Errors
/// As [`observe_foreign`].
pub fn observe_sysctls(
    kernel: &mut impl Kernel,
    goal: &mut Goal,
    sysctls: BTreeMap<(NamespaceName, SysctlKey), Sysctl>,
) -> Result<Live, ObserveError> {
    Arc::make_mut(&mut goal.interest).sysctls.extend(sysctls);
    let live = goal.own(kernel.observe_again(&goal.interest, &BTreeSet::new())?);
    // A link that was there before its `default` was set has a value of its own.
    let Some(wider) = to_observe(&goal.interest, &live.state) else { return Ok(live) };
    goal.interest = Arc::new(wider);
    Ok(goal.own(kernel.observe_again(&goal.interest, &BTreeSet::new())?))
}

/// Takes the links of `host` into the goal that its links need, and the ports of its bridges. Returns whether there were more. Ports that
/// lead elsewhere are `rejected`.
fn widen(goal: &mut Goal, live: &Live, rejected: &mut BTreeSet<LinkId>) -> bool {
    let interest = Arc::make_mut(&mut goal.interest);
    let is_unknown = |id: &LinkId| id.namespace.is_host() && live.state.link(id).is_none();
    let pairs = live.state.links.iter().filter(|(_, link)| link.kind.is_pair());
    let ends = pairs.filter_map(|(id, link)| Some(link.kind.peer()?.resolve(&id.namespace)));
    let is_ours =
        |master: &LinkName| live.state.link(&LinkId::new(&NamespaceName::host(), *master)).is_some_and(|link| !link.external);
    let ports = live.foreign_ports.iter().filter(|(_, master)| is_ours(master)).map(|(port, _)| port.clone());
    let ports: BTreeSet<LinkId> = ports.filter(|port| !rejected.contains(port)).collect();
    let needed: BTreeSet<LinkId> = referenced(&live.state).into_iter().chain(ends.filter(is_unknown)).collect();
    let adopted: Vec<(LinkId, Option<&Link>)> =
        interest.adopt.named.iter().filter(|id| id.namespace.is_host()).map(|id| (id.clone(), live.state.link(id))).collect();
    let mut is_wider = false;
    for (id, link) in adopted {
        let is_end = link.is_some_and(|link| link.kind.is_pair() && link.kind.peer().is_none());
        // Ports of bridges that the lab cannot own.
        let master = link.and_then(|link| Some(LinkId::new(&id.namespace, link.settings.master?)));
        let leads_elsewhere = is_end || master.is_some_and(|master| interest.link(&master).is_some_and(|link| link.external));
        let is_device = link.is_some_and(|link| matches!(&link.kind, Kind::Device(_)));
        // What was asked for and is not there belongs to another lab.
        let is_of_others = link.is_none() && (needed.contains(&id) || ports.contains(&id));
        if leads_elsewhere || is_device || is_of_others {
            interest.adopt.named.remove(&id);
            is_wider = true;
        }
        if leads_elsewhere {
            rejected.insert(id);
        } else if is_device || is_of_others {
            interest.insert_link(id, Link::external(LinkSettings::default()));
        }
    }
    for id in needed.into_iter().chain(ports) {
        let is_new = !rejected.contains(&id) && interest.link(&id).is_none() && interest.adopt.named.insert(id);
        is_wider |= is_new;
    }
    is_wider
}

/// Declares the foreign objects of `host` that a lab can take over.
struct AdoptObjects<'a> {
    present: &'a Tables<ForeignLists>,
    interest: &'a mut State,
    omitted: &'a mut Vec<Omitted>,
}

impl Visit for AdoptObjects<'_> {
    fn visit<O: Registered>(&mut self) {
        let host = NamespaceName::host();
        for foreign in self.present.of::<O>() {
            let links: Vec<LinkId> =
                O::links(&foreign.key, &foreign.value).into_iter().flatten().map(|link| LinkId::new(&host, link)).collect();
            if !links.iter().any(|link| self.interest.adopt.named.contains(link)) {
                continue;
            }
            match foreign.value.clone().adopted() {
                Some(value) => self.interest.insert(&host, foreign.key.clone(), value),
                None => self.omitted.push(Omitted {
                    what: ResourceId::object::<O>(&host, &foreign.key).to_string(),
                    reason: format!("a lab cannot take over {} of `host`", O::LIST),
                }),
            }
        }
    }
}
