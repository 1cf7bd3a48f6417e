//! Observations that begin before they are asked for, on threads that would otherwise wait: at the lab's namespaces while its file is still
//! being parsed, and at those in which nothing more will be done while a plan is still being carried out elsewhere.

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

/// What has been begun.
pub(in crate::kernel::linux) enum EarlyObservations {
    /// A look at all that is there; what was seen in `host`.
    Everywhere(Vec<Answers>, Snapshot),
    /// Observations of what a plan has touched.
    Again(Vec<Answers>),
}

/// What is in /run/netns, whoever it belongs to.
pub struct Listing {
    directory: Option<Arc<Directory>>,
    names: Vec<NamespaceName>,
}

impl Listing {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read() -> Result<Self, ObserveError> {
        let directory = Directory::open().map_err(broken(netns::DIRECTORY))?.map(Arc::new);
        let names = directory.as_deref().map_or_else(|| Ok(Vec::new()), Directory::names).map_err(broken(netns::DIRECTORY))?;
        Ok(Self { directory, names })
    }

    /// How many of the `wanted` are not there.
    pub(in crate::kernel::linux) fn missing(&self, wanted: impl Iterator<Item = NamespaceName>) -> usize {
        wanted.filter(|namespace| self.names.binary_search(namespace).is_err()).count()
    }
}

/// Begins to look at all namespaces of the lab, before it is known what it wants of them.
pub(in crate::kernel::linux) fn look_everywhere(
    linux: &mut Linux,
    Listing { directory, names }: Listing,
    record: &Record,
) -> Result<(), ObserveError> {
    let interest = Arc::new(Interest::recorded(&linux.lab, record));
    let candidates = names.into_iter().map(|name| Candidate { name, opened: None, snapshot: None }).collect();
    let readings = directory.map(|directory| read_namespaces(linux, &interest, &directory, candidates));
    let host = read_host(&interest, &mut linux.host.socket)?;
    linux.observations = Some(EarlyObservations::Everywhere(readings.transpose()?.unwrap_or_default(), host));
    Ok(())
}

/// Waits for what has been begun. Returns the namespaces that need no other look: all that are found to be the lab's, or, where only
/// some are to be looked at again, those of them that a plan is done with.
pub(in crate::kernel::linux) fn collect(linux: &mut Linux, look: Look<'_>) -> Result<BTreeSet<NamespaceName>, ObserveError> {
    let mut collected = BTreeSet::new();
    let (readings, useful) = match (linux.observations.take(), look) {
        (None, _) => return Ok(collected),
        (Some(EarlyObservations::Everywhere(readings, host)), Look::Everywhere) => {
            linux.seen.insert(NamespaceName::host(), host);
            collected.insert(NamespaceName::host());
            (readings, true)
        }
        (Some(EarlyObservations::Again(readings)), Look::Again(_)) => (readings, true),
        (Some(EarlyObservations::Everywhere(readings, _) | EarlyObservations::Again(readings)), _) => (readings, false),
    };
    for reading in readings {
        // What could not be seen early will be looked at again, and then tell why.
        for seen in reading.wait().map_err(broken("the namespaces"))?.unwrap_or_default() {
            if let Seen::Lab { name, opened, snapshot } = seen {
                linux.namespaces.insert(name.clone(), opened);
                linux.seen.insert(name.clone(), snapshot);
                collected.insert(name);
            }
        }
    }
    Ok(if useful { collected } else { BTreeSet::new() })
}

/// Follows the execution of a plan, and begins to look at each namespace as soon as nothing more will be done there.
pub(in crate::kernel::linux) struct Follower {
    /// The lab's namespaces with the position of the last operation that can change something there, latest first.
    last: Vec<(usize, NamespaceName)>,
    /// Finished, and not yet worth a message to a thread.
    finished: Vec<Candidate>,
}

impl Follower {
    /// Observes so many namespaces at a time.
    const PORTION: usize = 4;

    pub(in crate::kernel::linux) fn of(operations: &[Operation]) -> Self {
        let mut last = last_touches(operations);
        last.retain(|(_, namespace)| !namespace.is_host());
        last.sort_by(|a, b| b.cmp(a));
        Self { last, finished: Vec::new() }
    }

    /// To be called when all operations before this position are done.
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

    /// What cannot be begun is forgotten: the next observation, which comes before the next plan, opens it anew.
    fn begin(linux: &mut Linux, portion: Vec<Candidate>) {
        let (Some(interest), Ok(Some(directory))) = (linux.interest.clone(), Directory::open()) else { return };
        // The last few are sooner looked at by this thread, which has nothing else to do, than another one wakes up.
        let here = portion.len() < Self::PORTION && portion.iter().all(|candidate| !interest.leads_inside(&candidate.name));
        let look = move || portion.into_iter().map(|candidate| look_at(&interest, &directory, candidate)).collect();
        let reading = if here { Ok(Answer::given(look())) } else { linux.threads.begin(look) };
        if let Ok(reading) = reading {
            match &mut linux.observations {
                Some(EarlyObservations::Again(readings)) => readings.push(reading),
                ahead => *ahead = Some(EarlyObservations::Again(vec![reading])),
            }
        }
    }
}
