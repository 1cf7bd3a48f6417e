//! Reads the live network: the lab's own namespaces whole, of the host only what is the lab's or what the lab names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::netns::{self, Directory};
use super::read::{Candidate, Interest, Seen, Snapshot, broken, complete_host, look_at, read_host};
use super::resolve::Resolver;
use super::scene::Scenery;
use super::travellers::{Answer, portions};
use super::{Linux, ahead, sysctl};
use crate::kernel::ObserveError;
use crate::name::{LinkName, NamespaceName};
use crate::resource::sysctl::SysctlKey;
use crate::state::{Live, ResourceId, State};

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
            let candidates = find_namespaces(linux, &interest, &directory, &ahead, &mut snapshots)?;
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
            settle(linux, seen, &mut live, &mut snapshots);
        }
    }
    live.foreign.retain(|id, _| desired.resources.contains_key(id));
    let mut scenery = Scenery::of(&linux.lab, desired, &snapshots);
    Resolver::new(linux, &snapshots).resolve(&mut scenery, desired)?;
    let namespaces: Vec<NamespaceName> = snapshots.keys().cloned().collect();
    linux.seen = snapshots;
    if linux.only_looks {
        linux.let_go();
    }
    scenery.put_into(&mut live, namespaces);
    linux.spares.go_on(&linux.travellers);
    Ok(live)
}

/// Finds what could be the lab's namespaces. Those that are known and have not changed keep their sockets; `snapshots` holds
/// those that need no other look, and keeps those that are still there. Those in `ahead` were just looked at.
fn find_namespaces(
    linux: &mut Linux,
    interest: &Interest,
    directory: &Directory,
    ahead: &BTreeSet<NamespaceName>,
    snapshots: &mut BTreeMap<NamespaceName, Snapshot>,
) -> Result<Vec<Candidate>, ObserveError> {
    let mut known = std::mem::take(&mut linux.namespaces);
    let mut unread = std::mem::take(snapshots);
    snapshots.extend(unread.remove_entry(&NamespaceName::host()));
    let mut candidates = Vec::new();
    for name in directory.names().map_err(broken(netns::DIRECTORY))? {
        let known = match known.remove(&name) {
            Some(known) if ahead.contains(&name) => Some(known),
            Some(known) => {
                let still = directory.is_still(&name, &known.file);
                still.map_err(|error| broken(format!("namespace `{name}`"))(error))?.then_some(known)
            }
            None => None,
        };
        match (known, unread.remove(&name)) {
            (Some(inhabited), Some(snapshot)) if !interest.goes_beyond(&name, &snapshot) => {
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

/// Begins to look into the candidates, some at a time.
pub(super) fn read_namespaces(
    linux: &Linux,
    interest: &Arc<Interest>,
    directory: &Arc<Directory>,
    candidates: Vec<Candidate>,
) -> Result<Vec<Reading>, ObserveError> {
    const LEAST: usize = 5;
    let mut reading = Vec::new();
    for part in portions(candidates, LEAST) {
        let (interest, directory) = (interest.clone(), directory.clone());
        let look = move || part.into_iter().map(|candidate| look_at(&interest, &directory, candidate)).collect();
        reading.push(linux.travellers.begin(look).map_err(broken("the namespaces"))?);
    }
    Ok(reading)
}

fn settle(linux: &mut Linux, seen: Seen, live: &mut Live, snapshots: &mut BTreeMap<NamespaceName, Snapshot>) {
    match seen {
        Seen::Lab { name, inhabited, snapshot } => {
            linux.namespaces.insert(name.clone(), inhabited);
            snapshots.insert(name, snapshot);
        }
        Seen::Placeholder(name) => {
            live.broken.insert(name);
        }
        Seen::Foreign { name, what } => {
            live.foreign.insert(ResourceId::Namespace(name), what);
        }
        Seen::Nothing => {}
    }
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
    linux.travellers.run(job).and_then(|values| values).map_err(broken("the kernel's default settings"))
}
