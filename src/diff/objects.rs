//! Compares objects, one type after the other, by the rules of the type. Adds objects again that the kernel removes together with a
//! link or an object that they need.

use super::{Action, Differ, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::FieldChange;
use crate::resource::object::table::{self, Registered, Verdicts, Visit};
use crate::resource::object::{Fate, Losses, Pair, Surroundings, Verdict};
use crate::state::{ResourceId, side_by_side};

impl Differ<'_> {
    pub(super) fn objects(&mut self) {
        self.find_losses();
        table::visit(&mut Compare(self));
    }

    fn add_object<O: Registered>(&mut self, namespace: &NamespaceName, verdict: Verdict<O>) {
        let action = match verdict.fate {
            Fate::Create => Action::Create,
            Fate::Update => Action::Update,
            Fate::Replace(_) => Action::Replace,
            Fate::Delete | Fate::DeleteLast => Action::Delete,
        };
        let sides = verdict.before.as_ref().zip(verdict.after.as_ref());
        let adopted = || {
            let adopts =
                sides.is_some_and(|(before, after)| O::compare(&verdict.key, after, before).iter().any(FieldChange::adopts));
            adopts.then(|| "adopted".to_owned())
        };
        let reason = verdict.reason.clone().or_else(adopted);
        let id = ResourceId::object::<O>(namespace, &verdict.key);
        self.add(id, action, Subject::Object(Box::new(O::any::<Verdicts>((namespace.clone(), verdict)))), reason);
    }
}

struct Compare<'d, 's>(&'d mut Differ<'s>);

impl Visit for Compare<'_, '_> {
    fn visit<O: Registered>(&mut self) {
        let (desired, live) = (self.0.desired, self.0.live);
        let pairs = side_by_side(desired.objects::<O>().iter(), live.state.objects::<O>().iter());
        let (namespaces, pairs): (Vec<_>, Vec<_>) =
            pairs.map(|((namespace, key), desired, live)| (namespace, Pair { key, desired, live })).unzip();
        let mut pairs = pairs.as_slice();
        for of_namespace in namespaces.chunk_by(|one, next| one == next) {
            let (group, rest) = pairs.split_at(of_namespace.len());
            self.settle(of_namespace[0], group);
            pairs = rest;
        }
    }
}

impl Compare<'_, '_> {
    fn settle<O: Registered>(&mut self, namespace: &NamespaceName, group: &[Pair<'_, O>]) {
        let differ = &mut *self.0;
        let desired = differ.desired;
        let link = |name: LinkName| desired.link(&LinkId::new(namespace, name));
        let mut losses = differ.losses.remove(namespace).unwrap_or_else(|| Losses::of_namespace(namespace));
        let exists = namespace.is_host() || differ.live.state.namespaces.contains(namespace);
        let is_new = !exists || differ.live.broken.contains(namespace);
        let verdicts = O::settle(group, &mut Surroundings { link: &link, is_new, losses: &mut losses });
        if !losses.is_empty() {
            differ.losses.insert(namespace.clone(), losses);
        }
        for verdict in verdicts {
            differ.add_object(namespace, verdict);
        }
    }
}
