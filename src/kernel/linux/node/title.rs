//! The title of a process, as ps(1) shows it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::sys::prctl;

use crate::name::LabName;

/// The longest title in bytes. A process that sets its title must be started with arguments of at least this length.
pub const LENGTH: usize = 160;

/// The name of an init's thread (/proc/PID/comm).
pub const COMMAND: &str = "topo-init";

/// Returns the title of an init.
pub fn of(lab: &LabName, node: &str) -> String {
    format!("topo: init {lab}/{node}")
}

/// Sets the title of this process: writes over its arguments, and sets the name of its thread.
///
/// # Errors
/// Fails if /proc is not there.
pub fn set(title: &str) -> io::Result<()> {
    prctl::set_name(&CString::new(COMMAND)?)?;
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (start, end) = arguments(&text).ok_or_else(|| io::Error::other("/proc/self/stat is not as expected"))?;
    let length = usize::try_from(end - start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let shown = title.len().min(length.saturating_sub(1));
    bytes[..shown].copy_from_slice(&title.as_bytes()[..shown]);
    File::options().write(true).open("/proc/self/mem")?.write_all_at(&bytes, start)
}

/// Parses where the arguments are in memory: fields 48 and 49 of proc_pid_stat(5).
fn arguments(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.rsplit_once(") ")?.1.trim_end().split(' ').skip(45);
    let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_fields_48_and_49() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        assert_eq!(arguments(&format!("12 (a) b) {}\n", fields.join(" "))), Some((48, 49)));
        assert_eq!(arguments("12 (a) S 1"), None);
    }
}
