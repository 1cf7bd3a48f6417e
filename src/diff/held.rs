//! Conflicts with other labs, which hold another value of something in `host`.

use super::{Change, Conflict, Subject};
use crate::name::{LabName, NamespaceName};
use crate::record::Others;
use crate::resource::object::Verdict;
use crate::resource::object::table::{Inspect, Registered, Verdicts};
use crate::state::ResourceId;

/// Returns a conflict for each change of what another lab holds.
pub fn held_by_others(changes: &[Change], others: &Others) -> Vec<Conflict> {
    let conflict = |change: &Change| Some(Conflict::Held { id: change.id.clone(), lab: holder(change, others)?.clone() });
    changes.iter().filter_map(conflict).collect()
}

fn holder<'o>(change: &Change, others: &'o Others) -> Option<&'o LabName> {
    match (&change.id, &change.subject) {
        (id, _) if !id.namespace().is_host() => None,
        (ResourceId::Sysctl(_, key), _) => others.sysctl(key).map(|(lab, _)| lab),
        (ResourceId::Link(link), Subject::Link(_, delta)) => others.holder_of_settings(link, &delta.settings),
        (_, Subject::Object(object)) => object.inspect(Holder(others)),
        (ResourceId::Namespace(_) | ResourceId::Link(_) | ResourceId::Object(_) | ResourceId::Part(..), _) => None,
    }
}

struct Holder<'o>(&'o Others);

impl<'a, 'o> Inspect<'a, Verdicts> for Holder<'o> {
    type Result = Option<&'o LabName>;
    fn inspect<O: Registered>(self, (namespace, verdict): &'a (NamespaceName, Verdict<O>)) -> Self::Result {
        self.0.object::<O>(&(namespace.clone(), verdict.key.clone()))
    }
}
