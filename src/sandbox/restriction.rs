//! Finds out why a system does not allow sandboxes: kernel settings, limits, AppArmor, or the filters of a container runtime.

use std::io;

use nix::errno::Errno;

use crate::kernel::linux::isolate::Step;

/// A restriction of the system, and how to lift it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    /// The restriction, as a clause.
    pub cause: String,
    /// How to lift it: a command if there is one.
    pub hint: String,
}

/// Limits on the number of namespaces, see namespaces(7). Each value is that of the user namespace in which it is read.
const LIMITS: [&str; 4] =
    ["user.max_user_namespaces", "user.max_net_namespaces", "user.max_mnt_namespaces", "user.max_pid_namespaces"];
/// Where to install the AppArmor profile.
const PROFILE: &str = "/etc/apparmor.d/topo";

/// What the diagnosis depends on.
trait SystemInfo {
    /// The value of a sysctl.
    fn setting(&self, name: &str) -> Option<String>;
    /// A field of /proc/self/status.
    fn status(&self, field: &str) -> Option<String>;
    /// The AppArmor or SELinux label of this process.
    fn label(&self) -> Option<String>;
    /// The path of this program.
    fn program(&self) -> String;
    /// Whether a file exists.
    fn exists(&self, path: &str) -> bool;
    /// Whether the user is root.
    fn is_root(&self) -> bool;
    /// Whether the process is in a chroot(2).
    fn is_chrooted(&self) -> bool;
    /// A path below /proc over which something else is mounted.
    fn covered_proc(&self) -> Option<String>;
}

/// The running system.
struct System;

impl SystemInfo for System {
    fn setting(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
        Some(text.trim().to_owned())
    }

    fn status(&self, field: &str) -> Option<String> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
    }

    fn label(&self) -> Option<String> {
        std::fs::read_to_string("/proc/self/attr/current").ok().map(|text| text.trim().to_owned())
    }

    fn program(&self) -> String {
        std::env::current_exe().map_or_else(|_| "topo".to_owned(), |path| path.display().to_string())
    }

    fn exists(&self, path: &str) -> bool {
        std::path::Path::new(path).exists()
    }

    fn is_root(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    fn is_chrooted(&self) -> bool {
        // The root of a chroot is usually not a mount point, so it is not listed.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
    }

    fn covered_proc(&self) -> Option<String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounted_below_proc(&mounts).map(str::to_owned)
    }
}

/// Finds, in the text of proc_pid_mountinfo(5), a path below /proc over which something is mounted. That on `binfmt_misc` covers nothing.
fn mounted_below_proc(mounts: &str) -> Option<&str> {
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    paths.filter(|path| path.starts_with("/proc/")).find(|path| *path != "/proc/sys/fs/binfmt_misc")
}

/// Finds the restriction because of which a step failed.
pub fn find(step: Step, error: &io::Error) -> Option<Restriction> {
    find_in(&System, step, error)
}

fn find_in(system: &impl SystemInfo, step: Step, error: &io::Error) -> Option<Restriction> {
    let errno = Errno::from_raw(error.raw_os_error()?);
    let denied = matches!(errno, Errno::EPERM | Errno::EACCES);
    let limited = matches!(errno, Errno::ENOSPC | Errno::EUSERS);
    match step {
        Step::Namespaces if limited => limit(system),
        Step::Namespaces if errno == Errno::EINVAL && !system.exists("/proc/self/ns/user") => Some(Restriction {
            cause: "this kernel does not support user namespaces".into(),
            hint: "use a kernel with CONFIG_USER_NS, or run topo as root".into(),
        }),
        Step::Namespaces if denied => userns_disabled(system).or_else(|| apparmor(system)).or_else(|| container(system)),
        // Since Linux 5.12.
        Step::Map if denied && system.is_root() => Some(Restriction {
            cause: "root without CAP_SETFCAP cannot map itself into a user namespace".into(),
            hint: "run topo as root with CAP_NET_ADMIN and CAP_SYS_ADMIN, as with `sudo`, or as an ordinary user".into(),
        }),
        Step::Proc if denied => covered_proc(system).or_else(|| apparmor(system)).or_else(|| confined(system)),
        Step::Map | Step::Mounts | Step::Run | Step::Loopback if denied => apparmor(system).or_else(|| confined(system)),
        Step::Namespaces | Step::Map | Step::Init | Step::Mounts | Step::Proc | Step::Run | Step::Loopback | Step::Record => None,
    }
}

fn limit(system: &impl SystemInfo) -> Option<Restriction> {
    let found = LIMITS.iter().find_map(|name| system.setting(name).filter(|value| value == "0").map(|_| *name));
    let raise = |name: &str| format!("sudo sysctl {name}=10000   # permanently: in /etc/sysctl.d/90-topo.conf");
    Some(match found {
        Some(name) => Restriction { cause: format!("{name} is 0, so no such namespace can be created"), hint: raise(name) },
        None => {
            let name = LIMITS[0];
            let value = system.setting(name)?;
            Restriction {
                cause: format!("the limit on namespaces is reached ({name} is {value}), or they are nested too deeply"),
                hint: format!("stop a sandbox with `topo sandbox stop NAME` (see `topo sandbox list`); or {}", raise(name)),
            }
        }
    })
}

fn userns_disabled(system: &impl SystemInfo) -> Option<Restriction> {
    let name = "kernel.unprivileged_userns_clone";
    (system.setting(name)? == "0").then(|| Restriction {
        cause: format!("{name} is 0, so only root can create user namespaces"),
        hint: format!("sudo sysctl {name}=1   # permanently: in /etc/sysctl.d/90-topo.conf"),
    })
}

/// Ubuntu since 23.10: programs without a profile can create user namespaces, but have no capabilities in them.
fn apparmor(system: &impl SystemInfo) -> Option<Restriction> {
    let name = "kernel.apparmor_restrict_unprivileged_userns";
    let unconfined = "kernel.apparmor_restrict_unprivileged_unconfined";
    if system.setting(name)? != "1" {
        return None;
    }
    let program = system.program();
    let load = format!("sudo apparmor_parser -r {PROFILE}");
    let hint = match system.exists(PROFILE) {
        true => format!("{load}; check that the profile in {PROFILE} has the path {program}"),
        false => format!("topo sandbox profile | sudo tee {PROFILE} && {load}"),
    };
    let addition = match system.setting(unconfined).as_deref() {
        Some("1") => " (aa-exec(1) does not help)",
        _ => "",
    };
    Some(Restriction {
        cause: format!("AppArmor allows user namespaces only for programs with a profile ({name} is 1){addition}"),
        hint: format!("{hint}; or, for all programs, sudo sysctl {name}=0"),
    })
}

/// The kernel refuses a new /proc where parts of the present one are covered, since the new one would show them.
fn covered_proc(system: &impl SystemInfo) -> Option<Restriction> {
    let path = system.covered_proc()?;
    Some(Restriction {
        cause: format!("something else is mounted over {path}, as containers do to hide it, so the kernel refuses a new /proc"),
        hint: "start the container with --security-opt systempaths=unconfined (Docker), --security-opt unmask=ALL (Podman),                security.nesting=true (LXD, Incus), or --privileged"
            .into(),
    })
}

/// The seccomp(2) filters of container runtimes, and chroot(2).
fn container(system: &impl SystemInfo) -> Option<Restriction> {
    if system.status("Seccomp").as_deref() == Some("2") {
        return Some(Restriction {
            cause: "a seccomp filter, such as that of a container, denies user namespaces".into(),
            hint: "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or with \
                     --cap-add NET_ADMIN --cap-add SYS_ADMIN --security-opt apparmor=unconfined"
                .into(),
        });
    }
    if system.is_chrooted() {
        return Some(Restriction {
            cause: "a process in a chroot(2) cannot create user namespaces".into(),
            hint: "run topo outside the chroot, or in it as root".into(),
        });
    }
    confined(system)
}

/// The security label of a process that is confined.
fn confined(system: &impl SystemInfo) -> Option<Restriction> {
    let label = system.label().filter(|label| !label.is_empty() && !label.starts_with("unconfined") && label != "kernel")?;
    let container = ["docker-default", "containers-default", "lxc-", "crio-default", "cri-containerd"];
    Some(Restriction {
        cause: format!("the security label of this process, `{label}`, may deny it"),
        hint: match container.iter().any(|name| label.starts_with(name)) {
            true => "start the container with --security-opt apparmor=unconfined".into(),
            false => "look for the denied operation in the kernel log (`sudo dmesg | grep -i denied`)".into(),
        },
    })
}

/// The AppArmor profile for a program.
pub fn profile(program: &str) -> String {
    include_str!("../../packaging/apparmor/topo").replace("/usr/{,local/}bin/topo", program)
}

/// The path of this program.
pub fn program() -> String {
    System.program()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system, given by its settings, status fields, files, and `label`, `root` and `chroot`.
    struct Sample(&'static [(&'static str, &'static str)]);

    impl Sample {
        fn get(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        }
    }

    impl SystemInfo for Sample {
        fn setting(&self, name: &str) -> Option<String> {
            self.get(name)
        }
        fn status(&self, field: &str) -> Option<String> {
            self.get(field)
        }
        fn label(&self) -> Option<String> {
            self.get("label")
        }
        fn program(&self) -> String {
            "/opt/topo".into()
        }
        fn exists(&self, path: &str) -> bool {
            self.get(path).is_some()
        }
        fn is_root(&self) -> bool {
            self.get("root").is_some()
        }
        fn is_chrooted(&self) -> bool {
            self.get("chroot").is_some()
        }
        fn covered_proc(&self) -> Option<String> {
            self.get("covered")
        }
    }

    #[track_caller]
    fn check(step: Step, errno: Errno, system: &'static [(&'static str, &'static str)], cause: &str, hint: &str) {
        let found = find_in(&Sample(system), step, &errno.into()).expect("a restriction");
        assert!(found.cause.contains(cause), "{}", found.cause);
        assert!(found.hint.contains(hint), "{}", found.hint);
    }

    #[test]
    fn every_known_restriction_has_a_hint() {
        let n = Step::Namespaces;
        check(
            n,
            Errno::EPERM,
            &[("kernel.unprivileged_userns_clone", "0")],
            "unprivileged_userns_clone is 0",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        );
        check(
            n,
            Errno::ENOSPC,
            &[("user.max_user_namespaces", "0")],
            "max_user_namespaces is 0",
            "sysctl user.max_user_namespaces=10000",
        );
        check(
            n,
            Errno::ENOSPC,
            &[("user.max_user_namespaces", "9"), ("user.max_net_namespaces", "0")],
            "max_net_namespaces is 0",
            "max_net",
        );
        check(n, Errno::ENOSPC, &[("user.max_user_namespaces", "9")], "limit on namespaces is reached", "topo sandbox stop");
        check(n, Errno::EINVAL, &[], "does not support user namespaces", "CONFIG_USER_NS");
        let restricted = &[("kernel.apparmor_restrict_unprivileged_userns", "1")];
        check(Step::Map, Errno::EPERM, restricted, "AppArmor", "topo sandbox profile | sudo tee /etc/apparmor.d/topo");
        check(Step::Run, Errno::EACCES, restricted, "AppArmor", "kernel.apparmor_restrict_unprivileged_userns=0");
        let there = &[("kernel.apparmor_restrict_unprivileged_userns", "1"), (PROFILE, "")];
        check(Step::Map, Errno::EPERM, there, "AppArmor", "has the path /opt/topo");
        check(Step::Map, Errno::EPERM, &[("root", "")], "CAP_SETFCAP", "`sudo`");
        check(n, Errno::EPERM, &[("Seccomp", "2")], "seccomp", "--security-opt seccomp=unconfined");
        check(n, Errno::EPERM, &[("chroot", "")], "chroot", "outside the chroot");
        check(Step::Proc, Errno::EPERM, &[("covered", "/proc/kcore")], "mounted over /proc/kcore", "systempaths=unconfined");
        check(Step::Mounts, Errno::EACCES, &[("label", "docker-default (enforce)")], "docker-default", "apparmor=unconfined");
    }

    #[test]
    fn without_a_restriction_nothing_is_reported() {
        for errno in [Errno::EPERM, Errno::ENOMEM] {
            let unrestricted =
                Sample(&[("kernel.unprivileged_userns_clone", "1"), ("user.max_user_namespaces", "9"), ("label", "unconfined")]);
            assert_eq!(find_in(&unrestricted, Step::Namespaces, &errno.into()), None);
        }
        assert_eq!(find_in(&Sample(&[("Seccomp", "2")]), Step::Record, &Errno::EACCES.into()), None);
    }

    #[test]
    fn what_is_mounted_below_proc_is_found() {
        let line = |path: &str| format!("61 60 0:22 / {path} rw,nosuid shared:5 - proc proc rw\n");
        assert_eq!(mounted_below_proc(&format!("{}{}", line("/proc"), line("/proc/sys/fs/binfmt_misc"))), None);
        assert_eq!(mounted_below_proc(&format!("{}{}", line("/proc"), line("/proc/acpi"))), Some("/proc/acpi"));
    }

    #[test]
    fn the_profile_names_the_program() {
        assert!(profile("/opt/topo").contains("profile topo /opt/topo flags=(unconfined) {"));
    }
}
