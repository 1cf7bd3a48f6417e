//! Creates namespaces, writes their sysctls and removes them on several threads.
//!
//! The kernel creates two namespaces on two threads in less than twice the time of one; more threads are not faster. Removing a namespace
//! waits for readers of the mount table (RCU); the waits of several threads overlap.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::Errno;
use crate::kernel::linux::early::EarlyNamespaces;
use crate::kernel::linux::system::netns::{self, Directory};
use crate::kernel::linux::system::sysctl;
use crate::kernel::linux::system::threads::{Answer, portions};
use crate::kernel::linux::wire::{Batch, encode};
use crate::kernel::linux::{Linux, OpenNamespace};
use crate::name::{LabName, NamespaceName};
use crate::ownership;
use crate::resource::sysctl::SysctlKey;

/// The operations in one namespace, which one thread executes in order.
pub(super) struct Unit {
    pub(super) namespace: NamespaceName,
    /// The namespace, if it exists already.
    pub(super) file: Option<File>,
    /// The tasks with the positions of their operations.
    pub(super) tasks: Vec<(usize, Task)>,
}

/// One operation.
pub(super) enum Task {
    /// Create the namespace.
    Create,
    /// Write a sysctl.
    Write(SysctlKey, String),
}

/// The results.
#[derive(Default)]
pub(super) struct Done {
    pub(super) created: Vec<(NamespaceName, OpenNamespace)>,
    /// The first operation that failed, by its position.
    pub(super) failure: Option<(usize, Errno)>,
}

/// Executes all units in portions.
pub(super) fn work(linux: &Linux, units: Vec<Unit>) -> Done {
    /// Creating a single namespace is worth a message to a thread.
    const LEAST: usize = 1;
    let stop = Arc::new(AtomicBool::new(false));
    let begin = |part| {
        let (lab, early_namespaces, stop) = (linux.lab.clone(), linux.early_namespaces.clone(), stop.clone());
        linux.threads.begin(move || do_all(&lab, &early_namespaces, part, &stop))
    };
    let answers: Vec<_> = portions(units, LEAST).map(begin).collect();
    let mut done = Done::default();
    for answer in answers {
        let part = answer
            .and_then(Answer::wait)
            .unwrap_or_else(|error| Done { created: Vec::new(), failure: Some((0, Errno::from(&error))) });
        done.created.extend(part.created);
        done.failure = match (done.failure, part.failure) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
    }
    done
}

fn do_all(lab: &LabName, early_namespaces: &EarlyNamespaces, units: Vec<Unit>, stop: &AtomicBool) -> Done {
    let mut done = Done::default();
    let mut directory = None;
    for unit in units {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut entered = false;
        for (position, task) in unit.tasks {
            let outcome = match task {
                Task::Create => create(lab, early_namespaces, &unit.namespace, &mut directory).map(|opened| {
                    entered = true;
                    done.created.push((unit.namespace.clone(), opened));
                }),
                Task::Write(key, value) => {
                    let enter = || match (&unit.file, entered) {
                        (_, true) => Ok(()),
                        (Some(file), false) => netns::enter(file),
                        (None, false) => Err(io::Error::from_raw_os_error(nix::libc::ENOENT)),
                    };
                    enter()
                        .and_then(|()| sysctl::write(&key, &value))
                        .map(|()| entered = true)
                        .map_err(|error| Errno::from(&error))
                }
            };
            if let Err(errno) = outcome {
                stop.store(true, Ordering::Relaxed);
                done.failure = Some((position, errno));
                return done;
            }
        }
    }
    done
}

/// Creates a namespace, and leaves the calling thread in it. The namespace is marked before it is published.
fn create(
    lab: &LabName,
    early_namespaces: &EarlyNamespaces,
    name: &NamespaceName,
    directory: &mut Option<Directory>,
) -> Result<OpenNamespace, Errno> {
    let io = |error: io::Error| Errno::from(&error);
    let directory = match directory {
        Some(directory) => directory,
        None => directory.insert(Directory::open_or_create().map_err(io)?),
    };
    let opened = early_namespaces.take_or_create()?;
    netns::enter(&opened.file).map_err(io)?;
    mark_and_publish(lab, name, directory, opened)
}

/// Marks and publishes a network namespace that was made elsewhere.
pub(super) fn publish(linux: &Linux, name: &NamespaceName, network: File) -> Result<OpenNamespace, Errno> {
    let (lab, name, early_namespaces) = (linux.lab.clone(), name.clone(), linux.early_namespaces.clone());
    let job = move || {
        let io = |error: io::Error| Errno::from(&error);
        netns::enter(&network).map_err(io)?;
        let opened = early_namespaces.complete()?;
        mark_and_publish(&lab, &name, &Directory::open_or_create().map_err(io)?, opened)
    };
    linux.threads.run(job).map_err(|error| Errno::from(&error))?
}

/// Marks the namespace of the calling thread, and then publishes it.
fn mark_and_publish(
    lab: &LabName,
    name: &NamespaceName,
    directory: &Directory,
    mut opened: OpenNamespace,
) -> Result<OpenNamespace, Errno> {
    let io = |error: io::Error| Errno::from(&error);
    let mut batch = Batch::default();
    encode::new_namespace(&mut batch, lab, name);
    if let Some(refusal) = opened.socket.execute(&mut batch).map_err(io)?.into_iter().next() {
        return Err(refusal.errno);
    }
    directory.publish(name, &ownership::namespace_mark(lab, name)).map_err(io)?;
    Ok(opened)
}

/// A namespace to be removed: the position of the operation, the name, and the open namespace, or `None` for the placeholder of an
/// interrupted creation.
pub(super) type Removal = (usize, NamespaceName, Option<OpenNamespace>);

/// Removes namespaces. Returns the first failure, by the position of its operation. The kernel does not begin its cleanup while the
/// namespaces are open, so the cleanup does not compete with the remaining removals.
pub(super) fn remove(lab: &LabName, namespaces: &[Removal]) -> Option<(usize, Errno)> {
    const THREADS: usize = 24;
    /// A thread for a single namespace costs more than it saves.
    const LEAST: usize = 2;
    let stop = AtomicBool::new(false);
    let share = namespaces.len().div_ceil(THREADS).max(LEAST);
    std::thread::scope(|scope| {
        let threads: Vec<_> = namespaces
            .chunks(share)
            .map(|part| (part, std::thread::Builder::new().spawn_scoped(scope, || remove_all(lab, part, &stop))))
            .collect();
        let failures = threads.into_iter().filter_map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or(Some((part[0].0, Errno::new(nix::libc::EIO)))),
            // No more threads can be started. An entry that is mounted twice needs a thread and fails then.
            Err(_) => remove_all(lab, part, &stop),
        });
        failures.min_by_key(|(position, _)| *position)
    })
}

fn remove_all(lab: &LabName, namespaces: &[Removal], stop: &AtomicBool) -> Option<(usize, Errno)> {
    let remove = |directory: &Directory, name: &NamespaceName, opened: &Option<OpenNamespace>| {
        let mark = ownership::namespace_mark(lab, name);
        match opened {
            Some(opened) => directory.remove(name, &opened.file, &mark),
            None => directory.remove_placeholder(name, &mark),
        }
    };
    let directory =
        Directory::open().and_then(|directory| directory.ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ENOENT)));
    for (position, name, opened) in namespaces {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let outcome = match &directory {
            Ok(directory) => remove(directory, name, opened).map_err(|error| Errno::from(&error)),
            Err(error) => Err(Errno::from(error)),
        };
        if let Err(errno) = outcome {
            stop.store(true, Ordering::Relaxed);
            return Some((*position, errno));
        }
    }
    None
}
