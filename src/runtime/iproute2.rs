//! Finds out which version of iproute2 is installed.

use std::process::{Command, Stdio};

use crate::iproute2::Version;

/// Where ip(8) is; an ordinary user's PATH often lacks the last two.
const PROGRAMS: [&str; 3] = ["ip", "/usr/sbin/ip", "/sbin/ip"];

/// Returns the version of the installed iproute2, as `ip -V` prints it; `None` if there is none, or it prints no version.
pub fn version() -> Option<Version> {
    let output = PROGRAMS.iter().find_map(|program| Command::new(program).arg("-V").stdin(Stdio::null()).output().ok())?;
    String::from_utf8_lossy(&output.stdout).parse().ok()
}
