//! A runtime directory that others have got at is refused, and nothing is followed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::harness::tools::Outcome;
use super::super::harness::{User, sh, with_users};
use super::PAIR;

#[test]
fn what_is_planted_in_the_place_of_the_directory_is_refused() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let victim = user.home.join("victim");
        let own = user.runtime().join("topo");
        let refused = |what: &str| {
            for arguments in [["apply", &file], ["destroy", "pair"], ["plan", &file]] {
                let outcome = user.topo(&arguments).exits(1).says(what);
                outcome.says("hint: set XDG_RUNTIME_DIR to a directory that only you can write to");
            }
            user.topo(&["exec", "a", "--", "true"]).exits(125);
            user.topo(&["list"]).exits(1);
        };
        user.make_directory(&victim);
        symlink(&victim, &own).unwrap();
        refused("is not a directory");
        fs::remove_file(&own).unwrap();
        fs::write(&own, "").unwrap();
        refused("is not a directory");
        fs::remove_file(&own).unwrap();
        user.make_directory(&own);
        sh(&format!("chmod 750 {}", own.display()));
        refused("is accessible to other users");
        if user.needs_number().is_some() {
            sh(&format!("chmod 700 {0} && chown 1 {0}", own.display()));
            refused("belongs to another user");
        }
        fs::remove_dir(&own).unwrap();
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
        user.assert_nothing_left();
    });
}

#[test]
fn planted_files_are_not_followed() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let victim = user.file("victim", "precious\n");
        let own = user.runtime().join("topo");
        for name in ["record-default", "lock-default", "new-default"] {
            user.make_directory(&own);
            symlink(&victim, own.join(name)).unwrap();
            let outcome = user.topo(&["apply", &file]);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
            match name {
                // What a keeper that was killed had begun to write: removed, not written through.
                "new-default" => {
                    outcome.ok();
                    user.topo(&["destroy", "pair"]).ok();
                }
                _ => {
                    outcome.exits(1).says(name);
                    fs::remove_dir_all(&own).unwrap();
                }
            }
            user.assert_nothing_left();
        }
        user.make_directory(&own);
        for record in ["", "1\n", "x y z\n"] {
            user.file("run/topo/record-default", record);
            user.topo(&["apply", &file]).exits(1).says("not a PID file");
        }
        // Somebody else's process.
        user.file("run/topo/record-default", "1 1 not-this-boot 1\n");
        user.topo(&["apply", &file]).ok().says("Sandbox `default` and everything in it is gone");
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn one_sandbox_that_cannot_be_looked_into_does_not_hide_the_others() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        user.file("run/topo/record-container", &format!("1 1 {} 1\n", boot.trim()));
        user.file("run/topo/record-garbage", "what is this\n");
        symlink("/nowhere", user.runtime().join("topo/lock-link")).unwrap();
        user.file("run/topo/record-link", "1 1 another-boot 1\n");
        for arguments in [["list"].as_slice(), &["sandbox", "list"], &["list", "--json"]] {
            let outcome = user.topo(arguments).ok().says("warning: sandbox `container` cannot be looked into");
            outcome
                .says("the process is in another PID namespace")
                .says("warning: sandbox `garbage`")
                .says("warning: sandbox `link`");
        }
        let listing = user.topo(&["list"]).ok().says("pair").stdout;
        assert!(listing.lines().any(|line| line.starts_with("container") && line.contains("unknown")), "{listing}");
        user.topo(&["list", "--sandbox=container"]).exits(1).says("another PID namespace");
        user.topo(&["destroy", "nowhere"]).ok();
        for name in ["record-container", "record-garbage", "record-link", "lock-link"] {
            fs::remove_file(user.runtime().join("topo").join(name)).unwrap();
        }
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn without_a_runtime_directory_one_in_tmp_is_the_users_own() {
    with_users(|| {
        let user = User::new();
        let Some(number) = user.needs_number() else { return };
        let file = user.file("lab.yaml", PAIR);
        let place = format!("/tmp/topo-{number}");
        let run = |arguments: &[&str], runtime: Option<&Path>| {
            let mut command = user.topo_command(arguments);
            command.env_remove("XDG_RUNTIME_DIR");
            runtime.map(|path| command.env("XDG_RUNTIME_DIR", path));
            Outcome::from(&command.output().unwrap())
        };
        run(&["apply", &file], None).ok();
        assert!(Path::new(&place).is_dir());
        // Not a directory of the user's: as if it were not set.
        run(&["exec", "a", "--", "true"], Some(Path::new("/nowhere"))).ok();
        run(&["exec", "a", "--", "true"], Some(Path::new("/run"))).ok();
        run(&["destroy", "pair"], None).ok();
        assert!(!Path::new(&place).exists());
        sh(&format!("mkdir /tmp/attacker && chmod 777 /tmp/attacker && ln -s /tmp/attacker {place}"));
        run(&["apply", &file], None).exits(1).says("is not a directory").says("hint: set XDG_RUNTIME_DIR");
        sh(&format!("rm {place} && mkdir -m 700 {place}"));
        run(&["apply", &file], None).exits(1).says("belongs to another user");
        sh(&format!("rmdir {place} && chmod 777 /tmp"));
        run(&["apply", &file], None).exits(1).says("`/tmp` lets users rename");
        sh("chmod 1777 /tmp");
        assert_eq!(fs::read_dir("/tmp/attacker").unwrap().count(), 0);
        assert!(user.sandbox_processes().is_empty());
    });
}
