//! Parts of the system other than rtnetlink: namespaces, processes, privileges, sysctls and threads.

pub mod chosen_macs;
pub mod deferred;
pub mod inside;
pub mod isolate;
pub mod kinds;
pub mod netns;
pub mod other_mounts;
pub mod privilege;
pub mod process;
pub mod processes_inside;
pub mod procfs;
pub mod sysctl;
pub mod threads;

use std::sync::OnceLock;

/// Returns whether this kernel reports the protocol of addresses (IFA_PROTO, Linux 5.18).
pub(super) fn tells_address_makers() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 18)
    })
}
