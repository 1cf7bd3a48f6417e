//! Adds and removes objects by the rules that all types share and the rules of the type. Addresses and routes have modules of their own.

use nix::libc;

use super::device::Place;
use super::network::{Author, Namespace, Network, said};
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::resource::address::Address;
use crate::resource::object::table::{self, Any, Container, Inspect, Places, Puts, Registered, Visit};
use crate::resource::object::wire::Notes;
use crate::resource::object::{At, Maker, Need, Object, Over, Put, Seen, Simulation};
use crate::resource::route::Route;
use crate::state::Ifindex;

/// Objects in the in-memory kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept;

/// An object in the in-memory kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeptObject<O: Object> {
    pub(super) key: O::Key,
    pub(super) value: O,
    pub(super) maker: Maker,
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

    pub(super) fn remove_object(&mut self, author: Author<'_>, object: &Any<Places>) -> Result<(), Errno> {
        if let Some(address) = Address::of_any::<Places>(object) {
            self.delete_address(address)
        } else if let Some(route) = Route::of_any::<Places>(object) {
            self.delete_route(author, route)
        } else {
            object.inspect(Removing { network: self, author })
        }
    }

    /// Removes the objects with unmet needs.
    pub(super) fn drop_unmet_objects(&mut self) {
        let names: Vec<NamespaceName> = self.namespaces.keys().cloned().collect();
        for namespace in names {
            table::visit(&mut Dropping { network: self, namespace: &namespace });
        }
    }

    fn is_met(&self, namespace: &NamespaceName, need: &Need) -> bool {
        let device = need.link().and_then(|link| {
            let found = self.namespaces.get(namespace)?;
            found.devices.get(&found.by_name(link)?)
        });
        match need {
            Need::Link(_) => device.is_some(),
            Need::Up(_) => device.is_some_and(|device| device.up),
            Need::Inet(_) => device.is_some_and(|device| device.up && device.has_ipv4()),
            Need::Source(ip) => self.is_local(namespace, *ip),
        }
    }
}

impl Simulation for Network {
    fn is_up(&self, namespace: &NamespaceName, index: Ifindex) -> Option<bool> {
        self.device(&Place::new(namespace, index)).map(|device| device.up)
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

    fn inspect<O: Registered>(self, Put { at, over }: &'a Put<O>) -> Result<(), Errno> {
        let network = self.network;
        let missing = |index: &&Option<Ifindex>| index.is_none_or(|index| network.is_up(&at.namespace, index).is_none());
        if at.indices.iter().any(|index| missing(&index)) {
            return Err(Errno::new(libc::ENODEV));
        }
        O::admit(at, network).map_err(|(number, message)| said(number, message))?;
        let namespace = network.namespaces.get_mut(&at.namespace).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let kept = KeptObject { key: at.key.clone(), value: at.value.clone(), maker: maker(self.author, &at.namespace) };
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
        kept.retain(|object| O::needs(&object.key, &object.value).iter().all(|need| self.network.is_met(self.namespace, need)));
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
