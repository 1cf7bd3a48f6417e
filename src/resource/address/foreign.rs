//! Foreign addresses beside those of the lab: the kernel removes the secondary addresses of an IPv4 subnet with the first one.

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
    let taken = secondary.filter_map(|(position, foreign)| {
        let subnet = foreign.value.subnet(foreign.key.address);
        let mut primaries = lab.iter().filter(|(key, value, _)| {
            key.link == foreign.key.link
                && key.ip().is_ipv4()
                && value.secondary != Some(true)
                && value.subnet(key.address) == subnet
        });
        let (primary, _, _) = primaries.find(|(_, _, removed)| *removed)?;
        Some((position, format!("the kernel removes it with {}, the first address of its subnet", primary.address)))
    });
    taken.collect()
}

/// Returns the foreign addresses that must be removed, so that addresses of the lab become the first of their subnets again.
pub(super) fn displaced(foreign: &[Foreign<Address>], added: &[(&AddressKey, &Address)]) -> Vec<(usize, String)> {
    let first = |(_, value): &&(&AddressKey, &Address)| value.secondary == Some(false);
    let displaced =
        foreign.iter().enumerate().filter(|(_, foreign)| foreign.key.ip().is_ipv4()).filter_map(|(position, foreign)| {
            let subnet = foreign.value.subnet(foreign.key.address);
            let same =
                |(key, value): &&(&AddressKey, &Address)| key.link == foreign.key.link && value.subnet(key.address) == subnet;
            let (first, _) = added.iter().filter(first).find(same)?;
            Some((position, format!("{} becomes the first address of its subnet again", first.address)))
        });
    displaced.collect()
}
