//! Creates network namespaces before a plan needs them, while the lab file is parsed and compared. They have no name yet. An unused one
//! disappears when it is closed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::kernel::Errno;
use crate::kernel::linux::OpenNamespace;
use crate::kernel::linux::system::netns;
use crate::kernel::linux::system::sysctl::inherited::{self, Inherited};
use crate::kernel::linux::system::threads::NamespaceThreads;
use crate::kernel::linux::wire::Socket;

/// The stock of namespaces, shared between the threads that create and those that use them.
#[derive(Clone, Default)]
pub(in crate::kernel::linux) struct EarlyNamespaces(Arc<Shared>);

#[derive(Default)]
struct Shared {
    stock: Mutex<Stock>,
    /// The machine's settings that a new namespace has; found in the first one.
    inherited: Mutex<Option<Arc<[Inherited]>>>,
    arrived: Condvar,
}

#[derive(Default)]
struct Stock {
    made: Vec<OpenNamespace>,
    /// The number of namespaces that are being created.
    pending: usize,
    /// The number of namespaces still to create.
    missing: usize,
}

impl EarlyNamespaces {
    /// Creates `count` namespaces on idle threads.
    pub(in crate::kernel::linux) fn prepare(&self, threads: &NamespaceThreads, count: usize) {
        self.0.stock().missing = count;
        self.resume(threads);
    }

    /// Creates the namespaces that are still missing because the threads had other work meanwhile.
    pub(in crate::kernel::linux) fn resume(&self, threads: &NamespaceThreads) {
        // Each creating thread has a weak reference. A further thread would compete with the calling thread for processors.
        let at_work = Arc::weak_count(&self.0) > 0;
        if at_work || self.0.stock().missing == 0 {
            return;
        }
        let shared = Arc::downgrade(&self.0);
        // An error here is ignored, because the work that needs the threads reports it.
        let _ = threads.repeat_while_idle(move || shared.upgrade().is_some_and(|shared| shared.add_one()));
    }

    /// Returns a namespace from the stock, waits for one that is being created, or creates one. The calling thread may be in any
    /// namespace afterwards.
    ///
    /// # Errors
    /// Fails if the system refuses a namespace, a socket or a setting.
    pub(in crate::kernel::linux) fn take_or_create(&self) -> Result<OpenNamespace, Errno> {
        let mut stock = self.0.stock();
        loop {
            if let Some(made) = stock.made.pop() {
                return Ok(made);
            }
            if stock.missing > 0 || stock.pending == 0 {
                stock.missing = stock.missing.saturating_sub(1);
                drop(stock);
                return self.0.create();
            }
            stock = self.0.arrived.wait(stock).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl EarlyNamespaces {
    /// Moves the calling thread into a new namespace that is not from the stock.
    ///
    /// # Errors
    /// Fails if the system refuses a namespace, a socket or a setting.
    pub(in crate::kernel::linux) fn create(&self) -> Result<OpenNamespace, Errno> {
        self.0.create()
    }
}

impl EarlyNamespaces {
    /// Opens the calling thread's namespace, which is new and was made elsewhere.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub(in crate::kernel::linux) fn complete(&self) -> Result<OpenNamespace, Errno> {
        self.0.complete()
    }
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a namespace if one is missing, and leaves the calling thread in it. Returns whether there may be more to create. Stops at
    /// the first error; the plan tries again and reports it.
    fn add_one(&self) -> bool {
        {
            let mut stock = self.stock();
            let Some(missing) = stock.missing.checked_sub(1) else { return false };
            stock.missing = missing;
            stock.pending += 1;
        }
        let made = self.create();
        let succeeded = made.is_ok();
        let mut stock = self.stock();
        stock.pending -= 1;
        stock.made.extend(made);
        drop(stock);
        self.arrived.notify_all();
        succeeded
    }

    /// Moves the calling thread into a new namespace, and gives that the kernel's own settings.
    fn create(&self) -> Result<OpenNamespace, Errno> {
        let io = |error: io::Error| Errno::from(&error);
        netns::enter_new().map_err(io)?;
        self.complete()
    }

    /// Gives the calling thread's new namespace the kernel's own settings.
    fn complete(&self) -> Result<OpenNamespace, Errno> {
        let io = |error: io::Error| Errno::from(&error);
        let mut namespace = OpenNamespace::of_this_thread().map_err(io)?;
        let inherited = self.inherited(&mut namespace.socket).map_err(io)?;
        inherited::reset(&inherited)?;
        Ok(namespace)
    }

    fn inherited(&self, socket: &mut Socket) -> io::Result<Arc<[Inherited]>> {
        let mut inherited = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
        match &*inherited {
            Some(known) => Ok(known.clone()),
            None => Ok(inherited.insert(inherited::find(socket)?.into()).clone()),
        }
    }
}
