//! Files and directories beside a lab file that its nodes get.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::kernel::plain;
use crate::resource::node::file::LIMIT;
use crate::spec::LabFile;

/// Reads the files that a lab names as `source`, and finds the sources of binds. Relative paths begin at the directory of the lab file. What cannot be read becomes a
/// problem of the lab file.
pub fn load(lab: &mut LabFile, directory: &Path) {
    let files = lab.namespaces.values_mut().flat_map(|namespace| namespace.files.values_mut());
    for file in files {
        file.loaded = file.source.as_ref().map(|source| read(&directory.join(source)).map_err(|error| plain(&error)));
    }
    for bind in lab.namespaces.values_mut().flat_map(|namespace| namespace.binds.iter_mut()) {
        bind.resolved = Some(find(&directory.join(&bind.source)).map_err(|error| plain(&error)));
    }
}

/// Returns the absolute path of a file or directory, without symbolic links.
fn find(path: &Path) -> io::Result<Arc<str>> {
    let path = path.canonicalize()?;
    path.to_str().map(Arc::from).ok_or_else(|| io::Error::other("its path is not in UTF-8"))
}

/// Reads a regular file, as far as a node can have it.
fn read(path: &Path) -> io::Result<Arc<[u8]>> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
