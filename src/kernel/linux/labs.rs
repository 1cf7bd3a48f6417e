//! Which labs there are, by their marks: one look at each namespace's `lo`, and one at the links of `host`.

use std::collections::BTreeMap;
use std::io;

use super::netns::{self, Directory, Entry, Traveller};
use super::observe::{loopback_alias, read_links};
use super::socket::Socket;
use crate::kernel::ObserveError;
use crate::name::{LabName, LinkName, NamespaceName};
use crate::ownership::{self, Mark};

/// What a lab has here.
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
/// When something could not be read.
pub fn find() -> Result<BTreeMap<LabName, Extent>, ObserveError> {
    let mut labs = BTreeMap::<LabName, Extent>::new();
    for (lab, namespace) in marked_namespaces().map_err(failed)? {
        labs.entry(lab).or_default().namespaces.push(namespace);
    }
    let host = NamespaceName::host();
    for link in read_links(&host, &mut Socket::open().map_err(failed)?)? {
        let lab = link.alias.strip_prefix("topo:").and_then(|name| name.parse::<LabName>().ok());
        let mark = Mark { group: link.group, alias: link.alias };
        if let Some(lab) = lab.filter(|lab| Mark::of(lab) == mark) {
            labs.entry(lab).or_default().links.push(link.name);
        }
    }
    labs.values_mut().for_each(|extent| extent.links.sort());
    Ok(labs)
}

/// The namespaces that bear a lab's mark under their own name, placeholders of such included, sorted.
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
            let marks = namespaces.into_iter().map(|(name, file)| {
                netns::enter(&file)?;
                let alias = loopback_alias(&mut Socket::open()?).map_err(io::Error::other)?;
                Ok((name, alias))
            });
            marks.collect::<io::Result<Vec<_>>>()
        };
        found.extend(Traveller::start()?.run(read)??);
    }
    found.sort();
    let own = |(name, mark): (NamespaceName, String)| {
        ownership::lab_of_namespace_mark(&mark).filter(|(_, marked)| *marked == name)
    };
    Ok(found.into_iter().filter_map(own).collect())
}
