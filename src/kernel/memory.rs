//! A network in memory that obeys the kernel's rules: what the kernel refuses, it refuses with the same number, and what the
//! kernel does by itself (a peer that dies along, a route that vanishes with its link), it does, too.
//!
//! It holds links, addresses, routes and settings. It passes no packets, knows no carrier, and no time: duplicate address
//! detection is over at once, namespaces are gone as soon as they are deleted, lifetimes do not run down.

mod address;
mod bridge;
mod create;
mod device;
mod mtu;
mod network;
mod object;
mod observe;
mod remove;
mod route;
mod route_check;
mod running;
mod sysctl;
mod tables;
mod tamper;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use super::{Errno, ExecuteError, Kernel, ObserveError, OperationError, Progress};
use crate::live::{Others, live};
use crate::name::{LabName, NamespaceName};
use crate::operation::Operation;
use crate::resource::sysctl::SysctlKey;
use crate::snapshot::Snapshots;
use crate::state::{Live, State};

pub use network::Network;

/// A kernel in memory, as one lab sees it.
#[derive(Debug, Clone)]
pub struct Memory {
    lab: LabName,
    /// The network. It can be handed from one lab's kernel to another's, compared, and changed behind the lab's back.
    pub network: Network,
    faults: Vec<Fault>,
    attempted: usize,
    executed: usize,
    /// What was last seen.
    seen: Snapshots,
}

/// An operation that is made to fail.
#[derive(Debug, Clone)]
struct Fault {
    when: When,
    errno: Errno,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// The operation with this number, counted from the first ever attempted.
    At(usize),
    /// That one and all after it.
    From(usize),
    /// Every operation of the sort.
    Every(fn(&Operation) -> bool),
}

impl Memory {
    /// A machine with nothing but `lo`, for a lab.
    pub fn new(lab: LabName) -> Self {
        Self::with_network(lab, Network::default())
    }

    /// A given network as a lab's kernel sees it.
    pub fn with_network(lab: LabName, network: Network) -> Self {
        Self { lab, network, faults: Vec::new(), attempted: 0, executed: 0, seen: Snapshots::new() }
    }

    /// Makes the `n`-th operation from now fail, counted from 0; those after it work again.
    pub fn fail_at(&mut self, n: usize, errno: i32) {
        self.faults.push(Fault { when: When::At(self.attempted + n), errno: Errno::new(errno) });
    }

    /// Makes the `n`-th operation from now and all that follow fail.
    pub fn fail_from(&mut self, n: usize, errno: i32) {
        self.faults.push(Fault { when: When::From(self.attempted + n), errno: Errno::new(errno) });
    }

    /// Makes every operation of a sort fail.
    pub fn fail_every(&mut self, sort: fn(&Operation) -> bool, errno: i32) {
        self.faults.push(Fault { when: When::Every(sort), errno: Errno::new(errno) });
    }

    /// Ends all failures.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// How many operations were attempted, those that failed among them.
    pub fn attempted(&self) -> usize {
        self.attempted
    }

    /// How many operations changed the network.
    pub fn executed(&self) -> usize {
        self.executed
    }

    fn judge(&self, desired: &State, others: Others) -> Live {
        match live(&self.lab, desired, &self.seen, others, &mut observe::Numbers(&self.network)) {
            Ok(live) => live,
        }
    }

    fn attempt(&mut self, operation: &Operation) -> Result<(), Errno> {
        let number = self.attempted;
        self.attempted += 1;
        let fails = |fault: &&Fault| match fault.when {
            When::At(at) => number == at,
            When::From(from) => number >= from,
            When::Every(sort) => sort(operation),
        };
        if let Some(fault) = self.faults.iter().find(fails) {
            return Err(fault.errno.clone());
        }
        self.network.execute(network::Author::Lab(&self.lab), operation)?;
        self.executed += 1;
        Ok(())
    }
}

impl Kernel for Memory {
    fn observe(&mut self, desired: &State) -> Result<Live, ObserveError> {
        let (snapshots, others) = observe::read(&self.network, &self.lab, desired);
        self.seen = snapshots;
        Ok(self.judge(desired, others))
    }

    fn observe_again(&mut self, desired: &State, touched: &BTreeSet<NamespaceName>) -> Result<Live, ObserveError> {
        let (snapshots, others) = observe::read(&self.network, &self.lab, desired);
        self.seen.retain(|namespace, _| snapshots.contains_key(namespace) && !touched.contains(namespace));
        for (namespace, snapshot) in snapshots {
            self.seen.entry(namespace).or_insert(snapshot);
        }
        Ok(self.judge(desired, others))
    }

    fn defaults(&mut self, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError> {
        let (fresh, host) = (Network::default(), NamespaceName::host());
        let value = |key: &SysctlKey| Some((key.clone(), fresh.read_sysctl(&host, key.path())?));
        Ok(keys.iter().filter_map(value).collect())
    }

    /// Stops at the operation that failed: what follows it is never executed.
    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
        for (position, operation) in operations.iter().enumerate() {
            if progress.stop() {
                return Err(ExecuteError::Interrupted);
            }
            let refused = |source| OperationError { position, operation: operation.to_string(), source };
            self.attempt(operation).map_err(refused)?;
            progress.done(position);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
