//! Finds labs by their marks on `lo` of each namespace and on the links of `host`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::SystemTime;

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
    /// The number of links in its namespaces, without `lo`. Only [`find_with_links`] counts them.
    pub links_inside: usize,
    /// When the oldest of its namespaces was made; `None` if it has none.
    pub made: Option<SystemTime>,
}

/// A namespace with the mark of a lab.
struct Marked {
    lab: LabName,
    namespace: NamespaceName,
    /// The number of its links without `lo`, if they are counted.
    links: usize,
    /// When it was made; `None` for a placeholder.
    made: Option<SystemTime>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ObserveError {
    ObserveError { what: "the labs".into(), source: error.into() }
}

/// Finds all labs that have a namespace, or a link in the calling thread's namespace.
///
/// # Errors
/// Fails if a part could not be read.
pub fn find() -> Result<BTreeMap<LabName, Extent>, ObserveError> {
    extents(loopback_mark)
}

/// Finds all labs, and counts their links.
///
/// # Errors
/// As [`find`].
pub fn find_with_links() -> Result<BTreeMap<LabName, Extent>, ObserveError> {
    extents(mark_and_links)
}

fn extents(look: Look) -> Result<BTreeMap<LabName, Extent>, ObserveError> {
    let mut labs = BTreeMap::<LabName, Extent>::new();
    for Marked { lab, namespace, links, made } in marked_namespaces(look).map_err(failed)? {
        let extent = labs.entry(lab).or_default();
        extent.namespaces.push(namespace);
        extent.links_inside += links;
        extent.made = extent.made.into_iter().chain(made).min();
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

/// Reads the mark of a namespace, and the number of its links if that is wanted.
type Look = fn(&NamespaceName, &File) -> io::Result<(String, usize)>;

/// Returns the mark of a namespace. It is empty for one that this process may not enter: no lab of this process has it.
fn alias(namespace: &File) -> io::Result<String> {
    if !netns::enter_if_allowed(namespace)? {
        return Ok(String::new());
    }
    loopback_alias(&mut Socket::open()?).map_err(io::Error::other)
}

fn loopback_mark(_: &NamespaceName, namespace: &File) -> io::Result<(String, usize)> {
    Ok((alias(namespace)?, 0))
}

fn mark_and_links(name: &NamespaceName, namespace: &File) -> io::Result<(String, usize)> {
    if !netns::enter_if_allowed(namespace)? {
        return Ok((String::new(), 0));
    }
    let links = read_links(name, &mut Socket::open()?).map_err(io::Error::other)?;
    let (loopback, others): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| link.name.is_loopback());
    Ok((loopback.into_iter().next().map(|link| link.alias).unwrap_or_default(), others.len()))
}

/// Returns the lab of a mark, if the mark contains the name of the namespace.
fn is_own(name: &NamespaceName, mark: &str) -> Option<LabName> {
    ownership::lab_of_namespace_mark(mark).filter(|(_, marked)| marked == name).map(|(lab, _)| lab)
}

/// Returns the namespaces and placeholders with the mark of a lab for their own name, sorted.
fn marked_namespaces(look: Look) -> io::Result<Vec<Marked>> {
    let Some(directory) = Directory::open()? else { return Ok(Vec::new()) };
    let mut namespaces = Vec::new();
    let mut found = Vec::new();
    for name in directory.names()? {
        match directory.look(&name)? {
            Some(Entry::Namespace(file)) => namespaces.push((name, file)),
            Some(Entry::File(mark)) => found.push((name, mark, 0, None)),
            Some(Entry::Other(_)) | None => {}
        }
    }
    if !namespaces.is_empty() {
        let read = move || {
            let marks = namespaces.into_iter().map(|(name, file)| {
                let (mark, links) = look(&name, &file)?;
                // The kernel makes the inode of a namespace when it gets its name; nothing changes its time later.
                Ok((name, mark, links, file.metadata()?.modified().ok()))
            });
            marks.collect::<io::Result<Vec<_>>>()
        };
        found.extend(NamespaceThreads::start(1)?.run(read)??);
    }
    found.sort();
    let marked = |(namespace, mark, links, made): (NamespaceName, String, usize, Option<SystemTime>)| {
        Some(Marked { lab: is_own(&namespace, &mark)?, namespace, links, made })
    };
    Ok(found.into_iter().filter_map(marked).collect())
}
