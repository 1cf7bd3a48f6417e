//! The mtu: the limits of each kind, and the side effects of a change.

use nix::libc;

use super::device::{Device, Place};
use super::network::{Network, said};
use super::sysctl::inherited_sysctls;
use crate::kernel::Errno;
use crate::resource::link::contract::ETHERNET_MTU;
use crate::resource::link::rules::MtuAround;
use crate::resource::link::{Kind, LEAST_IPV6_MTU};

/// Checks an mtu against the limits of the kind.
pub(super) fn check_range(kind: &Kind, mtu: u32) -> Result<(), Errno> {
    let limits = kind.mtu_limits();
    match mtu {
        _ if mtu < *limits.start() => Err(said(libc::EINVAL, "mtu less than device minimum")),
        _ if mtu > *limits.end() => Err(said(libc::EINVAL, "mtu greater than device maximum")),
        _ => Ok(()),
    }
}

/// Returns the mtu of a new link: the requested one, or the default of the kind over a parent with the mtu `below`.
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
    /// Changes the mtu of an existing link on request.
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

    /// Changes the mtu, with the side effects: the mtus of upper links shrink, the master's mtu follows its ports, and IPv6 is removed
    /// from a link with an mtu that is too small for it.
    fn change_mtu(&mut self, place: &Place, mtu: u32) {
        let Some(device) = self.device_mut(place) else { return };
        let before = std::mem::replace(&mut device.mtu, mtu);
        let (knew_ipv6, master) = (before >= LEAST_IPV6_MTU, device.master);
        match (knew_ipv6, device.knows_ipv6()) {
            (true, false) => self.remove_ipv6(place),
            (false, true) => self.add_ipv6(place),
            _ => {}
        }
        for child in self.upper_links(place) {
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

    fn add_ipv6(&mut self, place: &Place) {
        let Some(namespace) = self.namespaces.get_mut(&place.namespace) else { return };
        let inherited = inherited_sysctls(&namespace.sysctls);
        if let Some(device) = namespace.devices.get_mut(&place.index) {
            device.sysctls.extend(inherited.into_iter().filter(|(key, _)| key.starts_with("ipv6/")));
        }
    }

    /// Sets the mtu of a bridge to the smallest mtu of its ports, unless the mtu of the existing bridge was set.
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
