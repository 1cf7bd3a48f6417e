//! From what was read of the namespaces to resources. Namespaces are looked at each for itself, half of them on a second thread;
//! only what lies in another one than a number says can need the kernel, and is left to [`super::resolve`].

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::decode::{RawAddress, RawLink};
use super::read::Snapshot;
use super::resolve::{Ends, OtherEnd};
use crate::kernel::standing::{BY_HAND, Standing};
use crate::name::{LabName, LinkId, LinkName, LinkRef, NamespaceName};
use crate::ownership::{self, Mark};
use crate::resource::link::{Link, Marked};
use crate::resource::route::{Route, RouteKey};
use crate::state::{Ifindex, Live, Resource, ResourceId, State};
use crate::value::InterfaceAddress;

/// From so many namespaces on a second thread is worth its start.
const WORTH_A_THREAD: usize = 64;

/// A link of the lab, or that it declares.
pub(super) struct SeenLink {
    pub(super) id: LinkId,
    pub(super) link: Arc<Link>,
    index: Ifindex,
    /// Where it stands on a link of another namespace that is not known by the numbers alone.
    pub(super) elsewhere: Option<Elsewhere>,
}

/// What a link says of the one in another namespace that it stands on. That namespace has the number `nsid` in the link's own.
pub(super) enum Elsewhere {
    /// The other end of a pair is one of these.
    Pair { ends: Vec<LinkId>, nsid: i32 },
    /// It has the number `below` there.
    Parent { below: Option<Ifindex>, nsid: i32 },
}

/// What is in the namespaces. Each sort of resource is in order, so that sorted maps are made of it without a search for each.
#[derive(Default)]
pub(super) struct Scenery {
    pub(super) links: Vec<SeenLink>,
    addresses: Vec<(ResourceId, Resource)>,
    routes: Vec<(ResourceId, Resource)>,
    sysctls: Vec<(ResourceId, Resource)>,
    taken_indices: Vec<(LinkId, Ifindex)>,
    foreign: Vec<(ResourceId, String)>,
    group_is_shared: bool,
}

impl Scenery {
    pub(super) fn of(lab: &LabName, desired: &State, snapshots: &BTreeMap<NamespaceName, Snapshot>) -> Self {
        let ends = Ends::of(snapshots);
        let look = |part: &[(&NamespaceName, &Snapshot)]| {
            let mut scenery = Self::default();
            for (namespace, snapshot) in part {
                Scene::new(lab, desired, &ends, namespace, snapshot).add_to(&mut scenery);
            }
            scenery
        };
        let all: Vec<_> = snapshots.iter().collect();
        if all.len() < WORTH_A_THREAD {
            return look(&all);
        }
        let (first, second) = all.split_at(all.len() / 2);
        thread::scope(|scope| {
            let elsewhere = thread::Builder::new().name("scenes".into()).spawn_scoped(scope, || look(second));
            let mut scenery = look(first);
            scenery.append(match elsewhere {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => look(second),
            });
            scenery
        })
    }

    fn append(&mut self, mut later: Self) {
        self.links.append(&mut later.links);
        self.addresses.append(&mut later.addresses);
        self.routes.append(&mut later.routes);
        self.sysctls.append(&mut later.sysctls);
        self.taken_indices.append(&mut later.taken_indices);
        self.foreign.append(&mut later.foreign);
        self.group_is_shared |= later.group_is_shared;
    }

    /// Adds all of it, and the namespaces themselves, to a live state that has no resources yet.
    pub(super) fn put_into(self, live: &mut Live, namespaces: Vec<NamespaceName>) {
        live.indices = self.links.iter().map(|seen| (seen.id.clone(), seen.index)).collect();
        live.taken_indices = self.taken_indices.into_iter().collect();
        live.foreign.extend(self.foreign);
        live.group_is_shared = self.group_is_shared;
        let namespaces = namespaces.into_iter().filter(|namespace| !namespace.is_host());
        let namespaces = namespaces
            .chain(live.broken.iter().cloned())
            .map(|namespace| (ResourceId::Namespace(namespace), Resource::Namespace));
        let links = self.links.into_iter().map(|seen| (ResourceId::Link(seen.id), Resource::Link(seen.link)));
        let rest = self.addresses.into_iter().chain(self.routes);
        live.state.resources = namespaces.chain(self.sysctls).chain(links).chain(rest).collect();
    }
}

/// One namespace.
struct Scene<'a> {
    lab: &'a LabName,
    desired: &'a State,
    ends: &'a Ends<'a>,
    namespace: &'a NamespaceName,
    is_host: bool,
    snapshot: &'a Snapshot,
    /// Its links, sorted by their number.
    by_number: Vec<&'a RawLink>,
}

/// The link of this name among those of one namespace, which are sorted.
fn named(links: &[SeenLink], name: LinkName) -> Option<&Link> {
    links.binary_search_by_key(&name, |seen| seen.id.name).ok().map(|at| &*links[at].link)
}

impl<'a> Scene<'a> {
    fn new(
        lab: &'a LabName,
        desired: &'a State,
        ends: &'a Ends<'a>,
        namespace: &'a NamespaceName,
        snapshot: &'a Snapshot,
    ) -> Self {
        let mut by_number: Vec<_> = snapshot.links.iter().collect();
        by_number.sort_unstable_by_key(|link| link.index);
        Self { lab, desired, ends, namespace, is_host: namespace.is_host(), snapshot, by_number }
    }

    fn add_to(&self, scenery: &mut Scenery) {
        let links = self.links(scenery);
        self.add_foreign_altnames(&links, scenery);
        self.add_addresses(&links, scenery);
        self.add_routes(&links, scenery);
        self.add_sysctls(&links, scenery);
        scenery.links.extend(links);
    }

    fn numbered(&self, index: Ifindex) -> Option<&'a RawLink> {
        self.by_number.binary_search_by_key(&index, |link| link.index).ok().map(|at| self.by_number[at])
    }

    fn declares(&self, id: &ResourceId) -> bool {
        self.desired.resources.contains_key(id)
    }

    /// The links that concern the lab, sorted by their names.
    fn links(&self, scenery: &mut Scenery) -> Vec<SeenLink> {
        let mut links = Vec::with_capacity(self.snapshot.links.len());
        for raw in &self.snapshot.links {
            let id = LinkId::new(self.namespace, raw.name);
            let mark = Mark { group: raw.group, alias: raw.alias.clone() };
            let marked = match Standing::of(self.lab, self.desired, &id, mark, raw.index, raw.link.kind.name()) {
                Standing::Lab(marked) => marked,
                Standing::Declared => Marked::Lab,
                Standing::Foreign(what) => {
                    scenery.taken_indices.push((id.clone(), raw.index));
                    scenery.group_is_shared |= raw.group == ownership::group(self.lab);
                    let resource = ResourceId::Link(id);
                    if self.declares(&resource) {
                        scenery.foreign.push((resource, what));
                    }
                    continue;
                }
            };
            let mut link = raw.link.clone();
            link.settings.master = raw.master.and_then(|master| Some(self.numbered(master)?.name));
            link.marked = marked;
            link.external = self.is_host && self.desired.link(&id).is_some_and(|link| link.external);
            let elsewhere = self.set_below(raw, &mut link);
            links.push(SeenLink { id, link: Arc::new(link), index: raw.index, elsewhere });
        }
        links.sort_unstable_by_key(|seen| seen.id.name);
        links
    }

    /// Fills in what the link stands on: parent, other end, underlay. Returns what the numbers alone do not tell.
    fn set_below(&self, raw: &RawLink, link: &mut Link) -> Option<Elsewhere> {
        let pair = link.kind.is_pair();
        let slot = link.kind.parent_slot()?;
        let Some(nsid) = raw.below_nsid else {
            let below = raw.below.and_then(|below| self.numbered(below));
            *slot = below.map(|below| LinkId::new(self.namespace, below.name).into());
            if let Some(slot) = link.kind.underlay_slot() {
                *slot = Some(self.namespace.clone());
            }
            return None;
        };
        match raw.below.filter(|_| pair).map(|below| self.ends.other(self.namespace, raw.index, below)) {
            None => Some(Elsewhere::Parent { below: raw.below, nsid }),
            Some(OtherEnd::OneOf(ends)) => Some(Elsewhere::Pair { ends, nsid }),
            Some(OtherEnd::One(end)) => {
                *slot = Some(LinkRef::from(end));
                None
            }
            Some(OtherEnd::Unknown) => None,
        }
    }

    /// A further name of somebody else's link takes the name from the lab, too.
    fn add_foreign_altnames(&self, links: &[SeenLink], scenery: &mut Scenery) {
        if !self.is_host {
            return;
        }
        for raw in &self.snapshot.links {
            for altname in raw.link.settings.altnames.iter().flatten() {
                let Ok(name) = altname.parse::<LinkName>() else { continue };
                let id = ResourceId::Link(LinkId::new(self.namespace, name));
                if self.declares(&id) && named(links, name).is_none() {
                    scenery.foreign.push((id, format!("an alternative name of `{}`", raw.name)));
                }
            }
        }
    }

    fn add_addresses(&self, links: &[SeenLink], scenery: &mut Scenery) {
        let mut order: BTreeMap<(Ifindex, bool), u32> = BTreeMap::new();
        let begin = scenery.addresses.len();
        // The kernel lists IPv6 addresses with the latest first.
        let (inet, inet6): (Vec<&RawAddress>, Vec<_>) =
            self.snapshot.addresses.iter().partition(|raw| raw.address.ip().is_ipv4());
        for raw in inet.into_iter().chain(inet6.into_iter().rev()) {
            let Some(on) = self.numbered(raw.index) else { continue };
            let id = ResourceId::Address(LinkId::new(self.namespace, on.name), raw.address);
            if is_link_local_by_kernel(raw) && !self.declares(&id) {
                continue;
            }
            let mut attributes = raw.attributes.clone();
            if self.is_host {
                let Some(link) = named(links, on.name) else { continue };
                let declared = self.declares(&id);
                let foreign = raw.protocol != Some(ownership::PROTOCOL);
                attributes.foreign = foreign && declared && id.link().is_some_and(|link| self.desired.adopt.contains(&link));
                if foreign && !attributes.foreign {
                    if declared {
                        scenery.foreign.push((id, "an address that topo did not give".into()));
                    } else if let Some(id) = self.declared_elsewise(&id, raw) {
                        let what = format!("the address with another prefix length, `{}`, that topo did not give", raw.address);
                        scenery.foreign.push((id, what));
                    }
                    continue;
                }
                if link.external && !declared {
                    continue;
                }
            }
            let connects = raw.connects().filter(|_| on.link.settings.up == Some(true));
            attributes.disconnected = connects.is_some_and(|to| self.snapshot.connected.binary_search(&(to, raw.index)).is_err());
            attributes.label = attributes.label.filter(|label| *label != on.name.as_str());
            let next = order.entry((raw.index, raw.address.ip().is_ipv4())).or_default();
            attributes.order = *next;
            *next += 1;
            scenery.addresses.push((id, Resource::Address(attributes)));
        }
        scenery.addresses[begin..].sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// What the lab declares with the same IPv6 address, which an interface has only once whatever the prefix length.
    fn declared_elsewise(&self, id: &ResourceId, raw: &RawAddress) -> Option<ResourceId> {
        let (link, ip) = (id.link()?, raw.address.ip());
        let same = |(address, _): (InterfaceAddress, _)| Some(address).filter(|address| ip.is_ipv6() && address.ip() == ip);
        let same = self.desired.addresses(&link).find_map(same)?;
        Some(ResourceId::Address(link, same))
    }

    fn add_routes(&self, links: &[SeenLink], scenery: &mut Scenery) {
        let mut routes: Vec<(RouteKey, Route)> = Vec::with_capacity(self.snapshot.routes.len());
        for raw in &self.snapshot.routes {
            let mut route = raw.route.clone();
            for (hop, index) in route.nexthops.iter_mut().zip(&raw.indices) {
                hop.dev = index.and_then(|index| Some(self.numbered(index)?.name));
            }
            let id = || ResourceId::Route(self.namespace.clone(), raw.key.clone());
            let ours = match self.is_host {
                true => raw.protocol == ownership::PROTOCOL && (leads_over_lab(&route, links) || self.declares(&id())),
                false => BY_HAND.contains(&raw.protocol),
            };
            if ours {
                routes.push((raw.key.clone(), route));
            } else if self.declares(&id()) {
                let what = format!("a route that topo did not make (protocol {})", raw.protocol);
                scenery.foreign.push((id(), what));
            }
        }
        routes.sort_by(|(one, _), (other, _)| one.cmp(other));
        // Of routes with the same key those that the kernel lists first come first.
        for position in 1..routes.len() {
            let (before, route) = (routes[position - 1].0.clone(), &mut routes[position].0);
            if (RouteKey { ordinal: 0, ..before.clone() }) == *route {
                route.ordinal = before.ordinal + 1;
            }
        }
        let routes =
            routes.into_iter().map(|(key, route)| (ResourceId::Route(self.namespace.clone(), key), Resource::Route(route)));
        scenery.routes.extend(routes);
    }

    /// Settings of the namespace, and of those of its links that concern the lab.
    fn add_sysctls(&self, links: &[SeenLink], scenery: &mut Scenery) {
        let all = self.snapshot.sysctls.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let concerning = all.filter(|(key, _)| key.link().is_none_or(|name| named(links, name).is_some()));
        scenery.sysctls.extend(
            concerning
                .map(|(key, value)| (ResourceId::Sysctl(self.namespace.clone(), key.clone()), Resource::Sysctl(value.clone()))),
        );
    }
}

fn leads_over_lab(route: &Route, links: &[SeenLink]) -> bool {
    let mut over = route.nexthops.iter().filter_map(|hop| named(links, hop.dev?));
    over.any(|link| !link.external)
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
