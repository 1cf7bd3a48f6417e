//! Reads one namespace: dumps of its links and objects, and the sysctls of interest.
//!
//! Addresses and routes are dumped separately for each family, because the kernel holds the rtnl lock during a dump of all families.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::requests::REQUESTS;
use crate::kernel::ObserveError;
use crate::kernel::linux::system::netns::{self, Directory, Entry};
use crate::kernel::linux::system::sysctl;
use crate::kernel::linux::system::threads::{Answer, portions};
use crate::kernel::linux::wire::{DumpError, DumpRequest, Socket, decode, encode};
use crate::kernel::linux::{Linux, OpenNamespace};
use crate::live::foreign_namespace;
use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::{self, Obstacle};
use crate::record::Record;
use crate::resource::link::bridge_vlans::Vlans;
use crate::resource::link::{Ifindex, Link, static_entry};
use crate::resource::object::Message;
use crate::resource::object::wire::Names;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::snapshot::{FoundLink, Snapshot, filter_by_vlan};
use crate::state::State;

/// The namespaces to read.
#[derive(Clone, Copy)]
pub(in crate::kernel::linux) enum Look<'a> {
    /// All.
    Everywhere,
    /// These. The last observation of the others is kept.
    Again(&'a BTreeSet<NamespaceName>),
}

impl Look<'_> {
    pub(in crate::kernel::linux) fn includes(self, namespace: &NamespaceName) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Again(namespaces) => namespaces.contains(namespace),
        }
    }
}

pub(in crate::kernel::linux) type Answers = Answer<Result<Vec<Seen>, ObserveError>>;

/// Begins to read the candidates, in portions.
pub(in crate::kernel::linux) fn read_namespaces(
    linux: &Linux,
    interest: &Arc<Interest>,
    directory: &Arc<Directory>,
    candidates: Vec<Candidate>,
) -> Result<Vec<Answers>, ObserveError> {
    const LEAST: usize = 5;
    let mut reading = Vec::new();
    for part in portions(candidates, LEAST) {
        let (interest, directory) = (interest.clone(), directory.clone());
        let look = move || part.into_iter().map(|candidate| look_at(&interest, &directory, candidate)).collect();
        reading.push(linux.threads.begin(look).map_err(broken("the namespaces"))?);
    }
    Ok(reading)
}

/// The sysctls to read in each namespace.
pub(in crate::kernel::linux) struct Interest {
    lab: LabName,
    sysctls: BTreeMap<NamespaceName, Vec<SysctlKey>>,
    /// Namespaces that the lab takes over.
    adopt: BTreeSet<NamespaceName>,
    /// The identity of `host`.
    host: (u64, u64),
    /// Whether to read the forwarding entries of bridges in `host`.
    forwarding: bool,
    /// Namespaces in which bridges of the lab filter by VLAN.
    vlans: BTreeSet<NamespaceName>,
}

impl Interest {
    pub(in crate::kernel::linux) fn of(lab: &LabName, host: (u64, u64), desired: &State) -> Self {
        let mut sysctls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (namespace, key) in desired.sysctls.keys() {
            sysctls.entry(namespace.clone()).or_default().push(key.clone());
        }
        let takes_port = |id: &LinkId, link: &Link| id.namespace.is_host() && link.external && link.settings.master.is_some();
        let forwarding = desired.links.iter().any(|(id, link)| takes_port(id, link));
        let adopt = desired.adopted_namespaces().cloned().collect();
        let vlans = desired.namespaces_with_vlans();
        Self { lab: lab.clone(), sysctls, adopt, host, forwarding, vlans }
    }

    /// Returns the interest before the lab file has been read: the sysctls that the lab wrote before.
    pub(in crate::kernel::linux) fn recorded(lab: &LabName, host: (u64, u64), record: &Record) -> Self {
        let sysctls = record.sysctls.iter().map(|(namespace, keys)| (namespace.clone(), keys.iter().cloned().collect()));
        Self {
            lab: lab.clone(),
            sysctls: sysctls.collect(),
            adopt: BTreeSet::new(),
            host,
            forwarding: false,
            vlans: BTreeSet::new(),
        }
    }

    /// Returns the sysctls of interest in the namespace.
    fn sysctls(&self, namespace: &NamespaceName) -> &[SysctlKey] {
        self.sysctls.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the reading thread must enter the namespace even if it is open already.
    pub(in crate::kernel::linux) fn needs_entering(&self, namespace: &NamespaceName) -> bool {
        !self.sysctls(namespace).is_empty()
    }

    /// Returns whether the snapshot lacks the VLANs, which are of interest.
    fn lacks_vlans(&self, namespace: &NamespaceName, snapshot: &Snapshot) -> bool {
        !snapshot.has_vlans && self.vlans.contains(namespace)
    }

    /// Returns whether the snapshot lacks something of interest.
    pub(in crate::kernel::linux) fn is_missing_in(&self, namespace: &NamespaceName, snapshot: &Snapshot) -> bool {
        self.lacks_vlans(namespace, snapshot)
            || self.sysctls(namespace).iter().any(|wanted| snapshot.sysctls.iter().all(|(read, _)| read != wanted))
    }
}

/// An entry that may be a namespace of the lab.
pub(in crate::kernel::linux) struct Candidate {
    pub(in crate::kernel::linux) name: NamespaceName,
    /// The namespace, if it was opened before.
    pub(in crate::kernel::linux) opened: Option<OpenNamespace>,
    /// An earlier snapshot that lacks sysctls of interest.
    pub(in crate::kernel::linux) snapshot: Option<Snapshot>,
}

/// The result of reading an entry.
pub(in crate::kernel::linux) enum Seen {
    /// A namespace of the lab.
    Lab { name: NamespaceName, opened: OpenNamespace, snapshot: Box<Snapshot> },
    /// The placeholder of a namespace of the lab whose creation or removal was interrupted.
    Placeholder(NamespaceName),
    /// A foreign namespace or file.
    Foreign { name: NamespaceName, what: Obstacle },
    /// The entry does not exist any more.
    Nothing,
}

pub(in crate::kernel::linux) fn failed(what: impl Into<String>) -> impl FnOnce(DumpError) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

pub(in crate::kernel::linux) fn broken(what: impl Into<String>) -> impl FnOnce(io::Error) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

/// Reads one entry, and the namespace if it is one of the lab. May leave the calling thread inside.
pub(in crate::kernel::linux) fn look_at(
    interest: &Interest,
    directory: &Directory,
    candidate: Candidate,
) -> Result<Seen, ObserveError> {
    let Candidate { name, opened, snapshot } = candidate;
    let failed = |error| broken(format!("namespace `{name}`"))(error);
    let foreign = |name: NamespaceName, what: &str| Ok(Seen::Foreign { name, what: Obstacle::Other(what.to_owned()) });
    let is_still = |known: &OpenNamespace| directory.is_still(&name, &known.file);
    let still = opened.as_ref().map_or(Ok(false), is_still).map_err(failed)?;
    let opened = match opened {
        Some(opened) if still => opened,
        _ => match directory.look(&name).map_err(failed)? {
            Some(Entry::Namespace(file)) => {
                if netns::identity(&file).map_err(failed)? == interest.host {
                    return foreign(name, "a name of the namespace that topo runs in");
                }
                if !netns::enter_if_allowed(&file).map_err(failed)? {
                    return foreign(name, "a namespace of another user namespace");
                }
                OpenNamespace { file, socket: Socket::open().map_err(failed)? }
            }
            Some(Entry::File(text)) if text == ownership::namespace_mark(&interest.lab, &name) => {
                return Ok(Seen::Placeholder(name));
            }
            Some(Entry::File(_)) => return foreign(name, "a file that topo did not make"),
            Some(Entry::Other(what)) => return foreign(name, what),
            None => return Ok(Seen::Nothing),
        },
    };
    match snapshot.filter(|_| still) {
        Some(snapshot) => complete(interest, name, opened, snapshot),
        None => look_into(interest, name, opened),
    }
}

/// Reads only the sysctls and the VLANs of a namespace, for an earlier snapshot that lacks some.
fn complete(
    interest: &Interest,
    name: NamespaceName,
    mut opened: OpenNamespace,
    mut snapshot: Snapshot,
) -> Result<Seen, ObserveError> {
    if interest.lacks_vlans(&name, &snapshot) {
        read_vlans(&name, &mut opened.socket, &mut snapshot)?;
    }
    let wanted = wanted(interest, &name, &snapshot);
    let sysctls = read_sysctls(&wanted, &name, Some(&opened.file), &mut opened.socket)?;
    Ok(Seen::Lab { name, opened, snapshot: Box::new(Snapshot { sysctls, ..snapshot }) })
}

/// Reads a namespace. Only the links of a foreign namespace are read.
fn look_into(interest: &Interest, name: NamespaceName, mut opened: OpenNamespace) -> Result<Seen, ObserveError> {
    let socket = &mut opened.socket;
    let links = read_links(&name, socket)?;
    let mark = links.iter().find(|link| link.name.is_loopback()).map_or("", |link| &link.alias);
    if let Some(what) = foreign_namespace(&interest.lab, &name, mark, interest.adopt.contains(&name)) {
        return Ok(Seen::Foreign { name, what });
    }
    let snapshot = read_rest(interest, &name, Some(&opened.file), socket, links)?;
    Ok(Seen::Lab { name, opened, snapshot: Box::new(snapshot) })
}

/// Reads `host`, which the calling thread must be in.
pub(in crate::kernel::linux) fn read_host(interest: &Interest, socket: &mut Socket) -> Result<Snapshot, ObserveError> {
    let host = NamespaceName::host();
    let links = read_links(&host, socket)?;
    let mut snapshot = read_rest(interest, &host, None, socket, links)?;
    complete_host(interest, socket, &mut snapshot)?;
    Ok(snapshot)
}

/// Reads the static forwarding entries of ports of bridges.
fn read_forwarding(links: &[FoundLink], socket: &mut Socket) -> Result<Vec<(Ifindex, Message)>, ObserveError> {
    let mac = |index: Ifindex| {
        let link = links.iter().find(|link| link.index == index)?;
        link.link.settings.mac.map(|mac| mac.0.to_vec())
    };
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    let mut entries = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => entries.clear(),
            Some((_, body)) => entries.extend(static_entry(body, mac)),
        }
        Ok(())
    };
    let request = DumpRequest::new(RouteNetlinkMessage::GetNeighbour(message));
    socket.dump(&request, each).map_err(failed("the forwarding entries of bridges in `host`"))?;
    Ok(entries)
}

/// Reads the sysctls of `host` if the snapshot lacks some.
pub(in crate::kernel::linux) fn complete_host(
    interest: &Interest,
    socket: &mut Socket,
    snapshot: &mut Snapshot,
) -> Result<(), ObserveError> {
    let host = NamespaceName::host();
    if interest.forwarding && snapshot.forwarding.is_none() {
        snapshot.forwarding = Some(read_forwarding(&snapshot.links, socket)?);
    }
    if interest.lacks_vlans(&host, snapshot) {
        read_vlans(&host, socket, snapshot)?;
    }
    if interest.is_missing_in(&host, snapshot) {
        snapshot.sysctls = read_sysctls(&wanted(interest, &host, snapshot), &host, None, socket)?;
    }
    Ok(())
}

pub(in crate::kernel::linux) fn loopback_alias(socket: &mut Socket) -> Result<String, DumpError> {
    let mut alias = String::new();
    socket.get(encode::get_link(1), |_, body| {
        alias = decode::link(body)?.alias;
        Ok(())
    })?;
    Ok(alias)
}

pub(in crate::kernel::linux) fn read_links(name: &NamespaceName, socket: &mut Socket) -> Result<Vec<FoundLink>, ObserveError> {
    let mut links = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => links.clear(),
            Some((_, body)) => links.push(decode::link(body)?),
        }
        Ok(())
    };
    socket.dump(&REQUESTS.links, each).map_err(failed(format!("the links of `{name}`")))?;
    Ok(links)
}

/// Reads the VLANs of bridges and their ports.
fn read_vlans(name: &NamespaceName, socket: &mut Socket, snapshot: &mut Snapshot) -> Result<(), ObserveError> {
    let mut found: BTreeMap<Ifindex, Vlans> = BTreeMap::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => found.clear(),
            Some((_, body)) => found.extend(Vlans::decode(body)?),
        }
        Ok(())
    };
    socket.dump(&REQUESTS.vlans, each).map_err(failed(format!("the VLANs of `{name}`")))?;
    for link in &mut snapshot.links {
        link.set_vlans(found.remove(&link.index));
    }
    snapshot.has_vlans = true;
    Ok(())
}

fn read_rest(
    interest: &Interest,
    name: &NamespaceName,
    file: Option<&File>,
    socket: &mut Socket,
    links: Vec<FoundLink>,
) -> Result<Snapshot, ObserveError> {
    let names = Names::new(links.iter().map(|link| (link.index, link.name)));
    let mut snapshot = Snapshot { links, ..Snapshot::default() };
    if filter_by_vlan(&snapshot.links) || interest.lacks_vlans(name, &snapshot) {
        read_vlans(name, socket, &mut snapshot)?;
    }
    read_objects(name, &names, socket, &mut snapshot)?;
    snapshot.notes.connected.sort_unstable();
    snapshot.notes.local.sort_unstable();
    snapshot.sysctls = read_sysctls(&wanted(interest, name, &snapshot), name, file, socket)?;
    Ok(snapshot)
}

/// Dumps the objects of one namespace.
fn read_objects(
    namespace: &NamespaceName,
    names: &Names,
    socket: &mut Socket,
    snapshot: &mut Snapshot,
) -> Result<(), ObserveError> {
    let dumps = &REQUESTS.objects;
    let requests: Vec<_> = dumps.iter().map(|dump| &dump.request).collect();
    let mut answers: Vec<_> = dumps.iter().map(|dump| (dump.answers)()).collect();
    let is_host = namespace.is_host();
    let each = |dump: usize, message: Option<(u16, &[u8])>| match message {
        None => {
            answers[dump].clear();
            Ok(())
        }
        Some((_, body)) => answers[dump].add(body, names, is_host),
    };
    let outcome = socket.dump_all(&requests, each);
    outcome.map_err(|(dump, error)| failed(format!("the {} of `{namespace}`", dumps[dump].list))(error))?;
    for answers in answers {
        answers.add_to(snapshot);
    }
    Ok(())
}

/// Returns the sysctls of interest, with those that follow from what was read.
fn wanted<'a>(interest: &'a Interest, name: &NamespaceName, snapshot: &Snapshot) -> Cow<'a, [SysctlKey]> {
    let wanted = interest.sysctls(name);
    let further = snapshot.further_sysctls(name, wanted);
    if further.is_empty() { wanted.into() } else { wanted.iter().cloned().chain(further).collect() }
}

/// Reads these sysctls. `file` is the namespace, if the calling thread is not in it.
fn read_sysctls(
    wanted: &[SysctlKey],
    name: &NamespaceName,
    file: Option<&File>,
    socket: &mut Socket,
) -> Result<Vec<(SysctlKey, Option<Sysctl>)>, ObserveError> {
    let mut values = Vec::new();
    let mut entered = false;
    for key in wanted {
        let failed = |error| broken(format!("`{key}` of `{name}`"))(error);
        if let Some(value) = sysctl::ask(socket, key) {
            values.push((key.clone(), Some(value)));
            continue;
        }
        if let (Some(file), false) = (file, entered) {
            netns::enter(file).map_err(failed)?;
            entered = true;
        }
        values.push((key.clone(), sysctl::read(key).map_err(failed)?));
    }
    Ok(values)
}
