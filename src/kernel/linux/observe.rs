//! Reads the live network: the lab's own namespaces whole, of the host only what is the lab's or what the lab names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::decode::{self, Connected, RawAddress, RawLink, RawRoute};
use super::netns::{self, Answer, Directory, Entry};
use super::resolve::Resolver;
use super::socket::{DumpError, Socket};
use super::{Inhabited, Linux, encode, sysctl};
use crate::kernel::ObserveError;
use crate::kernel::standing::Standing;
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::ownership::{self, Mark};
use crate::resource::link::Marked;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Ifindex, Live, Resource, ResourceId, State};

/// Protocols of routes that hands make (RTPROT_UNSPEC, BOOT, STATIC) and topo's own; all others belong to the kernel or to a
/// routing daemon.
const BY_HAND: [u8; 4] = [0, 3, 4, ownership::PROTOCOL];
/// Routes that the kernel makes for its own addresses (RTPROT_KERNEL).
const KERNEL: u8 = 2;
/// Routes that the kernel makes or learns by itself (RTPROT_REDIRECT, KERNEL, RA).
const BY_KERNEL: [u8; 3] = [1, KERNEL, 9];

/// One namespace as it was read.
pub(super) struct Snapshot {
    pub(super) links: Vec<RawLink>,
    addresses: Vec<RawAddress>,
    routes: Vec<RawRoute>,
    /// The subnets that routes of the kernel's own lead to.
    connected: HashSet<Connected>,
}

fn failed(what: impl Into<String>) -> impl FnOnce(DumpError) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

fn broken(what: impl Into<String>) -> impl FnOnce(io::Error) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

/// Reads what the lab owns, and of all else only what `desired` names.
pub fn observe(linux: &mut Linux, desired: &State) -> Result<Live, ObserveError> {
    let mut live = Live::default();
    let candidates = find_namespaces(linux, desired, &mut live)?;
    let reading = read_namespaces(linux, desired, candidates)?;
    let host = NamespaceName::host();
    let mut snapshots = BTreeMap::from([(host.clone(), read_namespace(&host, &mut linux.host.socket)?)]);
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
        let scene = Scene { lab: &lab, namespace: name, snapshot, desired };
        scene.add_links(&mut live, &mut resolver)?;
        scene.add_addresses(&mut live);
        scene.add_routes(&mut live);
    }
    read_sysctls(linux, desired, &mut live)?;
    Ok(live)
}

/// A namespace that may be the lab's.
struct Candidate {
    name: NamespaceName,
    file: File,
    /// From an earlier look.
    socket: Option<Socket>,
}

/// A namespace that was looked into: the mark that it carries, and all that is in it if that is the lab's.
struct Seen {
    name: NamespaceName,
    inhabited: Inhabited,
    mark: String,
    snapshot: Option<Snapshot>,
}

/// Finds what could be the lab's namespaces, and notes what stands in the way of those that it wants. Namespaces that are known
/// and have not changed keep their sockets.
fn find_namespaces(linux: &mut Linux, desired: &State, live: &mut Live) -> Result<Vec<Candidate>, ObserveError> {
    let mut known = std::mem::take(&mut linux.namespaces);
    let mut candidates = Vec::new();
    let Some(directory) = Directory::open().map_err(broken(netns::DIRECTORY))? else { return Ok(candidates) };
    for name in directory.names().map_err(broken(netns::DIRECTORY))? {
        let failed = |error| broken(format!("namespace `{name}`"))(error);
        if let Some(Inhabited { file, socket }) = known.remove(&name)
            && directory.is_still(&name, &file).map_err(failed)?
        {
            candidates.push(Candidate { name, file, socket: Some(socket) });
            continue;
        }
        let id = ResourceId::Namespace(name.clone());
        match directory.look(&name).map_err(failed)? {
            Some(Entry::Namespace(file)) => candidates.push(Candidate { name, file, socket: None }),
            Some(Entry::File(text)) if text == ownership::namespace_mark(&linux.lab, &name) => {
                live.broken.insert(name);
                live.state.insert(id, Resource::Namespace);
            }
            Some(Entry::File(_)) => {
                live.foreign.insert(id, "a file that topo did not make".into());
            }
            Some(Entry::Other(what)) => {
                live.foreign.insert(id, what.into());
            }
            None => {}
        }
    }
    live.foreign.retain(|id, _| desired.resources.contains_key(id));
    Ok(candidates)
}

type Reading = Answer<Result<Vec<Seen>, ObserveError>>;

/// Begins to look into the candidates, half of them on each thread.
fn read_namespaces(linux: &Linux, desired: &State, mut candidates: Vec<Candidate>) -> Result<Vec<Reading>, ObserveError> {
    let wanted: Arc<BTreeSet<NamespaceName>> = Arc::new(desired.namespaces().cloned().collect());
    let second = candidates.split_off(candidates.len() / 2);
    let mut reading = Vec::new();
    for (traveller, part) in linux.travellers.iter().zip([second, candidates]).filter(|(_, part)| !part.is_empty()) {
        let (lab, wanted) = (linux.lab.clone(), wanted.clone());
        let look = move || part.into_iter().map(|candidate| look_into(&lab, &wanted, candidate)).collect();
        reading.push(traveller.begin(look).map_err(broken("the namespaces"))?);
    }
    Ok(reading)
}

/// Looks into one namespace. Of one that the lab does not want, no more than the mark is read unless it is the lab's.
fn look_into(lab: &LabName, wanted: &BTreeSet<NamespaceName>, candidate: Candidate) -> Result<Seen, ObserveError> {
    let Candidate { name, file, socket } = candidate;
    let connect = || netns::enter(&file).and_then(|()| Socket::open());
    let mut socket = match socket {
        Some(socket) => socket,
        None => connect().map_err(broken(format!("namespace `{name}`")))?,
    };
    let ours = ownership::namespace_mark(lab, &name);
    let mark_of =
        |links: &[RawLink]| links.iter().find(|link| link.name.is_loopback()).map(|link| link.alias.clone()).unwrap_or_default();
    let (mark, links) = if wanted.contains(&name) {
        let links = read_links(&name, &mut socket)?;
        (mark_of(&links), Some(links))
    } else {
        (loopback_alias(&mut socket).map_err(failed(format!("namespace `{name}`")))?, None)
    };
    let mut snapshot = None;
    if mark == ours {
        let links = links.map_or_else(|| read_links(&name, &mut socket), Ok)?;
        snapshot = Some(read_rest(&name, &mut socket, links)?);
    }
    Ok(Seen { name, inhabited: Inhabited { file, socket }, mark, snapshot })
}

fn settle(linux: &mut Linux, seen: Seen, live: &mut Live, snapshots: &mut BTreeMap<NamespaceName, Snapshot>) {
    let Seen { name, inhabited, mark, snapshot } = seen;
    let id = ResourceId::Namespace(name.clone());
    if let Some(snapshot) = snapshot {
        live.state.insert(id, Resource::Namespace);
        linux.namespaces.insert(name.clone(), inhabited);
        snapshots.insert(name, snapshot);
        return;
    }
    let what = match ownership::lab_of_namespace_mark(&mark) {
        Some((lab, _)) if lab != linux.lab => format!("a namespace of the lab `{lab}`"),
        Some((_, marked)) => format!("the lab's namespace `{marked}` under another name"),
        None => "a namespace that topo did not make".into(),
    };
    live.foreign.insert(id, what);
}

fn loopback_alias(socket: &mut Socket) -> Result<String, DumpError> {
    let mut alias = String::new();
    socket.get(encode::get_link(1), |_, body| {
        alias = decode::link(body)?.alias;
        Ok(())
    })?;
    Ok(alias)
}

fn read_links(name: &NamespaceName, socket: &mut Socket) -> Result<Vec<RawLink>, ObserveError> {
    let mut links = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => links.clear(),
            Some((_, body)) => links.push(decode::link(body)?),
        }
        Ok(())
    };
    socket.dump(&encode::get_links(), each).map_err(failed(format!("the links of `{name}`")))?;
    Ok(links)
}

fn read_addresses(name: &NamespaceName, socket: &mut Socket) -> Result<Vec<RawAddress>, ObserveError> {
    let mut addresses = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => addresses.clear(),
            Some((_, body)) => addresses.extend(decode::address(body)?.filter(|address| !address.is_kernels())),
        }
        Ok(())
    };
    socket.dump(&encode::get_addresses(), each).map_err(failed(format!("the addresses of `{name}`")))?;
    Ok(addresses)
}

fn read_routes(name: &NamespaceName, socket: &mut Socket) -> Result<(Vec<RawRoute>, HashSet<Connected>), ObserveError> {
    let (mut routes, mut connected) = (Vec::new(), HashSet::new());
    let each = |message: Option<(u16, &[u8])>| {
        let Some((_, body)) = message else {
            routes.clear();
            connected.clear();
            return Ok(());
        };
        match decode::route_protocol(body) {
            Some(KERNEL) => connected.extend(decode::connected_route(body)?),
            Some(protocol) if !BY_KERNEL.contains(&protocol) => routes.push(decode::route(body)?),
            _ => {}
        }
        Ok(())
    };
    socket.dump(&encode::get_routes(), each).map_err(failed(format!("the routes of `{name}`")))?;
    Ok((routes, connected))
}

fn read_namespace(name: &NamespaceName, socket: &mut Socket) -> Result<Snapshot, ObserveError> {
    let links = read_links(name, socket)?;
    read_rest(name, socket, links)
}

fn read_rest(name: &NamespaceName, socket: &mut Socket, links: Vec<RawLink>) -> Result<Snapshot, ObserveError> {
    let addresses = read_addresses(name, socket)?;
    let (routes, connected) = read_routes(name, socket)?;
    Ok(Snapshot { links, addresses, routes, connected })
}

/// One namespace on its way from what was read to resources.
struct Scene<'a> {
    lab: &'a LabName,
    namespace: &'a NamespaceName,
    snapshot: &'a Snapshot,
    desired: &'a State,
}

impl Scene<'_> {
    fn names(&self) -> HashMap<Ifindex, LinkName> {
        self.snapshot.links.iter().map(|link| (link.index, link.name)).collect()
    }

    fn add_links(&self, live: &mut Live, resolver: &mut Resolver<'_>) -> Result<(), ObserveError> {
        let names = self.names();
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
            link.settings.master = raw.master.and_then(|master| names.get(&master).copied());
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
        let names = self.names();
        let mut order: HashMap<(Ifindex, bool), u32> = HashMap::new();
        // The kernel lists IPv6 addresses with the latest first.
        let (inet, inet6): (Vec<&RawAddress>, Vec<_>) =
            self.snapshot.addresses.iter().partition(|raw| raw.address.ip().is_ipv4());
        for raw in inet.into_iter().chain(inet6.into_iter().rev()) {
            let Some(link) = names.get(&raw.index).map(|name| LinkId::new(self.namespace, *name)) else { continue };
            let id = ResourceId::Address(link.clone(), raw.address);
            let declared = self.desired.resources.get(&id);
            if declared.is_none() && is_link_local_by_kernel(raw) {
                continue;
            }
            let Some(owned) = live.state.link(&link) else { continue };
            let foreign = self.namespace.is_host() && raw.protocol != Some(ownership::PROTOCOL);
            let adopted = foreign && declared.is_some() && self.desired.adopt.contains(&link);
            if foreign && !adopted {
                if declared.is_some() {
                    live.foreign.insert(id, "an address that topo did not give".into());
                }
                continue;
            }
            if self.namespace.is_host() && owned.external && declared.is_none() {
                continue;
            }
            let mut attributes = raw.attributes.clone();
            attributes.foreign = adopted;
            let connects = raw.connects().filter(|_| owned.settings.up == Some(true));
            attributes.disconnected = connects.is_some_and(|to| !self.snapshot.connected.contains(&(to, raw.index)));
            attributes.label = attributes.label.filter(|label| *label != link.name.as_str());
            let next = order.entry((raw.index, raw.address.ip().is_ipv4())).or_default();
            attributes.order = *next;
            *next += 1;
            live.state.insert(id, Resource::Address(attributes));
        }
    }

    fn add_routes(&self, live: &mut Live) {
        let names = self.names();
        for raw in &self.snapshot.routes {
            let mut route = raw.route.clone();
            for (hop, index) in route.nexthops.iter_mut().zip(&raw.indices) {
                hop.dev = index.and_then(|index| names.get(&index).copied());
            }
            let mut key = raw.key.clone();
            let mut id = ResourceId::Route(self.namespace.clone(), key.clone());
            let declared = self.desired.resources.contains_key(&id);
            let ours = match self.namespace.is_host() {
                true => raw.protocol == ownership::PROTOCOL && (declared || self.leads_over_lab(&route, live)),
                false => BY_HAND.contains(&raw.protocol),
            };
            if !ours {
                if declared {
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

fn read_sysctls(linux: &Linux, desired: &State, live: &mut Live) -> Result<(), ObserveError> {
    let mut wanted: BTreeMap<NamespaceName, BTreeSet<SysctlKey>> = BTreeMap::new();
    for id in desired.resources.keys() {
        if let ResourceId::Sysctl(namespace, key) = id {
            let exists = key.link().is_none_or(|name| live.state.link(&LinkId::new(namespace, name)).is_some());
            if exists && (namespace.is_host() || linux.namespaces.contains_key(namespace)) {
                wanted.entry(namespace.clone()).or_default().insert(key.clone());
            }
        }
    }
    let mut jobs = Vec::new();
    for (namespace, keys) in wanted {
        let inhabited = if namespace.is_host() { &linux.host } else { &linux.namespaces[&namespace] };
        let file = inhabited.file.try_clone().map_err(broken(format!("the settings of `{namespace}`")))?;
        jobs.push((namespace, file, keys));
    }
    if jobs.is_empty() {
        return Ok(());
    }
    type Read = Result<Vec<(NamespaceName, SysctlKey, Option<Sysctl>)>, (NamespaceName, SysctlKey, io::Error)>;
    let job = move || -> Read {
        let mut values = Vec::new();
        for (namespace, file, keys) in jobs {
            for key in keys {
                let value = netns::enter(&file).and_then(|()| sysctl::read(&key));
                match value {
                    Ok(value) => values.push((namespace.clone(), key, value)),
                    Err(error) => return Err((namespace, key, error)),
                }
            }
        }
        Ok(values)
    };
    let values = linux.travellers[0].run(job).map_err(broken("the settings"))?;
    for (namespace, key, value) in values.map_err(|(namespace, key, error)| broken(format!("`{key}` of `{namespace}`"))(error))? {
        if let Some(value) = value {
            live.state.insert(ResourceId::Sysctl(namespace, key), Resource::Sysctl(value));
        }
    }
    Ok(())
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
