//! The mtu: what a kind allows, and what follows when it changes.

use nix::libc;

use super::device::{Device, Place};
use super::network::{Network, said};
use super::sysctl::born_with;
use crate::kernel::Errno;
use crate::resource::link::Kind;
use crate::resource::link::contract::ETHERNET_MTU;
use crate::resource::link::rules::MtuAround;

/// Refuses what no link of the kind can have.
pub(super) fn check_range(kind: &Kind, mtu: u32) -> Result<(), Errno> {
    let limits = kind.mtu_limits();
    match mtu {
        _ if mtu < *limits.start() => Err(said(libc::EINVAL, "mtu less than device minimum")),
        _ if mtu > *limits.end() => Err(said(libc::EINVAL, "mtu greater than device maximum")),
        _ => Ok(()),
    }
}

/// The mtu of a new link: the one asked for, or the kind's own over the link below.
pub(super) fn of_new(kind: &Kind, asked: Option<u32>, below: Option<u32>) -> Result<u32, Errno> {
    let Some(mtu) = asked else {
        let around = MtuAround { parent: below, smallest_port: None };
        return Ok(kind.default_mtu(around).unwrap_or(ETHERNET_MTU));
    };
    check_range(kind, mtu)?;
    match below.and_then(|below| kind.mtu_bound(below)) {
        Some(bound) if mtu > bound.most && bound.clamps => Ok(bound.most),
        Some(bound) if mtu > bound.most => Err(Errno::new(libc::EINVAL)),
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
        if let Some(bound) = below.and_then(|below| device.kind.mtu_bound(below.mtu)).filter(|bound| mtu > bound.most) {
            return Err(bound.refusal.into());
        }
        if let Some(device) = self.device_mut(place) {
            device.mtu_set |= device.kind.follows_ports_mtu();
        }
        self.change_mtu(place, mtu);
        Ok(())
    }

    /// Changes the mtu, with all that follows: links on top shrink along, a master fits itself to its ports, and
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
        for child in self.standing_on(place) {
            let Some(device) = self.device(&child) else { continue };
            let bound = device.kind.mtu_bound(mtu).filter(|bound| bound.shrinks && device.mtu > bound.most);
            if let Some(mtu) = bound.map(|bound| bound.most).or(device.kind.follows_parents_mtu().then_some(mtu)) {
                self.change_mtu(&child, mtu);
            }
        }
        if let Some(master) = master {
            self.fit_to_ports(&Place::new(&place.namespace, master));
        }
    }

    fn ipv6_learns(&mut self, place: &Place) {
        let Some(namespace) = self.namespaces.get_mut(&place.namespace) else { return };
        let born = born_with(&namespace.sysctls);
        if let Some(device) = namespace.devices.get_mut(&place.index) {
            device.sysctls.extend(born.into_iter().filter(|(key, _)| key.starts_with("ipv6/")));
        }
    }

    /// A bridge takes the smallest mtu of its ports, unless it was given one of its own while it lived.
    pub(super) fn fit_to_ports(&mut self, master: &Place) {
        let follows = |device: &Device| device.kind.follows_ports_mtu() && !device.mtu_set;
        if !self.device(master).is_some_and(follows) {
            return;
        }
        let ports = self.ports(master);
        let smallest = ports.iter().filter_map(|port| self.device(port)).map(|port| port.mtu).min().unwrap_or(ETHERNET_MTU);
        if self.device(master).is_some_and(|device| device.mtu != smallest) {
            self.change_mtu(master, smallest);
        }
    }
}
