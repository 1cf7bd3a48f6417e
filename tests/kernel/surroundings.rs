//! Surroundings that hide or forbid a part of the system, as containers do: each error names its cause and the remedy.

use super::harness::tools::{Outcome, TOPO};
use super::harness::{command, destroy, in_namespaces, lab, sh};

const LAB: &str = "name: p\nnamespaces:\n  a:\n    sysctls: { net.ipv4.ip_forward: 1 }\n";

/// Runs topo in a mount namespace of its own after a script that root runs there.
fn after(script: &str, arguments: &[&str]) -> Outcome {
    let script = format!("{script}\nexec {TOPO} {}", arguments.join(" "));
    let options = ["--mount", "--propagation", "private", "sh", "-ec", &script];
    Outcome::from(&command("unshare").args(options).output().unwrap())
}

#[test]
fn what_is_wrong_with_proc_is_named_with_its_remedy() {
    in_namespaces(|| {
        let file = lab(LAB);
        let cases = [
            ("mount -t tmpfs none /proc", "/proc is not mounted", "hint: `mount -t proc proc /proc`"),
            ("mount -t tmpfs none /proc/sys", "something else is mounted over /proc/sys,", "hint: `umount /proc/sys`"),
            (
                "mount --bind /dev/null /proc/sys/kernel/random/boot_id",
                "something else is mounted over /proc/sys/kernel/random/boot_id",
                "hint: `umount",
            ),
        ];
        for (script, cause, remedy) in cases {
            after(script, &["apply", &file]).exits(1).says(&format!("The cause is that {cause}")).says(remedy);
        }
        // Root of the machine mounts a /proc of its own where one is hidden; root of a user namespace may not.
        for (script, cause) in [
            ("mount -t tmpfs none /proc/sys/net", "something else is mounted over /proc/sys/net,"),
            ("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys", "/proc/sys is mounted read-only"),
        ] {
            let outcome = after(script, &["apply", &file]);
            if outcome.status == 0 {
                destroy("p");
                continue;
            }
            let outcome = outcome.exits(1).says("cannot set `net.ipv4.ip_forward` of `a` to `1`").says(":4:16").says(cause);
            outcome.says("the network is as it was before").says("hint: `");
        }
    });
}

#[test]
fn a_read_only_run_is_named_with_its_remedy() {
    in_namespaces(|| {
        let file = lab(LAB);
        let script = "mount --bind /run /run && mount -o remount,bind,ro /run";
        after(script, &["apply", &file]).exits(1).says("`/run/topo`: read-only file system").says("hint: /run must be writable");
    });
}

#[test]
fn a_stale_file_in_the_place_of_a_namespace_is_named_with_its_remedy() {
    in_namespaces(|| {
        let file = lab(LAB);
        sh("touch /run/netns/a");
        let outcome = after(":", &["apply", &file]).exits(1).says("a file that topo did not make");
        outcome.says("if nothing needs it any more, remove it: `ip netns delete a`");
        sh("ip netns delete a");
        after(":", &["apply", &file]).ok();
        destroy("p");
    });
}
