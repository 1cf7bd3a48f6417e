//! Foreign addresses beside those of the lab: the kernel removes the secondary addresses of an IPv4 subnet with the first one.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Address, AddressKey};
use crate::name::LinkName;
use crate::resource::object::Foreign;

/// Returns the foreign addresses that the kernel removes with addresses of the lab. `lab` are the lab's live addresses, each with whether
/// it is removed; `promotes` tells whether the next address of the subnet takes the place of the first one.
pub(super) fn taken_along(
    foreign: &[Foreign<Address>],
    lab: &[(&AddressKey, &Address, bool)],
    promotes: &dyn Fn(LinkName) -> bool,
) -> Vec<(usize, String)> {
    let secondary =
        foreign.iter().enumerate().filter(|(_, foreign)| foreign.value.secondary == Some(true) && !promotes(foreign.key.link));
    let mut primaries: BTreeMap<(LinkName, IpNet), &AddressKey> = BTreeMap::new();
    let is_primary = |value: &Address| value.secondary != Some(true);
    for (key, value, _) in lab.iter().filter(|(key, value, removed)| *removed && key.ip().is_ipv4() && is_primary(value)) {
        primaries.entry((key.link, value.subnet(key.address))).or_insert(key);
    }
    let taken = secondary.filter_map(|(position, foreign)| {
        let primary = primaries.get(&(foreign.key.link, foreign.value.subnet(foreign.key.address)))?;
        Some((position, format!("the kernel removes it with {}, the first address of its subnet", primary.address)))
    });
    taken.collect()
}

/// Returns the foreign addresses that must be removed, so that addresses of the lab become the first of their subnets again.
pub(super) fn displaced(foreign: &[Foreign<Address>], added: &[(&AddressKey, &Address)]) -> Vec<(usize, String)> {
    let mut firsts: BTreeMap<(LinkName, IpNet), &AddressKey> = BTreeMap::new();
    for (key, value) in added.iter().filter(|(_, value)| value.secondary == Some(false)) {
        firsts.entry((key.link, value.subnet(key.address))).or_insert(key);
    }
    let ipv4 = foreign.iter().enumerate().filter(|(_, foreign)| foreign.key.ip().is_ipv4());
    let displaced = ipv4.filter_map(|(position, foreign)| {
        let first = firsts.get(&(foreign.key.link, foreign.value.subnet(foreign.key.address)))?;
        Some((position, format!("{} becomes the first address of its subnet again", first.address)))
    });
    displaced.collect()
}
