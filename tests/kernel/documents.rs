//! Every command in the documents for people works, and prints what the document shows.
//!
//! A test goes through a document as a reader does: in a directory of its own, which has a copy of `examples/`, it writes the files whose
//! names are in their first line (`# lab.yaml`), runs the blocks of `sh`, and runs the commands of the blocks of `console`, each by a
//! shell of its own. `$ ` is the prompt of an ordinary user, who works in a sandbox, and `# ` that of root. A command must exit with
//! status 0, unless the next one is `echo $?`. `documents/output.rs` says what of its output may differ. At the end nothing may be left.
//!
//! A block that a test cannot run has an HTML comment before it, `<!-- not run: WHY -->`; the number of these is part of the test.
//! `UPDATE_EXPECT=1` writes the output of commands that print something else into the document; read what changed before it is committed.

mod blocks;
mod output;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blocks::{Prompt, Step, blocks, steps};

use super::harness::fingerprint::assert_restored;
use super::harness::programs::{path_of, search_path};
use super::harness::tools::TOPO;
use super::harness::{Feature, User, in_namespaces, needs, needs_programs, settled_fingerprint, sh, skip, with_users};

/// The documents, each with the number of its blocks that are not run.
const DOCUMENTS: [(&str, usize); 7] = [
    ("README.md", 2),
    ("docs/comparison.md", 0),
    ("docs/cookbook.md", 3),
    ("docs/graph.md", 0),
    ("docs/migrating.md", 0),
    ("docs/troubleshooting.md", 0),
    ("docs/tutorial.md", 0),
];

#[test]
fn graph() {
    with_users(|| follow_as_user("docs/graph.md", &[Feature::Bridge], &[]));
}

#[test]
fn readme() {
    with_users(|| follow_as_user("README.md", &[Feature::Bridge], &[]));
}

#[test]
fn cookbook() {
    let programs = ["bird", "birdc", "busybox", "dnsmasq", "nft"];
    with_users(|| follow_as_user("docs/cookbook.md", &[Feature::Bridge, Feature::Ipv6, Feature::Macvlan], &programs));
}

#[test]
fn cookbook_as_root() {
    with_users(|| {
        let setgroups = fs::read_to_string("/proc/self/setgroups").unwrap();
        if !nix::unistd::geteuid().is_root() || setgroups.trim() != "allow" {
            return skip("only root outside of user namespaces can change groups, as tcpdump does");
        }
        if needs_programs(&["tcpdump"]) {
            follow_as_root("docs/cookbook.md", &[]);
        }
    });
}

#[test]
fn migrating() {
    with_users(|| follow_as_user("docs/migrating.md", &[Feature::Bridge, Feature::Ipv6], &[]));
}

#[test]
fn migrating_as_root() {
    let features = [Feature::Bridge, Feature::Ipv6, Feature::Macvlan, Feature::Multipath, Feature::Vxlan];
    in_namespaces(|| follow_as_root("docs/migrating.md", &features));
}

#[test]
fn troubleshooting() {
    with_users(|| follow_as_user("docs/troubleshooting.md", &[Feature::Bridge, Feature::Ipv6], &["busybox"]));
}

#[test]
fn troubleshooting_as_root() {
    in_namespaces(|| follow_as_root("docs/troubleshooting.md", &[Feature::Bridge]));
}

#[test]
fn tutorial() {
    with_users(|| follow_as_user("docs/tutorial.md", &[Feature::Bridge], &["curl", "python3"]));
}

#[test]
fn what_is_not_run_is_counted() {
    for (document, expected) in DOCUMENTS {
        let found = blocks(&read(document)).iter().filter(|block| block.is_not_run).count();
        assert_eq!(found, expected, "{document} has another number of blocks that are not run");
    }
}

/// There is no test that goes through it.
#[test]
fn the_comparison_has_no_commands() {
    assert_eq!(steps(&read("docs/comparison.md")), []);
}

#[test]
fn commands_of_root_are_run_by_a_test_of_root() {
    let has_root = |document: &&str| {
        let is_root = |step: &Step| matches!(step, Step::Command { prompt: Prompt::Root, .. });
        steps(&read(document)).iter().any(is_root)
    };
    let found: Vec<&str> = DOCUMENTS.iter().map(|(document, _)| *document).filter(has_root).collect();
    assert_eq!(found, ["docs/cookbook.md", "docs/migrating.md", "docs/troubleshooting.md"]);
}

/// The table of commands says the same as the script and the lab below it, which are run and compared.
#[test]
fn the_table_of_commands_has_what_is_run() {
    let text = read("docs/migrating.md");
    let steps = steps(&text);
    let file = |name: &str| {
        let found = steps.iter().find_map(|step| match step {
            Step::Write { path, text } if path == name => Some(text),
            Step::Write { .. } | Step::Script { .. } | Step::Command { .. } => None,
        });
        found.unwrap_or_else(|| panic!("{name} is in the document"))
    };
    let (script, lab) = (file("commands.sh"), file("commands.yaml"));
    let table = text.lines().skip_while(|line| *line != "| command | lab file |").skip(2);
    let rows: Vec<_> = table.map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")).collect();
    assert!(rows.len() >= 15, "the table is found: {rows:?}");
    for (command, item) in rows {
        for (cell, file) in [(command, script), (item, lab)] {
            for span in cell.split('`').skip(1).step_by(2).filter(|span| *span != "up: false") {
                let is_there = |line: &str| {
                    let mut rest = Some(line);
                    span.split(" … ").all(|part| {
                        rest = rest.and_then(|rest| Some(rest.split_once(part)?.1));
                        rest.is_some()
                    })
                };
                assert!(file.lines().any(is_there), "`{span}` is not in what is run");
            }
        }
    }
}

/// Links between documents lead to files and headings that exist; pictures aside.
#[test]
fn links_lead_somewhere() {
    let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        documents.extend(has_extension(&path, "md").then(|| format!("docs/{name}")));
    }
    let mut broken = Vec::new();
    for document in documents {
        let directory = Path::new(&document).parent().unwrap();
        let text = read(&document);
        let prose = text.split("```").step_by(2).collect::<String>();
        for target in prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") || has_extension(Path::new(file), "svg") {
                continue;
            }
            let path = if file.is_empty() { document.clone() } else { directory.join(file).to_str().unwrap().to_owned() };
            let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
            let has_heading = || headings(&fs::read_to_string(&full).unwrap()).iter().any(|found| found == heading);
            if !full.exists() || !heading.is_empty() && !has_heading() {
                broken.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere: {broken:#?}");
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// The headings of a document, as links name them.
fn headings(text: &str) -> Vec<String> {
    let titles = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    let name = |title: &str| {
        let letters = title.trim_start_matches('#').trim().to_lowercase();
        letters.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).collect::<String>().replace(' ', "-")
    };
    titles.map(name).collect()
}

fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Runs the commands of an ordinary user.
fn follow_as_user(document: &str, features: &[Feature], programs: &[&str]) {
    if !needs(features) || !needs_programs(programs) {
        return;
    }
    let reader = Reader::User(User::new());
    follow(document, &reader);
    let Reader::User(user) = reader else { unreachable!("it was made a user") };
    user.assert_nothing_left();
}

/// Runs the commands of root, on a machine of its own.
fn follow_as_root(document: &str, features: &[Feature]) {
    if !needs(features) {
        return;
    }
    // At its first use, `ip netns` mounts its directory.
    sh("ip netns add first && ip netns delete first");
    let before = settled_fingerprint();
    let name = document.replace('/', "-");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    follow(document, &Reader::Root(directory.clone()));
    fs::remove_dir_all(&directory).unwrap();
    assert_restored(&before);
}

/// Who follows a document.
enum Reader {
    User(User),
    /// Root, with a directory.
    Root(PathBuf),
}

impl Reader {
    /// A shell that runs a text in the reader's directory, in which `topo` is the program under test.
    fn shell(&self, text: &str) -> Command {
        let (mut command, program) = match self {
            Self::User(user) => (user.command("timeout"), user.program()),
            Self::Root(directory) => {
                let mut command = Command::new(path_of("timeout"));
                command.current_dir(directory).env_remove("NO_COLOR").stdin(Stdio::null());
                (command, Path::new(TOPO))
            }
        };
        let mut path = program.parent().expect("the program is in a directory").as_os_str().to_owned();
        path.push(":");
        path.push(match self {
            Self::User(_) => "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".into(),
            Self::Root(_) => search_path(),
        });
        command.env("PATH", path).env("LC_ALL", "C.UTF-8");
        command.args(["--foreground", "--kill-after=5", "120", "bash", "-c", text]);
        command
    }

    /// Writes a file below the reader's directory.
    fn write(&self, path: &str, text: &str) {
        for (end, _) in path.match_indices('/') {
            let directory = self.directory().join(&path[..end]);
            match self {
                _ if directory.is_dir() => {}
                Self::User(user) => user.make_directory(&directory),
                Self::Root(_) => fs::create_dir(&directory).unwrap(),
            }
        }
        match self {
            Self::User(user) => drop(user.file(path, text)),
            Self::Root(directory) => fs::write(directory.join(path), text).unwrap(),
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Self::User(user) => &user.home,
            Self::Root(directory) => directory,
        }
    }

    fn prompt(&self) -> Prompt {
        match self {
            Self::User(_) => Prompt::User,
            Self::Root(_) => Prompt::Root,
        }
    }

    /// Copies a directory of the repository.
    fn copy(&self, path: &str) {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => self.copy(&path),
                false => self.write(&path, &fs::read_to_string(entry.path()).unwrap()),
            }
        }
    }
}

/// What a command did.
struct Ran {
    status: i32,
    printed: String,
}

/// Goes through a document.
fn follow(document: &str, reader: &Reader) {
    reader.copy("examples");
    let text = read(document);
    let lines: Vec<&str> = text.lines().collect();
    let mut updates: Vec<(Range<usize>, String)> = Vec::new();
    let mut status = 0;
    for step in steps(&text) {
        match step {
            Step::Write { path, text } => reader.write(&path, &text),
            Step::Script { line, text } if reader.prompt() == Prompt::User => {
                let ran = run(reader, &format!("set -e\n{text}"), 0);
                assert_eq!(ran.status, 0, "{document}:{line}: {text}{}", ran.printed);
            }
            Step::Command { prompt, line, text, shown, may_fail } if prompt == reader.prompt() => {
                let ran = run(reader, &text, status);
                status = ran.status;
                let place = format!("{document}:{}: `{text}`", line + 1);
                assert!(status == 0 || may_fail, "{place} failed with status {status}: {}", ran.printed);
                let printed: Vec<&str> = ran.printed.lines().collect();
                if output::matches(&lines[shown.clone()], &printed) {
                    continue;
                }
                let is_update = std::env::var_os("UPDATE_EXPECT").is_some();
                assert!(is_update, "{place} does not print\n{}\nbut\n{}", lines[shown].join("\n"), ran.printed);
                updates.push((shown, ran.printed));
            }
            Step::Script { .. } | Step::Command { .. } => {}
        }
    }
    if !updates.is_empty() {
        update(document, &lines, &updates);
    }
}

/// Runs a text in a shell, after a command that exited with `status`. What it leaves in the background is not waited for.
fn run(reader: &Reader, text: &str, status: i32) -> Ran {
    // The same program as built: `cargo` would build it again.
    let text = text.replace("cargo run -- ", "topo ");
    let file = reader.directory().join(".output");
    let output = fs::File::create(&file).unwrap();
    let mut command = reader.shell(&format!("(exit {status})\n{text}"));
    // One file for both, in the order in which they are written, as on a terminal.
    let ended = command.stdout(output.try_clone().unwrap()).stderr(output).status().expect("timeout can be run");
    let printed = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    fs::remove_file(&file).unwrap();
    Ran { status: ended.code().unwrap_or(-1), printed }
}

/// Writes what the commands printed into the document.
fn update(document: &str, lines: &[&str], updates: &[(Range<usize>, String)]) {
    let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    for (shown, printed) in updates.iter().rev() {
        let is_last = lines.get(shown.end).is_some_and(|line| line == "```");
        let separator = (!is_last && lines[shown.clone()].last().is_some_and(String::is_empty)).then(String::new);
        lines.splice(shown.clone(), printed.trim_end().lines().map(|line| line.trim_end().to_owned()).chain(separator));
    }
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(document), lines.join("\n") + "\n").unwrap();
}
