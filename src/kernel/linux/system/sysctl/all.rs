//! All settings of a network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::resource::sysctl::{Sysctl, SysctlKey};

/// Where the settings of the calling thread's network namespace are.
const ROOT: &str = "/proc/sys";
/// Settings that the kernel draws at random, or that do something when they are written.
const EXCLUDED: [&str; 2] = ["tcp_fastopen_key", "flush"];

/// Returns the settings of the calling thread's network namespace that can be read and written.
///
/// # Errors
/// Fails if one that can be read by its mode cannot be read.
pub fn in_this_namespace() -> io::Result<BTreeMap<SysctlKey, Sysctl>> {
    let mut found = BTreeMap::new();
    add(&Path::new(ROOT).join("net"), &mut found)?;
    Ok(found)
}

fn add(directory: &Path, found: &mut BTreeMap<SysctlKey, Sysctl>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Those of an interface go with it.
        let Ok(metadata) = entry.metadata() else { continue };
        let path = entry.path();
        if metadata.is_dir() {
            match add(&path, found) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
        }
        let is_setting = metadata.permissions().mode() & 0o600 == 0o600 && !EXCLUDED.iter().any(|name| path.ends_with(name));
        let key = path.strip_prefix(ROOT).ok().and_then(Path::to_str).and_then(|path| SysctlKey::of_namespace(path).ok());
        if let Some(key) = key.filter(|_| is_setting)
            && let Some(value) = super::read(&key)?
        {
            found.insert(key, value);
        }
    }
    Ok(())
}
