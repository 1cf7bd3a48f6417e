//! The running kernel: observed by dumps, changed by batches of messages, one socket for each namespace.

mod early;
mod execute;
mod observe;
mod system;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};

pub use early::Listing;
pub use observe::labs;
pub use system::netns::DIRECTORY as NAMESPACE_DIRECTORY;
pub use system::processes_inside::ProcessInside;
pub use system::{inside, isolate, privilege, process};

use self::early::{EarlyNamespaces, EarlyObservations};
use self::execute::ForeignRoutes;
use self::observe::{Interest, Look};
use self::system::threads::NamespaceThreads;
use self::system::{netns, processes_inside};
use self::wire::Socket;
use super::{ExecuteError, Kernel, ObserveError, Progress};
use crate::name::{LabName, NamespaceName};
use crate::operation::Operation;
use crate::record::Record;
use crate::resource::sysctl::SysctlKey;
use crate::snapshot::Snapshots;
use crate::state::{Live, State};

/// How long the kernel may take to clean up after a namespace, by the order of magnitude.
const CLEANING_UP: std::time::Duration = std::time::Duration::from_millis(100);

/// More gain nothing: what namespaces cost is done under the kernel's locks.
const THREADS: usize = 2;

/// A namespace with what is needed to work in it.
struct OpenNamespace {
    file: File,
    socket: Socket,
}

impl OpenNamespace {
    /// The namespace that the calling thread is in.
    fn of_this_thread() -> io::Result<Self> {
        Ok(Self { file: netns::of_this_thread()?, socket: Socket::open()? })
    }
}

/// The kernel cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the kernel")]
pub struct ConnectError(#[source] io::Error);

/// The running kernel, as far as it concerns one lab.
pub struct Linux {
    lab: LabName,
    threads: NamespaceThreads,
    /// Whether nothing will be changed.
    is_read_only: bool,
    /// The namespace that topo was started in.
    host: OpenNamespace,
    /// The lab's own namespaces.
    namespaces: BTreeMap<NamespaceName, OpenNamespace>,
    /// What was last read of them and of the host.
    seen: Snapshots,
    /// What it was read for.
    interest: Option<Arc<Interest>>,
    /// Observations that have begun early and are not yet asked for.
    observations: Option<EarlyObservations>,
    early_namespaces: EarlyNamespaces,
    foreign_routes: ForeignRoutes,
}

impl Linux {
    /// Connects to the kernel, in the network namespace of the calling thread. Cheapest as long as the process has one thread.
    ///
    /// # Errors
    /// When the system refuses a socket or a thread.
    pub fn new(lab: LabName) -> Result<Self, ConnectError> {
        raise_descriptor_limit();
        widen_descriptor_table();
        let connect = || {
            let host = OpenNamespace::of_this_thread()?;
            Ok(Self {
                lab,
                threads: NamespaceThreads::start(THREADS)?,
                is_read_only: false,
                host,
                namespaces: BTreeMap::new(),
                seen: BTreeMap::new(),
                interest: None,
                observations: None,
                early_namespaces: EarlyNamespaces::default(),
                foreign_routes: ForeignRoutes::default(),
            })
        };
        connect().map_err(ConnectError)
    }

    /// The lab that it is about.
    pub fn lab(&self) -> &LabName {
        &self.lab
    }

    /// The same, for somebody who will not change anything.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn read_only(lab: LabName) -> Result<Self, ConnectError> {
        Ok(Self { is_read_only: true, ..Self::new(lab)? })
    }

    /// Begins to make namespaces, if some of the `declared` ones are not there, for the next plan, which will want them. They have no
    /// name before that, and are gone with the process.
    pub fn create_early(&self, listing: &Listing, declared: impl Iterator<Item = NamespaceName>) {
        self.early_namespaces.prepare(&self.threads, listing.missing(declared));
    }

    /// Begins to read what the lab owns, for the next observation, which may then be asked for when it is known what the lab wants.
    ///
    /// # Errors
    /// When the host cannot be read, or the threads have ended.
    pub fn observe_early(&mut self, listing: Listing, record: &Record) -> Result<(), ObserveError> {
        early::look_everywhere(self, listing, record)
    }

    /// Closes what was opened to look into namespaces, and forgets what was seen, on a thread that has nothing else to do. For
    /// a thousand namespaces it takes several milliseconds.
    fn close_namespaces(&mut self) {
        let opened = (std::mem::take(&mut self.namespaces), std::mem::take(&mut self.seen));
        let _ = self.threads.begin(move || drop(opened));
    }

    /// The processes inside of those of the lab's namespaces that were observed.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn processes_inside<'a>(&'a self, namespaces: impl Iterator<Item = &'a NamespaceName>) -> io::Result<Vec<ProcessInside>> {
        processes_inside::find(&self.places(namespaces))
    }

    /// Ends them.
    ///
    /// # Errors
    /// When one may not be ended, or more are started all the time.
    pub fn kill_processes_inside<'a>(
        &'a self,
        namespaces: impl Iterator<Item = &'a NamespaceName>,
    ) -> io::Result<Vec<ProcessInside>> {
        processes_inside::end(&self.places(namespaces))
    }

    fn places<'a>(&'a self, namespaces: impl Iterator<Item = &'a NamespaceName>) -> Vec<processes_inside::Place<'a>> {
        let known = namespaces.filter_map(|namespace| self.namespaces.get_key_value(namespace));
        known.map(|(namespace, opened)| processes_inside::Place { namespace, file: &opened.file }).collect()
    }

    fn opened(&mut self, namespace: &NamespaceName) -> Option<&mut OpenNamespace> {
        if namespace.is_host() { Some(&mut self.host) } else { self.namespaces.get_mut(namespace) }
    }
}

/// Every namespace costs two descriptors; the usual soft limit of 1024 is for programs that use select(2).
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Makes the process's table of descriptors as large as a lab of thousands of namespaces needs it. It would double by itself, but
/// as soon as there is a second thread each time waits for all readers of the old one (RCU), some 10 ms.
fn widen_descriptor_table() {
    const DESCRIPTORS: i32 = 1 << 14;
    // Refused where the limit is lower: then the table grows as it must.
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

    fn settle(&mut self) {
        std::thread::sleep(CLEANING_UP);
    }

    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
        execute::execute(self, operations, progress)
    }
}
