//! Kernel settings, read and written through /proc/sys by a thread inside the namespace: there /proc/sys/net shows the settings
//! of the thread's own network namespace.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::resource::sysctl::{Sysctl, SysctlKey};

/// The longest value that is read.
const LENGTH: u64 = 64 * 1024;

fn path(key: &SysctlKey) -> String {
    format!("/proc/sys/{}", key.path())
}

/// Reads a setting; `None` when this kernel has none of that name.
///
/// # Errors
/// When it exists and cannot be read.
pub fn read(key: &SysctlKey) -> io::Result<Option<Sysctl>> {
    let mut text = String::new();
    match File::open(path(key)) {
        Ok(file) => file.take(LENGTH).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Sysctl::new(&text)))
}

/// Writes a setting.
///
/// # Errors
/// When this kernel has none of that name, or refuses the value.
pub fn write(key: &SysctlKey, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).custom_flags(nix::libc::O_NOFOLLOW).open(path(key))?;
    // The kernel takes a setting from one write, whole.
    let written = file.write(value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::EINVAL)) }
}
