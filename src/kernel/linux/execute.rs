//! Executes operations in the order of the plan. For speed, consecutive messages to the same socket are sent together, and consecutive
//! new namespaces are divided among threads.

mod carrier;
mod detection;
mod namespaces;
mod parts;

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::libc;

use super::Linux;
use super::early::{EarlyNamespaces, Follower};
use super::wire::{Batch, DumpError, Refusal, encode};
use crate::kernel::{Errno, ExecuteError, OperationError, Progress};
use crate::name::NamespaceName;
use crate::operation::{NewLink, Operation};
use crate::resource::link::Ifindex;
use crate::resource::neighbor::Neighbor;
use crate::resource::node::PartKey;
use crate::resource::object::{Awaited, Object};

/// Messages that are sent together through the socket of one namespace.
struct Pending {
    /// The namespace of the socket.
    through: NamespaceName,
    batch: Batch,
    /// The operation of each message.
    owners: Vec<usize>,
    /// Operations whose last message is in the batch.
    complete: Vec<usize>,
    /// Whether what the kernel refuses is sent again.
    is_retried: bool,
}

/// The method of executing an operation.
enum Method<'a> {
    /// Messages through the socket of this namespace.
    Messages(NamespaceName),
    /// One message, repeated until what it waits for has happened.
    Retry(Condition<'a>),
    /// A thread inside the namespace, together with other operations.
    Inside,
    /// Threads that remove namespaces, together with other operations.
    Removal,
    /// The spawner starts nodes, together with other operations.
    Nodes,
    /// Inits end, together with other operations.
    EndOfNodes,
    /// Inits start or end processes, together with other operations.
    Processes,
    /// An init, or the spawner.
    Part,
}

/// What an operation may have to wait for.
#[derive(Clone, Copy)]
enum Condition<'a> {
    /// This address has passed duplicate address detection.
    Source(&'a Awaited),
    /// The link has a carrier.
    Carrier,
}

fn method(operation: &Operation) -> Method<'_> {
    if let Some(awaited) = detection::awaited(operation) {
        return Method::Retry(Condition::Source(awaited));
    }
    if carrier::is_awaited(operation) {
        return Method::Retry(Condition::Carrier);
    }
    match operation {
        Operation::CreateNamespace(_) | Operation::WriteSysctl { .. } => Method::Inside,
        Operation::DeleteNamespace(_) => Method::Removal,
        Operation::PutPart(put) if put.key == PartKey::Node && put.over.is_none() => Method::Nodes,
        Operation::RemovePart(_, PartKey::Node) => Method::EndOfNodes,
        Operation::RemovePart(_, PartKey::Process(_)) => Method::Processes,
        Operation::PutPart(put) if matches!(put.key, PartKey::Process(_)) => Method::Processes,
        Operation::CreateUserNamespace(_) | Operation::PutPart(_) | Operation::RemovePart(..) => Method::Part,
        Operation::CreateLink(new) => Method::Messages(new.creating_namespace()),
        Operation::ChangeLink(_)
        | Operation::DeleteLink(_)
        | Operation::DeleteLinkGroup(_)
        | Operation::Put(_)
        | Operation::Remove(_)
        | Operation::Restore(_)
        | Operation::RestoreEntry(..) => Method::Messages(operation.namespace().clone()),
    }
}

/// Executes the operations in order.
pub fn execute(linux: &mut Linux, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
    let outcome = carry_out(linux, operations, progress);
    // The next plan, which may be a rollback, does not need the namespaces of this one.
    linux.early_namespaces = EarlyNamespaces::default();
    outcome
}

fn carry_out(linux: &mut Linux, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
    let mut follower = Follower::of(operations);
    let mut pending: Option<Pending> = None;
    let mut settled: HashSet<(&NamespaceName, Ifindex)> = HashSet::new();
    let mut position = 0;
    while position < operations.len() {
        if progress.stop() {
            flush(linux, operations, &mut pending, progress)?;
            return Err(ExecuteError::Interrupted);
        }
        let link = kept_by_carrier_of(&operations[position]).filter(|link| settled.insert(*link));
        if let Some((namespace, link)) = link {
            flush(linux, operations, &mut pending, progress)?;
            settle(linux, namespace, link).map_err(|errno| refused(operations, position, errno))?;
        }
        let method = method(&operations[position]);
        if !matches!((&method, &pending), (Method::Messages(through), Some(pending)) if pending.through == *through) {
            flush(linux, operations, &mut pending, progress)?;
            follower.done_before(linux, position);
        }
        let run = |same: fn(&Method) -> bool| {
            operations[position..].iter().take_while(|operation| same(&self::method(operation))).count()
        };
        position += match method {
            Method::Messages(through) => {
                add(linux, pending.get_or_insert_with(|| Pending::new(through)), operations, position)?;
                1
            }
            Method::Retry(condition) => {
                execute_with_retries(linux, operations, position, condition, progress)?;
                1
            }
            Method::Inside => {
                let run = run(|method| matches!(method, Method::Inside));
                inside(linux, operations, position..position + run, progress)?;
                run
            }
            Method::Removal => {
                let run = run(|method| matches!(method, Method::Removal));
                remove(linux, operations, position..position + run, progress)?;
                run
            }
            Method::Nodes => {
                let run = run(|method| matches!(method, Method::Nodes));
                parts::start(linux, operations, position..position + run, progress)?;
                run
            }
            Method::EndOfNodes => {
                let run = run(|method| matches!(method, Method::EndOfNodes));
                parts::end(linux, operations, position..position + run, progress)?;
                run
            }
            Method::Processes => {
                let run = run(|method| matches!(method, Method::Processes));
                parts::supervise(linux, operations, position..position + run, progress)?;
                run
            }
            Method::Part => {
                parts::execute(linux, operations, position, progress)?;
                1
            }
        };
    }
    flush(linux, operations, &mut pending, progress)?;
    follower.done_before(linux, operations.len());
    Ok(())
}

fn refused(operations: &[Operation], position: usize, source: Errno) -> ExecuteError {
    OperationError { position, operation: operations[position].to_string(), source, details: Box::default() }.into()
}

impl Pending {
    fn new(through: NamespaceName) -> Self {
        Self { through, batch: Batch::default(), owners: Vec::new(), complete: Vec::new(), is_retried: false }
    }
}

fn add(linux: &Linux, pending: &mut Pending, operations: &[Operation], position: usize) -> Result<(), ExecuteError> {
    let (batch, through) = (&mut pending.batch, &pending.through);
    match &operations[position] {
        Operation::CreateLink(new) => {
            let created = create_link(linux, batch, through, new);
            created.map_err(|errno| refused(operations, position, errno))?;
        }
        Operation::ChangeLink(change) => encode::change_link(batch, change),
        Operation::DeleteLink(link) => encode::delete_link(batch, link),
        Operation::DeleteLinkGroup(_) => encode::delete_group(batch, &linux.lab),
        Operation::Put(put) => put.requests().into_iter().for_each(|request| batch.push_request(request)),
        Operation::Remove(object) => object.requests().into_iter().for_each(|request| batch.push_request(request)),
        Operation::Restore(again) => {
            let (kind, body, flags) = again.request();
            if let Some(removal) = encode::removal_of_remnant(kind, &body.0) {
                batch.push_bytes(removal, &body.0, 0);
            }
            batch.push_bytes(kind, &body.0, flags);
        }
        // A forwarding entry is a neighbour of AF_BRIDGE.
        Operation::RestoreEntry(_, entry) => batch.push_bytes(Neighbor::NEW, &entry.0, NLM_F_CREATE | NLM_F_EXCL),
        Operation::CreateNamespace(_)
        | Operation::CreateUserNamespace(_)
        | Operation::DeleteNamespace(_)
        | Operation::WriteSysctl { .. }
        | Operation::PutPart(_)
        | Operation::RemovePart(..) => {}
    }
    pending.owners.resize(pending.batch.len(), position);
    pending.complete.push(position);
    Ok(())
}

fn create_link(linux: &Linux, batch: &mut Batch, through: &NamespaceName, new: &NewLink) -> Result<(), Errno> {
    let ends = [Some(&new.handle), new.peer.as_ref().map(|peer| &peer.handle)];
    for handle in ends.into_iter().flatten().filter(|handle| handle.id.namespace != *through) {
        if descriptor(linux, through, &handle.id.namespace).is_none() {
            return Err(missing(&handle.id.namespace));
        }
    }
    if let (true, Some(host)) = (new.handle.id.namespace.is_host(), descriptor(linux, through, &new.handle.id.namespace)) {
        encode::create_link_for_host(batch, &linux.lab, new, host);
        return Ok(());
    }
    encode::create_link(batch, &linux.lab, new, |namespace| descriptor(linux, through, namespace));
    if new.handle.id.namespace.is_host() {
        encode::mark_link(batch, &linux.lab, new.handle.index, None);
    }
    if let Some(peer) = new.peer.as_deref().filter(|peer| peer.handle.id.namespace.is_host()) {
        encode::mark_link(batch, &linux.lab, peer.handle.index, Some(peer));
    }
    encode::set_vlans(batch, new);
    Ok(())
}

/// Returns the link whose loss of carrier would cost what the operation adds.
fn kept_by_carrier_of(operation: &Operation) -> Option<(&NamespaceName, Ifindex)> {
    match operation {
        Operation::Put(put) => put.kept_by_carrier_of().map(|link| (put.namespace(), link)),
        _ => None,
    }
}

fn settle(linux: &mut Linux, namespace: &NamespaceName, link: Ifindex) -> Result<(), Errno> {
    let opened = linux.opened(namespace).ok_or_else(|| missing(namespace))?;
    carrier::settle(&mut opened.socket, link).map_err(|error| match error {
        DumpError::Refused(errno) => errno,
        error => Errno { number: libc::EIO, message: Some(error.to_string()) },
    })
}

fn missing(namespace: &NamespaceName) -> Errno {
    Errno { number: libc::ENOENT, message: Some(format!("no namespace `{namespace}`")) }
}

/// Returns the descriptor of a namespace; `None` for the one in which the message is sent.
fn descriptor(linux: &Linux, through: &NamespaceName, namespace: &NamespaceName) -> Option<RawFd> {
    if namespace == through {
        return None;
    }
    let opened = if namespace.is_host() { Some(&linux.host) } else { linux.namespaces.get(namespace) };
    opened.map(|opened| opened.file.as_raw_fd())
}

fn flush(
    linux: &mut Linux,
    operations: &[Operation],
    pending: &mut Option<Pending>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let Some(mut pending) = pending.take() else { return Ok(()) };
    if let Some(&first) = pending.owners.first() {
        let opened = linux.opened(&pending.through);
        let opened = opened.ok_or_else(|| refused(operations, first, missing(&pending.through)))?;
        let refusals =
            opened.socket.execute(&mut pending.batch).map_err(|error| refused(operations, first, Errno::from(&error)))?;
        let done = |refusal: &Refusal| match &operations[pending.owners[refusal.message]] {
            // The cleanup of a deleted namespace has removed the link meanwhile. An empty group does not exist.
            Operation::DeleteLink(_) | Operation::DeleteLinkGroup(_) => refusal.errno.number == libc::ENODEV,
            // The kernel has not removed it, or another program has added it again. Or it has, and nothing remains of it.
            Operation::Restore(_) if refusal.errno.number == libc::ESRCH => true,
            Operation::Restore(_) | Operation::RestoreEntry(..) if refusal.errno.number == libc::EEXIST => true,
            operation => !pending.is_retried && progress.may_fail(operation),
        };
        if let Some(Refusal { message, errno }) = refusals.into_iter().find(|refusal| !done(refusal)) {
            return Err(refused(operations, pending.owners[message], errno));
        }
    }
    for position in pending.complete {
        progress.done(position);
    }
    Ok(())
}

/// Executes an operation that the kernel refuses until what it waits for has happened.
fn execute_with_retries(
    linux: &mut Linux,
    operations: &[Operation],
    position: usize,
    condition: Condition<'_>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let (mut detection, carrier) = (detection::Retries::new(), carrier::Retries::new());
    loop {
        let mut message = Pending { is_retried: true, ..Pending::new(operations[position].namespace().clone()) };
        add(linux, &mut message, operations, position)?;
        let refusal = match flush(linux, operations, &mut Some(message), progress) {
            Err(ExecuteError::Operation(refusal)) => refusal,
            outcome => return outcome,
        };
        if progress.stop() {
            return Err(ExecuteError::Interrupted);
        }
        let Some(opened) = linux.opened(operations[position].namespace()) else { return Err(refusal.into()) };
        let waited = match condition {
            Condition::Source(awaited) => detection.wait(&mut opened.socket, awaited, refusal.source),
            Condition::Carrier => carrier.wait(refusal.source),
        };
        match waited {
            Err(_) if progress.may_fail(&operations[position]) => return Ok(()),
            waited => waited.map_err(|errno| refused(operations, position, errno))?,
        }
    }
}

/// Executes consecutive operations on threads inside of namespaces.
fn inside(
    linux: &mut Linux,
    operations: &[Operation],
    run: std::ops::Range<usize>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let mut units: Vec<namespaces::Unit> = Vec::new();
    for position in run.clone() {
        let namespace = operations[position].namespace();
        if units.last().is_none_or(|unit| unit.namespace != *namespace) {
            let file = match linux.opened(namespace) {
                Some(opened) => {
                    Some(opened.file.try_clone().map_err(|error| refused(operations, position, Errno::from(&error)))?)
                }
                None => None,
            };
            units.push(namespaces::Unit { namespace: namespace.clone(), file, tasks: Vec::new() });
        }
        let Some(unit) = units.last_mut() else { continue };
        unit.tasks.push(match &operations[position] {
            Operation::WriteSysctl { key, value, .. } => (position, namespaces::Task::Write(key.clone(), value.clone())),
            _ => (position, namespaces::Task::Create),
        });
    }
    let done = namespaces::work(linux, units);
    linux.namespaces.extend(done.created);
    if let Some((position, errno)) = done.failure {
        return Err(refused(operations, position, errno));
    }
    run.for_each(|position| progress.done(position));
    Ok(())
}

/// Executes consecutive removals of namespaces.
fn remove(
    linux: &mut Linux,
    operations: &[Operation],
    run: std::ops::Range<usize>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let namespaces = run.clone().map(|position| {
        let namespace = operations[position].namespace().clone();
        let opened = linux.namespaces.remove(&namespace);
        (position, namespace, opened)
    });
    let namespaces: Vec<_> = namespaces.collect();
    let failure = namespaces::remove(&linux.lab, &namespaces);
    match failure {
        Some((position, errno)) => Err(refused(operations, position, errno)),
        None => {
            run.for_each(|position| progress.done(position));
            Ok(())
        }
    }
}
