//! Finds out what is wrong with /proc, where an error of the system does not say: it is not mounted, hidden in part, or read-only, as in
//! containers.

use std::io;
use std::path::Path;

use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

/// The parts of /proc that topo uses and that container engines hide.
const PARTS: [&str; 3] = ["/proc/sys", "/proc/sys/net", BOOT_ID];
/// The file with the ID of the current boot, random(4).
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is wrong with /proc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, as a clause.
    pub cause: String,
    /// What the user can do about it.
    pub remedy: String,
}

/// What the diagnosis depends on.
trait Mounts {
    /// The type of the file system of a path; `None` if the path does not exist.
    fn kind(&self, path: &str) -> Option<FsType>;
    /// Whether the mount of a path is read-only.
    fn is_read_only(&self, path: &str) -> bool;
}

/// The running system.
struct System;

impl Mounts for System {
    fn kind(&self, path: &str) -> Option<FsType> {
        statfs(Path::new(path)).ok().map(|status| status.filesystem_type())
    }

    fn is_read_only(&self, path: &str) -> bool {
        statvfs(Path::new(path)).is_ok_and(|status| status.flags().contains(FsFlags::ST_RDONLY))
    }
}

/// Returns what is wrong with /proc, if that explains an error.
pub fn problem(error: io::ErrorKind) -> Option<Problem> {
    problem_in(&System, error)
}

/// Returns whether something else is mounted over a path in /proc.
pub(super) fn is_hidden(path: &str) -> bool {
    System.kind(path) != Some(PROC_SUPER_MAGIC)
}

fn problem_in(mounts: &impl Mounts, error: io::ErrorKind) -> Option<Problem> {
    let (cause, remedy) = match error {
        io::ErrorKind::NotFound if mounts.kind("/proc") != Some(PROC_SUPER_MAGIC) => {
            ("/proc is not mounted".to_owned(), "`mount -t proc proc /proc`".to_owned())
        }
        io::ErrorKind::NotFound => {
            let part = PARTS.iter().find(|part| mounts.kind(part) != Some(PROC_SUPER_MAGIC))?;
            let remedy = format!(
                "`umount {part}`; for a container, `--security-opt systempaths=unconfined` (Docker) or `--security-opt unmask=ALL` (Podman)"
            );
            (format!("something else is mounted over {part}, as container engines do to hide it"), remedy)
        }
        io::ErrorKind::ReadOnlyFilesystem if mounts.is_read_only("/proc") => (
            "/proc is mounted read-only".to_owned(),
            "`mount -o remount,rw /proc`, or run the container with `--privileged`".to_owned(),
        ),
        io::ErrorKind::ReadOnlyFilesystem if mounts.is_read_only("/proc/sys") => (
            "/proc/sys is mounted read-only, as container engines do".to_owned(),
            "`mount -o remount,rw /proc/sys`, or run the container with `--privileged`".to_owned(),
        ),
        _ => return None,
    };
    Some(Problem { cause, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths at which something else is mounted, and those that are read-only.
    struct Sample(&'static [&'static str], &'static [&'static str]);

    impl Mounts for Sample {
        fn kind(&self, path: &str) -> Option<FsType> {
            let hidden = self.0.iter().any(|mount| path.starts_with(mount));
            (!hidden).then_some(PROC_SUPER_MAGIC)
        }
        fn is_read_only(&self, path: &str) -> bool {
            self.1.iter().any(|mount| path.starts_with(mount))
        }
    }

    #[track_caller]
    fn check(mounts: &Sample, error: io::ErrorKind, cause: &str, remedy: &str) {
        let problem = problem_in(mounts, error).unwrap();
        assert!(problem.cause.contains(cause) && problem.remedy.contains(remedy), "{problem:?}");
    }

    #[test]
    fn each_problem_has_its_remedy() {
        let (missing, read_only) = (io::ErrorKind::NotFound, io::ErrorKind::ReadOnlyFilesystem);
        check(&Sample(&["/proc"], &[]), missing, "/proc is not mounted", "mount -t proc");
        check(&Sample(&["/proc/sys"], &[]), missing, "mounted over /proc/sys,", "`umount /proc/sys`");
        check(&Sample(&["/proc/sys/net"], &[]), missing, "mounted over /proc/sys/net,", "systempaths=unconfined");
        check(&Sample(&[BOOT_ID], &[]), missing, "boot_id", "unmask=ALL");
        check(&Sample(&[], &["/proc"]), read_only, "/proc is mounted read-only", "remount,rw /proc`");
        check(&Sample(&[], &["/proc/sys"]), read_only, "/proc/sys is mounted read-only", "--privileged");
    }

    #[test]
    fn other_errors_have_other_causes() {
        for error in [io::ErrorKind::NotFound, io::ErrorKind::ReadOnlyFilesystem] {
            assert_eq!(problem_in(&Sample(&[], &[]), error), None);
        }
        assert_eq!(problem_in(&Sample(&["/proc"], &["/proc"]), io::ErrorKind::PermissionDenied), None);
    }
}
