//! Reads the live network: `host` and the lab's namespaces.

pub mod labs;
mod read;
mod requests;
pub mod unsaid;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use self::read::complete_host;
pub(super) use self::read::{Answers, Candidate, Interest, Look, Seen, broken, look_at, read_host, read_namespaces};
use super::node::{Nodes, client, spawner, stray};
use super::system::netns::{self, Directory};
use super::system::sysctl;
use super::{Linux, early};
use crate::kernel::ObserveError;
use crate::live::{Others, live};
use crate::name::{LinkName, NamespaceName};
use crate::resource::node::{Condition, Node, Part, PartKey};
use crate::resource::sysctl::SysctlKey;
use crate::snapshot::{FoundLink, Numbering, Snapshots};
use crate::state::{Ifindex, Live, State};

/// Observes the resources that the lab owns and those in `desired`. Uses early observations.
pub(super) fn observe(linux: &mut Linux, desired: &State, look: Look<'_>) -> Result<Live, ObserveError> {
    let mut others = Others::default();
    let early = early::collect(linux, look)?;
    let mut snapshots = std::mem::take(&mut linux.seen);
    snapshots.retain(|namespace, _| early.contains(namespace) || !look.includes(namespace));
    let interest = Arc::new(Interest::of(&linux.lab, linux.host_identity, desired));
    linux.interest = Some(interest.clone());
    let reading = match Directory::open().map_err(broken(netns::DIRECTORY))?.map(Arc::new) {
        Some(directory) => {
            let candidates = find_namespaces(linux, &interest, &directory, &early, &mut snapshots)?;
            read_namespaces(linux, &interest, &directory, candidates)?
        }
        None => {
            linux.namespaces.clear();
            snapshots.retain(|namespace, _| namespace.is_host());
            Vec::new()
        }
    };
    match snapshots.entry(NamespaceName::host()) {
        Entry::Vacant(unread) => {
            unread.insert(read_host(&interest, &mut linux.host.socket)?);
        }
        Entry::Occupied(mut host) => complete_host(&interest, &mut linux.host.socket, host.get_mut())?,
    }
    for answer in reading {
        let seen = answer.wait().map_err(broken("the namespaces"))??;
        for seen in seen {
            settle(linux, seen, &mut others, &mut snapshots);
        }
    }
    observe_parts(linux, desired, look, &mut others)?;
    let lab = linux.lab.clone();
    let live = live(&lab, desired, &snapshots, others, &mut Numbers(linux))?;
    linux.seen = snapshots;
    if linux.is_read_only {
        linux.close_namespaces();
    }
    linux.early_namespaces.resume(&linux.threads);
    Ok(live)
}

/// Observes the nodes, and which namespaces have a user namespace of their own. Nothing is asked of a lab without nodes.
fn observe_parts(linux: &mut Linux, desired: &State, look: Look<'_>, others: &mut Others) -> Result<(), ObserveError> {
    let failed = |what: String| move |error: io::Error| broken(what)(error);
    let nodes = Nodes::open(&linux.lab).map_err(failed("the nodes".to_owned()))?;
    let names = nodes.as_ref().map_or(Ok(Vec::new()), Nodes::names).map_err(failed("the nodes".to_owned()))?;
    let mut known = std::mem::take(&mut linux.parts);
    if let Some(nodes) = &nodes {
        for name in names {
            let parts = match known.remove(&name).filter(|_| !look.includes(&name)) {
                Some(parts) => parts,
                None => {
                    let network = linux.namespaces.get(&name).map(|opened| &opened.file);
                    let described = client::describe(nodes, &name, network);
                    described.map_err(|errno| ObserveError { what: format!("the node `{name}`"), source: Box::new(errno) })?
                }
            };
            linux.parts.insert(name, parts);
        }
    }
    observe_strays(linux, desired).map_err(failed("the inits of nodes".to_owned()))?;
    let asking = desired.parts.keys().map(|(name, _)| name).chain(linux.parts.keys());
    let asking: BTreeSet<&NamespaceName> = asking.collect();
    for name in asking {
        let Some(opened) = linux.namespaces.get(name) else { continue };
        let owner = spawner::has_own_user(&opened.file).map_err(failed(format!("the owner of `{name}`")))?;
        others.user_owned.extend(owner.then(|| name.clone()));
    }
    let parts = linux.parts.iter();
    others.parts =
        parts.flat_map(|(name, parts)| parts.iter().map(|(key, part)| ((name.clone(), key.clone()), part.clone()))).collect();
    Ok(())
}

/// Finds the inits of declared nodes whose sockets are gone.
fn observe_strays(linux: &mut Linux, desired: &State) -> io::Result<()> {
    let is_missing = |(name, key): &&(NamespaceName, PartKey)| *key == PartKey::Node && !linux.parts.contains_key(name);
    let missing: Vec<_> =
        desired.parts.keys().filter(is_missing).filter_map(|(name, _)| linux.namespaces.get_key_value(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let strays = stray::find(&linux.lab)?;
    let lost = missing.iter().filter(|(name, opened)| strays.iter().any(|stray| stray.is_of(name, &opened.file)));
    let lost: Vec<NamespaceName> = lost.map(|(name, _)| (*name).clone()).collect();
    for name in lost {
        let node = Node { condition: Condition::Lost, ..Node::default() };
        linux.parts.insert(name, BTreeMap::from([(PartKey::Node, Part::Node(node))]));
    }
    Ok(())
}

/// Finds the entries that may be namespaces of the lab and must be read. Known namespaces whose entry has not changed keep their sockets.
/// `snapshots` contains the namespaces that need not be read again; those that do not exist any more are removed from it. Those in `early`
/// were just read.
fn find_namespaces(
    linux: &mut Linux,
    interest: &Interest,
    directory: &Directory,
    early: &BTreeSet<NamespaceName>,
    snapshots: &mut Snapshots,
) -> Result<Vec<Candidate>, ObserveError> {
    let mut known = std::mem::take(&mut linux.namespaces);
    let mut unread = std::mem::take(snapshots);
    snapshots.extend(unread.remove_entry(&NamespaceName::host()));
    let mut candidates = Vec::new();
    for name in directory.names().map_err(broken(netns::DIRECTORY))? {
        let known = match known.remove(&name) {
            Some(known) if early.contains(&name) => Some(known),
            Some(known) => {
                let still = directory.is_still(&name, &known.file);
                still.map_err(|error| broken(format!("namespace `{name}`"))(error))?.then_some(known)
            }
            None => None,
        };
        match (known, unread.remove(&name)) {
            (Some(opened), Some(snapshot)) if !interest.is_missing_in(&name, &snapshot) => {
                linux.namespaces.insert(name.clone(), opened);
                snapshots.insert(name, snapshot);
            }
            (Some(opened), snapshot) => candidates.push(Candidate { name, opened: Some(opened), snapshot }),
            (None, _) => candidates.push(Candidate { name, opened: None, snapshot: None }),
        }
    }
    Ok(candidates)
}

fn settle(linux: &mut Linux, seen: Seen, others: &mut Others, snapshots: &mut Snapshots) {
    match seen {
        Seen::Lab { name, opened, snapshot } => {
            linux.namespaces.insert(name.clone(), opened);
            snapshots.insert(name, *snapshot);
        }
        Seen::Placeholder(name) => {
            others.broken.insert(name);
        }
        Seen::Foreign { name, what } => {
            others.foreign.push((name, what));
        }
        Seen::Nothing => {}
    }
}

/// Reads sysctls in a new, temporary namespace.
pub fn defaults(linux: &Linux, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError> {
    let (keys, namespaces) = (keys.clone(), linux.early_namespaces.clone());
    let job = move || -> io::Result<BTreeMap<SysctlKey, String>> {
        let _namespace = namespaces.create().map_err(|errno| io::Error::other(errno.to_string()))?;
        let mut values = BTreeMap::new();
        for key in keys {
            // Some sysctls exist only for interfaces, not for `default`.
            let of_loopback = || key.for_link(LinkName::LOOPBACK).map_or(Ok(None), |key| sysctl::read(&key));
            if let Some(sysctl) = sysctl::read(&key)?.map_or_else(of_loopback, |sysctl| Ok(Some(sysctl)))? {
                values.insert(key, sysctl.value);
            }
        }
        Ok(values)
    };
    linux.threads.run(job).and_then(|values| values).map_err(broken("the kernel's default settings"))
}

/// Reads the names of the links of `host`, unless they were read early.
pub(super) fn names_in_host(linux: &mut Linux) -> Result<BTreeMap<Ifindex, LinkName>, ObserveError> {
    let names = |links: &[FoundLink]| links.iter().map(|link| (link.index, link.name)).collect();
    match &linux.observations {
        Some(early::EarlyObservations::Everywhere(_, host)) => Ok(names(&host.links)),
        Some(early::EarlyObservations::Again(_)) | None => {
            Ok(names(&read::read_links(&NamespaceName::host(), &mut linux.host.socket)?))
        }
    }
}

/// Looks up nsids by asking the kernel.
struct Numbers<'a>(&'a mut Linux);

impl Numbering for Numbers<'_> {
    type Error = ObserveError;

    fn number(&mut self, asking: &NamespaceName, other: &NamespaceName) -> Result<Option<i32>, ObserveError> {
        let Some(descriptor) = self.0.opened(other).map(|opened| opened.file.as_raw_fd()) else { return Ok(None) };
        let Some(opened) = self.0.opened(asking) else { return Ok(None) };
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(descriptor.cast_unsigned()));
        let mut number = None;
        let answer = opened.socket.get(RouteNetlinkMessage::GetNsId(message), |_, body| {
            let message = NsidMessage::parse(body).map_err(|error| error.to_string())?;
            number = message.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) if *number >= 0 => Some(*number),
                _ => None,
            });
            Ok(())
        });
        answer.map_err(|error| ObserveError { what: format!("the nsid of `{other}` in `{asking}`"), source: Box::new(error) })?;
        Ok(number)
    }
}
