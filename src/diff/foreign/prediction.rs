//! Predicts, type by type, which foreign objects go with the changes. The order of the types matters: addresses come before routes,
//! whose gateways and sources they provide.

use std::collections::{BTreeMap, BTreeSet};

use super::ForeignChanges;
use super::reachable::Reachable;
use crate::diff::{Differ, Remedy, SideEffect, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::readiness;
use crate::resource::address::Address;
use crate::resource::object::table::{self, Places, Registered, Restorations, Verdicts, Visit};
use crate::resource::object::{At, ByKey, Fate, Foreign, Gateway, LinkLoss, Losses, Need, Reach, Replacement, Restoration, Way};
use crate::state::{ForeignObjects, ResourceId};

/// Adds what happens to the foreign objects of a namespace.
pub(super) fn predict(
    differ: &Differ<'_>,
    namespace: &NamespaceName,
    objects: &ForeignObjects,
    side_effects: &mut Vec<SideEffect>,
    changes: &mut ForeignChanges,
) {
    let losses = differ.losses.get(namespace).cloned().unwrap_or_else(|| Losses::of_namespace(namespace));
    let mut prediction = Prediction {
        differ,
        namespace,
        objects,
        without_inet6: differ.without_inet6(namespace),
        losses,
        now: Reachable::default(),
        later: Reachable::default(),
        side_effects,
        changes,
    };
    prediction.add_what_the_kernel_made();
    table::visit(&mut Declared(&mut prediction));
    table::visit(&mut prediction);
}

struct Prediction<'d, 's> {
    differ: &'d Differ<'s>,
    namespace: &'d NamespaceName,
    objects: &'d ForeignObjects,
    losses: Losses,
    without_inet6: BTreeMap<LinkName, String>,
    /// What can be reached after the plan.
    now: Reachable,
    /// What can be reached again when the lab leaves.
    later: Reachable,
    side_effects: &'d mut Vec<SideEffect>,
    changes: &'d mut ForeignChanges,
}

/// Whether an object can be added after the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Possible {
    Now,
    Later,
    Never,
}

impl Possible {
    fn remedy(self) -> Remedy {
        match self {
            Self::Now => Remedy::InPlan,
            Self::Later => Remedy::Later,
            Self::Never => Remedy::None,
        }
    }
}

impl Prediction<'_, '_> {
    /// Adds what the addresses make reachable that are neither the lab's nor among the foreign objects: they stay as long as their links do.
    fn add_what_the_kernel_made(&mut self) {
        let ours = self.differ.live.state.objects::<Address>().iter().filter(|((of, _), _)| of == self.namespace);
        let ours = ours.map(|((_, key), value)| (key, value));
        let foreign = self.objects.present.of::<Address>().iter().map(|foreign| (&foreign.key, &foreign.value));
        let known: Vec<_> = ours.chain(foreign).collect();
        let subnets: BTreeSet<_> = known.iter().map(|(key, value)| (value.subnet(key.address), key.link)).collect();
        let sources: BTreeSet<_> = known.iter().map(|(key, _)| (key.ip(), key.link)).collect();
        let ways = self.objects.connected.iter().filter(|connected| !subnets.contains(connected));
        let ways = ways.map(|(to, dev)| Way { to: *to, dev: *dev, table: None, is_direct: true });
        self.add_now(Reach { ways: ways.collect(), ..Reach::default() });
        for source in self.objects.local.iter().filter(|source| !sources.contains(source)) {
            self.add_now(Reach { source: Some(*source), ..Reach::default() });
        }
    }

    fn add_now(&mut self, reach: Reach) {
        let (differ, namespace) = (self.differ, self.namespace);
        self.now.add(reach, |dev, is_ipv6| differ.is_usable(&LinkId::new(namespace, dev), is_ipv6));
    }

    /// Returns the live objects of the lab in the namespace, each with whether the plan removes it.
    fn lab<O: Registered>(&self) -> Vec<(&O::Key, &O, bool)> {
        let is_removal = |fate| match fate {
            Fate::Delete | Fate::DeleteLast | Fate::Replace(Replacement::RemoveFirst | Replacement::PutFirst) => true,
            Fate::Create | Fate::Update | Fate::Replace(Replacement::Overwrite) => false,
        };
        let removed: BTreeSet<&O::Key> = self
            .differ
            .changes
            .iter()
            .filter_map(|change| match &change.subject {
                Subject::Object(object) => O::of_any::<Verdicts>(object),
                _ => None,
            })
            .filter(|(namespace, verdict)| namespace == self.namespace && is_removal(verdict.fate))
            .map(|(_, verdict)| &verdict.key)
            .collect();
        let live = self.differ.live.state.objects::<O>().iter().filter(|((namespace, _), _)| namespace == self.namespace);
        live.map(|((_, key), value)| (key, value, removed.contains(key))).collect()
    }

    /// Returns the objects of the lab in the namespace that the plan adds.
    fn added<O: Registered>(&self) -> Vec<(&O::Key, &O)> {
        let verdicts = self.differ.changes.iter().filter_map(|change| match &change.subject {
            Subject::Object(object) => O::of_any::<Verdicts>(object),
            _ => None,
        });
        let added = verdicts.filter(|(namespace, verdict)| namespace == self.namespace && verdict.fate != Fate::Update);
        added.filter_map(|(_, verdict)| Some((&verdict.key, verdict.after.as_ref()?))).collect()
    }

    /// Returns why the kernel removes each of these objects, if it does.
    fn reasons<O: Registered>(&mut self, present: &[Foreign<O>]) -> Vec<Option<String>> {
        let mut reasons: Vec<Option<String>> = present.iter().map(|foreign| self.reason(foreign)).collect();
        let promotes = |link: LinkName| self.objects.promoting.contains(&link);
        for (position, reason) in O::taken_along(present, &self.lab::<O>(), &promotes) {
            reasons[position].get_or_insert(reason);
        }
        let mut displaced = O::displaced(present, &self.added::<O>());
        displaced.retain(|(position, _)| reasons[*position].is_none());
        // Those that depend on others first.
        for (position, reason) in displaced.into_iter().rev() {
            let Foreign { key, value, .. } = &present[position];
            let index = |link: LinkName| self.differ.live.any_index(&LinkId::new(self.namespace, link));
            self.changes.displaced.push(O::any::<Places>(At::new(self.namespace, key, value, index)));
            self.losses.without_inet.extend(O::links(key, value).into_iter().flatten());
            reasons[position] = Some(reason);
        }
        reasons
    }

    fn reason<O: Registered>(&self, foreign: &Foreign<O>) -> Option<String> {
        let needs = O::needs(&foreign.key, &foreign.value);
        let without_inet6 = |need: &Need| self.without_inet6.get(&need.link()?).filter(|_| foreign.is_ipv6()).cloned();
        needs.iter().find_map(|need| self.losses.of(need).or_else(|| without_inet6(need)))
    }

    /// Returns whether the object is on a link that is deleted, with which it goes.
    fn goes_with_link<O: Registered>(&self, foreign: &Foreign<O>) -> bool {
        let is_deleted = |link| self.losses.links.get(&link) == Some(&LinkLoss::Deleted);
        O::links(&foreign.key, &foreign.value).into_iter().flatten().any(is_deleted)
    }

    /// Returns whether the plan neither changes the link nor takes IPv6 from it, so that its gateways stay reachable. Routes over such a
    /// link need not be among the foreign objects.
    fn is_untouched(&self, link: LinkName) -> bool {
        let is_ours = self.differ.live.state.link(&LinkId::new(self.namespace, link)).is_some();
        !is_ours && !self.without_inet6.contains_key(&link)
    }

    fn possible<O: Registered>(&self, foreign: &Foreign<O>) -> Possible {
        let needs = O::needs(&foreign.key, &foreign.value);
        let id = |link: &LinkName| LinkId::new(self.namespace, *link);
        let is_met = |need: &Need| match need {
            Need::Up(link) | Need::Inet6(link) if foreign.is_ipv6() => {
                self.differ.is_up(&id(link)) && self.differ.has_inet6(&id(link))
            }
            Need::Up(link) | Need::Inet(link) | Need::Inet6(link) => self.differ.is_up(&id(link)),
            Need::Link(_) | Need::Hardware(_) | Need::Carrier(_) | Need::Source(_) => true,
        };
        let reach = O::reach(&foreign.key, &foreign.value);
        let sources = || needs.iter().filter_map(|need| if let Need::Source(ip) = need { Some(*ip) } else { None });
        let is_enough = |by: &[&Reachable]| {
            let is_reached = |gateway: &Gateway| self.is_untouched(gateway.dev) || by.iter().any(|by| by.reaches(gateway));
            reach.gateways.iter().all(is_reached) && sources().all(|source| by.iter().any(|by| by.has_source(&source)))
        };
        match () {
            () if O::again(&foreign.message).is_none() || self.goes_with_link(foreign) => Possible::Never,
            () if !needs.iter().all(is_met) => Possible::Later,
            () if is_enough(&[&self.now]) => Possible::Now,
            () if is_enough(&[&self.now, &self.later]) => Possible::Later,
            () => Possible::Never,
        }
    }

    fn restore<O: Registered>(&mut self, foreign: &Foreign<O>) {
        let Some(request) = O::again(&foreign.message) else { return };
        let source = O::awaits(&foreign.key, &foreign.value);
        let awaited = source.map(|source| Box::new(readiness::awaited(self.differ.desired, self.namespace, source)));
        let restoration = Restoration { namespace: self.namespace.clone(), foreign: foreign.clone(), request, awaited };
        self.changes.restored.push(O::any::<Restorations>(restoration));
    }

    fn note<O: Registered>(&mut self, foreign: &Foreign<O>, before: bool, possible: Possible, cause: String) {
        let (id, title) = (
            ResourceId::object::<O>(self.namespace, &foreign.key),
            format!("{} {}", O::WORD, O::title(&foreign.key, &foreign.value)),
        );
        let there = [before, possible == Possible::Now];
        self.side_effects.push(SideEffect::of_presence(id, title, there, cause, possible.remedy()));
    }

    /// Adds what objects that stay, or come back, make reachable.
    fn provide<O: Registered>(&mut self, foreign: &Foreign<O>, possible: Possible) {
        let reach = O::reach(&foreign.key, &foreign.value);
        match possible {
            Possible::Now => self.add_now(reach),
            Possible::Later => self.later.add(reach, |_, _| true),
            Possible::Never => {}
        }
    }

    fn removed<O: Registered>(&mut self, foreign: &Foreign<O>, reason: String) {
        let possible = self.possible(foreign);
        self.provide(foreign, possible);
        self.note(foreign, true, possible, reason);
        if possible == Possible::Now {
            self.restore(foreign);
        }
        if possible == Possible::Later {
            self.add_missing(foreign);
        }
        self.losses.sources.extend(O::reach(&foreign.key, &foreign.value).source.map(|(ip, _)| ip));
        let removed = self.changes.removed.entry(self.namespace.clone()).or_default();
        removed.of_mut::<O>().push(foreign.message.clone());
    }

    /// Another lab puts back those `of_others` that this lab does not keep away.
    fn lost_before<O: Registered>(&mut self, foreign: &Foreign<O>, of_others: &ByKey<'_, O>) {
        let possible = self.possible(foreign);
        self.provide(foreign, possible);
        if possible == Possible::Now {
            self.note(foreign, false, possible, "the kernel removed it with an earlier change of the lab".to_owned());
            self.restore(foreign);
        } else if self.is_kept_away(foreign) || !of_others.includes(foreign) {
            self.add_missing(foreign);
        }
    }

    /// Takes over an object that the kernel removed with a change of another lab, if this lab keeps it away, too: the last lab that does
    /// puts it back.
    fn lost_with_another<O: Registered>(&mut self, foreign: &Foreign<O>) {
        if self.is_kept_away(foreign) {
            self.provide(foreign, Possible::Later);
            self.add_missing(foreign);
        }
    }

    /// Returns whether the kernel would refuse an object, or one that it needs, because of what the lab desires.
    fn is_kept_away<O: Registered>(&self, foreign: &Foreign<O>) -> bool {
        let is_unmet = |need: &Need| match need {
            Need::Up(link) | Need::Inet(link) | Need::Inet6(link) => {
                self.differ.keeps_off(&LinkId::new(self.namespace, *link), foreign.is_ipv6())
            }
            Need::Source(source) => !self.now.has_source(source) && self.later.has_source(source),
            Need::Link(_) | Need::Hardware(_) | Need::Carrier(_) => false,
        };
        let is_unreachable = |gateway: &Gateway| !self.now.reaches(gateway) && self.later.reaches(gateway);
        O::needs(&foreign.key, &foreign.value).iter().any(is_unmet)
            || O::reach(&foreign.key, &foreign.value).gateways.iter().any(is_unreachable)
    }

    fn add_missing<O: Registered>(&mut self, foreign: &Foreign<O>) {
        let missing = self.changes.missing.entry(self.namespace.clone()).or_default();
        missing.of_mut::<O>().push(foreign.message.clone());
    }

    /// Corrects which links lose all IPv4 addresses: those of others count, too.
    fn find_without_inet<O: Registered>(&mut self, present: &[Foreign<O>], reasons: &[Option<String>]) {
        let staying = present.iter().zip(reasons).filter(|(foreign, reason)| reason.is_none() && !foreign.is_ipv6());
        for (foreign, _) in staying.filter(|(foreign, _)| O::reach(&foreign.key, &foreign.value).source.is_some()) {
            for link in O::links(&foreign.key, &foreign.value).into_iter().flatten() {
                self.losses.without_inet.remove(&link);
            }
        }
    }
}

impl Visit for Prediction<'_, '_> {
    fn visit<O: Registered>(&mut self) {
        let objects = self.objects;
        let present = objects.present.of::<O>();
        let reasons = self.reasons(present);
        self.find_without_inet(present, &reasons);
        let staying = present.iter().zip(&reasons).filter(|(_, reason)| reason.is_none());
        staying.for_each(|(foreign, _)| self.provide(foreign, Possible::Now));
        let removed = present.iter().zip(reasons).filter_map(|(foreign, reason)| Some((foreign, reason?)));
        // What is on a deleted link of a namespace of the lab needs no line of its own.
        let removed = removed.filter(|(foreign, _)| self.namespace.is_host() || !self.goes_with_link(foreign));
        let removed: Vec<_> = removed.collect();
        let lost = objects.lost.of::<O>();
        let lost_with_others = objects.lost_with_others.of::<O>();
        let (ours, of_others) = (ByKey::new(lost), ByKey::new(lost_with_others));
        // Gateways may be reachable by other objects that are added again.
        for has_gateways in [false, true] {
            let is_next = |foreign: &Foreign<O>| O::reach(&foreign.key, &foreign.value).gateways.is_empty() != has_gateways;
            removed
                .iter()
                .filter(|(foreign, _)| is_next(foreign))
                .for_each(|(foreign, reason)| self.removed(foreign, reason.clone()));
            lost.iter().filter(|foreign| is_next(foreign)).for_each(|foreign| self.lost_before(foreign, &of_others));
            let taken_over = lost_with_others.iter().filter(|foreign| is_next(foreign) && !ours.includes(foreign));
            taken_over.for_each(|foreign| self.lost_with_another(foreign));
        }
    }
}

/// Adds what the objects that the lab declares in the namespace make reachable.
struct Declared<'a, 'd, 's>(&'a mut Prediction<'d, 's>);

impl Visit for Declared<'_, '_, '_> {
    fn visit<O: Registered>(&mut self) {
        let namespace = self.0.namespace;
        let declared = self.0.differ.desired.objects::<O>().iter().filter(|((of, _), _)| of == namespace);
        declared.for_each(|((_, key), value)| self.0.add_now(O::reach(key, value)));
    }
}
