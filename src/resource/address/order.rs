//! The order of addresses, which the kernel keeps: the first of an IPv4 subnet is primary, and the kernel removes its secondary
//! addresses with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Address, AddressKey, ConnectedRoute};
use crate::name::LinkName;
use crate::resource::object::{Group, LinkLoss, Object, Pair, Replacement, Seen, Surroundings, Verdict};
use crate::value::InterfaceAddress;

/// Numbers the addresses of each interface and family in the order in which they were given, finds missing connected routes, and
/// sorts.
pub(super) fn arrange(objects: &mut [(AddressKey, Address)], seen: &Seen<'_>) {
    let mut next: BTreeMap<(LinkName, bool), u32> = BTreeMap::new();
    let mut number = |(key, address): &mut (AddressKey, Address)| {
        let order = next.entry((key.link, key.ip().is_ipv4())).or_default();
        address.order = *order;
        *order += 1;
    };
    objects.iter_mut().filter(|(key, _)| key.ip().is_ipv4()).for_each(&mut number);
    // The kernel lists IPv6 addresses with the latest first.
    objects.iter_mut().rev().filter(|(key, _)| key.ip().is_ipv6()).for_each(&mut number);
    for (key, address) in objects.iter_mut() {
        address.vrf = vrf(key.link, seen);
        let up = || (seen.link)(key.link).is_some_and(|link| link.settings.up == Some(true));
        let (subnet, notes) = (address.subnet(key.address), seen.notes);
        let check = |route: &mut ConnectedRoute, is_there: &dyn Fn() -> bool| {
            if *route != ConnectedRoute::AsMade {
                *route = match *route {
                    _ if is_there() || !up() => ConnectedRoute::AsMade,
                    ConnectedRoute::Coming => ConnectedRoute::Coming,
                    ConnectedRoute::AsMade | ConnectedRoute::Expected | ConnectedRoute::Missing => ConnectedRoute::Missing,
                };
            }
        };
        check(&mut address.connected, &|| notes.connected.binary_search(&(subnet, key.link)).is_ok());
        check(&mut address.local, &|| notes.local.binary_search(&(key.ip(), key.link)).is_ok());
    }
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
}

/// Returns the table of the VRF that a live link is, or is a port of.
fn vrf(link: LinkName, seen: &Seen<'_>) -> Option<u32> {
    let link = (seen.link)(link)?;
    let master = || (seen.link)(link.settings.master?)?.kind.routing_table();
    link.kind.routing_table().or_else(master)
}

/// One address of a link in the order in which it was or will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    address: InterfaceAddress,
    scope: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
}

impl Family {
    fn includes(self, address: InterfaceAddress) -> bool {
        (self == Self::Inet) == address.ip().is_ipv4()
    }
}

pub(super) fn settle(group: &Group<'_, Address>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Address>> {
    let mut verdicts = Vec::new();
    for of_link in group.chunk_by(|one, next| one.key.link == next.key.link) {
        let link = of_link[0].key.link;
        let differs = |pair: &Pair<'_, Address>| match (pair.desired, pair.live) {
            (Some(desired), Some(live)) => desired.order != live.order || !Address::compare(pair.key, desired, live).is_empty(),
            _ => true,
        };
        if surroundings.losses.links.contains_key(&link) || of_link.iter().any(differs) {
            settle_link(link, of_link, surroundings, &mut verdicts);
        }
    }
    // The kernel assigns the addresses of `lo` when it comes up in a new namespace.
    let comes_up = (surroundings.link)(LinkName::LOOPBACK).is_none_or(|link| link.settings.up != Some(false));
    if surroundings.is_new && comes_up {
        verdicts.retain(|verdict| !verdict.key.is_of_loopback());
    }
    verdicts
}

fn settle_link(
    link: LinkName,
    group: &Group<'_, Address>,
    surroundings: &mut Surroundings<'_>,
    verdicts: &mut Vec<Verdict<Address>>,
) {
    if !surroundings.losses.is_gone(link) {
        for family in [Family::Inet, Family::Inet6] {
            Settling::new(link, family, group, surroundings).settle(surroundings, verdicts);
        }
        return;
    }
    let reason = surroundings.losses.reason(link);
    for pair in group {
        if pair.desired.is_some() {
            surroundings.losses.sources.insert(pair.key.ip());
        }
        verdicts.push(match (pair.desired, pair.live) {
            (None, _) => pair.delete(),
            (Some(_), None) => pair.create(),
            (Some(_), Some(_)) => pair.replace(Replacement::RemoveFirst, reason.clone()),
        });
    }
}

/// The addresses of one family on one link that stays.
struct Settling<'a> {
    link: LinkName,
    family: Family,
    pairs: Vec<&'a Pair<'a, Address>>,
    /// The live addresses in the kernel's order.
    present: Vec<Entry>,
    /// The live addresses that need not be removed.
    survivors: Vec<Entry>,
    /// Whether the link is down, so that it has no connected routes, or the kernel restarts it, and makes them again.
    down: bool,
    /// Whether all addresses are lost because the link goes down, if only for a moment.
    lost: bool,
    /// Why.
    why_lost: String,
}

impl<'a> Settling<'a> {
    fn new(link: LinkName, family: Family, group: &'a Group<'a, Address>, surroundings: &Surroundings<'_>) -> Self {
        let declared = (surroundings.link)(link);
        let foreign = declared.is_none_or(|link| link.external);
        let goes_down = matches!(surroundings.losses.links.get(&link), Some(LinkLoss::Down | LinkLoss::Restarted));
        let down = goes_down || declared.is_some_and(|link| link.settings.up == Some(false));
        let pairs: Vec<_> = group.iter().filter(|pair| family.includes(pair.key.address)).collect();
        let present = sequence(pairs.iter().filter_map(|pair| Some((pair.key.address, pair.live?))));
        let wanted = sequence(pairs.iter().filter_map(|pair| Some((pair.key.address, pair.desired?))));
        let lost = family == Family::Inet6 && goes_down;
        let must_go = |entry: &&Entry| lost || pairs.iter().any(|pair| pair.key.address == entry.address && must_go(pair));
        let going: Vec<Entry> = present.iter().filter(must_go).copied().collect();
        let mut survivors = survivors(family, &present, &going);
        if !foreign && !reaches_order(family, &survivors, &wanted) {
            survivors = common_prefix(family, &survivors, &wanted);
        }
        let why_lost = match surroundings.losses.links.get(&link) {
            Some(LinkLoss::Restarted) => surroundings.losses.reason(link).unwrap_or_default(),
            _ => "the link goes down".to_owned(),
        };
        Self { link, family, pairs, present, survivors, down, lost, why_lost }
    }

    fn settle(&self, surroundings: &mut Surroundings<'_>, verdicts: &mut Vec<Verdict<Address>>) {
        for pair in &self.pairs {
            let Some(live) = pair.live else {
                verdicts.push(pair.create());
                continue;
            };
            let stays = self.survivors.iter().any(|entry| entry.address == pair.key.address);
            let changes = match (stays, pair.desired) {
                (true, Some(desired)) => self.update(pair, desired, live),
                (false, Some(desired)) => Some(pair.replace(Replacement::RemoveFirst, self.reason(pair, desired, live))),
                (_, None) => Some(pair.delete()),
            };
            if self.lost || !stays || pair.desired.is_none() {
                surroundings.losses.sources.insert(pair.key.ip());
            }
            verdicts.extend(changes);
        }
        if self.family == Family::Inet && self.survivors.is_empty() && !self.present.is_empty() {
            surroundings.losses.without_inet.insert(self.link);
        }
    }

    fn update(&self, pair: &Pair<'_, Address>, desired: &Address, live: &Address) -> Option<Verdict<Address>> {
        let differs = match self.down {
            true => !Address::compare(pair.key, &Address { connected: live.connected, ..desired.clone() }, live).is_empty(),
            false => !Address::compare(pair.key, desired, live).is_empty(),
        };
        differs.then(|| pair.update())
    }

    /// Why an address is replaced, where its attributes do not tell.
    fn reason(&self, pair: &Pair<'_, Address>, desired: &Address, live: &Address) -> Option<String> {
        if self.lost {
            return Some(self.why_lost.clone());
        }
        let unchanged = Address::compare(pair.key, desired, live).is_empty();
        unchanged.then(|| "the order of the addresses, or a primary address, changes".to_owned())
    }
}

/// Whether a live address cannot stay.
fn must_go(pair: &Pair<'_, Address>) -> bool {
    let replaced = |(desired, live)| Address::compare(pair.key, desired, live).iter().any(|field| field.forces_replacement);
    pair.desired.zip(pair.live).is_none_or(replaced)
}

/// Addresses in the order in which they were or will be given.
fn sequence<'a>(addresses: impl Iterator<Item = (InterfaceAddress, &'a Address)>) -> Vec<Entry> {
    let mut sequence: Vec<_> = addresses.collect();
    sequence.sort_by_key(|(_, attributes)| attributes.order);
    let entry = |(address, attributes): (InterfaceAddress, &Address)| Entry {
        address,
        scope: attributes.complete_scope(address.ip()).number(),
    };
    sequence.into_iter().map(entry).collect()
}

fn same_subnet(a: &Entry, b: &Entry) -> bool {
    a.address.0.prefix_len() == b.address.0.prefix_len() && a.address.0.network() == b.address.0.network()
}

/// Inserts a new address where the kernel keeps it: an IPv4 one that is the first of its subnet behind the other primary addresses of
/// its scope or a wider one (`__inet_insert_ifa`), an IPv6 one before those of a wider scope (`ipv6_link_dev_addr`), all others at the
/// end.
fn insert(family: Family, list: &mut Vec<Entry>, entry: Entry) {
    let primaries = |list: &[Entry]| -> Vec<usize> {
        (0..list.len()).filter(|&at| !list[..at].iter().any(|earlier| same_subnet(earlier, &list[at]))).collect()
    };
    if family == Family::Inet6 {
        let wider = list.iter().position(|other| inet6_scope(other) > inet6_scope(&entry));
        list.insert(wider.unwrap_or(list.len()), entry);
        return;
    }
    if list.iter().any(|other| same_subnet(other, &entry)) {
        list.push(entry);
        return;
    }
    let behind = primaries(list).into_iter().rfind(|&at| entry.scope <= list[at].scope);
    list.insert(behind.map_or(0, |at| at + 1), entry);
}

/// How far an IPv6 address reaches (`ipv6_addr_src_scope`, RFC 4007): 1 the interface, 2 the link, 5 the site, 14 everywhere.
fn inet6_scope(entry: &Entry) -> u8 {
    match entry.address.ip() {
        IpAddr::V6(ip) if ip.is_loopback() => 1,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

/// What is left when `going` are deleted: the kernel deletes the other addresses of an IPv4 subnet with the first one.
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
        text.split_whitespace().map(|word| Entry { address: word.parse().unwrap(), scope: 0 }).collect()
    }

    #[test]
    fn a_secondary_comes_after_all_primaries() {
        let fresh = grown(Family::Inet, &[], &list("10.0.0.1/24 10.0.0.2/24 10.1.0.1/24"));
        assert_eq!(fresh, list("10.0.0.1/24 10.1.0.1/24 10.0.0.2/24"));
    }

    #[test]
    fn secondaries_are_removed_with_their_primary() {
        let present = list("10.0.0.1/24 10.1.0.1/24 10.0.0.2/24");
        assert_eq!(survivors(Family::Inet, &present, &list("10.0.0.1/24")), list("10.1.0.1/24"));
        assert_eq!(
            survivors(Family::Inet6, &list("2001:db8::1/64 2001:db8::2/64"), &list("2001:db8::1/64")),
            list("2001:db8::2/64")
        );
    }

    #[test]
    fn appending_disturbs_none_and_a_new_first_one_all() {
        let live = list("10.0.0.1/24");
        assert!(reaches_order(Family::Inet, &live, &list("10.0.0.1/24 10.0.0.2/24")));
        assert!(!reaches_order(Family::Inet, &live, &list("10.0.0.2/24 10.0.0.1/24")));
        assert_eq!(common_prefix(Family::Inet, &live, &list("10.0.0.2/24 10.0.0.1/24")), []);
        let live = list("10.0.0.1/24 10.1.0.1/24");
        assert_eq!(common_prefix(Family::Inet, &live, &list("10.0.0.1/24 10.2.0.1/24 10.1.0.1/24")), list("10.0.0.1/24"));
    }

    #[test]
    fn narrow_addresses_of_ipv6_come_first() {
        let (live, wanted) = (list("fe80::5/64 2001:db8::1/64"), list("2001:db8::1/64 fe80::5/64"));
        assert!(reaches_order(Family::Inet6, &live, &wanted));
        assert!(reaches_order(Family::Inet6, &list("2001:db8::1/64"), &wanted));
        assert!(!reaches_order(Family::Inet6, &list("2001:db8::2/64"), &list("2001:db8::1/64 2001:db8::2/64")));
    }
}
