//! Executes operations: those that go to the same socket one after another share a send.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::libc;

use super::netns::{self, Directory};
use super::socket::{Batch, Refusal, Socket};
use super::{Inhabited, Linux, encode, sysctl};
use crate::kernel::{Errno, ExecuteError, OperationError, Progress};
use crate::name::NamespaceName;
use crate::operation::{NewLink, Operation};
use crate::ownership;
use crate::resource::sysctl::SysctlKey;

/// What goes out together: messages through one namespace's socket.
struct Pending {
    /// Whose socket.
    through: NamespaceName,
    batch: Batch,
    /// For each message the operation that it belongs to.
    owners: Vec<usize>,
    /// Operations whose last message is in the batch.
    complete: Vec<usize>,
}

/// Executes the operations in order.
pub fn execute(linux: &mut Linux, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
    let mut pending: Option<Pending> = None;
    for (position, operation) in operations.iter().enumerate() {
        if progress.stop() {
            flush(linux, operations, &mut pending, progress)?;
            return Err(ExecuteError::Interrupted);
        }
        let Some(through) = sender(operation) else {
            flush(linux, operations, &mut pending, progress)?;
            alone(linux, operation).map_err(|errno| refused(operations, position, errno))?;
            progress.done(position);
            continue;
        };
        if pending.as_ref().is_some_and(|pending| pending.through != through) {
            flush(linux, operations, &mut pending, progress)?;
        }
        let pending = pending.get_or_insert_with(|| Pending {
            through: through.clone(),
            batch: Batch::default(),
            owners: Vec::new(),
            complete: Vec::new(),
        });
        add(linux, &mut pending.batch, &through, operation).map_err(|errno| refused(operations, position, errno))?;
        pending.owners.resize(pending.batch.len(), position);
        pending.complete.push(position);
    }
    flush(linux, operations, &mut pending, progress)
}

fn refused(operations: &[Operation], position: usize, source: Errno) -> ExecuteError {
    OperationError { position, operation: operations[position].to_string(), source }.into()
}

fn errno(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(number) => Errno::new(number),
        None => Errno { number: libc::EIO, message: Some(error.to_string()) },
    }
}

/// Whose socket an operation's messages go through; `None` when it is more than messages.
fn sender(operation: &Operation) -> Option<NamespaceName> {
    match operation {
        Operation::CreateNamespace(_) | Operation::DeleteNamespace(_) | Operation::WriteSysctl { .. } => None,
        Operation::CreateLink(new) => Some(birthplace(new)),
        _ => Some(operation.namespace().clone()),
    }
}

/// A link is made from where its parent is, since there the parent's number means something; a vxlan from its underlay, where
/// its packets are to travel; a pair with an end in `host` from there, so that its mark can go with it.
fn birthplace(new: &NewLink) -> NamespaceName {
    let underlay = new.link.kind.underlay().cloned();
    let parent = new.parent.as_ref().map(|parent| parent.id.namespace.clone());
    let peer_in_host = new.peer.as_ref().map(|peer| peer.handle.id.namespace.clone()).filter(NamespaceName::is_host);
    underlay.or(parent).or(peer_in_host).unwrap_or_else(|| new.handle.id.namespace.clone())
}

fn add(linux: &Linux, batch: &mut Batch, through: &NamespaceName, operation: &Operation) -> Result<(), Errno> {
    match operation {
        Operation::CreateLink(new) => {
            let wanted = [Some(&new.handle), new.peer.as_ref().map(|peer| &peer.handle)];
            for handle in wanted.into_iter().flatten() {
                if descriptor(linux, through, &handle.id.namespace).is_none() && handle.id.namespace != *through {
                    return Err(Errno { number: libc::ENOENT, message: Some(format!("no namespace `{}`", handle.id.namespace)) });
                }
            }
            encode::create_link(batch, &linux.lab, new, |namespace| descriptor(linux, through, namespace));
            for handle in wanted.into_iter().flatten().filter(|handle| handle.id.namespace.is_host()) {
                encode::mark_link(batch, &linux.lab, handle.index);
            }
        }
        Operation::ChangeLink(change) => encode::change_link(batch, change),
        Operation::DeleteLink(link) => encode::delete_link(batch, link),
        Operation::AddAddress { link, address, attributes, presence } => {
            encode::add_address(batch, link, *address, attributes, *presence);
        }
        Operation::DeleteAddress { link, address, attributes } => encode::delete_address(batch, link, *address, attributes),
        Operation::AddRoute { route, presence } => encode::add_route(batch, route, *presence),
        Operation::DeleteRoute(route) => encode::delete_route(batch, route),
        Operation::CreateNamespace(_) | Operation::DeleteNamespace(_) | Operation::WriteSysctl { .. } => {}
    }
    Ok(())
}

/// The descriptor of a namespace other than the one that a message is sent in.
fn descriptor(linux: &Linux, through: &NamespaceName, namespace: &NamespaceName) -> Option<RawFd> {
    if namespace == through {
        return None;
    }
    let inhabited = if namespace.is_host() { Some(&linux.host) } else { linux.namespaces.get(namespace) };
    inhabited.map(|inhabited| inhabited.file.as_raw_fd())
}

fn flush(
    linux: &mut Linux,
    operations: &[Operation],
    pending: &mut Option<Pending>,
    progress: &mut dyn Progress,
) -> Result<(), ExecuteError> {
    let Some(mut pending) = pending.take() else { return Ok(()) };
    let Some(&first) = pending.owners.first() else { return Ok(()) };
    let missing = || Errno { number: libc::ENOENT, message: Some(format!("no namespace `{}`", pending.through)) };
    let inhabited = linux.inhabited(&pending.through).ok_or_else(missing).map_err(|errno| refused(operations, first, errno))?;
    let refusals = inhabited.socket.execute(&mut pending.batch).map_err(|error| refused(operations, first, errno(&error)))?;
    if let Some(Refusal { message, errno }) = refusals.into_iter().next() {
        return Err(refused(operations, pending.owners[message], errno));
    }
    for position in pending.complete {
        progress.done(position);
    }
    Ok(())
}

/// Executes an operation that is more than messages.
fn alone(linux: &mut Linux, operation: &Operation) -> Result<(), Errno> {
    match operation {
        Operation::CreateNamespace(namespace) => create_namespace(linux, namespace),
        Operation::DeleteNamespace(namespace) => delete_namespace(linux, namespace).map_err(|error| errno(&error)),
        Operation::WriteSysctl { namespace, key, value } => {
            write_sysctl(linux, namespace, key, value).map_err(|error| errno(&error))
        }
        _ => Ok(()),
    }
}

fn create_namespace(linux: &mut Linux, namespace: &NamespaceName) -> Result<(), Errno> {
    let (lab, name) = (linux.lab.clone(), namespace.clone());
    let job = move || -> Result<Inhabited, Errno> {
        let io = |error: io::Error| errno(&error);
        let directory = Directory::open_or_create().map_err(io)?;
        netns::enter_new().map_err(io)?;
        let (file, mut socket) = (netns::of_this_thread().map_err(io)?, Socket::open().map_err(io)?);
        let mut batch = Batch::default();
        encode::new_namespace(&mut batch, &lab, &name);
        if let Some(refusal) = socket.execute(&mut batch).map_err(io)?.into_iter().next() {
            return Err(refusal.errno);
        }
        directory.publish(&name, &ownership::namespace_mark(&lab, &name)).map_err(io)?;
        Ok(Inhabited { file, socket })
    };
    let inhabited = linux.traveller.run(job).map_err(|error| errno(&error))??;
    linux.namespaces.insert(namespace.clone(), inhabited);
    Ok(())
}

fn delete_namespace(linux: &mut Linux, namespace: &NamespaceName) -> io::Result<()> {
    let directory = Directory::open()?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    match linux.namespaces.remove(namespace) {
        Some(inhabited) => directory.remove(namespace, &inhabited.file),
        None => directory.remove_placeholder(namespace, &ownership::namespace_mark(&linux.lab, namespace)),
    }
}

fn write_sysctl(linux: &mut Linux, namespace: &NamespaceName, key: &SysctlKey, value: &str) -> io::Result<()> {
    let inhabited = linux.inhabited(namespace).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let file = inhabited.file.try_clone()?;
    let (key, value) = (key.clone(), value.to_owned());
    linux.traveller.run(move || {
        netns::enter(&file)?;
        sysctl::write(&key, &value)
    })?
}
