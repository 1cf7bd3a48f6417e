//! Masters and their ports (`do_set_master`, `br_add_if`).

use nix::libc;

use super::device::{Device, Place};
use super::network::Network;
use crate::kernel::Errno;
use crate::operation::{LinkHandle, PortChange};
use crate::resource::link::Port;
use crate::resource::link::port::Surroundings;
use crate::resource::link::rules::PathCost;
use crate::resource::route::MAIN_TABLE;

impl Network {
    /// Makes a link a port. The kernel releases it from its old master first, even if the new master then refuses it.
    pub(super) fn enslave(&mut self, port: &Place, master: &LinkHandle) -> Result<(), Errno> {
        if !self.namespace(&port.namespace)?.devices.contains_key(&master.index) {
            return Err(Errno::new(libc::EINVAL));
        }
        let master = self.place(master)?;
        if master.namespace != port.namespace {
            return Err(Errno::new(libc::EINVAL));
        }
        if self.device(port).is_some_and(|device| device.master == Some(master.index)) {
            return Ok(());
        }
        self.release(port);
        self.check_port(port, &master)?;
        let path_cost = self.path_cost(port);
        let mut options = self.device(&master).and_then(|master| Port::of(&master.kind));
        if let Some(options) = &mut options {
            *options = options.complete();
            options.normalise();
            options.inherit(path_cost);
        }
        self.change_master(port, |device| (device.master, device.port) = (Some(master.index), options));
        self.fit_to_ports(&master);
        Ok(())
    }

    /// Returns the master of a link.
    fn master(&self, port: &Place) -> Option<&Device> {
        let master = self.device(port)?.master?;
        self.device(&Place::new(&port.namespace, master))
    }

    /// Returns the table of the connected routes of a link: that of the VRF that it is or is a port of, or `main`.
    pub(super) fn routing_table(&self, place: &Place) -> u32 {
        let own = self.device(place).and_then(|device| device.kind.routing_table());
        own.or_else(|| self.master(place)?.kind.routing_table()).unwrap_or(MAIN_TABLE)
    }

    /// Changes the master of a link. A VRF restarts a link that joins or leaves it (`cycle_netdev`).
    pub(super) fn change_master(&mut self, port: &Place, change: impl FnOnce(&mut Device)) {
        let restarts = |network: &Self| network.master(port).is_some_and(|master| master.kind.restarts_ports());
        let leaves = restarts(self);
        let connected = self.connected(port);
        if let Some(device) = self.device_mut(port) {
            change(device);
        }
        if leaves || restarts(self) {
            self.restart(port, &connected);
        }
    }

    /// Releases a port from its master.
    pub(super) fn release(&mut self, port: &Place) {
        let master = self.device(port).and_then(|device| device.master);
        if let Some(master) = master {
            self.change_master(port, Device::leave_master);
            for other in self.ports(&Place::new(&port.namespace, master)) {
                if let Some(other) = self.device_mut(&other).filter(|other| other.port_reference == Some(port.index)) {
                    other.port_reference = None;
                }
            }
            self.fit_to_ports(&Place::new(&port.namespace, master));
        }
    }

    /// Returns the path cost of a link (`port_cost`).
    fn path_cost(&self, place: &Place) -> Option<u32> {
        /// The path cost of a link of unknown speed.
        const SLOW: u32 = 100;
        let device = self.device(place)?;
        match (device.kind.path_cost(), &device.below) {
            (PathCost::Fixed(cost), _) => Some(cost),
            (PathCost::Parents, Some(parent)) => self.path_cost(parent),
            (PathCost::Parents | PathCost::Unknown, _) => Some(SLOW),
        }
    }

    /// Changes options of a port (`br_port_slave_changelink`).
    pub(super) fn set_port(&mut self, place: &Place, change: &PortChange) -> Result<(), Errno> {
        let Some(device) = self.device(place) else { return Err(Errno::new(libc::ENODEV)) };
        let (Some(port), Some(master)) = (&device.port, device.master) else { return Err(Errno::new(libc::EOPNOTSUPP)) };
        let master = Place::new(&place.namespace, master);
        let Some(upper) = self.device(&master) else { return Err(Errno::new(libc::ENODEV)) };
        let around = Surroundings { master: &upper.kind, up: device.up && upper.up, carrier: self.has_carrier(place) };
        if let Some(cause) = change.options.refused(around) {
            return Err(cause.into());
        }
        let mut updated = port.clone();
        updated.update(&change.options);
        updated.normalise();
        let reference = change.reference.as_ref().map(|port| self.place(port)).transpose()?;
        let is_other_port = |other: &Place| other != place && self.ports(&master).contains(other);
        if !updated.validate().is_empty() || reference.as_ref().is_some_and(|other| !is_other_port(other)) {
            return Err(Errno::new(libc::EINVAL));
        }
        updated.refer(None);
        let refers = change.options.sets_reference();
        if let Some(device) = self.device_mut(place) {
            device.port = Some(updated);
            if refers {
                device.port_reference = reference.map(|port| port.index);
            }
        }
        Ok(())
    }

    /// Enables the ports that can pass packets, and disables the others (`br_port_carrier_check`).
    pub(super) fn enable_ports(&mut self) {
        for place in self.places(|device| device.port.is_some()) {
            let Some(device) = self.device(&place) else { continue };
            let master = device.master.and_then(|master| self.device(&Place::new(&place.namespace, master)));
            let enabled = device.up && master.is_some_and(|master| master.up) && self.has_carrier(&place);
            if let Some(port) = self.device_mut(&place).and_then(|device| device.port.as_mut()) {
                port.enable(enabled);
            }
        }
    }

    fn check_port(&self, port: &Place, master: &Place) -> Result<(), Errno> {
        let (Some(device), Some(upper)) = (self.device(port), self.device(master)) else {
            return Err(Errno::new(libc::ENODEV));
        };
        if !upper.kind.takes_ports() {
            return Err(Errno::new(libc::EOPNOTSUPP));
        }
        if let Some(refusal) = upper.kind.refuses_port(device.kind.name()) {
            return Err(refusal.into());
        }
        let handled = upper.kind.receive_handler().is_some() && self.receive_handler(port).is_some();
        if handled || self.depends_on(port, master) || self.depends_on(master, port) {
            return Err(Errno::new(libc::EBUSY));
        }
        Ok(())
    }

    /// Returns whether `upper` depends on `lower`, directly or indirectly, as an upper link or as a master.
    fn depends_on(&self, upper: &Place, lower: &Place) -> bool {
        let mut pending = vec![upper.clone()];
        while let Some(place) = pending.pop() {
            if place == *lower {
                return true;
            }
            let Some(device) = self.device(&place) else { continue };
            pending.extend(device.below.clone().filter(|below| device.is_on(below)));
            pending.extend(self.ports(&place));
        }
        false
    }
}
