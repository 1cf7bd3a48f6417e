//! The mtu: what a kind allows, and what follows when it changes.

use nix::libc;

use super::device::{Device, Place};
use super::network::{Network, said};
use super::sysctl::born_with;
use crate::kernel::Errno;
use crate::resource::link::Kind;
use crate::resource::link::contract::MtuAround;

/// The smallest mtu of Ethernet devices (ETH_MIN_MTU), and the largest (ETH_MAX_MTU).
const ETHERNET: (u32, u32) = (68, 65535);

/// The smallest and largest mtu of a kind (`min_mtu`, `max_mtu`).
fn limits(kind: &Kind) -> (u32, u32) {
    match kind {
        Kind::Bridge(_) | Kind::Veth(_) | Kind::Vxlan(_) | Kind::Device(_) => ETHERNET,
        Kind::Macvlan(_) | Kind::Vlan(_) => (0, ETHERNET.1),
        Kind::Dummy(_) | Kind::Loopback => (0, i32::MAX.unsigned_abs()),
    }
}

/// Refuses what no link of the kind can have.
pub(super) fn check_range(kind: &Kind, mtu: u32) -> Result<(), Errno> {
    match limits(kind) {
        (least, _) if mtu < least => Err(said(libc::EINVAL, "mtu less than device minimum")),
        (_, most) if mtu > most => Err(said(libc::EINVAL, "mtu greater than device maximum")),
        _ => Ok(()),
    }
}

/// The most that the link below allows; `None` when it sets no limit.
fn most_over(kind: &Kind, below: u32) -> Option<u32> {
    match kind {
        Kind::Macvlan(_) | Kind::Vlan(_) => Some(below),
        Kind::Vxlan(vxlan) => {
            let outer_header = if vxlan.remote.or(vxlan.local).is_some_and(|address| address.is_ipv6()) { 70 } else { 50 };
            Some(below.saturating_sub(outer_header))
        }
        Kind::Bridge(_) | Kind::Veth(_) | Kind::Dummy(_) | Kind::Loopback | Kind::Device(_) => None,
    }
}

/// The mtu of a new link: the one asked for, or the kind's own over the link below.
pub(super) fn of_new(kind: &Kind, asked: Option<u32>, below: Option<u32>) -> Result<u32, Errno> {
    let most = below.and_then(|below| most_over(kind, below));
    let Some(mtu) = asked else {
        return Ok(most.or_else(|| kind.default_mtu(MtuAround::default())).unwrap_or(1500));
    };
    check_range(kind, mtu)?;
    match (kind, most) {
        // A vxlan is silently made smaller (`vxlan_config_apply`).
        (Kind::Vxlan(_), Some(most)) => Ok(mtu.min(most)),
        (_, Some(most)) if mtu > most => Err(Errno::new(libc::EINVAL)),
        _ => Ok(mtu),
    }
}

impl Network {
    /// Changes the mtu of a living link because somebody asks for it.
    pub(super) fn set_mtu(&mut self, place: &Place, mtu: u32) -> Result<(), Errno> {
        let Some(device) = self.device(place) else { return Err(Errno::new(libc::ENODEV)) };
        if device.mtu == mtu {
            return Ok(());
        }
        check_range(&device.kind, mtu)?;
        let below = device.below.as_ref().and_then(|below| self.device(below));
        let most = below.and_then(|below| most_over(&device.kind, below.mtu));
        if most.is_some_and(|most| mtu > most) {
            return Err(Errno::new(if matches!(device.kind, Kind::Vlan(_)) { libc::ERANGE } else { libc::EINVAL }));
        }
        if let Some(device) = self.device_mut(place) {
            device.mtu_set |= matches!(device.kind, Kind::Bridge(_));
        }
        self.change_mtu(place, mtu);
        Ok(())
    }

    /// Changes the mtu, with all that follows: vlans and macvlans on top shrink along, a bridge fits itself to its ports, and
    /// IPv6 leaves a link that is too small for it.
    fn change_mtu(&mut self, place: &Place, mtu: u32) {
        let Some(device) = self.device_mut(place) else { return };
        let before = std::mem::replace(&mut device.mtu, mtu);
        let (knew_ipv6, master) = (before >= super::device::IPV6_MTU, device.master);
        match (knew_ipv6, device.knows_ipv6()) {
            (true, false) => self.ipv6_forgets(place),
            (false, true) => self.ipv6_learns(place),
            _ => {}
        }
        let shrinks = |device: &Device| matches!(device.kind, Kind::Macvlan(_) | Kind::Vlan(_)) && device.mtu > mtu;
        for child in self.places(|device| device.stands_on(place) && shrinks(device)) {
            self.change_mtu(&child, mtu);
        }
        if let Some(master) = master {
            self.fit_bridge(&Place::new(&place.namespace, master));
        }
    }

    fn ipv6_learns(&mut self, place: &Place) {
        let Some(namespace) = self.namespaces.get_mut(&place.namespace) else { return };
        let born = born_with(&namespace.sysctls);
        if let Some(device) = namespace.devices.get_mut(&place.index) {
            device.sysctls.extend(born.into_iter().filter(|(key, _)| key.starts_with("ipv6/")));
        }
    }

    /// A bridge takes the smallest mtu of its ports, unless it was given one of its own while it lived (`br_mtu_auto_adjust`).
    pub(super) fn fit_bridge(&mut self, bridge: &Place) {
        let follows = |device: &Device| matches!(device.kind, Kind::Bridge(_)) && !device.mtu_set;
        if !self.device(bridge).is_some_and(follows) {
            return;
        }
        let ports = self.ports(bridge);
        let smallest = ports.iter().filter_map(|port| self.device(port)).map(|port| port.mtu).min().unwrap_or(1500);
        if self.device(bridge).is_some_and(|device| device.mtu != smallest) {
            self.change_mtu(bridge, smallest);
        }
    }
}
