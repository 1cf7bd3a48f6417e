//! Drops capabilities, capabilities(7). These functions run between fork(2) and execve(2): they do not allocate.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use nix::libc;

use crate::resource::node::process::Capability;

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl From<&BTreeSet<Capability>> for Capabilities {
    fn from(set: &BTreeSet<Capability>) -> Self {
        Self(set.iter().fold(0, |bits, capability| bits | 1 << capability.number()))
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, for 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn control(option: libc::c_int, arguments: [libc::c_ulong; 2]) -> io::Result<libc::c_int> {
    // SAFETY: the options used here take numbers.
    Ok(Errno::result(unsafe { libc::prctl(option, arguments[0], arguments[1], 0, 0) })?)
}

impl Capabilities {
    fn contains(self, number: u32) -> bool {
        self.0 & 1 << number != 0
    }

    /// Limits what the process and its children can ever have.
    pub(super) fn limit_bounding_set(self) -> io::Result<()> {
        for number in 0..64 {
            // Fails for numbers that this kernel does not have.
            let has = control(libc::PR_CAPBSET_READ, [number.into(), 0]);
            if has.is_ok_and(|has| has > 0) && !self.contains(number) {
                control(libc::PR_CAPBSET_DROP, [number.into(), 0])?;
            }
        }
        Ok(())
    }

    /// Lets the capabilities survive the change of the user.
    pub(super) fn keep_over_change_of_user() -> io::Result<()> {
        control(libc::PR_SET_KEEPCAPS, [1, 0]).map(drop)
    }

    /// Drops all others, and lets these survive execve(2) for other users than root.
    pub(super) fn set(self) -> io::Result<()> {
        let header = Header { version: VERSION, pid: 0 };
        let [low, high] = [self.0 & u64::from(u32::MAX), self.0 >> 32].map(|half| u32::try_from(half).unwrap_or_default());
        let data = [low, high].map(|bits| Data { effective: bits, permitted: bits, inheritable: bits });
        // SAFETY: capset(2) reads a header and, for this version, two elements of data.
        Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
        for number in (0..64).filter(|number| self.contains(*number)) {
            let raise = libc::c_ulong::try_from(libc::PR_CAP_AMBIENT_RAISE).unwrap_or_default();
            control(libc::PR_CAP_AMBIENT, [raise, number.into()])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_bits_of_its_capabilities() {
        let set =
            |names: &[&str]| names.iter().map(|name| serde_json::from_value((*name).into()).unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(Capabilities::from(&set(&[])), Capabilities(0));
        assert_eq!(
            Capabilities::from(&set(&["CHOWN", "NET_BIND_SERVICE", "CHECKPOINT_RESTORE"])),
            Capabilities(1 | 1 << 10 | 1 << 40)
        );
    }
}
