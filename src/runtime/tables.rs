//! The names of routing tables (rt_tables).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// Where iproute2 keeps the names of routing tables.
const TABLE_FILES: [&str; 2] = ["/usr/share/iproute2/rt_tables", "/etc/iproute2/rt_tables"];

/// The names of this machine's routing tables, as ip-route(8) reads them.
pub fn read() -> BTreeMap<String, u32> {
    let mut files: Vec<_> = TABLE_FILES.iter().map(PathBuf::from).collect();
    files.extend(table_directory());
    let mut tables = BTreeMap::new();
    for text in files.iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            if let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse), words.next()) {
                tables.insert(name.to_owned(), number);
            }
        }
    }
    tables
}

/// The files in /etc/iproute2/rt_tables.d. Does not use the standard library's iterator, which panics if closing fails.
fn table_directory() -> Vec<PathBuf> {
    let directory = Path::new("/etc/iproute2/rt_tables.d");
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(mut entries) = Dir::open(directory, flags, Mode::empty()) else { return Vec::new() };
    let names = entries.iter().flatten().map(|entry| directory.join(OsStr::from_bytes(entry.file_name().to_bytes())));
    let mut files: Vec<_> = names.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).collect();
    files.sort();
    files
}
