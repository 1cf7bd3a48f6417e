//! The running kernel. It is observed by dumps and changed by batches of messages, with one socket for each namespace.

mod early;
mod execute;
pub mod inet6;
pub mod monitor;
pub mod node;
mod observe;
mod system;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};

pub use early::Listing;
pub use observe::labs;
pub use observe::unsaid::Unsaid;
pub use system::netns::DIRECTORY as NAMESPACE_DIRECTORY;
pub use system::processes_inside::ProcessInside;
pub use system::{deferred, inside, isolate, kinds, privilege, process, procfs};

use self::early::{EarlyNamespaces, EarlyObservations};
use self::node::Nodes;
use self::node::client::Client;
use self::node::spawner::Spawner;
use self::node::stray::{self, Stray};
use self::observe::{Interest, Look};
use self::system::netns::{Directory, Entry};
use self::system::processes_inside::NodeProcesses;
use self::system::threads::NamespaceThreads;
use self::system::{chosen_macs, netns, other_mounts, processes_inside, sysctl};
use self::wire::Socket;
use super::{ExecuteError, Kernel, ObserveError, Progress};
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::operation::Operation;
use crate::projection::Omitted;
use crate::record::Record;
use crate::resource::node::{Part, PartKey};
use crate::resource::sysctl::{Sysctl, SysctlKey, changed};
use crate::snapshot::Snapshots;
use crate::state::{Ifindex, Live, State};

/// The time that the kernel takes to clean up after a namespace, by order of magnitude.
const CLEANUP_TIME: std::time::Duration = std::time::Duration::from_millis(100);

/// More threads are not faster, because the work on namespaces holds locks of the kernel.
const THREADS: usize = 2;

/// An open namespace, with a socket in it.
struct OpenNamespace {
    file: File,
    socket: Socket,
}

impl OpenNamespace {
    /// Opens the namespace of the calling thread.
    fn of_this_thread() -> io::Result<Self> {
        Ok(Self { file: netns::of_this_thread()?, socket: Socket::open()? })
    }
}

/// The connection to the kernel failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the kernel")]
pub struct ConnectError(#[source] io::Error);

/// The running kernel, for one lab.
pub struct Linux {
    lab: LabName,
    threads: NamespaceThreads,
    /// Whether the caller will change nothing.
    is_read_only: bool,
    /// The namespace that topo was started in.
    host: OpenNamespace,
    /// What tells it from others.
    host_identity: (u64, u64),
    /// The lab's own namespaces.
    namespaces: BTreeMap<NamespaceName, OpenNamespace>,
    /// The last observation of them and of `host`.
    seen: Snapshots,
    /// The interest of the last observation.
    interest: Option<Arc<Interest>>,
    /// Observations that have begun early and are not used yet.
    observations: Option<EarlyObservations>,
    early_namespaces: EarlyNamespaces,
    /// Starts nodes, once it is needed.
    spawner: Option<Spawner>,
    /// The lab's lock, which new nodes hold until they are complete.
    lock: Option<OwnedFd>,
    /// The parts of the nodes, as they were observed last.
    parts: BTreeMap<NamespaceName, BTreeMap<PartKey, Part>>,
}

impl Linux {
    /// Connects to the kernel in the network namespace of the calling thread. Fastest while the process has a single thread.
    ///
    /// # Errors
    /// Fails if the system refuses a socket or a thread.
    pub fn new(lab: LabName) -> Result<Self, ConnectError> {
        raise_descriptor_limit();
        widen_descriptor_table();
        let connect = || {
            let host = OpenNamespace::of_this_thread()?;
            Ok(Self {
                host_identity: netns::identity(&host.file)?,
                lab,
                threads: NamespaceThreads::start(THREADS)?,
                is_read_only: false,
                host,
                namespaces: BTreeMap::new(),
                seen: BTreeMap::new(),
                interest: None,
                observations: None,
                early_namespaces: EarlyNamespaces::default(),
                spawner: None,
                lock: None,
                parts: BTreeMap::new(),
            })
        };
        connect().map_err(ConnectError)
    }

    /// Returns the lab.
    pub fn lab(&self) -> &LabName {
        &self.lab
    }

    /// Connects to the kernel for observations only.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn read_only(lab: LabName) -> Result<Self, ConnectError> {
        Ok(Self { is_read_only: true, ..Self::new(lab)? })
    }

    /// Uses this spawner, which was started with more privileges than this process has.
    pub fn use_spawner(&mut self, spawner: Option<Spawner>) {
        self.spawner = spawner;
    }

    /// Makes new nodes hold the lab's lock until they are complete, even if this process is killed.
    pub fn hold(&mut self, lock: OwnedFd) {
        self.lock = Some(lock);
    }

    /// Returns the links of these namespaces and of `host` whose hardware address somebody has chosen.
    ///
    /// # Errors
    /// Fails if the system does not allow to mount sysfs, as in some containers.
    pub fn chosen_macs(&self, namespaces: &BTreeSet<NamespaceName>) -> io::Result<BTreeSet<LinkId>> {
        let mut places = vec![(NamespaceName::host(), self.host.file.try_clone()?)];
        places.extend(opened(namespaces)?);
        let look = move || {
            let mut found = BTreeSet::new();
            for (name, file) in places {
                netns::enter(&file)?;
                found.extend(chosen_macs::in_this_namespace()?.into_iter().map(|link| LinkId::new(&name, link)));
            }
            Ok(found)
        };
        self.threads.run(look)?
    }

    /// Returns the sysctls of these namespaces that are not as the kernel makes them, without those of the families of interfaces that
    /// observations contain anyway.
    ///
    /// # Errors
    /// Fails if the system refuses a new namespace to compare with, or the settings cannot be read.
    pub fn changed_sysctls(
        &self,
        namespaces: &BTreeSet<NamespaceName>,
    ) -> Result<BTreeMap<(NamespaceName, SysctlKey), Sysctl>, ObserveError> {
        let early_namespaces = self.early_namespaces.clone();
        let look = move |places: Vec<(NamespaceName, File)>| -> io::Result<_> {
            let _new = early_namespaces.create().map_err(|errno| io::Error::other(errno.to_string()))?;
            let new = sysctl::all::in_this_namespace()?;
            let mut found = BTreeMap::new();
            for (name, file) in places {
                netns::enter(&file)?;
                let changed = changed::by_somebody(&sysctl::all::in_this_namespace()?, &new);
                found.extend(changed.into_iter().map(|(key, value)| ((name.clone(), key), value)));
            }
            Ok(found)
        };
        let looked = opened(namespaces).and_then(|places| self.threads.run(move || look(places))?);
        looked.map_err(|error| ObserveError { what: "the settings".to_owned(), source: Box::new(error) })
    }

    /// Returns what somebody has configured in these namespaces and no lab file can say.
    ///
    /// # Errors
    /// Fails if the kernel does not answer.
    pub fn unsaid(&self, namespaces: &BTreeSet<NamespaceName>) -> Result<Vec<(NamespaceName, Unsaid)>, ObserveError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| ObserveError { what: "the namespaces".to_owned(), source };
        let places = opened(namespaces).map_err(|error| failed(error.into()))?;
        let look = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let mut found = Vec::new();
            for (name, file) in places {
                netns::enter(&file)?;
                let here = observe::unsaid::in_this_namespace(&mut Socket::open()?)?;
                found.extend(here.into_iter().map(|unsaid| (name.clone(), unsaid)));
            }
            Ok(found)
        };
        self.threads.run(look).map_err(|error| failed(error.into()))?.map_err(failed)
    }

    /// Begins to create namespaces for the next plan, if some of the `declared` ones are missing. They have no name until the plan uses
    /// them, and disappear with the process.
    pub fn create_early(&self, listing: &Listing, declared: impl Iterator<Item = NamespaceName>) {
        self.early_namespaces.prepare(&self.threads, listing.missing(declared));
    }

    /// Begins to read the resources of the lab for the next observation, before the lab file is known.
    ///
    /// # Errors
    /// Fails if `host` cannot be read, or the threads have ended.
    pub fn observe_early(&mut self, listing: Listing, record: &Record) -> Result<(), ObserveError> {
        early::look_everywhere(self, listing, record)
    }

    /// Closes the namespaces and drops the last observation on an idle thread. For a thousand namespaces, this takes several
    /// milliseconds.
    fn close_namespaces(&mut self) {
        let opened = (std::mem::take(&mut self.namespaces), std::mem::take(&mut self.seen));
        let _ = self.threads.begin(move || drop(opened));
    }

    /// Returns the processes inside of these namespaces, as far as they were observed, without those that end with their node.
    ///
    /// # Errors
    /// Fails if /proc cannot be read.
    pub fn processes_inside<'a>(&'a self, namespaces: impl Iterator<Item = &'a NamespaceName>) -> io::Result<Vec<ProcessInside>> {
        let places = self.places(namespaces);
        processes_inside::find(&places, &self.node_processes(&places)?)
    }

    /// Ends the processes inside of these namespaces, without those that end with their node, and returns them.
    ///
    /// # Errors
    /// Fails if a process cannot be signalled, or new processes keep appearing.
    pub fn kill_processes_inside<'a>(
        &'a self,
        namespaces: impl Iterator<Item = &'a NamespaceName>,
    ) -> io::Result<Vec<ProcessInside>> {
        let places = self.places(namespaces);
        processes_inside::end(&places, &self.node_processes(&places)?)
    }

    /// Returns the mounts of these namespaces at other paths than their own, as far as they were observed.
    ///
    /// # Errors
    /// Fails if /proc cannot be read.
    pub fn other_mounts<'a>(
        &'a self,
        namespaces: impl Iterator<Item = &'a NamespaceName>,
    ) -> io::Result<Vec<(NamespaceName, PathBuf)>> {
        other_mounts::find(&self.places(namespaces))
    }

    /// Kills the inits of these namespaces whose sockets are gone.
    ///
    /// # Errors
    /// Fails if /proc cannot be read, or one does not end.
    pub fn end_strays<'a>(&'a self, namespaces: impl Iterator<Item = &'a NamespaceName>) -> io::Result<()> {
        let sockets = Nodes::open(&self.lab)?.map_or(Ok(Vec::new()), |nodes| nodes.names())?;
        let places = self.places(namespaces.filter(|name| !sockets.contains(name)));
        if places.is_empty() {
            return Ok(());
        }
        let is_here = |stray: &Stray| places.iter().any(|place| stray.is_of(place.namespace, place.file));
        stray::find(&self.lab)?.into_iter().filter(is_here).try_for_each(Stray::kill)
    }

    /// Returns the processes of the nodes of these namespaces. They end with the nodes.
    fn node_processes(&self, places: &[processes_inside::Place<'_>]) -> io::Result<NodeProcesses> {
        let Ok(Some(nodes)) = Nodes::open(&self.lab) else { return Ok(NodeProcesses::default()) };
        let names = places.iter().map(|place| place.namespace).filter(|name| self.parts.contains_key(*name));
        let inits = names.filter_map(|name| Client::connect(&nodes, name).ok().flatten());
        NodeProcesses::of(inits.map(Client::into_process))
    }

    fn places<'a>(&'a self, namespaces: impl Iterator<Item = &'a NamespaceName>) -> Vec<processes_inside::Place<'a>> {
        let known = namespaces.filter_map(|namespace| self.namespaces.get_key_value(namespace));
        known.map(|(namespace, opened)| processes_inside::Place { namespace, file: &opened.file }).collect()
    }

    fn opened(&mut self, namespace: &NamespaceName) -> Option<&mut OpenNamespace> {
        if namespace.is_host() { Some(&mut self.host) } else { self.namespaces.get_mut(namespace) }
    }
}

/// Returns the names under /run/netns that a lab can use, sorted, and those that it cannot, with the reasons as clauses. A lab cannot have the
/// namespace that the calling thread is in, nor a second name of a namespace.
///
/// # Errors
/// Fails if the directory or an entry cannot be read.
pub fn namespace_names() -> io::Result<(Vec<NamespaceName>, Vec<Omitted>)> {
    let Some(directory) = Directory::open()? else { return Ok(<_>::default()) };
    let (names, invalid) = directory.all_names()?;
    let omitted = |name: &dyn std::fmt::Display, reason: String| Omitted { what: name.to_string(), reason };
    let mut unusable: Vec<_> = invalid.iter().map(|name| omitted(name, "no lab file can have this name".to_owned())).collect();
    let mut seen = BTreeMap::from([(netns::identity(&netns::of_this_thread()?)?, "host".to_owned())]);
    let mut usable = Vec::new();
    for name in names {
        let identity = match directory.look(&name)? {
            Some(Entry::Namespace(file)) => Some(netns::identity(&file)?),
            Some(Entry::File(_) | Entry::Other(_)) | None => None,
        };
        let known = identity.and_then(|identity| seen.get(&identity));
        if name.is_host() {
            unusable.push(omitted(&name, "the name is reserved".to_owned()));
        } else if let Some(known) = known {
            unusable.push(omitted(&name, format!("it is another name of `{known}`")));
        } else {
            seen.extend(identity.map(|identity| (identity, name.to_string())));
            usable.push(name);
        }
    }
    Ok((usable, unusable))
}

/// Gives the network namespace of the calling thread a name, if it has not got it already, and leaves it for a new one.
///
/// # Errors
/// Fails if the system does not allow it.
pub fn leave_under_name(name: &NamespaceName) -> io::Result<()> {
    let directory = Directory::open_or_create()?;
    match directory.publish(name, "") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => netns::enter_new(),
    }
}

/// Opens the existing ones of these namespaces.
fn opened(namespaces: &BTreeSet<NamespaceName>) -> io::Result<Vec<(NamespaceName, File)>> {
    let mut places = Vec::new();
    let Some(directory) = Directory::open()? else { return Ok(places) };
    for name in namespaces {
        if let Some(Entry::Namespace(file)) = directory.look(name)? {
            places.push((name.clone(), file));
        }
    }
    Ok(places)
}

/// Raises the soft limit of descriptors to the hard limit. Every namespace needs two descriptors; the usual soft limit of 1024 exists for
/// programs that use select(2).
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Grows the descriptor table of the process for a lab of thousands of namespaces. The kernel doubles it as needed, but as soon as there
/// is a second thread, each time waits for the readers of the old table (RCU), about 10 ms.
fn widen_descriptor_table() {
    const DESCRIPTORS: i32 = 1 << 14;
    // Fails if the limit is lower. Then the kernel grows the table as needed.
    if let Ok(descriptor) = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(DESCRIPTORS - 1)) {
        let _ = nix::unistd::close(descriptor);
    }
}

impl Kernel for Linux {
    fn observe(&mut self, desired: &State) -> Result<Live, ObserveError> {
        observe::observe(self, desired, Look::Everywhere)
    }

    fn observe_again(&mut self, desired: &State, touched: &BTreeSet<NamespaceName>) -> Result<Live, ObserveError> {
        observe::observe(self, desired, Look::Again(touched))
    }

    fn defaults(&mut self, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError> {
        observe::defaults(self, keys)
    }

    fn names_in_host(&mut self) -> Result<BTreeMap<Ifindex, LinkName>, ObserveError> {
        observe::names_in_host(self)
    }

    fn settle(&mut self) {
        std::thread::sleep(CLEANUP_TIME);
    }

    fn pause(&mut self, time: std::time::Duration) {
        std::thread::sleep(time);
    }

    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
        execute::execute(self, operations, progress)
    }
}
