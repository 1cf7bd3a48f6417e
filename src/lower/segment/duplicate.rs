//! MAC and IP addresses that two stations of one segment have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::{Interfaces, Sets};
use crate::lower::interface::Interface;
use crate::resource::link::rules::Addressing;
use crate::value::Mac;
use crate::yaml::problem::Problems;

pub(super) fn check(interfaces: &Interfaces<'_, '_>, segments: &Sets, problems: &mut Problems) {
    check_macs(interfaces, segments, problems);
    check_addresses(interfaces, segments, problems);
}

/// A MAC address on one segment: the first interface that has it, and the first that is no port.
struct Holders<'t, 'l> {
    first: &'t Interface<'l>,
    station: Option<&'t Interface<'l>>,
}

fn check_macs(interfaces: &Interfaces<'_, '_>, segments: &Sets, problems: &mut Problems) {
    let mut seen: HashMap<(usize, Mac), Holders<'_, '_>> = HashMap::new();
    for (number, interface) in interfaces.list.iter().enumerate().filter(|(_, interface)| interface.is_up()) {
        let own = !matches!(interface.link.kind.addressing(), Addressing::Parents(_));
        let Some(mac) = interface.link.settings.mac.filter(|_| own) else { continue };
        // A port sends nothing with its own address.
        let station = interfaces.master(number).is_none().then_some(*interface);
        let holders = match seen.entry((segments.find(number), mac)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Holders { first: interface, station });
                continue;
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let other = if station.is_some() { Some(holders.first) } else { holders.station };
        if let Some(other) = other.filter(|other| !may_share(interfaces, interface, other)) {
            let message = format!("`{}` and `{}` have the same MAC address `{mac}` on one segment", other.id, interface.id);
            let problem = problems.warning(interface.setting_path("mac"), message);
            problem.also(other.setting_path("mac"), "also used here").hint("give each its own, or remove both");
        }
        holders.station = holders.station.or(station);
    }
}

/// Whether it is usual that both have the same address, or an error of its own: a bridge and its port, siblings on one parent.
fn may_share(interfaces: &Interfaces<'_, '_>, one: &Interface<'_>, other: &Interface<'_>) -> bool {
    let is_port_of = |port: &Interface<'_>, master: &Interface<'_>| {
        interfaces
            .number(&port.id)
            .and_then(|port| interfaces.master(port))
            .is_some_and(|number| interfaces.list[number].id == master.id)
    };
    let distinct = |interface: &Interface<'_>| interface.link.kind.addressing() == Addressing::Distinct;
    let siblings = distinct(one) && distinct(other) && interfaces.parent(one) == interfaces.parent(other);
    is_port_of(one, other) || is_port_of(other, one) || siblings
}

fn check_addresses(interfaces: &Interfaces<'_, '_>, segments: &Sets, problems: &mut Problems) {
    let mut seen: HashMap<(usize, IpAddr), (&Interface<'_>, usize)> = HashMap::new();
    for (number, interface) in interfaces.list.iter().enumerate().filter(|(_, interface)| interface.is_up()) {
        let segment = segments.find(number);
        for (index, address) in interface.addresses() {
            let (first, at) = *seen.entry((segment, address)).or_insert((interface, index));
            let exclusive = |interface: &Interface<'_>| interface.link.kind.has_exclusive_addresses();
            let siblings = exclusive(first) && exclusive(interface) && interfaces.parent(first) == interfaces.parent(interface);
            if first.id != interface.id && !siblings {
                let message = format!("`{}` and `{}` have the same address `{address}` on one segment", first.id, interface.id);
                problems.warning(interface.address_path(index), message).also(first.address_path(at), "also used here");
            }
        }
    }
}
