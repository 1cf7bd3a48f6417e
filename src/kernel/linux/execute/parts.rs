//! Starts, changes and ends nodes and their parts.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;

use super::{namespaces, refused};
use crate::kernel::linux::Linux;
use crate::kernel::linux::node::cgroup::Group;
use crate::kernel::linux::node::client::Client;
use crate::kernel::linux::node::spawner::Spawner;
use crate::kernel::linux::node::{Nodes, logs};
use crate::kernel::{Errno, ExecuteError, OperationError, Progress};
use crate::name::NamespaceName;
use crate::operation::Operation;
use crate::resource::node::process::{ProcessName, Settled};
use crate::resource::node::{Part, PartKey};

/// How many nodes may be starting at the same time.
const STARTING: usize = 16;

/// Starts the nodes of consecutive operations.
pub(super) fn start(
    linux: &mut Linux,
    operations: &[Operation],
    run: Range<usize>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let mut failure = None;
    let mut starting: HashMap<NamespaceName, usize> = HashMap::new();
    let mut waiting = run.clone();
    loop {
        while failure.is_none() && starting.len() < STARTING {
            let Some(position) = waiting.next() else { break };
            if progress.stop() {
                failure = Some(ExecuteError::Interrupted);
                break;
            }
            match begin(linux, &operations[position]) {
                Ok(()) => drop(starting.insert(operations[position].namespace().clone(), position)),
                Err(errno) => failure = Some(refused(operations, position, errno)),
            }
        }
        // Those that have begun are waited for in any case, so that a rollback finds them.
        let Some(first) = starting.values().copied().min() else { break };
        let finished = linux.spawner.as_ref().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), Spawner::finish);
        let (name, outcome) = finished.map_err(|error| refused(operations, first, Errno::from(&error)))?;
        let Some(position) = starting.remove(&name) else { continue };
        match outcome {
            Ok(()) => progress.done(position),
            Err(errno) => failure = failure.or(Some(refused(operations, position, errno))),
        }
    }
    failure.map_or(Ok(()), Err)
}

fn begin(linux: &mut Linux, operation: &Operation) -> Result<(), Errno> {
    let Operation::PutPart(put) = operation else { return Ok(()) };
    let Part::Node(node) = &put.part else { return Ok(()) };
    let network = linux.namespaces.get(&put.namespace).ok_or_else(|| super::missing(&put.namespace))?;
    let network = network.file.try_clone().map_err(|error| Errno::from(&error))?;
    let lab = linux.lab.clone();
    let spawner = spawner(linux)?;
    spawner.begin(&lab, &put.namespace, node, network.as_fd()).map_err(|error| Errno::from(&error))
}

/// Returns the spawner. Starts it if necessary.
fn spawner(linux: &mut Linux) -> Result<&Spawner, Errno> {
    let failed = |error: io::Error| Errno::from(&error);
    // It is started before this process gives up its privileges, and by the command alone: it is the same program.
    let missing = || Errno { number: 0, message: Some("only the command `topo` can start nodes".to_owned()) };
    let mut spawner = linux.spawner.take().ok_or_else(missing)?;
    spawner.provide(&linux.lab, linux.lock.as_ref()).map_err(failed)?;
    Ok(linux.spawner.insert(spawner))
}

/// Ends the nodes of consecutive operations, all at the same time.
pub(super) fn end(
    linux: &mut Linux,
    operations: &[Operation],
    run: Range<usize>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let failed = |position: usize| move |error: io::Error| refused(operations, position, Errno::from(&error));
    linux.end_strays(operations[run.clone()].iter().map(Operation::namespace)).map_err(failed(run.start))?;
    let Some(nodes) = Nodes::open(&linux.lab).map_err(failed(run.start))? else {
        run.for_each(|position| progress.done(position));
        return Ok(());
    };
    let mut ending = Vec::new();
    for position in run {
        let client = Client::connect(&nodes, operations[position].namespace()).map_err(failed(position))?;
        let group = client
            .as_ref()
            .filter(|_| may_have_limits(linux, operations[position].namespace()))
            .and_then(|client| Group::of(client.process()));
        if let Some(client) = &client {
            client.begin_end();
        }
        ending.push((position, client, group));
    }
    for (position, client, group) in ending {
        client.map_or(Ok(()), Client::finish_end).map_err(failed(position))?;
        group.map_or(Ok(()), |group| group.remove()).map_err(failed(position))?;
        let removed = nodes.remove(operations[position].namespace());
        removed.and_then(|()| logs::remove(&linux.lab, operations[position].namespace())).map_err(failed(position))?;
        progress.done(position);
    }
    Ok(())
}

/// Returns whether a node has limits, or was made after the last look.
fn may_have_limits(linux: &Linux, namespace: &NamespaceName) -> bool {
    match linux.parts.get(namespace).and_then(|parts| parts.get(&PartKey::Node)) {
        Some(Part::Node(node)) => !node.limits.is_empty(),
        Some(_) | None => true,
    }
}

/// Starts, changes and ends the processes of consecutive operations, and waits until all are ready, done or gone.
pub(super) fn supervise(
    linux: &mut Linux,
    operations: &[Operation],
    run: Range<usize>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    /// The time between two looks at whether the user wants to stop.
    const INTERVAL: Duration = Duration::from_millis(100);
    let mut waiting = Vec::new();
    for position in run {
        let begun = client(linux, operations[position].namespace()).and_then(|client| {
            match &operations[position] {
                Operation::PutPart(put) => client.put(put)?,
                Operation::RemovePart(_, key) => client.remove(key)?,
                _ => {}
            }
            Ok(client)
        });
        waiting.push((position, begun.map_err(|errno| refused(operations, position, errno))?));
    }
    // Only now, because a process waits for others that may come later in the plan.
    for (position, client) in &waiting {
        let Some(name) = process_of(&operations[*position]) else { continue };
        client.begin_await(name).map_err(|errno| refused(operations, *position, errno))?;
    }
    for (position, client) in waiting {
        let settled = loop {
            if progress.stop() {
                return Err(ExecuteError::Interrupted);
            }
            match client.finish_await(INTERVAL).map_err(|errno| refused(operations, position, errno))? {
                None => {}
                Some(settled) => break settled,
            }
        };
        if let Settled::Failed { reason, log } = settled {
            let source = Errno { number: 0, message: Some(format!("it {reason}")) };
            return Err(
                OperationError { position, operation: operations[position].to_string(), source, details: log.into() }.into()
            );
        }
        progress.done(position);
    }
    Ok(())
}

fn process_of(operation: &Operation) -> Option<&ProcessName> {
    let key = match operation {
        Operation::PutPart(put) => &put.key,
        Operation::RemovePart(_, key) => key,
        _ => return None,
    };
    match key {
        PartKey::Process(name) => Some(name),
        PartKey::Node | PartKey::File(_) | PartKey::Bind(_) => None,
    }
}

/// Executes an operation on one part.
pub(super) fn execute(
    linux: &mut Linux,
    operations: &[Operation],
    position: usize,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let done = match &operations[position] {
        Operation::CreateUserNamespace(namespace) => create_network(linux, namespace),
        Operation::PutPart(put) => client(linux, &put.namespace).and_then(|client| client.put(put)),
        Operation::RemovePart(namespace, key) => client(linux, namespace).and_then(|client| client.remove(key)),
        _ => Ok(()),
    };
    done.map_err(|errno| refused(operations, position, errno))?;
    progress.done(position);
    Ok(())
}

fn client(linux: &Linux, namespace: &NamespaceName) -> Result<Client, Errno> {
    let connect = || -> io::Result<Option<Client>> {
        Nodes::open(&linux.lab)?.map_or(Ok(None), |nodes| Client::connect(&nodes, namespace))
    };
    let ended = || Errno { number: libc::ESRCH, message: Some(format!("the init of `{namespace}` has ended")) };
    connect().map_err(|error| Errno::from(&error))?.ok_or_else(ended)
}

fn create_network(linux: &mut Linux, namespace: &NamespaceName) -> Result<(), Errno> {
    let network = spawner(linux)?.network(namespace)?;
    let opened = namespaces::publish(linux, namespace, network)?;
    linux.namespaces.insert(namespace.clone(), opened);
    Ok(())
}
