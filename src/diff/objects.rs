//! Compares objects, one type after the other, by the rules of the type. Adds objects again that the kernel removes together with a
//! link or an object that they need.

use std::net::IpAddr;

use super::{Action, Differ, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::FieldChange;
use crate::resource::address::Address;
use crate::resource::object::table::{self, Registered, Verdicts, Visit};
use crate::resource::object::{Fate, Losses, Pair, Surroundings, Verdict};
use crate::state::{ResourceId, State, side_by_side};

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
        let connected = |ip: IpAddr| connected(desired, namespace, ip);
        let disables_ipv6 = || disables_ipv6(desired, namespace);
        let mut surroundings =
            Surroundings { link: &link, is_new, disables_ipv6: &disables_ipv6, connected: &connected, losses: &mut losses };
        let verdicts = O::settle(group, &mut surroundings);
        if !losses.is_empty() {
            differ.losses.insert(namespace.clone(), losses);
        }
        for verdict in verdicts {
            differ.add_object(namespace, verdict);
        }
    }
}

/// Returns the length of the longest prefix of an address in the namespace that contains the address and has a connected route.
fn connected(desired: &State, namespace: &NamespaceName, ip: IpAddr) -> Option<u8> {
    let addresses = desired.objects::<Address>().iter().filter(|((at, _), value)| at == namespace && !value.noprefixroute);
    let subnets = addresses.map(|((_, key), value)| value.subnet(key.address)).filter(|subnet| subnet.contains(&ip));
    subnets.map(|subnet| subnet.prefix_len()).max()
}

fn disables_ipv6(desired: &State, namespace: &NamespaceName) -> bool {
    let mut sysctls = desired.sysctls.iter().filter(|((at, _), _)| at == namespace);
    sysctls.any(|((_, key), sysctl)| key.path().ends_with("/disable_ipv6") && sysctl.is_on())
}
