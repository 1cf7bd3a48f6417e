//! Shells complete what exists where the command would run, and nothing is changed by that.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::programs::{explain_missing, find};
use super::harness::tools::{Outcome, TOPO};
use super::harness::{User, apply, in_namespaces, lab, sh, skip, with_users};

const NODES: &str = "name: web\nnamespaces:\n  host: { interfaces: { bridge0: { bridge: {} } } }\n  \
    r1: { processes: { bgpd: { command: [sleep, '1000'] }, zebra: { command: [sleep, '1000'] } } }\n  r2: {}\n";
const ALONE: &str = "name: ring\nnamespaces: { alice: {}, bob: {} }\n";

/// The words that can follow a line.
#[track_caller]
fn words(outcome: &Outcome) -> Vec<String> {
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    outcome.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// The arguments that complete a line.
fn arguments(line: &str) -> Vec<&str> {
    ["complete", "--"].into_iter().chain(line.split(' ')).collect()
}

#[track_caller]
fn check(user: &User, line: &str, expected: &[&str]) {
    assert_eq!(words(&user.topo(&arguments(line))), expected, "{line}");
}

#[test]
fn what_exists_in_the_sandbox_of_the_command_is_completed() {
    with_users(|| {
        let user = User::new();
        for line in ["topo exec ", "topo logs ", "topo sandbox stop ", "topo exec --sandbox=ci "] {
            check(&user, line, &[]);
        }
        user.assert_nothing_left();
        let (web, ring) = (user.file("web.yaml", NODES), user.file("ring.yaml", ALONE));
        user.topo(&["apply", "--sandbox=ci", &web]).ok();
        user.topo(&["apply", &ring]).ok();
        for (line, expected) in [
            ("topo exec ", ["host", "alice", "bob"].as_slice()),
            ("topo shell al", &["alice"]),
            ("topo exec --all ", &["ring"]),
            ("topo --sandbox=ci exec ", &["host", "r1", "r2"]),
            ("topo --sandbox ci exec r", &["r1", "r2"]),
            ("topo destroy ", &["ring", ":files yaml yml"]),
            ("topo destroy --sandbox=ci w", &["web", ":files yaml yml"]),
            ("topo logs --sandbox=ci ", &["r1/bgpd", "r1/zebra"]),
            ("topo restart --sandbox=ci r1/z", &["r1/zebra"]),
            ("topo stop --sandbox=ci r2", &[]),
            ("topo apply --sandbox=ci --adopt h", &["host:bridge0"]),
            ("topo apply --adopt ", &["alice", "bob", "all"]),
            ("topo sandbox stop ", &["ci", "default"]),
            ("topo exec --sandbox=", &["--sandbox=ci", "--sandbox=default"]),
            ("topo --sandbox c", &["completions", "ci"]),
            ("topo plan web.yaml --only ", &["host", "r1", "r2"]),
            ("topo run ring.yaml --in ", &["host", "alice", "bob"]),
        ] {
            check(&user, line, expected);
        }
        let mut chosen = user.topo_command(&arguments("topo exec r"));
        assert_eq!(words(&Outcome::from(&chosen.env("TOPO_SANDBOX", "ci").output().unwrap())), ["r1", "r2"]);
        user.topo(&["sandbox", "stop", "ci"]).ok();
        user.topo(&["sandbox", "stop", "default"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn outside_of_sandboxes_root_sees_the_machine() {
    in_namespaces(|| {
        apply(&lab(NODES)).ok();
        let topo = |line: &str| Outcome::from(&Command::new(TOPO).args(arguments(line)).output().unwrap());
        assert_eq!(words(&topo("topo exec r")), ["r1", "r2"]);
        assert_eq!(words(&topo("topo logs ")), ["r1/bgpd", "r1/zebra"]);
        assert_eq!(words(&topo("topo export host:")), ["host:bridge0"]);
        sh("ip netns add foreign");
        assert_eq!(words(&topo("topo export ")), ["foreign", "r1", "r2", "host:bridge0"]);
        super::harness::destroy(&lab(NODES)).ok();
    });
}

#[test]
fn a_dead_sandbox_stays_as_it_is_and_a_silent_node_ends_the_search() {
    with_users(|| {
        let user = User::new();
        let (web, ring) = (user.file("web.yaml", NODES), user.file("ring.yaml", ALONE));
        user.topo(&["apply", "--sandbox=ci", &web]).ok();
        let ps = user.topo(&["ps", "--sandbox=ci", &web]).ok();
        assert!(ps.stdout.contains("bgpd"), "{}", ps.stdout);
        let script =
            "for p in /proc/[0-9]*; do grep -q '^topo: init web/r1' $p/cmdline 2>/dev/null && echo ${p#/proc/}; done; true";
        let found = user.topo(&["exec", "--sandbox=ci", "host", "--", "sh", "-c", script]).ok().stdout;
        // The init, and the process that waits for it.
        let inits: Vec<_> = found.lines().map(|line| Pid::from_raw(line.parse().unwrap())).collect();
        assert!(!inits.is_empty());
        let signal = |signal: Signal| {
            for init in &inits {
                kill(*init, signal).unwrap();
            }
        };
        signal(Signal::SIGSTOP);
        let outcome = user.topo(&arguments("topo logs --sandbox=ci "));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.contains("error")), ("", false), "{}", outcome.stderr);
        signal(Signal::SIGCONT);
        check(&user, "topo logs --sandbox=ci r1/b", &["r1/bgpd"]);
        user.topo(&["sandbox", "stop", "ci"]).ok();

        user.topo(&["apply", &ring]).ok();
        kill(Pid::from_raw(user.keepers()[0]), Signal::SIGKILL).unwrap();
        check(&user, "topo exec a", &[]);
        assert!(user.runtime().join("topo/record-default").exists(), "the next command that changes something cleans up");
        user.topo(&["list"]).ok();
        user.topo(&["destroy", "ring"]).ok();
        user.assert_nothing_left();
    });
}

/// What a shell's line editor makes of lines that end with a tab: the words, each followed by `|`.
fn type_lines(user: &User, shell: &Path, options: &[&str], settings: &str, lines: &[&str]) -> String {
    let mut command = user.command("script");
    let words: Vec<_> = [shell.to_str().unwrap()].into_iter().chain(options.iter().copied()).collect();
    command.args(["-qec", &words.join(" "), "/dev/null"]);
    command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", user.program().parent().unwrap().display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{settings}").unwrap();
    for line in lines {
        // Ctrl-A and Ctrl-E: printf is written before the line once it is completed.
        writeln!(stdin, "{line}\t\u{1}printf '%s|' \u{5}").unwrap();
    }
    writeln!(stdin, "\nexit 6").unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(6), "{shown}");
    shown
}

#[test]
fn bash_and_zsh_complete_lines() {
    with_users(|| {
        let user = User::new();
        let (web, ring) = (user.file("web.yaml", NODES), user.file("my ring.yaml", ALONE));
        user.topo(&["apply", "--sandbox=ci", &web]).ok();
        user.topo(&["apply", &ring]).ok();
        user.file("notes.txt", "");
        let shells: [(&str, &[&str], &str); 2] = [
            ("bash", &["--norc", "--noprofile", "-i"], "source <(topo completions bash)"),
            ("zsh", &["-f", "-i"], "bindkey -e; autoload -Uz compinit; compinit -D -u; source <(topo completions zsh)"),
        ];
        for (shell, options, settings) in shells {
            let Some(path): Option<PathBuf> = find(shell) else {
                skip(&explain_missing(shell));
                continue;
            };
            // Where no file fits, zsh offers all.
            let other_file = if shell == "zsh" { "topo|plan|notes.txt|" } else { "topo|plan|not|" };
            let cases = [
                ("topo vali", "topo|validate|"),
                ("topo plan --detail", "topo|plan|--detailed-exitcode|"),
                ("topo exec ali", "topo|exec|alice|"),
                ("topo exec --sandbox=ci r2", "topo|exec|--sandbox=ci|r2|"),
                ("topo list --sandbox=c", "topo|list|--sandbox=ci|"),
                ("topo --sandbox ci logs r1/z", "topo|--sandbox|ci|logs|r1/zebra|"),
                ("topo apply --sandbox=ci --adopt host:b", "topo|apply|--sandbox=ci|--adopt|host:bridge0|"),
                ("topo destroy rin", "topo|destroy|ring|"),
                ("topo plan we", "topo|plan|web.yaml|"),
                ("topo plan my", "topo|plan|my ring.yaml|"),
                ("topo plan my\\ ring.yaml --only bo", "topo|plan|my ring.yaml|--only|bob|"),
                ("topo plan --out=not", "topo|plan|--out=notes.txt|"),
                ("topo plan not", other_file),
                ("topo exec alice -- unshar", "topo|exec|alice|--|unshare|"),
            ];
            let lines: Vec<_> = cases.iter().map(|(line, _)| *line).collect();
            let shown = type_lines(&user, &path, options, settings, &lines);
            for (line, expected) in cases {
                assert!(shown.contains(expected), "{shell}: `{line}` did not become `{expected}`:\n{shown}");
            }
        }
        user.topo(&["sandbox", "stop", "ci"]).ok();
        user.topo(&["sandbox", "stop", "default"]).ok();
        user.assert_nothing_left();
    });
}
