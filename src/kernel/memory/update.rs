//! Changes existing links, in the kernel's order. Changes before a refusal remain.

use nix::libc;

use super::device::{Device, Place, strip};
use super::network::Network;
use crate::kernel::Errno;
use crate::operation::{LinkChange, MasterChange};
use crate::resource::link::rules::Addressing;
use crate::resource::link::{Kind, LinkSettings};
use crate::resource::option::Mutability;
use crate::value::Mac;

/// The maximum length of an alternative name in bytes (ALTIFNAMSIZ without the terminating zero).
const ALTNAME_LENGTH: usize = 127;

impl Network {
    pub(super) fn change_link(&mut self, change: &LinkChange) -> Result<(), Errno> {
        let place = self.place(&change.handle)?;
        if let Some(kind) = &change.kind {
            self.change_kind(&place, kind)?;
        }
        let settings = &change.settings;
        if let Some(mac) = settings.mac {
            self.set_mac(&place, mac)?;
        }
        if let Some(mtu) = settings.mtu {
            self.set_mtu(&place, mtu)?;
        }
        if let (Some(mark), Some(device)) = (&change.mark, self.device_mut(&place)) {
            (device.group, device.alias) = (mark.group, mark.alias.clone());
        }
        match &change.master {
            MasterChange::Keep => {}
            MasterChange::Enslave(master) => self.enslave(&place, master)?,
            MasterChange::Release => self.release(&place),
        }
        self.keep(&place, &settings.only_flags());
        match settings.up {
            Some(true) => self.bring_up(&place)?,
            Some(false) => self.bring_down(&place),
            None => {}
        }
        self.keep(&place, settings);
        if let Some(port) = &change.port {
            self.set_port(&place, port)?;
        }
        for name in &change.remove_altnames {
            let removed = self.device_mut(&place).is_some_and(|device| device.altnames.remove(name));
            if !removed {
                return Err(Errno::new(libc::ENOENT));
            }
        }
        change.add_altnames.iter().try_for_each(|name| self.add_altname(&place, name))
    }

    fn change_kind(&mut self, place: &Place, changes: &Kind) -> Result<(), Errno> {
        let Some(device) = self.device_mut(place) else { return Err(Errno::new(libc::ENODEV)) };
        if device.kind.name() != changes.name() {
            return Err(Errno::new(libc::EOPNOTSUPP));
        }
        let mut updated = device.kind.clone();
        updated.update(changes);
        strip(&mut updated);
        let refused = updated.compare(&device.kind).into_iter().flatten().any(|option| option.mutability == Mutability::Replace);
        if refused {
            return Err(changes.refused_change().into());
        }
        updated.settle_changes(&device.kind.clone(), changes);
        let before = std::mem::replace(&mut device.kind, updated.clone());
        for port in self.ports(place) {
            if let Some(port) = self.device_mut(&port).and_then(|device| device.port.as_mut()) {
                port.master_changed(&before, &updated);
            }
        }
        self.share_options(place);
        Ok(())
    }

    fn keep(&mut self, place: &Place, settings: &LinkSettings) {
        if let Some(device) = self.device_mut(place) {
            device.keep(settings);
        }
    }

    fn set_mac(&mut self, place: &Place, mac: Mac) -> Result<(), Errno> {
        mac.usable().map_err(|_| Errno::new(libc::EADDRNOTAVAIL))?;
        // A macvlan in mode `passthru` would change the address of its parent.
        let has_parents = |device: &Device| matches!(device.kind.addressing(), Addressing::Parents(_));
        if self.device(place).is_some_and(|device| device.is_loopback() || has_parents(device)) {
            return Err(Errno::new(libc::EOPNOTSUPP));
        }
        if self.device(place).is_some_and(|device| device.mac != mac) && self.mac_is_taken(place, mac) {
            return Err(Errno::new(libc::EADDRINUSE));
        }
        if let Some(device) = self.device_mut(place) {
            device.mac = mac;
        }
        for upper in self.upper_links(place) {
            if let Some(device) = self.device_mut(&upper).filter(|device| has_parents(device)) {
                device.mac = mac;
            }
        }
        Ok(())
    }

    fn add_altname(&mut self, place: &Place, name: &str) -> Result<(), Errno> {
        if name.is_empty() || name.len() > ALTNAME_LENGTH {
            return Err(Errno::new(libc::EINVAL));
        }
        if self.namespace(&place.namespace)?.has_name(name) {
            return Err(Errno::new(libc::EEXIST));
        }
        if let Some(device) = self.device_mut(place) {
            device.altnames.insert(name.to_owned());
        }
        Ok(())
    }
}
