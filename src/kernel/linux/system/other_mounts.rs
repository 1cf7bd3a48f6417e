//! Finds mounts of network namespaces at other paths than their entries under /run/netns. A namespace exists as long as it is mounted.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::netns::DIRECTORY;
use super::processes_inside::Place;
use crate::name::NamespaceName;

/// Returns the namespaces that are mounted elsewhere, with the paths, as far as the caller's mount namespace shows them.
///
/// # Errors
/// Fails if /proc cannot be read.
pub(in crate::kernel::linux) fn find(places: &[Place<'_>]) -> io::Result<Vec<(NamespaceName, PathBuf)>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = HashMap::new();
    for place in places {
        names.insert(place.file.metadata()?.ino(), place.namespace);
    }
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let elsewhere = |(inode, path): (u64, PathBuf)| {
        let name = *names.get(&inode)?;
        (path != Path::new(DIRECTORY).join(name.as_str())).then(|| (name.clone(), path))
    };
    Ok(text.lines().filter_map(mounted).filter_map(elsewhere).collect())
}

/// Parses a line of proc_pid_mountinfo(5): the inode and the path of a mounted network namespace.
fn mounted(line: &str) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(' ').skip(3);
    let inode = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    Some((inode, unescape(fields.next()?)))
}

/// Replaces `\040` and the like, which stand for bytes that separate fields.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_network_namespaces_are_found() {
        let line = r"68 64 0:4 net:[4026532316] /run/my\040name rw shared:2 - nsfs nsfs rw";
        assert_eq!(mounted(line), Some((4_026_532_316, PathBuf::from("/run/my name"))));
        assert_eq!(mounted("36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw"), None);
        assert_eq!(mounted("68 64 0:4 mnt:[4026532316] /run/x rw - nsfs nsfs rw"), None);
        assert_eq!(unescape(r"a\134b\x"), PathBuf::from(r"a\b\x"));
    }
}
