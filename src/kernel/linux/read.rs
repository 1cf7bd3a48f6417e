//! Reads one namespace: dumps of its links, addresses and routes, and those of its settings that the lab names.
//!
//! Addresses and routes are dumped one family at a time, since the kernel holds its lock on all networks (rtnl) during a dump of
//! all families.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::decode::{self, Connected, RawAddress, RawLink, RawRoute};
use super::netns::{self, Directory, Entry};
use super::socket::{DumpError, Socket};
use super::{Inhabited, encode, sysctl};
use crate::kernel::ObserveError;
use crate::kernel::standing::{BY_KERNEL, KERNEL, foreign_namespace};
use crate::name::{LabName, NamespaceName};
use crate::ownership;
use crate::record::Record;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::State;

/// The families that topo manages (AF_INET, AF_INET6).
const FAMILIES: [u8; 2] = [2, 10];

/// One namespace as it was read.
pub(super) struct Snapshot {
    pub(super) links: Vec<RawLink>,
    pub(super) addresses: Vec<RawAddress>,
    pub(super) routes: Vec<RawRoute>,
    /// The subnets that routes of the kernel's own lead to, sorted.
    pub(super) connected: Vec<Connected>,
    /// The settings that were of interest; `None` of what the kernel has not.
    pub(super) sysctls: Vec<(SysctlKey, Option<Sysctl>)>,
}

/// What of the namespaces is looked at.
pub(super) struct Interest {
    lab: LabName,
    sysctls: BTreeMap<NamespaceName, Vec<SysctlKey>>,
}

impl Interest {
    pub(super) fn of(lab: &LabName, desired: &State) -> Self {
        let mut sysctls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (_, namespace, key, _) in desired.sysctls() {
            sysctls.entry(namespace.clone()).or_default().push(key.clone());
        }
        Self { lab: lab.clone(), sysctls }
    }

    /// As far as it can be told before the lab file has been read: in the settings that the lab wrote before.
    pub(super) fn recorded(lab: &LabName, record: &Record) -> Self {
        let sysctls = record.sysctls.iter().map(|(namespace, keys)| (namespace.clone(), keys.iter().cloned().collect()));
        Self { lab: lab.clone(), sysctls: sysctls.collect() }
    }

    /// The settings of interest in the namespace.
    fn sysctls(&self, namespace: &NamespaceName) -> &[SysctlKey] {
        self.sysctls.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Whether the one who looks must enter the namespace, if it is open already.
    pub(super) fn leads_inside(&self, namespace: &NamespaceName) -> bool {
        !self.sysctls(namespace).is_empty()
    }

    /// Whether a setting is still to be read of a namespace that has been read before.
    pub(super) fn goes_beyond(&self, namespace: &NamespaceName, snapshot: &Snapshot) -> bool {
        self.sysctls(namespace).iter().any(|wanted| snapshot.sysctls.iter().all(|(read, _)| read != wanted))
    }
}

/// An entry that may be a namespace of the lab.
pub(super) struct Candidate {
    pub(super) name: NamespaceName,
    /// From an earlier look.
    pub(super) inhabited: Option<Inhabited>,
    /// What was read of it when it was not known that more settings are of interest.
    pub(super) snapshot: Option<Snapshot>,
}

/// What an entry turned out to be.
pub(super) enum Seen {
    /// A namespace of the lab.
    Lab { name: NamespaceName, inhabited: Inhabited, snapshot: Snapshot },
    /// What is left of one whose creation or removal was interrupted.
    Placeholder(NamespaceName),
    /// Somebody else's, with what it is.
    Foreign { name: NamespaceName, what: String },
    /// Gone meanwhile.
    Nothing,
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(DumpError) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

pub(super) fn broken(what: impl Into<String>) -> impl FnOnce(io::Error) -> ObserveError {
    let what = what.into();
    move |error| ObserveError { what, source: Box::new(error) }
}

/// Looks at one entry, and into it if it is a namespace. May leave the calling thread inside.
pub(super) fn look_at(interest: &Interest, directory: &Directory, candidate: Candidate) -> Result<Seen, ObserveError> {
    let Candidate { name, inhabited, snapshot } = candidate;
    let failed = |error| broken(format!("namespace `{name}`"))(error);
    let foreign = |name: NamespaceName, what: &str| Ok(Seen::Foreign { name, what: what.to_owned() });
    let is_still = |known: &Inhabited| directory.is_still(&name, &known.file);
    let still = inhabited.as_ref().map_or(Ok(false), is_still).map_err(failed)?;
    let inhabited = match inhabited {
        Some(inhabited) if still => inhabited,
        _ => match directory.look(&name).map_err(failed)? {
            Some(Entry::Namespace(file)) => {
                let socket = netns::enter(&file).and_then(|()| Socket::open()).map_err(failed)?;
                Inhabited { file, socket }
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
        Some(snapshot) => complete(interest, name, inhabited, snapshot),
        None => look_into(interest, name, inhabited),
    }
}

/// Reads the settings, of which more are of interest than before.
fn complete(
    interest: &Interest,
    name: NamespaceName,
    mut inhabited: Inhabited,
    snapshot: Snapshot,
) -> Result<Seen, ObserveError> {
    let sysctls = read_sysctls(interest, &name, Some(&inhabited.file), &mut inhabited.socket)?;
    Ok(Seen::Lab { name, inhabited, snapshot: Snapshot { sysctls, ..snapshot } })
}

/// Looks into a namespace. Of one that is somebody else's, no more than the links is read.
fn look_into(interest: &Interest, name: NamespaceName, mut inhabited: Inhabited) -> Result<Seen, ObserveError> {
    let socket = &mut inhabited.socket;
    let links = read_links(&name, socket)?;
    let mark = links.iter().find(|link| link.name.is_loopback()).map_or("", |link| &link.alias);
    if let Some(what) = foreign_namespace(&interest.lab, &name, mark) {
        return Ok(Seen::Foreign { name, what });
    }
    let snapshot = read_rest(interest, &name, Some(&inhabited.file), socket, links)?;
    Ok(Seen::Lab { name, inhabited, snapshot })
}

/// Reads `host`, which the calling thread must be in.
pub(super) fn read_host(interest: &Interest, socket: &mut Socket) -> Result<Snapshot, ObserveError> {
    let host = NamespaceName::host();
    let links = read_links(&host, socket)?;
    read_rest(interest, &host, None, socket, links)
}

/// Reads the settings of `host`, if more are of interest than before.
pub(super) fn complete_host(interest: &Interest, socket: &mut Socket, snapshot: &mut Snapshot) -> Result<(), ObserveError> {
    let host = NamespaceName::host();
    if interest.goes_beyond(&host, snapshot) {
        snapshot.sysctls = read_sysctls(interest, &host, None, socket)?;
    }
    Ok(())
}

pub(super) fn loopback_alias(socket: &mut Socket) -> Result<String, DumpError> {
    let mut alias = String::new();
    socket.get(encode::get_link(1), |_, body| {
        alias = decode::link(body)?.alias;
        Ok(())
    })?;
    Ok(alias)
}

pub(super) fn read_links(name: &NamespaceName, socket: &mut Socket) -> Result<Vec<RawLink>, ObserveError> {
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

fn read_rest(
    interest: &Interest,
    name: &NamespaceName,
    file: Option<&File>,
    socket: &mut Socket,
    links: Vec<RawLink>,
) -> Result<Snapshot, ObserveError> {
    let (mut addresses, mut routes, mut connected) = (Vec::new(), Vec::new(), Vec::new());
    for family in FAMILIES {
        addresses.extend(read_addresses(name, socket, family)?);
        let (of_hands, of_kernel) = read_routes(name, socket, family)?;
        routes.extend(of_hands);
        connected.extend(of_kernel);
    }
    connected.sort_unstable();
    let sysctls = read_sysctls(interest, name, file, socket)?;
    Ok(Snapshot { links, addresses, routes, connected, sysctls })
}

/// A kernel without the family answers with all others.
fn is_of(family: u8, body: &[u8]) -> bool {
    body.first() == Some(&family)
}

fn read_addresses(name: &NamespaceName, socket: &mut Socket, family: u8) -> Result<Vec<RawAddress>, ObserveError> {
    let mut addresses = Vec::new();
    let each = |message: Option<(u16, &[u8])>| {
        match message {
            None => addresses.clear(),
            Some((_, body)) if is_of(family, body) => {
                addresses.extend(decode::address(body)?.filter(|address| !address.is_kernels()));
            }
            Some(_) => {}
        }
        Ok(())
    };
    socket.dump(&encode::get_addresses(family), each).map_err(failed(format!("the addresses of `{name}`")))?;
    Ok(addresses)
}

fn read_routes(name: &NamespaceName, socket: &mut Socket, family: u8) -> Result<(Vec<RawRoute>, Vec<Connected>), ObserveError> {
    let (mut routes, mut connected) = (Vec::new(), Vec::new());
    let each = |message: Option<(u16, &[u8])>| {
        let Some((_, body)) = message else {
            routes.clear();
            connected.clear();
            return Ok(());
        };
        match decode::route_protocol(body).filter(|_| is_of(family, body)) {
            Some(KERNEL) => connected.extend(decode::connected_route(body)?),
            Some(protocol) if !BY_KERNEL.contains(&protocol) => routes.push(decode::route(body)?),
            _ => {}
        }
        Ok(())
    };
    socket.dump(&encode::get_routes(family), each).map_err(failed(format!("the routes of `{name}`")))?;
    Ok((routes, connected))
}

/// Reads the settings of interest. `file` is the namespace, if the calling thread is not in it.
fn read_sysctls(
    interest: &Interest,
    name: &NamespaceName,
    file: Option<&File>,
    socket: &mut Socket,
) -> Result<Vec<(SysctlKey, Option<Sysctl>)>, ObserveError> {
    let mut values = Vec::new();
    let mut entered = false;
    for key in interest.sysctls(name) {
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
