//! Masters and their ports (`do_set_master`, `br_add_if`).

use nix::libc;

use super::device::Place;
use super::network::Network;
use crate::kernel::Errno;
use crate::operation::LinkHandle;

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
        if let Some(device) = self.device_mut(port) {
            device.master = Some(master.index);
        }
        self.fit_to_ports(&master);
        Ok(())
    }

    /// Releases a port from its master.
    pub(super) fn release(&mut self, port: &Place) {
        let master = self.device_mut(port).and_then(|device| device.master.take());
        if let Some(master) = master {
            self.fit_to_ports(&Place::new(&port.namespace, master));
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
