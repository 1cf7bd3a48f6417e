//! Why a system forbids sandboxes, and the remedy: kernel settings, limits, AppArmor, the filters of container runtimes.

use std::io;

use nix::errno::Errno;

use crate::kernel::linux::isolate::Step;

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is, as a sentence.
    pub what: String,
    /// What to do about it, a command where there is one.
    pub remedy: String,
}

/// Limits on numbers of namespaces, namespaces(7); each counts for the user namespace that it is read in.
const LIMITS: [&str; 3] = ["user.max_user_namespaces", "user.max_net_namespaces", "user.max_mnt_namespaces"];
/// Where the profile for AppArmor goes.
const PROFILE: &str = "/etc/apparmor.d/topo";

/// What can be known of the system.
pub trait Facts {
    /// A kernel setting by its name, sysctl(8).
    fn setting(&self, name: &str) -> Option<String>;
    /// A field of /proc/self/status.
    fn status(&self, field: &str) -> Option<String>;
    /// The AppArmor or SELinux label of this process.
    fn label(&self) -> Option<String>;
    /// The program's file.
    fn program(&self) -> String;
    /// Whether a file is there.
    fn exists(&self, path: &str) -> bool;
    /// Whether the user is root.
    fn is_root(&self) -> bool;
    /// Whether the program is in a changed root directory, chroot(2).
    fn is_chrooted(&self) -> bool;
}

/// This system.
struct System;

impl Facts for System {
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
        // A root that is none of a mount is listed as none.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
    }
}

/// What on this system stands in the way of a step that failed.
pub fn find(step: Step, error: &io::Error) -> Option<Obstacle> {
    find_by(step, error, &System)
}

fn find_by(step: Step, error: &io::Error, facts: &impl Facts) -> Option<Obstacle> {
    let errno = Errno::from_raw(error.raw_os_error()?);
    let denied = matches!(errno, Errno::EPERM | Errno::EACCES);
    let limited = matches!(errno, Errno::ENOSPC | Errno::EUSERS);
    match step {
        Step::Namespaces if limited => limit(facts),
        Step::Namespaces if errno == Errno::EINVAL && !facts.exists("/proc/self/ns/user") => Some(Obstacle {
            what: "this kernel has no user namespaces".into(),
            remedy: "a kernel with CONFIG_USER_NS, or run topo as root, which needs none".into(),
        }),
        Step::Namespaces if denied => switched_off(facts).or_else(|| apparmor(facts)).or_else(|| container(facts)),
        // Since Linux 5.12.
        Step::Map if denied && facts.is_root() => Some(Obstacle {
            what: "root without its capabilities (CAP_SETFCAP) may not be root of a user namespace".into(),
            remedy: "run topo as root with CAP_NET_ADMIN and CAP_SYS_ADMIN, as `sudo` does, or as an ordinary user".into(),
        }),
        Step::Map | Step::Mounts | Step::Run | Step::Loopback if denied => apparmor(facts).or_else(|| confined(facts)),
        Step::Namespaces | Step::Map | Step::Mounts | Step::Run | Step::Loopback | Step::Record => None,
    }
}

fn limit(facts: &impl Facts) -> Option<Obstacle> {
    let found = LIMITS.iter().find_map(|name| facts.setting(name).filter(|value| value == "0").map(|_| *name));
    let raise = |name: &str| format!("sudo sysctl {name}=10000   # in /etc/sysctl.d/90-topo.conf for good");
    Some(match found {
        Some(name) => Obstacle { what: format!("{name} is 0: no user may have such a namespace"), remedy: raise(name) },
        None => {
            let name = LIMITS[0];
            let value = facts.setting(name)?;
            Obstacle {
                what: format!("a limit on namespaces is reached ({name} is {value}), or they are nested too deeply"),
                remedy: format!("`topo sandbox list` shows yours, and `topo sandbox stop NAME` ends one; or {}", raise(name)),
            }
        }
    })
}

fn switched_off(facts: &impl Facts) -> Option<Obstacle> {
    let name = "kernel.unprivileged_userns_clone";
    (facts.setting(name)? == "0").then(|| Obstacle {
        what: format!("{name} is 0: only root may make user namespaces"),
        remedy: format!("sudo sysctl {name}=1   # in /etc/sysctl.d/90-topo.conf for good"),
    })
}

/// Ubuntu since 23.10: programs without a profile may make user namespaces, but do nothing in them.
fn apparmor(facts: &impl Facts) -> Option<Obstacle> {
    let name = "kernel.apparmor_restrict_unprivileged_userns";
    let unconfined = "kernel.apparmor_restrict_unprivileged_unconfined";
    if facts.setting(name)? != "1" {
        return None;
    }
    let program = facts.program();
    let load = format!("sudo apparmor_parser -r {PROFILE}");
    let remedy = match facts.exists(PROFILE) {
        true => format!("{load}, and see that the profile in {PROFILE} names {program}"),
        false => format!("topo sandbox profile | sudo tee {PROFILE} && {load}"),
    };
    let and = match facts.setting(unconfined).as_deref() {
        Some("1") => " (aa-exec(1) leads round it no more)",
        _ => "",
    };
    Some(Obstacle {
        what: format!("AppArmor lets only programs with a profile use user namespaces ({name} is 1){and}"),
        remedy: format!("{remedy}; or, for all programs, sudo sysctl {name}=0"),
    })
}

/// The filters of container runtimes, seccomp(2), and the roots of containers that are none.
fn container(facts: &impl Facts) -> Option<Obstacle> {
    if facts.status("Seccomp").as_deref() == Some("2") {
        return Some(Obstacle {
            what: "a seccomp filter, such as that of a container, forbids user namespaces".into(),
            remedy: "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or with \
                     --cap-add NET_ADMIN --cap-add SYS_ADMIN --security-opt apparmor=unconfined"
                .into(),
        });
    }
    if facts.is_chrooted() {
        return Some(Obstacle {
            what: "a program in a changed root directory, chroot(2), may not make user namespaces".into(),
            remedy: "run topo outside of it, or there as root".into(),
        });
    }
    confined(facts)
}

/// A label that does not leave a program alone.
fn confined(facts: &impl Facts) -> Option<Obstacle> {
    let label = facts.label().filter(|label| !label.is_empty() && !label.starts_with("unconfined") && label != "kernel")?;
    let container = ["docker-default", "containers-default", "lxc-", "crio-default", "cri-containerd"];
    Some(Obstacle {
        what: format!("the security label of this process, `{label}`, may forbid it"),
        remedy: match container.iter().any(|name| label.starts_with(name)) {
            true => "start the container with --security-opt apparmor=unconfined".into(),
            false => "the log of the kernel (`sudo dmesg | grep -i denied`) has the rule that it needs".into(),
        },
    })
}

/// The profile for AppArmor, with the path of a program.
pub fn profile(program: &str) -> String {
    include_str!("../../packaging/apparmor/topo").replace("/usr/{,local/}bin/topo", program)
}

/// The path of the program that runs.
pub fn program() -> String {
    System.program()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system in words: `setting=value`, `status:Field=value`, `label=…`, `file=…`, `chroot=`.
    struct Made(&'static [(&'static str, &'static str)]);

    impl Made {
        fn get(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        }
    }

    impl Facts for Made {
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
    }

    #[track_caller]
    fn check(step: Step, errno: Errno, facts: &'static [(&'static str, &'static str)], what: &str, remedy: &str) {
        let found = find_by(step, &errno.into(), &Made(facts)).expect("an obstacle");
        assert!(found.what.contains(what), "{}", found.what);
        assert!(found.remedy.contains(remedy), "{}", found.remedy);
    }

    #[test]
    fn every_known_obstacle_has_its_remedy() {
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
        check(n, Errno::EINVAL, &[], "no user namespaces", "CONFIG_USER_NS");
        let restricted = &[("kernel.apparmor_restrict_unprivileged_userns", "1")];
        check(Step::Map, Errno::EPERM, restricted, "AppArmor", "topo sandbox profile | sudo tee /etc/apparmor.d/topo");
        check(Step::Run, Errno::EACCES, restricted, "AppArmor", "kernel.apparmor_restrict_unprivileged_userns=0");
        let there = &[("kernel.apparmor_restrict_unprivileged_userns", "1"), (PROFILE, "")];
        check(Step::Map, Errno::EPERM, there, "AppArmor", "names /opt/topo");
        check(Step::Map, Errno::EPERM, &[("root", "")], "CAP_SETFCAP", "`sudo`");
        check(n, Errno::EPERM, &[("Seccomp", "2")], "seccomp", "--security-opt seccomp=unconfined");
        check(n, Errno::EPERM, &[("chroot", "")], "chroot", "outside of it");
        check(Step::Mounts, Errno::EACCES, &[("label", "docker-default (enforce)")], "docker-default", "apparmor=unconfined");
    }

    #[test]
    fn nothing_is_made_up() {
        for errno in [Errno::EPERM, Errno::ENOMEM] {
            let calm =
                Made(&[("kernel.unprivileged_userns_clone", "1"), ("user.max_user_namespaces", "9"), ("label", "unconfined")]);
            assert_eq!(find_by(Step::Namespaces, &errno.into(), &calm), None);
        }
        assert_eq!(find_by(Step::Record, &Errno::EACCES.into(), &Made(&[("Seccomp", "2")])), None);
    }

    #[test]
    fn the_profile_is_made_for_the_program() {
        assert!(profile("/opt/topo").contains("profile topo /opt/topo flags=(unconfined) {"));
    }
}
