//! Files and directories beside a lab file that its nodes get.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::kernel::plain;
use crate::resource::node::file::{LIMIT, Mode};
use crate::spec::LabFile;

/// Reads the files that a lab names as `source`, and finds the sources of binds. Relative paths begin at the directory of the lab file. What cannot be read becomes a
/// problem of the lab file.
pub fn load(lab: &mut LabFile, directory: &Path) {
    let files = lab.namespaces.values_mut().flat_map(|namespace| namespace.files.values_mut());
    for file in files {
        let Some(source) = &file.source else { continue };
        match read(&directory.join(source)) {
            Err(error) => file.loaded = Some(Err(plain(&error))),
            Ok((bytes, is_executable)) => {
                file.loaded = Some(Ok(bytes));
                file.mode = file.mode.or(is_executable.then_some(Mode::EXECUTABLE));
            }
        }
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

/// Reads a regular file, as far as a node can have it. Returns also whether its owner can execute it.
fn read(path: &Path) -> io::Result<(Arc<[u8]>, bool)> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.into(), status.mode() & 0o100 != 0))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copied_program_can_be_executed() {
        let directory = std::env::temp_dir().join(format!("topo-sources-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        for (name, mode) in [("script", 0o700), ("text", 0o600)] {
            let path = directory.join(name);
            std::fs::write(&path, name).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let files = "{ /a: { source: script }, /b: { source: text }, /c: { source: script, mode: \"0600\" } }";
        let mut lab = crate::spec::load(&format!("namespaces: {{ n1: {{ files: {files} }} }}")).lab.unwrap();
        load(&mut lab, &directory);
        std::fs::remove_dir_all(&directory).unwrap();
        let modes = lab.namespaces.values().flat_map(|namespace| namespace.files.values()).map(|file| file.mode);
        assert_eq!(modes.collect::<Vec<_>>(), [Some(Mode::EXECUTABLE), None, Some(Mode(0o600))]);
    }
}
