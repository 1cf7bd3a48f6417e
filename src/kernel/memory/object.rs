//! Adds and removes objects by the rules that all types share and the rules of the type. Addresses and routes have modules of their own.

use netlink_packet_core::NetlinkSerializable;
use nix::libc;

use super::device::Place;
use super::network::{Author, Namespace, Network, said};
use crate::kernel::Errno;
use crate::name::{LinkName, NamespaceName};
use crate::resource::address::Address;
use crate::resource::link::rules::Carrier;
use crate::resource::neighbor::Neighbor;
use crate::resource::object::table::{self, Any, Container, Inspect, Places, Puts, Registered, Restorations, Visit};
use crate::resource::object::wire::{Found, Names, Notes, attributes};
use crate::resource::object::{At, Bodies, Foreign, Maker, Need, Object, Over, Put, Restoration, Seen, Simulation};
use crate::resource::route::Route;
use crate::state::Ifindex;
use crate::value::Mac;

/// The position of `rtm_protocol` in the body of a message.
const ROUTE_PROTOCOL: usize = 5;
/// The attributes of addresses and neighbours with their protocols.
const IFA_PROTO: u16 = 11;
const NDA_PROTOCOL: u16 = 12;

/// Objects in the in-memory kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept;

/// An object in the in-memory kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeptObject<O: Object> {
    pub(super) key: O::Key,
    pub(super) value: O,
    pub(super) maker: Maker,
    /// How its needs have been met; empty before that has been looked at.
    pub(super) met: Vec<Met>,
}

/// How a need is met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Met {
    /// Not at all.
    No,
    /// It is.
    Yes,
    /// By this hardware address, with ARP or without it.
    Hardware(Mac, bool),
}

impl From<bool> for Met {
    fn from(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

impl<O: Object> KeptObject<O> {
    fn new(at: &At<O>, maker: Maker) -> Self {
        Self { key: at.key.clone(), value: at.value.clone(), maker, met: Vec::new() }
    }
}

impl Container for Kept {
    type Of<O: Object> = Vec<KeptObject<O>>;
}

impl Network {
    pub(super) fn put(&mut self, author: Author<'_>, put: &Any<Puts>) -> Result<(), Errno> {
        if let Some(address) = Address::of_any::<Puts>(put) {
            self.put_address(author, address)
        } else if let Some(route) = Route::of_any::<Puts>(put) {
            self.put_route(author, route)
        } else {
            put.inspect(Putting { network: self, author })
        }
    }

    /// Adds a foreign object again. Does nothing if it is there.
    pub(super) fn restore(&mut self, again: &Any<Restorations>) -> Result<(), Errno> {
        match again.inspect(Restoring { network: self }) {
            Err(errno) if errno.number == libc::EEXIST => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) fn remove_object(&mut self, author: Author<'_>, object: &Any<Places>) -> Result<(), Errno> {
        if let Some(address) = Address::of_any::<Places>(object) {
            self.delete_address(address)
        } else if let Some(route) = Route::of_any::<Places>(object) {
            self.delete_route(author, route)
        } else {
            object.inspect(Removing { network: self, author })
        }
    }

    /// Removes the objects that have lost one of their needs. An object that never had it stays: the kernel removes objects when a link
    /// goes down, not because it is down.
    pub(super) fn drop_unmet_objects(&mut self) {
        let names: Vec<NamespaceName> = self.namespaces.keys().cloned().collect();
        for namespace in names {
            table::visit(&mut Dropping { network: self, namespace: &namespace });
        }
    }

    fn met(&self, namespace: &NamespaceName, need: &Need) -> Met {
        let found = self.namespaces.get(namespace);
        let index = found.zip(need.link()).and_then(|(found, link)| found.by_name(link));
        let place = index.map(|index| Place::new(namespace, index));
        let Some(device) = place.as_ref().and_then(|place| self.device(place)) else {
            return matches!(need, Need::Source(ip) if self.is_local(namespace, *ip)).into();
        };
        match need {
            Need::Link(_) => Met::Yes,
            Need::Up(_) => device.up.into(),
            Need::Inet(_) => (device.up && device.has_ipv4()).into(),
            Need::Inet6(_) => (device.up && place.is_some_and(|place| self.has_ipv6(&place))).into(),
            Need::Hardware(_) => Met::Hardware(device.mac, device.flags().arp != Some(false)),
            Need::Carrier(_) => place.is_some_and(|place| self.has_carrier(&place)).into(),
            Need::Source(ip) => self.is_local(namespace, *ip).into(),
        }
    }

    /// Returns whether the link is up and has a carrier: that of the other end of its pair, of its parent, or of a port.
    pub(super) fn has_carrier(&self, place: &Place) -> bool {
        let Some(device) = self.device(place).filter(|device| device.up) else { return false };
        match &device.below {
            Some(other) if device.kind.is_pair() => self.device(other).is_some_and(|other| other.up),
            Some(parent) => self.has_carrier(parent),
            None if device.kind.carrier() == Carrier::Ports => self.ports(place).iter().any(|port| self.has_carrier(port)),
            None => true,
        }
    }
}

/// Returns the messages that would report these objects of a namespace, as far as topo knows their attributes.
pub(super) fn messages<O: Registered>(
    namespace: &NamespaceName,
    found: &[Found<O>],
    index: &dyn Fn(LinkName) -> Option<Ifindex>,
) -> Bodies {
    let body = |found: &Found<O>| {
        let at = At::new(namespace, &found.key, &found.value, index);
        let request = O::put(&at, &Over::Nothing).into_iter().next();
        let mut body = request.map(|request| {
            let mut body = vec![0; request.message.buffer_len()];
            request.message.serialize(&mut body);
            body
        });
        if let Some(protocol) = body.as_mut().and_then(|body| protocol_in::<O>(body)) {
            // Of addresses and neighbours those that are added by hand have none.
            let has_none = found.maker == Maker::Hand && O::LIST != Route::LIST;
            *protocol = if has_none { 0 } else { found.maker.protocol() };
        }
        body.unwrap_or_default()
    };
    let mut bodies = Bodies::default();
    for (position, found) in found.iter().enumerate() {
        if found.maker.may_be_foreign(namespace.is_host()) {
            bodies.push(position, &body(found));
        }
    }
    bodies
}

/// Returns the byte of a message that tells who added the object.
fn protocol_in<O: Registered>(body: &mut [u8]) -> Option<&mut u8> {
    let (header, wanted) = match O::LIST {
        Route::LIST => return body.get_mut(ROUTE_PROTOCOL),
        Address::LIST => (8, IFA_PROTO),
        Neighbor::LIST => (12, NDA_PROTOCOL),
        _ => return None,
    };
    let start = body.as_ptr().addr();
    let (_, value) = attributes(body.get(header..)?).flatten().find(|(kind, _)| *kind == wanted)?;
    let position = value.as_ptr().addr() - start;
    body.get_mut(position)
}

impl Simulation for Network {
    fn is_up(&self, namespace: &NamespaceName, index: Ifindex) -> Option<bool> {
        self.device(&Place::new(namespace, index)).map(|device| device.up)
    }
}

struct Restoring<'a> {
    network: &'a mut Network,
}

impl<'a> Inspect<'a, Restorations> for Restoring<'_> {
    type Result = Result<(), Errno>;

    fn inspect<O: Registered>(self, again: &'a Restoration<O>) -> Result<(), Errno> {
        let (network, namespace) = (self.network, &again.namespace);
        let host = network.namespace(namespace)?;
        let names = Names::new(host.devices.iter().map(|(index, device)| (*index, device.name)));
        let foreign = Foreign::<O>::decode(&again.request, &names).ok_or_else(|| Errno::new(libc::ENODEV))?;
        let at = At::new(namespace, &foreign.key, &foreign.value, |link| network.namespaces[namespace].by_name(link));
        network.put(Author::Hand, &O::any::<Puts>(Put { at, over: Over::Nothing, awaited: None }))?;
        if let Some(route) = network.namespaces.get_mut(namespace).and_then(|host| host.routes.last_mut())
            && O::LIST == Route::LIST
        {
            route.protocol = foreign.message.0[ROUTE_PROTOCOL];
        }
        Ok(())
    }
}

fn maker(author: Author<'_>, namespace: &NamespaceName) -> Maker {
    match author {
        Author::Lab(_) if namespace.is_host() => Maker::Topo,
        Author::Lab(_) | Author::Hand => Maker::Hand,
    }
}

struct Putting<'a> {
    network: &'a mut Network,
    author: Author<'a>,
}

impl<'a> Inspect<'a, Puts> for Putting<'_> {
    type Result = Result<(), Errno>;

    fn inspect<O: Registered>(self, Put { at, over, .. }: &'a Put<O>) -> Result<(), Errno> {
        let network = self.network;
        let missing = |index: &&Option<Ifindex>| index.is_none_or(|index| network.is_up(&at.namespace, index).is_none());
        if at.indices.iter().any(|index| missing(&index)) {
            return Err(Errno::new(libc::ENODEV));
        }
        O::admit(at, network).map_err(|(number, message)| said(number, message))?;
        let namespace = network.namespaces.get_mut(&at.namespace).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let kept = KeptObject::new(at, maker(self.author, &at.namespace));
        let list = namespace.objects.of_mut::<O>();
        let same = |other: &KeptObject<O>| O::is_same((&other.key, &other.value), (&at.key, &at.value));
        match (list.iter().position(same), over) {
            (Some(_), Over::Nothing) => return Err(Errno::new(libc::EEXIST)),
            (Some(same), Over::Anything | Over::Live(_)) => list[same] = kept,
            (None, _) => list.push(kept),
        }
        Ok(())
    }
}

struct Removing<'a> {
    network: &'a mut Network,
    author: Author<'a>,
}

impl<'a> Inspect<'a, Places> for Removing<'_> {
    type Result = Result<(), Errno>;

    fn inspect<O: Registered>(self, at: &'a At<O>) -> Result<(), Errno> {
        let namespace = self.network.namespaces.get_mut(&at.namespace).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let list = namespace.objects.of_mut::<O>();
        let theirs =
            |kept: &KeptObject<O>| matches!(self.author, Author::Lab(_)) && at.namespace.is_host() && kept.maker != Maker::Topo;
        let same = |kept: &KeptObject<O>| O::is_same((&kept.key, &kept.value), (&at.key, &at.value));
        let found = list.iter().position(|kept| same(kept) && !theirs(kept));
        list.remove(found.ok_or_else(|| Errno::new(libc::ENOENT))?);
        Ok(())
    }
}

struct Dropping<'a> {
    network: &'a mut Network,
    namespace: &'a NamespaceName,
}

impl Visit for Dropping<'_> {
    fn visit<O: Registered>(&mut self) {
        let list = |network: &mut Network| {
            network.namespaces.get_mut(self.namespace).map(|namespace| std::mem::take(namespace.objects.of_mut::<O>()))
        };
        let Some(mut kept) = list(self.network).filter(|kept| !kept.is_empty()) else { return };
        kept.retain_mut(|object| {
            let needs = O::needs(&object.key, &object.value);
            let met: Vec<Met> = needs.iter().map(|need| self.network.met(self.namespace, need)).collect();
            let before = std::mem::replace(&mut object.met, met);
            before.iter().zip(&object.met).all(|(before, now)| *before == Met::No || before == now)
        });
        if let Some(namespace) = self.network.namespaces.get_mut(self.namespace) {
            *namespace.objects.of_mut::<O>() = kept;
        }
    }
}

impl Namespace {
    /// Returns the objects as lines of a fingerprint, sorted.
    pub(super) fn kept_objects(&self) -> Vec<String> {
        let mut lines = Lines { namespace: self, lines: Vec::new() };
        table::visit(&mut lines);
        lines.lines.sort();
        lines.lines
    }
}

struct Lines<'a> {
    namespace: &'a Namespace,
    lines: Vec<String>,
}

impl Visit for Lines<'_> {
    /// Shows the objects of each maker as they would be read, because what they were put with need not be what the kernel keeps.
    fn visit<O: Registered>(&mut self) {
        let kept = self.namespace.objects.of::<O>();
        let mut makers: Vec<Maker> = Vec::new();
        for maker in kept.iter().map(|kept| kept.maker) {
            if !makers.contains(&maker) {
                makers.push(maker);
            }
        }
        for maker in makers {
            let of_maker = kept.iter().filter(|kept| kept.maker == maker);
            let mut objects: Vec<_> = of_maker.map(|kept| (kept.key.clone(), kept.value.clone())).collect();
            O::arrange(&mut objects, &Seen { notes: &Notes::default(), link: &|_| None });
            self.lines.extend(objects.into_iter().map(|(key, value)| format!("{} {maker:?} {key:?} {value:?}", O::WORD)));
        }
    }
}
