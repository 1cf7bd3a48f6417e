//! Systems that forbid sandboxes, and what is said then.

use super::super::harness::tools::Outcome;
use super::super::harness::{User, command, sh, with_users};
use super::PAIR;

/// Runs topo without privileges after a script that root of a user namespace runs.
fn after(user: &User, script: &str, arguments: &[&str]) -> Outcome {
    let topo = user.program().display();
    let script = format!("{script} && exec setpriv --bounding-set=-all --inh-caps=-all {topo} {}", arguments.join(" "));
    Outcome::from(&user.command("unshare").args(["-Urm", "sh", "-ec", &script]).output().unwrap())
}

#[test]
fn the_setting_that_forbids_it_is_named_with_its_remedy() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        for kind in ["user", "net", "mnt"] {
            let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces");
            for command in ["apply", "plan"] {
                let outcome = after(&user, &script, &[command, &file]).exits(1);
                let text = &outcome.stderr;
                assert!(text.contains("error: cannot create user, network and mount namespaces: no space left"), "{text}");
                assert!(text.contains(&format!("user.max_{kind}_namespaces is 0")), "{text}");
                assert!(text.contains(&format!("hint: sudo sysctl user.max_{kind}_namespaces=10000")), "{text}");
            }
        }
        let outcome = after(&user, "echo 0 > /proc/sys/user/max_pid_namespaces", &["run", &file, "--", "true"]).exits(125);
        assert!(outcome.stderr.contains("hint: sudo sysctl user.max_pid_namespaces=10000"), "{}", outcome.stderr);
        after(&user, "echo 0 > /proc/sys/user/max_user_namespaces", &["validate", &file]).ok();
        after(&user, "echo 0 > /proc/sys/user/max_user_namespaces", &["exec", "a", "--", "true"]).exits(125);
        user.assert_nothing_left();
    });
}

#[test]
fn a_user_of_a_user_namespace_has_sandboxes_too() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let nested = |arguments: &[&str]| {
            let mut command = user.command("unshare");
            command.args(["-U", "--map-user=77", "--map-group=77"]).arg(user.program()).args(arguments);
            Outcome::from(&command.output().unwrap())
        };
        nested(&["plan", &file]).ok().says("Plan: 6 to add");
        nested(&["apply", &file]).ok().says("Created sandbox `default`");
        user.assert_reaches("a", "10.0.0.2");
        user.topo(&["destroy", "pair"]).ok().says("Stopped sandbox `default`");
        user.assert_nothing_left();
    });
}

#[test]
fn a_changed_root_directory_is_named() {
    with_users(|| {
        let user = User::new();
        let Some(number) = user.needs_number() else { return };
        let file = user.file("lab.yaml", PAIR);
        sh("mkdir /tmp/root && cd /tmp/root && ln -s usr/bin usr/lib usr/lib64 usr/sbin . && \
            for name in usr etc proc dev tmp; do mkdir $name && mount --rbind /$name $name; done");
        let mut command = command("chroot");
        command.arg(format!("--userspec={number}:{number}")).arg("/tmp/root").arg(user.program()).args(["apply", &file]);
        let outcome = Outcome::from(&command.env("XDG_RUNTIME_DIR", user.runtime()).output().unwrap()).exits(1);
        outcome.says("a process in a chroot(2)").says("hint: run topo outside the chroot");
        user.assert_nothing_left();
    });
}

#[test]
fn the_profile_for_apparmor_names_the_program() {
    with_users(|| {
        let user = User::new();
        let profile = user.topo(&["sandbox", "profile"]).ok().stdout;
        assert!(profile.contains("\n  userns,\n"), "{profile}");
        assert!(profile.contains(&format!("profile topo {} flags=(unconfined) {{", user.program().display())), "{profile}");
    });
}
