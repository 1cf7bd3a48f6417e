//! Observes namespaces early, on idle threads: those of the lab while its file is parsed, and those that a plan does not change any more
//! while the rest of the plan is executed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kernel::ObserveError;
use crate::kernel::linux::Linux;
use crate::kernel::linux::observe::{Answers, Candidate, Interest, Look, Seen, broken, look_at, read_host, read_namespaces};
use crate::kernel::linux::system::netns::{self, Directory};
use crate::kernel::linux::system::threads::Answer;
use crate::name::NamespaceName;
use crate::operation::Operation;
use crate::plan::last_touches;
use crate::record::Record;
use crate::snapshot::Snapshot;

/// The observations that have begun.
pub(in crate::kernel::linux) enum EarlyObservations {
    /// An observation of all namespaces, and the snapshot of `host`.
    Everywhere(Vec<Answers>, Box<Snapshot>),
    /// Observations of the namespaces that a plan has changed.
    Again(Vec<Answers>),
}

/// All entries under /run/netns.
pub struct Listing {
    directory: Option<Arc<Directory>>,
    names: Vec<NamespaceName>,
}

impl Listing {
    /// Reads the directory.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn read() -> Result<Self, ObserveError> {
        let directory = Directory::open().map_err(broken(netns::DIRECTORY))?.map(Arc::new);
        let names = directory.as_deref().map_or_else(|| Ok(Vec::new()), Directory::names).map_err(broken(netns::DIRECTORY))?;
        Ok(Self { directory, names })
    }

    /// Returns the number of `wanted` namespaces that are missing.
    pub(in crate::kernel::linux) fn missing(&self, wanted: impl Iterator<Item = NamespaceName>) -> usize {
        wanted.filter(|namespace| self.names.binary_search(namespace).is_err()).count()
    }
}

/// Begins to observe all namespaces of the lab, before the lab file is known.
pub(in crate::kernel::linux) fn look_everywhere(
    linux: &mut Linux,
    Listing { directory, names }: Listing,
    record: &Record,
) -> Result<(), ObserveError> {
    let interest = Arc::new(Interest::recorded(&linux.lab, linux.host_identity, record));
    let candidates = names.into_iter().map(|name| Candidate { name, opened: None, snapshot: None }).collect();
    let readings = directory.map(|directory| read_namespaces(linux, &interest, &directory, candidates));
    let host = read_host(&interest, &mut linux.host.socket)?;
    linux.observations = Some(EarlyObservations::Everywhere(readings.transpose()?.unwrap_or_default(), Box::new(host)));
    Ok(())
}

/// Waits for the early observations. Returns the namespaces that need not be observed again.
pub(in crate::kernel::linux) fn collect(linux: &mut Linux, look: Look<'_>) -> Result<BTreeSet<NamespaceName>, ObserveError> {
    let mut collected = BTreeSet::new();
    let (readings, useful) = match (linux.observations.take(), look) {
        (None, _) => return Ok(collected),
        (Some(EarlyObservations::Everywhere(readings, host)), Look::Everywhere) => {
            linux.seen.insert(NamespaceName::host(), *host);
            collected.insert(NamespaceName::host());
            (readings, true)
        }
        (Some(EarlyObservations::Again(readings)), Look::Again(_)) => (readings, true),
        (Some(EarlyObservations::Everywhere(readings, _) | EarlyObservations::Again(readings)), _) => (readings, false),
    };
    for reading in readings {
        // A namespace with an error is observed again, which reports the error.
        for seen in reading.wait().map_err(broken("the namespaces"))?.unwrap_or_default() {
            if let Seen::Lab { name, opened, snapshot } = seen {
                linux.namespaces.insert(name.clone(), opened);
                linux.seen.insert(name.clone(), *snapshot);
                collected.insert(name);
            }
        }
    }
    Ok(if useful { collected } else { BTreeSet::new() })
}

/// Follows the execution of a plan, and begins to observe each namespace after the last operation that changes it.
pub(in crate::kernel::linux) struct Follower {
    /// The lab's namespaces with the position of the last operation that can change them, latest first.
    last: Vec<(usize, NamespaceName)>,
    /// Namespaces to observe. They are handed to a thread in portions.
    finished: Vec<Candidate>,
}

impl Follower {
    /// The number of namespaces to observe at once.
    const PORTION: usize = 4;

    pub(in crate::kernel::linux) fn of(operations: &[Operation]) -> Self {
        let mut last = last_touches(operations);
        last.retain(|(_, namespace)| !namespace.is_host());
        last.sort_by(|a, b| b.cmp(a));
        Self { last, finished: Vec::new() }
    }

    /// Must be called when all operations before this position are complete.
    pub(in crate::kernel::linux) fn done_before(&mut self, linux: &mut Linux, position: usize) {
        while let Some((_, namespace)) = self.last.pop_if(|(last, _)| *last < position) {
            if let Some(opened) = linux.namespaces.remove(&namespace) {
                self.finished.push(Candidate { name: namespace, opened: Some(opened), snapshot: None });
            }
        }
        while self.finished.len() >= Self::PORTION {
            let portion = self.finished.drain(..Self::PORTION).collect();
            Self::begin(linux, portion);
        }
        if self.last.is_empty() && !self.finished.is_empty() {
            Self::begin(linux, std::mem::take(&mut self.finished));
        }
    }

    /// Begins to observe a portion. On failure, the next regular observation opens the namespaces again.
    fn begin(linux: &mut Linux, portion: Vec<Candidate>) {
        let (Some(interest), Ok(Some(directory))) = (linux.interest.clone(), Directory::open()) else { return };
        // This thread observes the last few faster than another thread wakes up.
        let here = portion.len() < Self::PORTION && portion.iter().all(|candidate| !interest.needs_entering(&candidate.name));
        let look = move || portion.into_iter().map(|candidate| look_at(&interest, &directory, candidate)).collect();
        let reading = if here { Ok(Answer::given(look())) } else { linux.threads.begin(look) };
        if let Ok(reading) = reading {
            match &mut linux.observations {
                Some(EarlyObservations::Again(readings)) => readings.push(reading),
                observations => *observations = Some(EarlyObservations::Again(vec![reading])),
            }
        }
    }
}
