//! Turns snapshots into [`Live`]: decides which resources belong to the lab, which conflict with it, and which are unrelated. Ownership
//! is decided only here, for the snapshots of both kernels.
//!
//! In a namespace of the lab, everything belongs to the lab except for what the kernel and daemons create. In `host`, resources with
//! the lab's mark and resources that the lab declares belong to it.

mod objects;
mod owner;
mod parents;
mod sysctls;

pub use owner::foreign_namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use self::objects::Listed;
use self::owner::Claim;
use self::parents::{Elsewhere, Ends, Parents};
use crate::adoption::Adoptions;
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::ownership::{self, Mark, Obstacle};
use crate::resource::ignore::IgnoredThere;
use crate::resource::link::{Link, Marked};
use crate::resource::node::{Part, PartKey};
use crate::resource::object::Message;
use crate::resource::object::table::Tables;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::snapshot::{FoundLink, Numbering, Snapshot, Snapshots};
use crate::state::{ForeignObjects, ForeignUpper, Ifindex, Live, ResourceId, State};

/// What a lab has beside its namespaces, and the entries under /run/netns that are not namespaces of the lab.
#[derive(Debug, Default)]
pub struct Others {
    /// Namespaces of the lab whose creation or removal was interrupted.
    pub broken: BTreeSet<NamespaceName>,
    /// The lab's nodes and their parts, also those whose network namespace has lost its name.
    pub parts: BTreeMap<(NamespaceName, PartKey), Part>,
    /// The lab's namespaces that a user namespace of their own owns.
    pub user_owned: BTreeSet<NamespaceName>,
    /// Foreign namespaces and files, with a description.
    pub foreign: Vec<(NamespaceName, Obstacle)>,
}

/// A link that the lab owns or declares.
struct SeenLink {
    id: LinkId,
    link: Arc<Link>,
    index: Ifindex,
    /// Its parent or other end in another namespace, if the indices alone do not identify it.
    elsewhere: Option<Elsewhere>,
}

/// The results of all namespaces. Each list is sorted.
#[derive(Default)]
struct Findings {
    links: Vec<SeenLink>,
    objects: Tables<Listed>,
    sysctls: Vec<((NamespaceName, SysctlKey), Sysctl)>,
    foreign_sysctls: Vec<(SysctlKey, Sysctl)>,
    foreign_objects: BTreeMap<NamespaceName, ForeignObjects>,
    forwarding: BTreeMap<LinkId, Vec<Message>>,
    of_other_labs: BTreeSet<LinkName>,
    taken_indices: Vec<(LinkId, Ifindex)>,
    foreign: Vec<(ResourceId, Obstacle)>,
    foreign_uppers: Vec<ForeignUpper>,
    foreign_ports: Vec<(LinkId, LinkName)>,
    group_is_shared: bool,
    idle: Vec<LinkId>,
    tentative: Vec<(LinkId, IpAddr)>,
}

/// Determines the live state from snapshots of the lab's namespaces and of `host`. `desired` contains the resources that the lab
/// declares.
///
/// # Errors
/// Fails if `numbering` fails.
pub fn live<N: Numbering>(
    lab: &LabName,
    desired: &State,
    snapshots: &Snapshots,
    others: Others,
    numbering: &mut N,
) -> Result<Live, N::Error> {
    let ends = Ends::of(snapshots);
    let mut findings = Findings::default();
    for (namespace, snapshot) in snapshots {
        Judging::new(lab, desired, &ends, namespace, snapshot).add_to(&mut findings);
    }
    Parents::new(snapshots, numbering).find(&mut findings.links, desired)?;
    Ok(Live { inside: inside(lab, snapshots), ..findings.into_live(desired, snapshots, others) })
}

impl Findings {
    fn into_live(self, desired: &State, snapshots: &Snapshots, others: Others) -> Live {
        let namespaces = snapshots.keys().filter(|namespace| !namespace.is_host()).cloned();
        let foreign_namespaces = others.foreign.into_iter().filter(|(namespace, _)| desired.namespaces.contains(namespace));
        let foreign_namespaces = foreign_namespaces.map(|(namespace, what)| (ResourceId::Namespace(namespace), what));
        Live {
            indices: self.links.iter().map(|seen| (seen.id.clone(), seen.index)).collect(),
            foreign_sysctls: self.foreign_sysctls.into_iter().collect(),
            foreign_objects: self.foreign_objects,
            foreign_uppers: self.foreign_uppers,
            foreign_ports: self.foreign_ports,
            taken_ports: BTreeMap::new(),
            forwarding: self.forwarding,
            of_other_labs: self.of_other_labs,
            taken_indices: self.taken_indices.into_iter().collect(),
            foreign: foreign_namespaces.chain(self.foreign).collect(),
            group_is_shared: self.group_is_shared,
            idle: self.idle.into_iter().collect(),
            tentative: self.tentative,
            state: State {
                namespaces: namespaces.chain(others.broken.iter().cloned()).collect(),
                sysctls: self.sysctls.into_iter().collect(),
                links: self.links.into_iter().map(|seen| (seen.id, seen.link)).collect(),
                objects: self.objects.sorted(),
                adopt: Adoptions::default(),
                lost_in: BTreeSet::new(),
                ignore: desired.ignore.clone(),
                parts: others.parts,
            },
            broken: others.broken,
            user_owned: others.user_owned,
            inside: None,
        }
    }
}

/// Returns the namespace of the lab that `host` is.
fn inside(lab: &LabName, snapshots: &Snapshots) -> Option<NamespaceName> {
    let host = snapshots.get(&NamespaceName::host())?;
    let loopback = host.links.iter().find(|link| link.name.is_loopback())?;
    let (owner, namespace) = ownership::lab_of_namespace_mark(&loopback.alias)?;
    (owner == *lab).then_some(namespace)
}

/// Returns the link with this name. `links` are the sorted links of one namespace.
fn named(links: &[SeenLink], name: LinkName) -> Option<&Link> {
    links.binary_search_by_key(&name, |seen| seen.id.name).ok().map(|at| &*links[at].link)
}

/// The foreign objects that the kernel may remove with changes of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endangered {
    None,
    /// Those on links that the lab owns or declares, and those with a source address.
    OnLinks,
    All,
}

/// The evaluation of the snapshot of one namespace.
struct Judging<'a> {
    lab: &'a LabName,
    desired: &'a State,
    ends: &'a Ends<'a>,
    namespace: &'a NamespaceName,
    is_host: bool,
    snapshot: &'a Snapshot,
    /// What others may add and change in it.
    ignored: Option<&'a IgnoredThere>,
    /// Its links, sorted by index.
    by_index: Vec<&'a FoundLink>,
}

impl<'a> Judging<'a> {
    fn new(
        lab: &'a LabName,
        desired: &'a State,
        ends: &'a Ends<'a>,
        namespace: &'a NamespaceName,
        snapshot: &'a Snapshot,
    ) -> Self {
        let mut by_index: Vec<_> = snapshot.links.iter().collect();
        by_index.sort_unstable_by_key(|link| link.index);
        let ignored = desired.ignore.of(namespace);
        Self { lab, desired, ends, namespace, is_host: namespace.is_host(), snapshot, ignored, by_index }
    }

    fn add_to(&self, findings: &mut Findings) {
        let links = self.links(findings);
        self.add_tentative(&links, findings);
        self.add_foreign_altnames(&links, findings);
        self.add_objects(&links, findings);
        self.add_sysctls(&links, findings);
        if self.desired.lost_in.contains(self.namespace) {
            self.foreign_objects(findings);
        }
        if self.is_host {
            for (index, entry) in self.snapshot.forwarding.iter().flatten() {
                let external = self.with_index(*index).filter(|link| named(&links, link.name).is_some_and(|link| link.external));
                if let Some(link) = external {
                    findings.forwarding.entry(LinkId::new(self.namespace, link.name)).or_default().push(entry.clone());
                }
            }
        }
        findings.links.extend(links);
    }

    /// Returns the entry for the foreign objects of the namespace.
    fn foreign_objects<'f>(&self, findings: &'f mut Findings) -> &'f mut ForeignObjects {
        let names = |of: fn(&FoundLink) -> bool| self.snapshot.links.iter().filter(move |link| of(link)).map(|link| link.name);
        let in_host = |of| self.is_host.then(|| names(of)).into_iter().flatten().collect();
        findings.foreign_objects.entry(self.namespace.clone()).or_insert_with(|| ForeignObjects {
            connected: self.snapshot.notes.connected.clone(),
            local: self.snapshot.notes.local.clone(),
            promoting: names(|link| link.conf.is_on("promote_secondaries")).collect(),
            down: in_host(|link| link.link.settings.up == Some(false)),
            without_inet6: in_host(|link| !link.conf.has_inet6),
            ..ForeignObjects::default()
        })
    }

    /// Returns which foreign objects the kernel may remove with changes of the lab.
    fn endangered(&self, links: &[SeenLink]) -> Endangered {
        let sysctl = || self.desired.sysctls.keys().any(|(namespace, _)| namespace.is_host());
        match self.is_host {
            false => Endangered::All,
            true if sysctl() => Endangered::All,
            true if links.iter().any(|link| !link.id.name.is_loopback()) => Endangered::OnLinks,
            true => Endangered::None,
        }
    }

    fn with_index(&self, index: Ifindex) -> Option<&'a FoundLink> {
        self.by_index.binary_search_by_key(&index, |link| link.index).ok().map(|at| self.by_index[at])
    }

    /// Returns the links that the lab owns or declares, sorted by name.
    fn links(&self, findings: &mut Findings) -> Vec<SeenLink> {
        let mut links = Vec::with_capacity(self.snapshot.links.len());
        for found in &self.snapshot.links {
            let id = LinkId::new(self.namespace, found.name);
            let mark = Mark { group: found.group, alias: found.alias.clone() };
            if self.is_host && ownership::lab_of_link_alias(&found.alias).is_some_and(|other| other != *self.lab) {
                findings.of_other_labs.insert(found.name);
            }
            let marked = match Claim::of(self.lab, self.desired, &id, mark, found.index, found.link.kind.name()) {
                Claim::Lab(marked) => marked,
                Claim::Declared => Marked::Lab,
                Claim::Foreign(what) => {
                    findings.taken_indices.push((id.clone(), found.index));
                    findings.group_is_shared |= found.group == ownership::group(self.lab);
                    self.add_upper(found, &id, findings);
                    let master = found.master.filter(|_| self.is_host).and_then(|master| self.with_index(master));
                    findings.foreign_ports.extend(master.map(|master| (id.clone(), master.name)));
                    if self.desired.links.contains_key(&id) {
                        findings.foreign.push((ResourceId::Link(id), what));
                    }
                    continue;
                }
            };
            if !found.running {
                findings.idle.push(id.clone());
            }
            let mut link = found.link.clone();
            self.set_master(found, &mut link);
            link.marked = marked;
            link.external = self.is_host && self.desired.link(&id).is_some_and(|link| link.external);
            let elsewhere = self.set_parent(found, &mut link);
            links.push(SeenLink { id, link: Arc::new(link), index: found.index, elsewhere });
        }
        links.sort_unstable_by_key(|seen| seen.id.name);
        links
    }

    /// Adds a foreign link of `host` that stands on another link.
    fn add_upper(&self, found: &FoundLink, id: &LinkId, findings: &mut Findings) {
        let below = found.below.filter(|_| self.is_host && found.below_nsid.is_none() && !found.link.kind.is_pair());
        if let Some(below) = below.and_then(|below| self.with_index(below)) {
            let kind = found.link.kind.name().to_owned();
            findings.foreign_uppers.push(ForeignUpper { id: id.clone(), kind, below: below.name });
        }
    }

    /// Sets the master, and the options as a port that depend on it or on its other ports.
    fn set_master(&self, found: &FoundLink, link: &mut Link) {
        let master = found.master.and_then(|master| self.with_index(master));
        link.settings.master = master.map(|master| master.name);
        if let Some(port) = &mut link.port {
            port.refer(found.port_reference.and_then(|reference| Some(self.with_index(reference)?.name)));
            if let Some(master) = master {
                port.follow(&master.link.kind);
            }
        }
    }

    /// Sets the parent or other end, and the underlay. Returns what is still to be found if the indices alone do not identify it.
    fn set_parent(&self, found: &FoundLink, link: &mut Link) -> Option<Elsewhere> {
        let pair = parents::is_end_of_pair(link);
        let slot = link.kind.parent_slot()?;
        let Some(nsid) = found.below_nsid else {
            let below = found.below.and_then(|below| self.with_index(below));
            *slot = below.map(|below| LinkId::new(self.namespace, below.name).into());
            if let Some(slot) = link.kind.underlay_slot() {
                *slot = Some(self.namespace.clone());
            }
            return None;
        };
        match found.below.filter(|_| pair) {
            None => Some(Elsewhere::Parent { below: found.below, nsid }),
            Some(below) => self.ends.other(self.namespace, found.index, below, nsid, slot),
        }
    }

    /// Adds the tentative addresses of the given links.
    fn add_tentative(&self, links: &[SeenLink], findings: &mut Findings) {
        let tentative = self.snapshot.notes.tentative.iter().filter(|(link, _)| named(links, *link).is_some());
        findings.tentative.extend(tentative.map(|(link, ip)| (LinkId::new(self.namespace, *link), *ip)));
    }

    /// Adds conflicts with alternative names of foreign links.
    fn add_foreign_altnames(&self, links: &[SeenLink], findings: &mut Findings) {
        if !self.is_host {
            return;
        }
        for found in &self.snapshot.links {
            for altname in found.link.settings.altnames.iter().flatten() {
                let Ok(name) = altname.parse::<LinkName>() else { continue };
                let id = LinkId::new(self.namespace, name);
                if self.desired.links.contains_key(&id) && named(links, name).is_none() {
                    findings
                        .foreign
                        .push((ResourceId::Link(id), Obstacle::Other(format!("an alternative name of `{}`", found.name))));
                }
            }
        }
    }
}
