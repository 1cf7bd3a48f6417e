//! Addresses, whose order the kernel keeps: the first of an IPv4 subnet is primary, and takes its secondaries along when it goes.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::{Action, Differ, Fate, Sides};
use crate::name::{LinkId, NamespaceName};
use crate::resource::address::Address;
use crate::resource::link::Link;
use crate::state::{ResourceId, side_by_side};
use crate::value::InterfaceAddress;

/// What goes with deleted addresses, for the routes to know.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Source addresses that are gone for a while.
    pub(super) sources: HashSet<(NamespaceName, IpAddr)>,
    /// Links that lose their last IPv4 address, for a while at least: the kernel flushes their IPv4 routes.
    pub(super) bare: HashSet<LinkId>,
}

/// Addresses of a link.
type Addresses<'a> = BTreeMap<InterfaceAddress, &'a Address>;

/// All addresses of a link, as they are desired and as they are.
struct Both<'a> {
    desired: Addresses<'a>,
    live: Addresses<'a>,
}

impl<'a> Both<'a> {
    fn sides(&self, key: &InterfaceAddress) -> Sides<'a, Address> {
        (self.desired.get(key).copied(), self.live.get(key).copied())
    }

    /// Whether a live address cannot stay.
    fn must_go(&self, entry: &Entry) -> bool {
        let (desired, live) = self.sides(&entry.key);
        let replaced = |desired: &Address, live: &Address| {
            desired.compare(live, entry.key.ip()).iter().any(|field| field.forces_replacement)
        };
        desired.zip(live).is_none_or(|(desired, live)| replaced(desired, live))
    }
}

/// One address of a link in the order in which it was or will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    key: InterfaceAddress,
    scope: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
}

impl Differ<'_> {
    pub(super) fn addresses(&mut self) -> Lost {
        let mut lost = Lost::default();
        let all = side_by_side(self.desired.all_addresses(), self.live.state.all_addresses());
        let all: Vec<_> = all.map(|((link, key), desired, live)| (link, key, desired, live)).collect();
        for of_one_link in all.chunk_by(|one, next| one.0 == next.0) {
            let link = of_one_link[0].0;
            let differs = of_one_link.iter().any(|&(_, key, desired, live)| {
                desired
                    .zip(live)
                    .is_none_or(|(desired, live)| desired.order != live.order || !desired.compare(live, key.ip()).is_empty())
            });
            if differs || self.doomed.contains_key(link) || self.lowered.contains(link) {
                let desired = of_one_link.iter().filter_map(|(_, key, desired, _)| Some((*key, (*desired)?))).collect();
                let live = of_one_link.iter().filter_map(|(_, key, _, live)| Some((*key, (*live)?))).collect();
                self.addresses_of(link, &Both { desired, live }, &mut lost);
            }
        }
        lost
    }

    fn addresses_of(&mut self, link: &LinkId, both: &Both<'_>, lost: &mut Lost) {
        if let Some(loss) = self.loss(link) {
            for key in both.live.keys().filter(|key| !both.desired.contains_key(key)) {
                self.add(ResourceId::Address(link.clone(), *key), both.sides(key), Fate::new(Action::Delete));
            }
            for key in both.desired.keys() {
                let fate = match both.live.contains_key(key) {
                    true => Fate::new(Action::Replace).because(Some(loss.to_string())),
                    false => Fate::new(Action::Create),
                };
                self.add(ResourceId::Address(link.clone(), *key), both.sides(key), fate);
                lost.sources.insert((link.namespace.clone(), key.ip()));
            }
            return;
        }
        let declared = self.desired.link(link);
        for family in [Family::Inet, Family::Inet6] {
            self.family_of(link, declared, family, both, lost);
        }
    }

    fn family_of(&mut self, link: &LinkId, declared: Option<&Link>, family: Family, both: &Both<'_>, lost: &mut Lost) {
        let foreign = declared.is_none_or(|link| link.external);
        // Then it has no connected routes, nor should it.
        let down = self.lowered.contains(link) || declared.is_some_and(|link| link.settings.up == Some(false));
        let (wanted, present) = (sequence(&both.desired, family), sequence(&both.live, family));
        let mut going: Vec<Entry> = present.iter().filter(|entry| both.must_go(entry)).copied().collect();
        let downed = family == Family::Inet6 && self.lowered.contains(link);
        if downed {
            going.clone_from(&present);
        }
        let mut survivors = survivors(family, &present, &going);
        if !foreign && !reaches_order(family, &survivors, &wanted) {
            survivors = common_prefix(family, &survivors, &wanted);
        }
        for entry in &present {
            let id = ResourceId::Address(link.clone(), entry.key);
            let stays = survivors.contains(entry);
            let sides = both.sides(&entry.key);
            if !stays && family == Family::Inet || downed {
                lost.sources.insert((link.namespace.clone(), entry.key.ip()));
            }
            match (stays, sides.0) {
                (true, Some(address)) => {
                    let mut fields = address.compare(both.live[&entry.key], entry.key.ip());
                    fields.retain(|field| !down || field.name != Address::CONNECTED_ROUTE);
                    if !fields.is_empty() {
                        self.add(id, sides, Fate::new(Action::Update).of(fields));
                    }
                }
                (false, Some(address)) => {
                    let fields = address.compare(both.live[&entry.key], entry.key.ip());
                    let reason = match (downed, fields.is_empty()) {
                        (true, _) => Some("the link goes down".to_owned()),
                        (false, true) => Some("the order of the addresses, or a primary address, changes".to_owned()),
                        (false, false) => None,
                    };
                    self.add(id, sides, Fate::new(Action::Replace).of(fields).because(reason));
                    lost.sources.insert((link.namespace.clone(), entry.key.ip()));
                }
                (_, None) => {
                    self.add(id, sides, Fate::new(Action::Delete));
                    lost.sources.insert((link.namespace.clone(), entry.key.ip()));
                }
            }
        }
        for entry in wanted.iter().filter(|entry| !both.live.contains_key(&entry.key)) {
            self.add(ResourceId::Address(link.clone(), entry.key), both.sides(&entry.key), Fate::new(Action::Create));
        }
        if family == Family::Inet && survivors.is_empty() && !present.is_empty() {
            lost.bare.insert(link.clone());
        }
    }
}

fn sequence(addresses: &Addresses<'_>, family: Family) -> Vec<Entry> {
    let mut sequence: Vec<_> = addresses.iter().filter(|(key, _)| (family == Family::Inet) == key.ip().is_ipv4()).collect();
    sequence.sort_by_key(|(_, address)| address.order);
    let entry = |key: &InterfaceAddress, address: &Address| Entry { key: *key, scope: address.complete_scope(key.ip()).number() };
    sequence.into_iter().map(|(key, address)| entry(key, address)).collect()
}

fn same_subnet(a: &Entry, b: &Entry) -> bool {
    a.key.0.prefix_len() == b.key.0.prefix_len() && a.key.0.network() == b.key.0.network()
}

/// Where the kernel keeps a new address: an IPv4 one that is the first of its subnet behind the other primary addresses of its
/// scope or a wider one (`__inet_insert_ifa`), all others at the end.
fn insert(family: Family, list: &mut Vec<Entry>, entry: Entry) {
    let primaries = |list: &[Entry]| -> Vec<usize> {
        (0..list.len()).filter(|&at| !list[..at].iter().any(|earlier| same_subnet(earlier, &list[at]))).collect()
    };
    let secondary = list.iter().any(|other| same_subnet(other, &entry));
    if family == Family::Inet6 || secondary {
        list.push(entry);
        return;
    }
    let behind = primaries(list).into_iter().rfind(|&at| entry.scope <= list[at].scope);
    list.insert(behind.map_or(0, |at| at + 1), entry);
}

/// What is left when `going` are deleted: with the first of an IPv4 subnet its others go too.
fn survivors(family: Family, present: &[Entry], going: &[Entry]) -> Vec<Entry> {
    let taken = |at: usize| {
        let entry = &present[at];
        let primary = present[..at].iter().find(|earlier| same_subnet(earlier, entry));
        going.contains(entry) || family == Family::Inet && primary.is_some_and(|primary| going.contains(primary))
    };
    (0..present.len()).filter(|&at| !taken(at)).map(|at| present[at]).collect()
}

fn grown(family: Family, survivors: &[Entry], wanted: &[Entry]) -> Vec<Entry> {
    let mut list = survivors.to_vec();
    for entry in wanted.iter().filter(|entry| !survivors.contains(entry)) {
        insert(family, &mut list, *entry);
    }
    list
}

/// Whether adding what is missing to the survivors gives the list that a fresh interface would have.
fn reaches_order(family: Family, survivors: &[Entry], wanted: &[Entry]) -> bool {
    grown(family, survivors, wanted) == grown(family, &[], wanted)
}

/// The survivors up to the first that is not where a fresh interface would have it.
fn common_prefix(family: Family, survivors: &[Entry], wanted: &[Entry]) -> Vec<Entry> {
    let fresh = grown(family, &[], wanted);
    (0..survivors.len())
        .rev()
        .map(|length| survivors[..length].to_vec())
        .find(|prefix| fresh.starts_with(prefix) && reaches_order(family, prefix, wanted))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Entry> {
        text.split_whitespace().map(|word| Entry { key: word.parse().unwrap(), scope: 0 }).collect()
    }

    #[test]
    fn a_secondary_stands_behind_all_primaries() {
        let fresh = grown(Family::Inet, &[], &list("10.0.0.1/24 10.0.0.2/24 10.1.0.1/24"));
        assert_eq!(fresh, list("10.0.0.1/24 10.1.0.1/24 10.0.0.2/24"));
    }

    #[test]
    fn secondaries_go_with_their_primary() {
        let present = list("10.0.0.1/24 10.1.0.1/24 10.0.0.2/24");
        assert_eq!(survivors(Family::Inet, &present, &list("10.0.0.1/24")), list("10.1.0.1/24"));
        assert_eq!(
            survivors(Family::Inet6, &list("2001:db8::1/64 2001:db8::2/64"), &list("2001:db8::1/64")),
            list("2001:db8::2/64")
        );
    }

    #[test]
    fn appending_disturbs_nobody_and_a_new_first_one_everybody() {
        let live = list("10.0.0.1/24");
        assert!(reaches_order(Family::Inet, &live, &list("10.0.0.1/24 10.0.0.2/24")));
        assert!(!reaches_order(Family::Inet, &live, &list("10.0.0.2/24 10.0.0.1/24")));
        assert_eq!(common_prefix(Family::Inet, &live, &list("10.0.0.2/24 10.0.0.1/24")), []);
        let live = list("10.0.0.1/24 10.1.0.1/24");
        assert_eq!(common_prefix(Family::Inet, &live, &list("10.0.0.1/24 10.2.0.1/24 10.1.0.1/24")), list("10.0.0.1/24"));
    }
}
