//! Finds labs by their marks on `lo` of each namespace and on the links of `host`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use super::read::{loopback_alias, read_links};

use crate::kernel::ObserveError;
use crate::kernel::linux::system::netns::{self, Directory, Entry};
use crate::kernel::linux::system::threads::NamespaceThreads;
use crate::kernel::linux::wire::Socket;
use crate::name::{LabName, LinkName, NamespaceName};
use crate::ownership::{self, Mark};

/// The namespaces and links of a lab.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its namespaces, sorted.
    pub namespaces: Vec<NamespaceName>,
    /// Its links in `host`, sorted.
    pub links: Vec<LinkName>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ObserveError {
    ObserveError { what: "the labs".into(), source: error.into() }
}

/// Finds all labs that have a namespace, or a link in the calling thread's namespace.
///
/// # Errors
/// Fails if a part could not be read.
pub fn find() -> Result<BTreeMap<LabName, Extent>, ObserveError> {
    let mut labs = BTreeMap::<LabName, Extent>::new();
    for (lab, namespace) in marked_namespaces().map_err(failed)? {
        labs.entry(lab).or_default().namespaces.push(namespace);
    }
    let host = NamespaceName::host();
    for link in read_links(&host, &mut Socket::open().map_err(failed)?)? {
        let lab = ownership::lab_of_link_alias(&link.alias);
        let mark = Mark { group: link.group, alias: link.alias };
        if let Some(lab) = lab.filter(|lab| Mark::of(lab) == mark) {
            labs.entry(lab).or_default().links.push(link.name);
        }
    }
    for extent in labs.values_mut() {
        extent.links.sort();
    }
    Ok(labs)
}

/// Returns whether any lab exists.
///
/// # Errors
/// Fails if a part could not be read.
pub fn any() -> Result<bool, ObserveError> {
    let Some(directory) = Directory::open().map_err(failed)? else { return Ok(!find()?.is_empty()) };
    let thread = NamespaceThreads::start(1).map_err(failed)?;
    // Usually, the first namespace belongs to a lab.
    for name in directory.names().map_err(failed)? {
        let mark = match directory.look(&name).map_err(failed)? {
            Some(Entry::Namespace(file)) => thread.run(move || alias(&file)),
            Some(Entry::File(text)) => Ok(Ok(text)),
            Some(Entry::Other(_)) | None => continue,
        };
        if is_own(&name, &mark.map_err(failed)?.map_err(failed)?).is_some() {
            return Ok(true);
        }
    }
    Ok(!find()?.is_empty())
}

/// Returns the mark of a namespace. It is empty for one that this process may not enter: no lab of this process has it.
fn alias(namespace: &File) -> io::Result<String> {
    if !netns::enter_if_allowed(namespace)? {
        return Ok(String::new());
    }
    loopback_alias(&mut Socket::open()?).map_err(io::Error::other)
}

/// Returns the lab of a mark, if the mark contains the name of the namespace.
fn is_own(name: &NamespaceName, mark: &str) -> Option<LabName> {
    ownership::lab_of_namespace_mark(mark).filter(|(_, marked)| marked == name).map(|(lab, _)| lab)
}

/// Returns the namespaces and placeholders with the mark of a lab for their own name, sorted.
fn marked_namespaces() -> io::Result<Vec<(LabName, NamespaceName)>> {
    let Some(directory) = Directory::open()? else { return Ok(Vec::new()) };
    let mut namespaces = Vec::new();
    let mut found = Vec::new();
    for name in directory.names()? {
        match directory.look(&name)? {
            Some(Entry::Namespace(file)) => namespaces.push((name, file)),
            Some(Entry::File(text)) => found.push((name, text)),
            Some(Entry::Other(_)) | None => {}
        }
    }
    if !namespaces.is_empty() {
        let read = move || {
            let marks = namespaces.into_iter().map(|(name, file)| Ok((name, alias(&file)?)));
            marks.collect::<io::Result<Vec<_>>>()
        };
        found.extend(NamespaceThreads::start(1)?.run(read)??);
    }
    found.sort();
    Ok(found.into_iter().filter_map(|(name, mark)| Some((is_own(&name, &mark)?, name))).collect())
}
