//! Surroundings that somebody has prepared: nothing is followed, nothing else is written, and no output carries an escape byte.

use std::process::Stdio;

use super::harness::fingerprint::assert_restored;
use super::harness::programs::{command, path_of};
use super::harness::tools::TOPO;
use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, lab, needs, settled_fingerprint, sh, topo};

const LAB: &str = "
name: prey
namespaces:
  host: { interfaces: { br0: { bridge: { ports: [] } } }, sysctls: { net.ipv4.ip_forward: 1 } }
  a: {}
";

/// Sets a trap, and insists that topo refuses to work, names it, and leaves everything as it is.
#[track_caller]
fn trapped(trap: &str, named: &str, undo: &str) {
    sh(trap);
    let before = settled_fingerprint();
    let outcome = topo(&["apply", &lab(LAB)]);
    assert_eq!(outcome.status, 1, "`{trap}`: {outcome:?}");
    assert!(outcome.stderr.contains(named), "`{trap}`: `{named}` is not named in {}", outcome.stderr);
    assert_restored(&before);
    sh(undo);
}

#[test]
fn every_command_refuses_a_directory_that_others_can_change() {
    in_namespaces(|| {
        let file = lab("name: prey\nnamespaces: { a: {} }\n");
        for trap in ["ln -s elsewhere /run/topo", "mkdir -m 777 /run/topo"] {
            sh(&format!("mkdir -p /run/elsewhere; {trap}"));
            for arguments in [["plan", &file].as_slice(), &["apply", &file], &["destroy", &file], &["destroy", "prey"], &["list"]]
            {
                topo(arguments).exits(1).says("`/run/topo` is");
            }
            sh("rm -r /run/topo /run/elsewhere");
        }
    });
}

#[test]
fn planted_files_are_left_alone() {
    in_namespaces(|| {
        let file = lab("name: prey\nnamespaces: { a: {} }\n");
        sh("mkdir -m 755 /run/topo; mkfifo /run/topo/prey.lock");
        topo(&["apply", &file]).exits(1).says("cannot lock lab `prey`: not a regular file");
        sh("test -p /run/topo/prey.lock; rm -r /run/topo");
    });
}

#[test]
fn a_damaged_record_does_not_keep_a_lab() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: noted\nnamespaces: { host: { sysctls: { net.ipv4.ip_default_ttl: 65 } }, a: {} }\n");
        apply(&file);
        sh("echo '{ \"boot' > /run/topo/noted.json");
        for arguments in [["plan", &file].as_slice(), &["apply", &file], &["destroy", &file], &["destroy", "noted"]] {
            topo(arguments).exits(1).says("`/run/topo/noted.json` is damaged");
        }
        topo(&["destroy", "noted"]).exits(1).says("--forget");
        topo(&["destroy", "--forget", "noted"]).ok();
        sh("test $(cat /proc/sys/net/ipv4/ip_default_ttl) = 65; echo 64 > /proc/sys/net/ipv4/ip_default_ttl");
        assert_restored(&before);
    });
}

#[test]
fn traps_are_not_stepped_into() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("mkdir /run/elsewhere; echo precious > /run/elsewhere/file");
        trapped("ln -s elsewhere /run/topo", "/run/topo", "rm /run/topo");
        trapped("touch /run/topo", "/run/topo", "rm /run/topo");
        trapped("mkdir -m 777 /run/topo", "/run/topo", "rmdir /run/topo");
        trapped("mkdir -m 770 /run/topo", "/run/topo", "rmdir /run/topo");
        let with = |trap: &str| format!("mkdir -m 755 /run/topo; {trap}");
        trapped(&with("ln -s ../elsewhere/file /run/topo/prey.lock"), "prey", "rm -r /run/topo");
        trapped(&with("ln -s ../elsewhere/file /run/topo/prey.json"), "/run/topo/prey.json", "rm -r /run/topo");
        trapped(&with("mkfifo /run/topo/prey.json"), "/run/topo/prey.json", "rm -r /run/topo");
        trapped(&with("mkdir /run/topo/prey.json"), "/run/topo/prey.json", "rm -r /run/topo");
        trapped(&with("echo '{' > /run/topo/prey.json"), "/run/topo/prey.json", "rm -r /run/topo");
        trapped("rmdir /run/netns; ln -s elsewhere /run/netns", "/run/netns", "rm /run/netns; mkdir /run/netns");
        trapped("chmod 777 /run/netns", "/run/netns", "chmod 755 /run/netns");
        trapped("ln -s ../elsewhere/file /run/netns/a", "a", "rm /run/netns/a");
        // `ip netns` itself would wait for somebody to write, and so would the fingerprint.
        sh("mkfifo /run/netns/a");
        topo(&["apply", &lab(LAB)]).exits(1).says("a");
        sh("test -p /run/netns/a; rm /run/netns/a");
        trapped(
            "touch /run/netns/a; mount --bind /proc/self/ns/uts /run/netns/a",
            "a",
            "umount -n /run/netns/a; rm /run/netns/a",
        );
        trapped(
            "touch /run/netns/a; mount --bind /run/elsewhere/file /run/netns/a",
            "a",
            "umount -n /run/netns/a; rm /run/netns/a",
        );
        sh("grep -q precious /run/elsewhere/file");
    });
}

#[test]
fn a_symbolic_link_in_place_of_an_unfinished_record_is_removed_and_not_followed() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("mkdir -m 755 /run/topo; echo precious > /run/file; ln -s ../file /run/topo/prey.json.new");
        apply(&lab(LAB));
        sh("grep -q precious /run/file; rm /run/file");
        destroy("prey");
        sh("test ! -e /run/topo");
    });
}

#[test]
fn no_escape_byte_is_printed() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        // A shell that does not know `\e` knows the octal number.
        sh("e=$(printf '\\033[31m'); ip link add br0 type bridge; ip link set br0 alias \"$e\"
            ip link add top0 type bridge; ip link property add dev top0 altname \"${e}x\"; touch \"/run/netns/${e}y\"
            ip netns add a; ip -n a link set lo alias \"topo:${e}/a\"");
        let hostile = "name: prey\nnamespaces: { host: { interfaces: { br0: { bridge: {} }, \"\\e[31m\": {} } }, \"\\e]0;\": {}, a: {} }\n\"\\e[2J\": 1\n";
        for file in [lab(LAB), lab(hostile), lab("name: \"\\e[31m\"\n"), lab("\u{1b}[31m: ["), "\u{1b}[31mnone.yaml".to_owned()] {
            for command in ["validate", "plan", "apply", "destroy"] {
                let outcome = topo(&[command, &file]);
                assert!(
                    !outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'),
                    "{command} {file}: {outcome:?}"
                );
            }
        }
        let bad_argument = topo(&["apply", "--adopt", "\u{1b}[31m", &lab(LAB)]);
        assert!(!bad_argument.stderr.contains('\u{1b}'), "{bad_argument:?}");
    });
}

#[test]
fn a_hostile_file_is_refused_soon_and_within_64_mib() {
    in_namespaces(|| {
        let deep = format!("name: x\nnamespaces: {}{}", "[".repeat(200_000), "]".repeat(200_000));
        let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            bomb.push_str(&format!("b{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
        }
        let many = "- a\n".repeat(4_000_000);
        let long = format!("name: {}\n", "x".repeat(1 << 23));
        let quoted = format!("name: \"{}\"\n", "\\n".repeat(1 << 22));
        let flow = format!("name: x\nlinks: [{}]\n", "a,".repeat(1 << 22));
        let keys = format!("name: x\nnamespaces: {{{}}}\n", "a,".repeat(1 << 22));
        let namespaces: String = (0..100_000).map(|number| format!("  n{number}: {{}}\n")).collect();
        let namespaces = format!("name: x\nnamespaces:\n{namespaces}");
        let anchors: String = (0..500_000).map(|number| format!("- &a{number} x\n")).collect();
        let empty = "\n".repeat(1 << 23);
        let files = [deep, bomb, many, long, quoted, flow, keys, namespaces, anchors, empty].map(|text| lab(&text));
        let (huge, time) = (lab(""), path_of("time"));
        sh(&format!("truncate -s 1G {huge}"));
        for file in files.iter().map(String::as_str).chain([huge.as_str(), "/dev/zero", "/dev/urandom"]) {
            // The bound on time is for what would never end: debug builds are slow, and emulated machines slower.
            let script = format!("ulimit -t 300; exec {} -f %M {TOPO} plan {file}", time.display());
            let output = command("sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("time can be run");
            let stderr = String::from_utf8_lossy(&output.stderr);
            let numbers: Vec<f64> =
                stderr.lines().last().unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
            let told: String = stderr.chars().take(300).collect();
            let Some(memory) = numbers.first().copied() else { panic!("{file}: {told}") };
            assert!(output.status.code() == Some(1), "{file}: {}: {told}", output.status);
            assert!(memory < 65536.0 && stderr.len() < 1 << 20, "{file}: {memory} KiB, {} bytes: {told}", stderr.len());
        }
    });
}

#[test]
fn the_file_of_another_user_can_be_applied() {
    in_namespaces(|| {
        // The directory is closed to everybody but its owner; root reads it before it gives up that right.
        sh("mkdir -m 700 /run/home");
        let file = "/run/home/lab.yaml";
        std::fs::copy(lab("name: mine\nnamespaces: { a: {} }\n"), file).unwrap();
        sh("chmod 000 /run/home/lab.yaml /run/home");
        topo(&["plan", "--out", "/run/home/plan", file]).ok();
        topo(&["apply", "/run/home/plan"]).ok();
        assert_no_changes(file);
        destroy(file);
    });
}
