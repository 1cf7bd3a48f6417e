//! `plan --as ip`: a shell that runs the script makes the network that `apply` makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::harness::tools::{Outcome, TOPO};
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, command, destroy, in_namespaces, kernel_at_least, lab, lacks, needs, rounds,
    settled_view, sh, topo,
};
use super::random::{Dice, FEATURES, UPLINK};

/// A script, and whether the installed iproute2 has words for all of the plan.
struct Script {
    path: String,
    is_whole: bool,
}

/// The script of a plan with these arguments.
#[track_caller]
fn script(arguments: &[&str]) -> Script {
    let outcome = topo(&[&["plan", "--as", "ip"], arguments].concat()).ok();
    Script { path: lab(&outcome.stdout), is_whole: outcome.stderr.is_empty() }
}

impl Script {
    /// Runs it, which must succeed without a word.
    #[track_caller]
    fn run(&self) {
        let output = command("sh").arg(&self.path).stdin(Stdio::null()).output().expect("sh can be run");
        let outcome = Outcome::from(&output);
        let silent = outcome.status == 0 && outcome.stdout.is_empty() && outcome.stderr.is_empty();
        let script = || fs::read_to_string(&self.path).unwrap();
        assert!(silent, "status {}: {}{}\n{}", outcome.status, outcome.stdout, outcome.stderr, script());
    }
}

/// The words of lab files that this kernel does not know.
pub fn unknown_words() -> Vec<&'static str> {
    let words = [
        (Feature::BridgeVlanFiltering, "vlan_filtering"),
        (Feature::Dummy, "dummy:"),
        (Feature::Geneve, "geneve:"),
        (Feature::Ifb, "ifb:"),
        (Feature::Ipvlan, "ipvlan:"),
        (Feature::Ipvtap, "ipvtap:"),
        (Feature::Macvtap, "macvtap:"),
        (Feature::Netem, "impair:"),
        (Feature::Vlan, "vlan:"),
        (Feature::Vrf, "vrf:"),
    ];
    /// Options that came with Linux 6.2 to 6.6, most of them of ports of bridges.
    const LATE: [&str; 5] = ["mab:", "mcast_max_groups:", "neigh_vlan_suppress:", "backup_nhid:", "bclim:"];
    let late = LATE.into_iter().filter(|_| !kernel_at_least(6, 6));
    words.into_iter().filter(|(feature, _)| lacks(*feature)).map(|(_, word)| word).chain(late).collect()
}

/// The files with this extension in a directory.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap();
    let files = entries.map(|entry| entry.unwrap().path()).filter(|file| file.extension().is_some_and(|end| end == extension));
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

/// The lab files of all cases in `tests/plans`: the one that is there, and the one that is applied.
pub fn cases() -> Vec<(String, [String; 2])> {
    let mut cases = Vec::new();
    // What nodes do beyond their network is no part of a script.
    let of_nodes = |file: &PathBuf| ["bind", "node"].iter().any(|subject| file.file_stem().unwrap() == *subject);
    for file in files("tests/plans", "md").into_iter().filter(|file| !of_nodes(file)) {
        let text = fs::read_to_string(&file).unwrap();
        for case in text.split("\n## ").skip(1) {
            let title = format!("{}, {}", file.file_stem().unwrap().display(), case.lines().next().unwrap());
            let labs: Vec<_> =
                case.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect();
            cases.push((title, labs.try_into().expect("a case has two lab files")));
        }
    }
    cases
}

/// Runs a shell script on a machine of its own that has an `eth0`. In it `topo` is the binary under test.
pub fn afresh(script: &str) -> Outcome {
    let machine = format!(
        "set -e; mount -t tmpfs tmpfs /run; ip link set lo up; {UPLINK}\n\
         topo() {{ '{TOPO}' \"$@\"; }}\n\
         by_script() {{ topo plan --as ip \"$@\" > /run/script || exit 99; sh /run/script || exit 99; }}\n\
         apply() {{ topo apply --quiet \"$1\" || exit 99; }}\n{script}"
    );
    let mut unshare = command("unshare");
    unshare.args(["--net", "--mount", "sh", "-c", &machine]).env_remove("NO_COLOR").stdin(Stdio::null());
    Outcome::from(&unshare.output().expect("unshare can be run"))
}

/// What is wrong with the outcome: a script or an apply failed, or something is left to do although iproute2 has words for all.
fn complaint(title: &str, what: &str, outcome: &Outcome) -> Option<String> {
    let is_lacking = outcome.stderr.contains("warning: iproute2 cannot");
    let complaint = format!("{title}, {what}: status {}\n{}{}", outcome.status, outcome.stdout, outcome.stderr);
    (outcome.status == 99 || outcome.status != 0 && !is_lacking).then_some(complaint)
}

/// Runs the scripts for one lab, for a change to another, and for the end of that. Returns what is wrong.
fn try_case(title: &str, labs: &[String; 2]) -> Vec<String> {
    let [from, to] = labs.each_ref().map(|text| lab(text));
    let steps = [
        ("from nothing", format!("by_script '{from}'; topo plan --detailed-exitcode '{from}'")),
        ("the change", format!("apply '{from}'; by_script '{to}'; topo plan --detailed-exitcode '{to}'")),
        ("the way back", format!("apply '{to}'; by_script '{from}'; topo plan --detailed-exitcode '{from}'")),
        ("the end", format!("apply '{to}'; by_script --destroy '{to}'; topo plan --destroy --detailed-exitcode '{to}'")),
    ];
    steps.iter().filter_map(|(what, script)| complaint(title, what, &afresh(script))).collect()
}

#[test]
fn scripts_do_what_the_plans_of_all_cases_say() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        let cases = cases();
        assert!(cases.len() > 100);
        let unknown = unknown_words();
        let supported = cases.iter().filter(|(_, labs)| !labs.iter().any(|lab| unknown.iter().any(|word| lab.contains(word))));
        let wrong: Vec<_> = supported.flat_map(|(title, labs)| try_case(title, labs)).collect();
        assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn scripts_make_the_networks_of_all_examples() {
    in_namespaces(|| {
        let unknown = unknown_words();
        for file in files("examples", "yaml") {
            let file = file.to_str().unwrap();
            let text = fs::read_to_string(file).unwrap();
            // What processes add is no part of the script.
            if text.contains("processes:") || unknown.iter().any(|word| text.contains(word)) {
                continue;
            }
            let before = settled_view();
            apply(file);
            let applied = settled_view();
            let end = script(&["--destroy", file]);
            end.run();
            assert_view(&before, &format!("the end of {file}"));
            destroy(file);
            let beginning = script(&[file]);
            beginning.run();
            assert_view(&applied, file);
            if beginning.is_whole {
                assert_no_changes(file);
            }
            destroy(file);
            assert_view(&before, &format!("the end of {file} after the script"));
        }
    });
}

#[test]
fn scripts_say_every_option_and_object() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        let (unknown, mut wrong) = (unknown_words(), Vec::new());
        for text in files("tests/scripts", "yaml").iter().map(|file| fs::read_to_string(file).unwrap()) {
            let title = text.lines().next().unwrap();
            if !unknown.iter().any(|word| text.contains(word)) {
                let empty = format!("{title}\nnamespaces: {{ a: {{}} }}\n");
                wrong.extend(try_case(title, &[empty, text.clone()]));
            }
        }
        assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn scripts_make_random_networks() {
    in_namespaces(|| {
        if !needs(&FEATURES) {
            return;
        }
        sh(UPLINK);
        let machine = settled_view();
        let mut dice = Dice::new(3);
        for _ in 0..rounds(12) {
            let [first, second, _] = dice.history();
            apply(&second);
            let applied = settled_view();
            script(&["--destroy", &second]).run();
            assert_view(&machine, &format!("the end of {second}"));
            destroy("random");
            apply(&first);
            let change = script(&[&second]);
            change.run();
            assert_view(&applied, &format!("{second} after {first}"));
            if change.is_whole {
                assert_no_changes(&second);
            }
            // By its file, since no record names what is in `host`.
            destroy(&second);
            // What iproute2 could not mark stays.
            sh(&format!("ip link delete eth0; {UPLINK}"));
            assert_view(&machine, &format!("the end of {second} after {first}"));
        }
    });
}
