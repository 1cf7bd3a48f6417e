//! Reads the live network: the lab's own namespaces whole, of the host only what is the lab's or what the lab names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use super::decode::{RawAddress, RawLink};
use super::netns::{self, Answer, Directory};
use super::read::{Candidate, Interest, Seen, Snapshot, broken, look_at, read_host};
use super::resolve::Resolver;
use super::{Linux, ahead, sysctl};
use crate::kernel::ObserveError;
use crate::kernel::standing::{BY_HAND, Standing};
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::ownership::{self, Mark};
use crate::resource::link::Marked;
use crate::resource::sysctl::SysctlKey;
use crate::state::{Ifindex, Live, Resource, ResourceId, State};

/// Which namespaces are read.
#[derive(Clone, Copy)]
pub(super) enum Look<'a> {
    /// All.
    Everywhere,
    /// These; the others are as they were last seen.
    Again(&'a BTreeSet<NamespaceName>),
}

impl Look<'_> {
    fn includes(self, namespace: &NamespaceName) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Again(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// Reads what the lab owns, and of all else only what `desired` names. What has been read ahead is not read again.
pub(super) fn observe(linux: &mut Linux, desired: &State, look: Look<'_>) -> Result<Live, ObserveError> {
    let mut live = Live::default();
    let ahead = ahead::collect(linux, look)?;
    let mut snapshots = std::mem::take(&mut linux.seen);
    snapshots.retain(|namespace, _| ahead.contains(namespace) || !look.includes(namespace));
    let interest = Arc::new(Interest::of(&linux.lab, desired));
    linux.interest = Some(interest.clone());
    let reading = match Directory::open().map_err(broken(netns::DIRECTORY))?.map(Arc::new) {
        Some(directory) => {
            let candidates = find_namespaces(linux, &interest, &directory, &mut live, &mut snapshots)?;
            read_namespaces(linux, &interest, &directory, candidates)?
        }
        None => {
            linux.namespaces.clear();
            snapshots.retain(|namespace, _| namespace.is_host());
            Vec::new()
        }
    };
    if let Entry::Vacant(unread) = snapshots.entry(NamespaceName::host()) {
        unread.insert(read_host(&interest, &mut linux.host.socket)?);
    }
    for answer in reading {
        let seen = answer.wait().map_err(broken("the namespaces"))??;
        for seen in seen {
            settle(linux, seen, &mut live, &mut snapshots);
        }
    }
    live.foreign.retain(|id, _| desired.resources.contains_key(id));
    let lab = linux.lab.clone();
    let mut resolver = Resolver::new(linux, &snapshots);
    for (name, snapshot) in &snapshots {
        let scene = Scene::new(&lab, name, snapshot, desired);
        scene.add_links(&mut live, &mut resolver)?;
        scene.add_addresses(&mut live);
        scene.add_routes(&mut live);
        scene.add_sysctls(&mut live);
    }
    linux.seen = snapshots;
    Ok(live)
}

/// Finds what could be the lab's namespaces. Those that are known and have not changed keep their sockets; `snapshots` holds
/// those that need no other look, and keeps those that are still there.
fn find_namespaces(
    linux: &mut Linux,
    interest: &Interest,
    directory: &Directory,
    live: &mut Live,
    snapshots: &mut BTreeMap<NamespaceName, Snapshot>,
) -> Result<Vec<Candidate>, ObserveError> {
    let mut known = std::mem::take(&mut linux.namespaces);
    let mut unread = std::mem::take(snapshots);
    snapshots.extend(unread.remove_entry(&NamespaceName::host()));
    let mut candidates = Vec::new();
    for name in directory.names().map_err(broken(netns::DIRECTORY))? {
        let known = match known.remove(&name) {
            Some(known) => {
                let still = directory.is_still(&name, &known.file);
                still.map_err(|error| broken(format!("namespace `{name}`"))(error))?.then_some(known)
            }
            None => None,
        };
        match (known, unread.remove(&name)) {
            (Some(inhabited), Some(snapshot)) if !interest.goes_beyond(&name, &snapshot) => {
                live.state.insert(ResourceId::Namespace(name.clone()), Resource::Namespace);
                linux.namespaces.insert(name.clone(), inhabited);
                snapshots.insert(name, snapshot);
            }
            (Some(inhabited), snapshot) => candidates.push(Candidate { name, inhabited: Some(inhabited), snapshot }),
            (None, _) => candidates.push(Candidate { name, inhabited: None, snapshot: None }),
        }
    }
    Ok(candidates)
}

pub(super) type Reading = Answer<Result<Vec<Seen>, ObserveError>>;

/// Begins to look into the candidates, half of them on each thread.
pub(super) fn read_namespaces(
    linux: &Linux,
    interest: &Arc<Interest>,
    directory: &Arc<Directory>,
    mut candidates: Vec<Candidate>,
) -> Result<Vec<Reading>, ObserveError> {
    let second = candidates.split_off(candidates.len() / 2);
    let mut reading = Vec::new();
    for (traveller, part) in linux.travellers.iter().zip([second, candidates]).filter(|(_, part)| !part.is_empty()) {
        let (interest, directory) = (interest.clone(), directory.clone());
        let look = move || part.into_iter().map(|candidate| look_at(&interest, &directory, candidate)).collect();
        reading.push(traveller.begin(look).map_err(broken("the namespaces"))?);
    }
    Ok(reading)
}

fn settle(linux: &mut Linux, seen: Seen, live: &mut Live, snapshots: &mut BTreeMap<NamespaceName, Snapshot>) {
    match seen {
        Seen::Lab { name, inhabited, snapshot } => {
            live.state.insert(ResourceId::Namespace(name.clone()), Resource::Namespace);
            linux.namespaces.insert(name.clone(), inhabited);
            snapshots.insert(name, snapshot);
        }
        Seen::Placeholder(name) => {
            live.state.insert(ResourceId::Namespace(name.clone()), Resource::Namespace);
            live.broken.insert(name);
        }
        Seen::Foreign { name, what } => {
            live.foreign.insert(ResourceId::Namespace(name), what);
        }
        Seen::Nothing => {}
    }
}

/// One namespace on its way from what was read to resources.
struct Scene<'a> {
    lab: &'a LabName,
    namespace: &'a NamespaceName,
    snapshot: &'a Snapshot,
    desired: &'a State,
    /// Its links, sorted by their number.
    links: Vec<&'a RawLink>,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a LabName, namespace: &'a NamespaceName, snapshot: &'a Snapshot, desired: &'a State) -> Self {
        let mut links: Vec<_> = snapshot.links.iter().collect();
        links.sort_unstable_by_key(|link| link.index);
        Self { lab, namespace, snapshot, desired, links }
    }

    fn link(&self, index: Ifindex) -> Option<&'a RawLink> {
        self.links.binary_search_by_key(&index, |link| link.index).ok().map(|at| self.links[at])
    }

    fn add_links(&self, live: &mut Live, resolver: &mut Resolver<'_>) -> Result<(), ObserveError> {
        for raw in &self.snapshot.links {
            let id = LinkId::new(self.namespace, raw.name);
            let mark = Mark { group: raw.group, alias: raw.alias.clone() };
            let marked = match Standing::of(self.lab, self.desired, &id, mark, raw.index, raw.link.kind.name()) {
                Standing::Lab(marked) => marked,
                Standing::Declared => Marked::Lab,
                Standing::Foreign(what) => {
                    live.taken_indices.insert(id.clone(), raw.index);
                    live.group_is_shared |= raw.group == ownership::group(self.lab);
                    let resource = ResourceId::Link(id);
                    if self.desired.resources.contains_key(&resource) {
                        live.foreign.insert(resource, what);
                    }
                    continue;
                }
            };
            let mut link = raw.link.clone();
            link.settings.master = raw.master.and_then(|master| Some(self.link(master)?.name));
            link.marked = marked;
            link.external = self.desired.link(&id).is_some_and(|link| link.external);
            resolver.resolve(&id, raw, &mut link, self.desired)?;
            live.indices.insert(id.clone(), raw.index);
            live.state.insert(ResourceId::Link(id), Resource::Link(Box::new(link)));
        }
        self.add_foreign_altnames(live);
        Ok(())
    }

    /// A further name of somebody else's link takes the name from the lab, too.
    fn add_foreign_altnames(&self, live: &mut Live) {
        if !self.namespace.is_host() {
            return;
        }
        for raw in &self.snapshot.links {
            for altname in raw.link.settings.altnames.iter().flatten() {
                let Ok(name) = altname.parse::<LinkName>() else { continue };
                let id = ResourceId::Link(LinkId::new(self.namespace, name));
                if self.desired.resources.contains_key(&id) && !live.state.resources.contains_key(&id) {
                    live.foreign.insert(id, format!("an alternative name of `{}`", raw.name));
                }
            }
        }
    }

    fn add_addresses(&self, live: &mut Live) {
        let mut order: HashMap<(Ifindex, bool), u32> = HashMap::new();
        // The kernel lists IPv6 addresses with the latest first.
        let (inet, inet6): (Vec<&RawAddress>, Vec<_>) =
            self.snapshot.addresses.iter().partition(|raw| raw.address.ip().is_ipv4());
        for raw in inet.into_iter().chain(inet6.into_iter().rev()) {
            let Some(on) = self.link(raw.index) else { continue };
            let link = LinkId::new(self.namespace, on.name);
            let id = ResourceId::Address(link.clone(), raw.address);
            let declared = || self.desired.resources.contains_key(&id);
            if is_link_local_by_kernel(raw) && !declared() {
                continue;
            }
            let mut attributes = raw.attributes.clone();
            if self.namespace.is_host() {
                let Some(owned) = live.state.link(&link) else { continue };
                let foreign = raw.protocol != Some(ownership::PROTOCOL);
                attributes.foreign = foreign && declared() && self.desired.adopt.contains(&link);
                if foreign && !attributes.foreign {
                    if declared() {
                        live.foreign.insert(id, "an address that topo did not give".into());
                    }
                    continue;
                }
                if owned.external && !declared() {
                    continue;
                }
            }
            let connects = raw.connects().filter(|_| on.link.settings.up == Some(true));
            attributes.disconnected = connects.is_some_and(|to| !self.snapshot.connected.contains(&(to, raw.index)));
            attributes.label = attributes.label.filter(|label| *label != link.name.as_str());
            let next = order.entry((raw.index, raw.address.ip().is_ipv4())).or_default();
            attributes.order = *next;
            *next += 1;
            live.state.insert(id, Resource::Address(attributes));
        }
    }

    fn add_routes(&self, live: &mut Live) {
        for raw in &self.snapshot.routes {
            let mut route = raw.route.clone();
            for (hop, index) in route.nexthops.iter_mut().zip(&raw.indices) {
                hop.dev = index.and_then(|index| Some(self.link(index)?.name));
            }
            let mut key = raw.key.clone();
            let mut id = ResourceId::Route(self.namespace.clone(), key.clone());
            let declared = || self.desired.resources.contains_key(&id);
            let ours = match self.namespace.is_host() {
                true => raw.protocol == ownership::PROTOCOL && (declared() || self.leads_over_lab(&route, live)),
                false => BY_HAND.contains(&raw.protocol),
            };
            if !ours {
                if declared() {
                    live.foreign.insert(id, format!("a route that topo did not make (protocol {})", raw.protocol));
                }
                continue;
            }
            while live.state.resources.contains_key(&id) {
                key.ordinal += 1;
                id = ResourceId::Route(self.namespace.clone(), key.clone());
            }
            live.state.insert(id, Resource::Route(route));
        }
    }

    /// Settings of the namespace, and of those of its links that concern the lab.
    fn add_sysctls(&self, live: &mut Live) {
        for (key, value) in self.snapshot.sysctls.iter().flatten() {
            let concerns = key.link().is_none_or(|name| live.state.link(&LinkId::new(self.namespace, name)).is_some());
            if concerns {
                live.state.insert(ResourceId::Sysctl(self.namespace.clone(), key.clone()), Resource::Sysctl(value.clone()));
            }
        }
    }

    fn leads_over_lab(&self, route: &crate::resource::route::Route, live: &Live) -> bool {
        let mut links = route.nexthops.iter().filter_map(|hop| hop.dev).map(|name| LinkId::new(self.namespace, name));
        links.any(|link| live.state.link(&link).is_some_and(|link| !link.external))
    }
}

/// Whether it is the address that IPv6 gives every interface. Kernels before 5.18 do not say so.
fn is_link_local_by_kernel(raw: &RawAddress) -> bool {
    match raw.address.ip() {
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local() && raw.protocol.is_none() && !supports_address_protocol(),
        std::net::IpAddr::V4(_) => false,
    }
}

/// Whether this kernel says who made an address (IFA_PROTO, Linux 5.18).
fn supports_address_protocol() -> bool {
    static SUPPORTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *SUPPORTED.get_or_init(|| {
        let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 18)
    })
}

/// Reads settings in a namespace that exists only for that.
pub fn defaults(linux: &Linux, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError> {
    let keys = keys.clone();
    let job = move || -> io::Result<BTreeMap<SysctlKey, String>> {
        netns::enter_new()?;
        let mut values = BTreeMap::new();
        for key in keys {
            // Some of what interfaces are born with is only shown where it has arrived.
            let arrived = || key.for_link(LinkName::LOOPBACK).map_or(Ok(None), |key| sysctl::read(&key));
            if let Some(sysctl) = sysctl::read(&key)?.map_or_else(arrived, |sysctl| Ok(Some(sysctl)))? {
                values.insert(key, sysctl.value);
            }
        }
        Ok(values)
    };
    linux.travellers[0].run(job).and_then(|values| values).map_err(broken("the kernel's default settings"))
}
