//! Processes in namespaces that are destroyed: topo warns about them, or ends them on demand, and no others.

use super::harness::fingerprint::{assert_restored, eventually_restored};
use super::harness::tools::{assert_no_changes, destroy};
use super::harness::{apply, command, in_namespaces, lab, settled_fingerprint, sh, start_inside, topo};

const LAB: &str = "name: lived\nnamespaces: { a: {}, b: {} }\n";

#[test]
fn a_process_inside_is_warned_about_and_lives_on() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        apply(&lab(LAB));
        let mut child = start_inside("a", "exec sleep 100");
        let warning = format!("process {} (sleep) runs in namespace `a`", child.id());
        topo(&["destroy", "lived"]).ok().says(&warning).says("--kill");
        assert_restored(&before);
        assert!(child.try_wait().unwrap().is_none(), "the process lives on");
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn processes_inside_are_ended_on_demand_and_nobody_else() {
    in_namespaces(|| {
        sh("ip netns add foreign");
        let before = settled_fingerprint();
        apply(&lab(LAB));
        let mut polite = start_inside("a", "exec sleep 100");
        let mut stubborn = start_inside("b", "trap '' TERM; while :; do sleep 0.1; done");
        let mut elsewhere = start_inside("foreign", "exec sleep 100");
        let mut outside = command("sleep").arg("100").spawn().unwrap();
        let outcome = topo(&["destroy", "--kill", "lived"]).ok();
        let outcome = outcome.says(&format!("Killed process {} (sleep) in namespace `a`", polite.id()));
        outcome.says(&format!("Killed process {} (sh) in namespace `b`", stubborn.id()));
        assert_restored(&before);
        for child in [&mut polite, &mut stubborn] {
            assert!(child.try_wait().unwrap().is_some(), "it has ended");
        }
        for child in [&mut elsewhere, &mut outside] {
            assert!(child.try_wait().unwrap().is_none(), "somebody else's process lives on");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
}

#[test]
fn a_namespace_that_is_mounted_under_a_second_name_is_named() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: twice\nnamespaces: { a: {}, b: {}, c: {} }\n");
        apply(&file);
        sh("touch /run/netns/second '/run/an other' && mount --bind /run/netns/a /run/netns/second && \
            mount --bind /run/netns/b '/run/an other'");
        assert_no_changes(&file);
        let outcome = destroy("twice").says("warning: namespace `a` is also mounted on `/run/netns/second`");
        let outcome = outcome.says("warning: namespace `b` is also mounted on `/run/an other`").says("`umount PATH` ends that");
        assert!(!outcome.stderr.contains("namespace `c`"), "{}", outcome.stderr);
        sh("umount /run/netns/second '/run/an other' && rm -rf /run/netns/second '/run/an other' /run/mount");
        eventually_restored(&before);
    });
}
