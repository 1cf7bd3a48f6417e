//! Creates links (`rtnl_newlink`), completely or not at all.

use std::collections::BTreeMap;

use nix::libc;

use super::device::{Device, Place};
use super::mtu;
use super::network::{Author, Network};
use super::sysctl::inherited_sysctls;
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::operation::{LinkHandle, NewLink, NewPeer};
use crate::ownership;
use crate::resource::link::rules::{Addressing, Among, Flags, ParentRule};
use crate::resource::link::{Kind, Link, Queues};
use crate::state::Ifindex;
use crate::value::Mac;

/// The maximum number of transmit queues, and of receive queues.
const MOST_QUEUES: u32 = 4096;

impl Network {
    pub(super) fn create_link(&mut self, author: Author<'_>, new: &NewLink) -> Result<(), Errno> {
        let below = self.link_below(new)?;
        let underlay = self.underlay(new)?;
        let peer_in_host = new.peer.as_ref().map(|peer| peer.handle.id.namespace.clone()).filter(NamespaceName::is_host);
        let through = underlay.clone().or_else(|| below.as_ref().map(|below| below.namespace.clone())).or(peer_in_host);
        self.check_free(&new.handle, through.as_ref(), libc::EEXIST)?;
        if let Some(peer) = &new.peer {
            self.check_free(&peer.handle, None, libc::EBUSY)?;
            let (one, other) = (&new.handle, &peer.handle);
            if one.id == other.id || one.id.namespace == other.id.namespace && one.index == other.index && one.index != 0 {
                return Err(Errno::new(if one.id == other.id { libc::EEXIST } else { libc::EBUSY }));
            }
        }
        if new.peer.is_some() != new.link.kind.is_pair() {
            return Err(Errno::new(libc::EINVAL));
        }
        self.check_kind(&new.link.kind, below.as_ref(), underlay.as_ref())?;
        self.check_exclusive(&new.handle.id.namespace, &new.link.kind)?;
        let parent = below.as_ref().and_then(|below| self.device(below)).map(|parent| (parent.mtu, parent.flags()));
        let mut device = self.new_device(author, &new.handle, &new.link, parent)?;
        let other = match &new.peer {
            Some(peer) => Some(self.new_device(author, &peer.handle, &peer.link, None)?),
            None => None,
        };
        if let (Addressing::Parents(_), Some(parent)) =
            (device.kind.addressing(), below.as_ref().and_then(|below| self.device(below)))
        {
            device.mac = parent.mac;
        }
        (device.below, device.underlay) = (below, underlay);
        let place = self.insert_device(&new.handle, device);
        if let (Some(other), Some(peer)) = (other, &new.peer) {
            let peer = self.insert_device(&peer.handle, Device { below: Some(place.clone()), ..other });
            if let Some(device) = self.device_mut(&place) {
                device.below = Some(peer);
            }
        }
        self.share_options(&place);
        self.finish_link(&place, new).inspect_err(|_| self.remove(&place))?;
        // This is a separate message, so the pair remains if it fails.
        new.peer.as_deref().map_or(Ok(()), |peer| self.finish_peer(peer))
    }

    fn finish_peer(&mut self, peer: &NewPeer) -> Result<(), Errno> {
        let place = self.place(&peer.handle)?;
        if let Some(master) = &peer.master {
            self.enslave(&place, master)?;
        }
        if peer.up { self.bring_up(&place) } else { Ok(()) }
    }

    /// Brings the new link up and makes it a port. On failure, the caller removes the link.
    fn finish_link(&mut self, place: &Place, new: &NewLink) -> Result<(), Errno> {
        if new.up {
            self.bring_up(place)?;
        }
        match &new.master {
            Some(master) => self.enslave(place, master),
            None => Ok(()),
        }
    }

    fn link_below(&self, new: &NewLink) -> Result<Option<Place>, Errno> {
        let (kind, rule) = (&new.link.kind, new.link.kind.parent_rule());
        let Some(parent) = new.parent.as_ref().filter(|_| rule != ParentRule::Never) else {
            let refused = rule == ParentRule::Required || new.parent.is_some();
            return if refused { Err(Errno::new(libc::EINVAL)) } else { Ok(None) };
        };
        self.namespace(&parent.id.namespace)?;
        let place = self.place(parent)?;
        let root = self.device(&place).filter(|device| kind.replaces_parent(device.kind.name()));
        Ok(Some(root.and_then(|device| device.below.clone()).unwrap_or(place)))
    }

    /// Returns the namespace of the link's own packets: the namespace in which the creating message is sent.
    fn underlay(&self, new: &NewLink) -> Result<Option<NamespaceName>, Errno> {
        if !new.link.kind.has_underlay() {
            return Ok(None);
        }
        let parent = new.parent.as_ref().map(|parent| &parent.id.namespace);
        let underlay = new.link.kind.underlay().or(parent).unwrap_or(&new.handle.id.namespace);
        self.namespace(underlay)?;
        if parent.is_some_and(|parent| parent != underlay) {
            return Err(Errno::new(libc::ENODEV));
        }
        Ok(Some(underlay.clone()))
    }

    /// Checks that the name and the index are free. Older kernels also check the index in the namespace of the sender.
    fn check_free(&self, handle: &LinkHandle, through: Option<&NamespaceName>, taken: i32) -> Result<(), Errno> {
        let namespace = self.namespace(&handle.id.namespace)?;
        if i32::try_from(handle.index).is_err() {
            return Err(Errno::new(libc::EINVAL));
        }
        let sender = through.and_then(|through| self.namespaces.get(through));
        if sender.is_some_and(|sender| sender.devices.contains_key(&handle.index)) {
            return Err(Errno::new(libc::EEXIST));
        }
        if namespace.devices.contains_key(&handle.index) {
            return Err(Errno::new(taken));
        }
        if namespace.has_name(&handle.id.name.as_str()) {
            return Err(Errno::new(libc::EEXIST));
        }
        Ok(())
    }

    /// Checks the rules of the kind.
    fn check_kind(&self, kind: &Kind, below: Option<&Place>, underlay: Option<&NamespaceName>) -> Result<(), Errno> {
        if !kind.can_be_made() {
            return Err(Errno::new(libc::EOPNOTSUPP));
        }
        if let Some(below) = below {
            self.check_parent(kind, below)?;
        }
        let Some(identity) = kind.identity() else { return Ok(()) };
        let near = |device: &Device| match identity.among {
            Among::Siblings => below.is_some_and(|below| device.is_on(below)),
            Among::Underlay => underlay.is_some() && device.underlay.as_ref() == underlay,
        };
        let same = |device: &Device| {
            let other = device.kind.identity().filter(|_| device.kind.name() == kind.name() && near(device));
            other.is_some_and(|other| other.key == identity.key)
        };
        if self.places(same).is_empty() { Ok(()) } else { Err(identity.refusal.into()) }
    }

    /// Checks that no other link has a value that only one can have.
    fn check_exclusive(&self, namespace: &NamespaceName, kind: &Kind) -> Result<(), Errno> {
        let Some(exclusive) = kind.exclusive() else { return Ok(()) };
        let is_on = self.read_sysctl(namespace, &exclusive.sysctl.replace('.', "/")).is_some_and(|value| value != "0");
        let same = |device: &Device| device.kind.name() == kind.name() && device.kind.exclusive() == Some(exclusive);
        match is_on && self.namespace(namespace)?.devices.values().any(same) {
            true => Err(exclusive.refusal.into()),
            false => Ok(()),
        }
    }

    fn check_parent(&self, kind: &Kind, below: &Place) -> Result<(), Errno> {
        let Some(parent) = self.device(below) else { return Err(Errno::new(libc::ENODEV)) };
        if let Some(refusal) = kind.refuses_parent(parent.kind.name()) {
            return Err(refusal.into());
        }
        let (wanted, present) = (kind.receive_handler(), self.receive_handler(below));
        if wanted.is_some() && present.is_some() && wanted != present {
            return Err(Errno::new(libc::EBUSY));
        }
        let same_driver = |device: &Device| device.is_on(below) && wanted.is_some() && device.kind.receive_handler() == wanted;
        let siblings = self.places(same_driver);
        let alone = |place: &Place| self.device(place).is_some_and(|device| device.kind.sole().is_some());
        if kind.sole().is_some() && !siblings.is_empty() || siblings.iter().any(alone) {
            return Err(Errno::new(libc::EINVAL));
        }
        Ok(())
    }

    /// Returns the links on the same parent with the same receive handler, including the link itself.
    pub(super) fn siblings(&self, device: &Device) -> Vec<Place> {
        let (below, handler) = (device.below.as_ref(), device.kind.receive_handler());
        self.places(|other| below.is_some_and(|below| other.is_on(below)) && other.kind.receive_handler() == handler)
    }

    /// Copies shared options from a link to its siblings.
    pub(super) fn share_options(&mut self, place: &Place) {
        let Some(device) = self.device(place).filter(|device| !device.kind.shared_options().is_empty()) else { return };
        let kind = device.kind.clone();
        for sibling in self.siblings(device) {
            if let Some(device) = self.device_mut(&sibling) {
                device.kind.take(&kind, kind.shared_options());
            }
        }
    }

    /// Returns the new link as the creating message describes it. `parent` is the mtu and the flags of its parent. The link is down and
    /// has no master.
    fn new_device(
        &mut self,
        author: Author<'_>,
        handle: &LinkHandle,
        link: &Link,
        parent: Option<(u32, Flags)>,
    ) -> Result<Device, Errno> {
        let settings = &link.settings;
        let mtu = mtu::of_new(&link.kind, settings.mtu, parent.map(|(mtu, _)| mtu))?;
        let mac = match settings.mac {
            Some(mac) => mac.usable().map_err(|_| Errno::new(libc::EADDRNOTAVAIL))?,
            None => self.draw_mac(),
        };
        let flags = parent.map(|(_, flags)| flags).unwrap_or_default();
        let mut device = Device::new(handle.id.name, &link.kind, mac, mtu, flags);
        device.keep(settings);
        if let Some(Queues { transmit, receive }) = link.queues {
            let possible = 1..=MOST_QUEUES;
            if !possible.contains(&transmit) || !possible.contains(&receive) {
                return Err(Errno::new(libc::EINVAL));
            }
            device.queues = Queues { transmit, receive };
        }
        if let (Author::Lab(lab), true) = (author, handle.id.namespace.is_host()) {
            (device.group, device.alias) = (ownership::group(lab), ownership::link_alias(lab));
        }
        let shared = self.namespaces.get(&handle.id.namespace).map(|namespace| &namespace.sysctls);
        device.sysctls = shared.map(inherited_sysctls).unwrap_or_default();
        if !device.knows_ipv6() {
            device.sysctls.retain(|key, _| !key.starts_with("ipv6/"));
        }
        Ok(device)
    }

    pub(super) fn insert_device(&mut self, handle: &LinkHandle, device: Device) -> Place {
        let name = &handle.id.namespace;
        let Some(namespace) = self.namespaces.get_mut(name) else { return Place::new(name, handle.index) };
        let index = if handle.index == 0 { next_index(&namespace.devices) } else { handle.index };
        namespace.devices.insert(index, device);
        Place::new(name, index)
    }

    /// Returns a hardware address that no other new link has.
    pub(super) fn draw_mac(&mut self) -> Mac {
        self.created_links += 1;
        let [a, b, c, d] = self.created_links.to_be_bytes();
        Mac([0x02, 0x70, a, b, c, d])
    }
}

/// Returns the index that the kernel assigns.
fn next_index(devices: &BTreeMap<Ifindex, Device>) -> Ifindex {
    devices.keys().rfind(|index| **index < 1 << 20).map_or(2, |index| index + 1)
}
