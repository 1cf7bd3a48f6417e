//! Where a command works: who is privileged works on the machine, unless a sandbox is asked for.

use std::fs;
use std::process::Command;

use super::super::harness::tools::TOPO;
use super::super::harness::{User, in_namespaces, sh, skip, text, topo, with_users};
use super::{PAIR, alone};

#[test]
fn root_works_on_the_machine_and_in_a_sandbox_if_asked_to() {
    with_users(|| {
        if !nix::unistd::geteuid().is_root() {
            return skip("only root can work on the machine itself");
        }
        let user = User::new();
        fs::create_dir("/tmp/runtime").unwrap();
        sh("chmod 700 /tmp/runtime");
        let root = |arguments: &[&str], sandbox: &str| {
            let mut command = Command::new(TOPO);
            command.args(arguments).env("XDG_RUNTIME_DIR", "/tmp/runtime").env("TOPO_SANDBOX", sandbox);
            super::super::harness::tools::Outcome::from(&command.output().unwrap())
        };
        // A file that its owner alone may read, in a directory of the owner's alone.
        let file = user.file("lab.yaml", PAIR);
        sh(&format!("chmod 600 {file}"));
        root(&["apply", &file], "").ok();
        assert!(text("ip", &["netns", "list"]).contains('a'));
        root(&["apply", &file, "--sandbox"], "").ok().says("Created sandbox `default`");
        root(&["apply", &file], "ci").ok().says("Created sandbox `ci`");
        let listing = root(&["list"], "").ok().stdout;
        assert_eq!(listing.lines().filter(|line| line.starts_with("pair")).count(), 3, "{listing}");
        // All users are there, for programs that change to one of their own.
        root(&["exec", "a", "--", "setpriv", "--reuid=1234", "--clear-groups", "id", "-u"], "ci").ok().says("1234");
        root(&["plan", "--out", user.home.join("plan").to_str().unwrap(), &file], "ci").ok();
        root(&["destroy", "pair"], "ci").ok().says("Stopped sandbox `ci`");
        root(&["destroy", "pair", "--sandbox=default"], "").ok().says("Stopped sandbox `default`");
        root(&["apply", "--uplink", &file], "").exits(1).says("`--uplink` needs a sandbox");
        root(&["destroy", "pair"], "").ok();
        assert_eq!(fs::read_dir("/tmp/runtime").unwrap().count(), 0);
        root(&["plan", &file], "no/name").exits(1).says("`TOPO_SANDBOX` is not a valid sandbox name");
    });
}

#[test]
fn root_of_a_user_namespace_works_where_it_is() {
    in_namespaces(|| {
        let file = super::super::harness::lab(PAIR);
        topo(&["apply", &file]).ok();
        assert!(text("ip", &["netns", "list"]).contains('a'));
        topo(&["destroy", "pair"]).ok();
    });
}

#[test]
fn root_over_no_network_works_in_a_sandbox() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        // Root over no network: that is still the machine's.
        let unshared = |arguments: &[&str]| {
            let mut command = user.command("unshare");
            let output = command.arg("-Ur").arg(user.program()).args(arguments).output().unwrap();
            super::super::harness::tools::Outcome::from(&output)
        };
        unshared(&["plan", &file]).ok().says("Plan: 6 to add");
        user.assert_nothing_left();
    });
}

#[test]
fn files_below_run_stay_what_they_are() {
    with_users(|| {
        let user = User::new();
        let Some(number) = user.needs_number() else { return };
        let own = std::path::Path::new("/run/user").join(number.to_string());
        user.make_directory(&own);
        fs::write("/run/note", "text").unwrap();
        sh("ln -s user /run/link && mkdir /run/topo && touch /run/netns/machines");
        let run = |arguments: &[&str]| {
            let mut command = user.topo_command(arguments);
            let output = command.env_remove("XDG_RUNTIME_DIR").current_dir(&own).output().unwrap();
            super::super::harness::tools::Outcome::from(&output)
        };
        fs::write(own.join("lab.yaml"), alone("one")).unwrap();
        run(&["apply"]).ok();
        assert!(own.join("topo").is_dir(), "it is found without XDG_RUNTIME_DIR");
        run(&["plan", "--out", "saved"]).ok();
        run(&["apply", own.join("saved").to_str().unwrap()]).ok();
        let seen = run(&["exec", "one", "--", "cat", "/run/note", "lab.yaml", "/run/link/../note"]).ok().stdout;
        assert_eq!(seen, format!("text{}text", alone("one")));
        run(&["exec", "one", "--", "ls", "/run/netns"]).ok().says("one");
        run(&["exec", "machines", "--", "true"]).exits(125);
        run(&["destroy", "one"]).ok();
        assert!(!own.join("topo").exists());
    });
}
