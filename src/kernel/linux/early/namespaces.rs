//! Network namespaces that nobody knows of yet, made before a plan wants them: while a lab file is parsed and compared, there is nothing
//! else that another thread could do. One that is not wanted after all is gone as soon as it is closed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::kernel::Errno;
use crate::kernel::linux::OpenNamespace;
use crate::kernel::linux::system::netns;
use crate::kernel::linux::system::sysctl::inherited::{self, Inherited};
use crate::kernel::linux::system::threads::NamespaceThreads;
use crate::kernel::linux::wire::Socket;

/// The namespaces, which those who make them and those who use them share.
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
    /// How many are being made.
    coming: usize,
    /// How many are still to be made.
    missing: usize,
}

impl EarlyNamespaces {
    /// Has so many made, by threads that have nothing else to do.
    pub(in crate::kernel::linux) fn prepare(&self, threads: &NamespaceThreads, count: usize) {
        self.0.stock().missing = count;
        self.go_on(threads);
    }

    /// The same with those that are still missing, where those who made them had something else to do meanwhile.
    pub(in crate::kernel::linux) fn go_on(&self, threads: &NamespaceThreads) {
        // Each who makes them has a reference. One more would only take a processor from the calling thread.
        let at_work = Arc::weak_count(&self.0) > 0;
        if at_work || self.0.stock().missing == 0 {
            return;
        }
        let shared = Arc::downgrade(&self.0);
        // Without threads everything else will fail, and tell.
        let _ = threads.meanwhile(move || shared.upgrade().is_some_and(|shared| shared.add_one()));
    }

    /// One of those that are there or will soon be, else a new one. The calling thread may be in any namespace afterwards.
    ///
    /// # Errors
    /// When the system refuses a namespace, a socket or a setting.
    pub(in crate::kernel::linux) fn take_or_make(&self) -> Result<OpenNamespace, Errno> {
        let mut stock = self.0.stock();
        loop {
            if let Some(made) = stock.made.pop() {
                return Ok(made);
            }
            if stock.missing > 0 || stock.coming == 0 {
                stock.missing = stock.missing.saturating_sub(1);
                drop(stock);
                return self.0.make();
            }
            stock = self.0.arrived.wait(stock).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one, if one is missing, and leaves the calling thread in it. Returns whether there may be more to do: what cannot be made
    /// now is tried again by those who need it, who will tell.
    fn add_one(&self) -> bool {
        {
            let mut stock = self.stock();
            let Some(missing) = stock.missing.checked_sub(1) else { return false };
            stock.missing = missing;
            stock.coming += 1;
        }
        let made = self.make();
        let succeeded = made.is_ok();
        let mut stock = self.stock();
        stock.coming -= 1;
        stock.made.extend(made);
        drop(stock);
        self.arrived.notify_all();
        succeeded
    }

    /// Makes a namespace with the kernel's own settings around the calling thread.
    fn make(&self) -> Result<OpenNamespace, Errno> {
        let io = |error: io::Error| Errno::from(&error);
        netns::enter_new().map_err(io)?;
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
