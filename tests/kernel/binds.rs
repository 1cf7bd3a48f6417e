//! Binds: files and directories of the machine inside of nodes; how they change, are damaged, and end.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::harness::fingerprint::assert_restored;
use super::harness::tools::Outcome;
use super::harness::{
    User, apply, assert_no_changes, destroy, eventually, in_namespaces, lab, settled_fingerprint, sh, start_inside, topo,
    with_users,
};

/// Runs a script in a node.
fn run(node: &str, script: &str) -> Outcome {
    topo(&["exec", node, "--", "sh", "-c", script])
}

fn says(node: &str, script: &str) -> String {
    run(node, script).ok().stdout.trim_end().to_owned()
}

/// Where lab files are.
const PLACE: &str = env!("CARGO_TARGET_TMPDIR");

/// Makes sources beside the lab files: the directories `data` and `other`, and a file in each. They are of this test alone.
fn sources() {
    mount(Some("t"), PLACE, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    for name in ["data", "other"] {
        let source = Path::new(PLACE).join(name);
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), format!("{name}\n")).unwrap();
    }
}

/// The mounts of a node that a script selects from mountinfo, proc_pid_mountinfo(5).
fn mounts(node: &str, target: &str) -> usize {
    says(node, &format!("awk -v t={target} '$5 == t' /proc/self/mountinfo | wc -l")).parse().unwrap()
}

/// A lab with one node and these binds.
fn with_binds(name: &str, rest: &str) -> String {
    lab(&format!("name: {name}\nnamespaces: {{ a: {{ isolation: [pid, mount], {rest} }} }}\n"))
}

#[test]
fn a_node_sees_what_is_bound_and_the_machine_gets_nothing() {
    in_namespaces(|| {
        sources();
        let directory = Path::new(PLACE);
        let before = settled_fingerprint();
        let file = with_binds(
            "binds0",
            "files: { /etc/topo-test/conf: { content: c } }, binds: [
               { source: ./data, target: /srv/, readonly: true }, { source: other/file, target: /etc/topo-bind/one },
               { source: other, target: /tmp/deep/er }, { source: data, target: /run/data }, { source: data, target: /var/run/again },
               { source: /usr/share, target: /opt/topo-none/share }]",
        );
        apply(&file).says("+ bind /srv source").says("readonly true");
        assert_no_changes(&file);
        let all = "cat /srv/file /etc/topo-bind/one /tmp/deep/er/file /run/data/file /run/again/file /etc/topo-test/conf";
        assert_eq!(says("a", all), "data\nother\nother\ndata\ndata\nc");
        run("a", "touch /srv/new").exits(1).says("Read-only");
        says("a", "echo w > /tmp/deep/er/new; echo w >> /etc/topo-bind/one; test -d /opt/topo-none/share/misc");
        assert_eq!(fs::read_to_string(directory.join("other/new")).unwrap(), "w\n");
        assert_eq!(fs::read_to_string(directory.join("other/file")).unwrap(), "other\nw\n");
        for made in ["/etc/topo-bind", "/tmp/deep", "/run/data", "/run/again", "/opt/topo-none", "/etc/topo-test"] {
            assert!(!fs::exists(made).unwrap(), "{made}");
        }
        destroy("binds0");
        assert_restored(&before);
    });
}

#[test]
fn what_is_mounted_later_does_not_propagate_either_way() {
    in_namespaces(|| {
        sources();
        let directory = Path::new(PLACE);
        let source = directory.join("data");
        sh(&format!("mount -t tmpfs t {0} && mount --make-shared {0} && mkdir {0}/sub {0}/later", source.display()));
        sh(&format!("mount -t tmpfs t {0}/sub -o nosuid && touch {0}/sub/below", source.display()));
        let file = with_binds("binds1", "binds: [{ source: data, target: /srv, readonly: true }]");
        apply(&file);
        assert_no_changes(&file);
        // The mounts below the source come along, with their flags, and read-only, too.
        assert_eq!(says("a", "ls /srv/sub; findmnt -no OPTIONS /srv/sub | grep -c nosuid"), "below\n1");
        run("a", "touch /srv/sub/new").exits(1).says("Read-only");
        says("a", "mount -t tmpfs t /srv/later && touch /srv/later/inside");
        sh(&format!("mount -t tmpfs t {0}/sub && touch {0}/sub/outside", source.display()));
        assert!(!fs::exists(source.join("later/inside")).unwrap());
        assert_eq!(says("a", "ls /srv/sub"), "below");
        destroy("binds1");
        sh(&format!("umount -l {}", source.display()));
    });
}

#[test]
fn binds_change_in_place_and_what_was_there_comes_back() {
    in_namespaces(|| {
        sources();
        apply(&with_binds("binds2", "binds: [{ source: data, target: /srv }, { source: data/file, target: /opt/topo-none/f }]"));
        let init = says("a", "readlink /proc/1/ns/pid");
        let file = with_binds(
            "binds2",
            "files: { /opt/topo-file: { content: x } },
             binds: [{ source: other, target: /srv, readonly: true }, { source: data, target: /opt/topo-none/f }]",
        );
        let outcome = apply(&file);
        outcome
            .says("source: ")
            .says("/other")
            .says("readonly: false -> true")
            .says("Plan: 1 to add, 2 to change, 0 to destroy.");
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file /opt/topo-none/f/file; readlink /proc/1/ns/pid"), format!("other\ndata\n{init}"));
        assert_eq!((mounts("a", "/srv"), mounts("a", "/opt/topo-none/f")), (1, 1));
        let file = with_binds("binds2", "binds: [{ source: other, target: /srv }]");
        apply(&file).says("- bind /opt/topo-none/f").says("- file /opt/topo-file");
        assert_no_changes(&file);
        says("a", "touch /srv/new; test ! -e /opt/topo-none");
        let file = with_binds("binds2", "");
        apply(&file).says("- bind /srv");
        assert_no_changes(&file);
        assert_eq!((says("a", "ls -A /srv"), mounts("a", "/srv")), (says("host", "ls -A /srv"), 0));
        destroy("binds2");
    });
}

/// An overlay for a new file covers the directory in which a bind already is.
#[test]
fn a_bind_stays_when_its_directory_gets_an_overlay() {
    in_namespaces(|| {
        sources();
        let binds = "binds: [{ source: data, target: /usr/share, readonly: true }]";
        apply(&with_binds("binds3", binds));
        let file = with_binds("binds3", &format!("files: {{ /usr/topo-file: {{ content: x }} }}, {binds}"));
        apply(&file).says("Plan: 1 to add, 0 to change, 0 to destroy.");
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /usr/share/file /usr/topo-file"), "data\nx");
        run("a", "touch /usr/share/new").exits(1).says("Read-only");
        let file = with_binds("binds3", "");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "test -d /usr/share/misc && test ! -f /usr/share/file && echo back"), "back");
        destroy("binds3");
    });
}

#[test]
fn changes_inside_are_drift_and_put_right() {
    in_namespaces(|| {
        sources();
        let file = with_binds(
            "binds4",
            "binds: [{ source: data, target: /srv, readonly: true }, { source: data, target: /opt/gone }, { source: data, target: /opt/under }]",
        );
        apply(&file);
        says("a", "mount -o remount,bind,rw /srv; touch /srv/new; umount /opt/gone; mount -t tmpfs t /opt/under");
        let plan = topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        plan.says("readonly: false -> true")
            .says("+ bind /opt/gone")
            .says("+ bind /opt/under")
            .says("Plan: 2 to add, 1 to change");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file /opt/gone/file /opt/under/file"), "data\ndata\ndata");
        run("a", "touch /srv/newer").exits(1).says("Read-only");
        assert_eq!((mounts("a", "/srv"), mounts("a", "/opt/gone"), mounts("a", "/opt/under")), (1, 1, 1));
        says("a", "umount /srv; umount /opt/gone; rmdir /opt/gone");
        apply(&with_binds("binds4", "")).says("- bind /opt/under");
        says("a", "test ! -e /opt/under && test ! -e /opt/gone");
        destroy("binds4");
    });
}

#[test]
fn a_source_that_was_replaced_is_mounted_again_and_a_missing_one_is_an_error() {
    in_namespaces(|| {
        sources();
        let directory = Path::new(PLACE);
        let file = with_binds("binds5", "binds: [{ source: data, target: /srv }, { source: other/file, target: /tmp/file }]");
        apply(&file);
        // As editors save.
        sh(&format!(
            "cd {}; mv data old; cp -r old data; echo new > data/file; cp data/file n; mv n other/file",
            directory.display()
        ));
        assert_eq!(says("a", "cat /srv/file /tmp/file"), "data\nother");
        let plan = topo(&["plan", "--detailed-exitcode", &file]).exits(2);
        plan.says("-/+ bind /srv  # its source was replaced on the machine").says("-/+ bind /tmp/file");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file /tmp/file"), "new\nnew");
        sh(&format!("cd {}; rm -r data old", directory.display()));
        topo(&["plan", &file]).exits(1).says("cannot bind `data`: no such file or directory").says("directory of the lab file");
        // The rest of the node can change, and a failure of that is rolled back.
        let without = with_binds("binds5", "binds: [{ source: other/file, target: /tmp/file }]");
        topo(&["plan", &without]).ok().says("- bind /srv").says("Plan: 0 to add, 0 to change, 1 to destroy.");
        destroy("binds5");
    });
}

#[test]
fn a_bind_in_use_is_unmounted() {
    in_namespaces(|| {
        sources();
        apply(&with_binds("binds6", "binds: [{ source: data, target: /tmp/b }, { source: data, target: /srv }]"));
        let inside = "cd /tmp/b && exec 3< /srv/file && touch ready && exec sleep 1000";
        let mut user = topo_inside("a", inside);
        eventually("the process is inside", || run("a", "test -e /srv/ready").status == 0);
        let file = with_binds("binds6", "binds: [{ source: other, target: /srv, readonly: true }]");
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file; test ! -e /tmp/b; echo $?"), "other\n0");
        destroy("binds6");
        user.wait().unwrap();
    });
}

fn topo_inside(node: &str, script: &str) -> std::process::Child {
    std::process::Command::new(super::harness::tools::TOPO).args(["exec", node, "--", "sh", "-c", script]).spawn().unwrap()
}

#[test]
fn a_refused_bind_is_explained_and_rolled_back() {
    in_namespaces(|| {
        sources();
        let before = settled_fingerprint();
        let refused = |binds: &str, words: &str, hint: &str| {
            let file = with_binds("binds7", &format!("binds: [{{ source: other, target: /opt/topo-none/a }}, {binds}]"));
            topo(&["apply", &file]).exits(1).says(words).says(hint).says("All changes were undone");
        };
        refused("{ source: data, target: /topo-no-such/x }", "read-only file system", "need one directly below `/`");
        refused("{ source: data, target: /topo-no-such }", "read-only file system", "need one directly below `/`");
        refused("{ source: data, target: /etc/passwd }", "not a directory", "use another target");
        refused("{ source: data/file, target: /srv }", "is a directory", "append the name of the file");
        refused("{ source: data, target: /var/run }", "which is the node's own", "/var/run");
        refused("{ source: data, target: /run/x }, { source: data, target: /var/run/x/y }", "the same as /run/x", "/var/run/x/y");
        assert_restored(&before);
        // What was there before comes back.
        let file = with_binds("binds7", "binds: [{ source: data, target: /srv }]");
        apply(&file);
        let other = "binds: [{ source: other, target: /srv }, { source: data, target: /usr/topo-none }, { source: data, target: /etc/passwd }]";
        topo(&["apply", &with_binds("binds7", other)]).exits(1).says("All changes were undone");
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file; test ! -e /usr/topo-none; echo $?"), "data\n0");
        destroy("binds7");
        assert_restored(&before);
    });
}

/// Namespaces of the machine that are mounted below the source are not kept by the node.
#[test]
fn namespaces_below_a_source_end_without_the_node() {
    in_namespaces(|| {
        sources();
        let text = "name: binds8\nnamespaces: { a: { binds: [{ source: /run, target: /opt/run }] }, b: {} }\n";
        apply(&lab(text));
        assert_eq!(says("a", "grep -c ' nsfs ' /proc/self/mountinfo; true"), "0");
        let b = fs::metadata("/run/netns/b").unwrap();
        let mut inside = start_inside("b", "sleep 1000");
        inside.kill().unwrap();
        inside.wait().unwrap();
        apply(&lab(&text.replace(", b: {}", "")));
        assert!(!says("a", "cat /proc/self/mountinfo").contains(&format!("net:[{}]", b.ino())));
        destroy("binds8");
    });
}

#[test]
fn a_process_finds_the_binds_of_its_node_and_restarts_when_they_change() {
    in_namespaces(|| {
        sources();
        let text = |source: &str| {
            with_binds(
                "binds9",
                &format!(
                    "binds: [{{ source: {source}, target: /srv, readonly: true }}], processes: {{ p: {{
                     command: 'cat file; exec sleep 1000', cwd: /srv, restart_on: [/srv], ready: {{ log: {source} }} }} }}"
                ),
            )
        };
        apply(&text("data"));
        assert_no_changes(&text("data"));
        apply(&text("other")).says("-/+ process p  # `/srv` changes");
        assert_no_changes(&text("other"));
        topo(&["logs", "a/p"]).ok().says("other");
        destroy("binds9");
    });
}

#[test]
fn a_node_with_a_user_namespace_has_binds() {
    in_namespaces(|| {
        sources();
        let before = settled_fingerprint();
        let text = "name: binds10\nnamespaces: { a: { isolation: full, binds: [
                      { source: data, target: /srv, readonly: true }, { source: other, target: /opt/topo-none/b }] } }\n";
        let file = lab(text);
        apply(&file);
        assert_no_changes(&file);
        assert_eq!(says("a", "cat /srv/file /opt/topo-none/b/file"), "data\nother");
        run("a", "touch /srv/new").exits(1).says("Read-only");
        let file = lab(&text.replace("{ source: data, target: /srv, readonly: true }, ", ""));
        apply(&file).says("- bind /srv");
        assert_no_changes(&file);
        assert_eq!(mounts("a", "/srv"), 0);
        destroy("binds10");
        assert_restored(&before);
    });
}

#[test]
fn a_saved_plan_holds_the_source_and_is_stale_when_that_was_replaced() {
    in_namespaces(|| {
        sources();
        let directory = Path::new(PLACE);
        let file = with_binds("binds11", "binds: [{ source: data, target: /srv }]");
        let plan = directory.join("binds.plan");
        let plan = plan.to_str().unwrap();
        topo(&["plan", "--out", plan, &file]).ok();
        assert!(fs::read_to_string(plan).unwrap().contains(directory.join("data").to_str().unwrap()));
        std::env::set_current_dir("/").unwrap();
        topo(&["apply", plan]).ok();
        assert_no_changes(&file);
        let file = with_binds("binds11", "binds: [{ source: link, target: /srv }]");
        sh(&format!("ln -sfn other {}/link", directory.display()));
        topo(&["plan", "--out", plan, &file]).ok();
        sh(&format!("ln -sfn /usr {}/link", directory.display()));
        topo(&["apply", plan]).exits(1).says("stale");
        destroy("binds11");
    });
}

#[test]
fn binds_work_in_a_sandbox_of_an_ordinary_user() {
    with_users(|| {
        let user = User::new();
        for name in ["data", "other"] {
            user.make_directory(&user.home.join(name));
            user.file(&format!("{name}/file"), name);
        }
        let text = "name: binds12\nnamespaces:\n  a: { isolation: [pid, mount], binds: [{ source: ./data, target: /srv, readonly: true },\n    \
                    { source: other/file, target: /opt/topo-none/f }, { source: other, target: /tmp/o }, { source: /, target: /mnt }] }\n  \
                    b: { isolation: full, binds: [{ source: ./data, target: /srv }] }\n";
        let file = user.file("lab.yaml", text);
        user.topo(&["apply", &file]).ok();
        user.topo(&["plan", "--detailed-exitcode", &file]).ok();
        let all =
            "cat /srv/file /opt/topo-none/f /tmp/o/file; test -d /mnt/proc/1 && test -d /mnt/usr && echo root; touch /tmp/o/new";
        assert_eq!(user.topo(&["exec", "a", "--", "sh", "-c", all]).ok().stdout, "dataotherotherroot\n");
        user.topo(&["exec", "a", "--", "touch", "/srv/new"]).exits(1).says("Read-only");
        user.topo(&["exec", "b", "--", "touch", "/srv/new"]).ok();
        user.topo(&["exec", "a", "--", "umount", "/tmp/o"]).ok();
        user.topo(&["plan", "--detailed-exitcode", &file]).exits(2).says("+ bind /tmp/o");
        let file =
            user.file("lab.yaml", &text.replace("readonly: true", "readonly: false").replace("{ source: /, target: /mnt }", ""));
        user.topo(&["apply", &file]).ok().says("- bind /mnt").says("readonly: true -> false");
        user.topo(&["plan", "--detailed-exitcode", &file]).ok();
        user.topo(&["exec", "a", "--", "touch", "/srv/newer"]).ok();
        user.topo(&["destroy", "binds12"]).ok().says("Stopped sandbox `default`");
        user.assert_nothing_left();
    });
}
