//! Shell completion: what can follow an unfinished command line.
//!
//! The scripts in `completion/` run `topo complete` with the words up to the cursor, and turn its [answer](Answer) into what the shell
//! expects. The words are matched by clap_complete; [`values`] adds what exists on the machine. The scripts leave files and the
//! command lines of other programs to the shell.

mod live;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use clap::{Command, CommandFactory};
use clap_complete::engine::{CompletionCandidate, complete};

use self::live::Surroundings;
use super::{Cli, sandbox_option, separator, wait};
use crate::name::escape;

const SANDBOX: &str = "--sandbox";
const SEPARATOR: &str = "--";
/// Marks candidates that are instructions to the script.
const INSTRUCTION: &str = "instruction";

/// What a script reads, one item a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the shell is asked to complete itself: `:files [EXTENSION…]`, `:directories`; `:command N` if the N-th word, counted from
    /// 0, begins the command line of another program.
    instructions: BTreeSet<String>,
    /// Words with their descriptions. No word begins with a colon.
    words: Vec<(String, String)>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words.iter().try_for_each(|(word, description)| writeln!(f, "{word}\t{description}"))?;
        self.instructions.iter().try_for_each(|instruction| writeln!(f, "{instruction}"))
    }
}

/// Completes the last of the words; the first is the program.
pub fn answer(words: &[OsString]) -> Answer {
    let Some((current, before)) = words.split_last().filter(|(_, before)| !before.is_empty()) else { return Answer::default() };
    let mut command = Cli::command();
    // As `main` reads the words. The last one is left out: it is unfinished.
    let mut line = wait::join_time(sandbox_option::join_names(before.iter().cloned()));
    let after_sandbox = line.last().is_some_and(|last| last == SANDBOX);
    let surroundings = Arc::new(Surroundings::of(&line));
    drop_bare_options(&mut line, &command);
    line.push(current.clone());
    let line = separator::insert(line);
    if let Some(position) = other_program(&line, &command) {
        // The words from there on are the same in both.
        let instruction = format!(":command {}", words.len() - (line.len() - position));
        return Answer { instructions: [instruction].into(), words: Vec::new() };
    }
    command = values::with_values(command, &surroundings);
    let (last, directory) = (line.len() - 1, std::env::current_dir().ok());
    let mut found = complete(&mut command, line, last, directory.as_deref()).unwrap_or_default();
    if after_sandbox {
        found.extend(live::sandboxes().into_iter().map(|name| CompletionCandidate::new(name.as_str())));
    }
    collect(found, &current.to_string_lossy())
}

fn collect(found: Vec<CompletionCandidate>, current: &str) -> Answer {
    let mut answer = Answer::default();
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        if candidate.get_tag().is_some_and(|tag| tag.to_string() == INSTRUCTION) {
            // It follows an option and an equals sign, or it is for a word that does not begin an option.
            let start = value.find(':').filter(|start| *start > 0 || !current.starts_with('-'));
            answer.instructions.extend(start.map(|start| value[start..].to_owned()));
            continue;
        }
        // Options are many. They are shown to those who begin one.
        let is_wanted = current.starts_with('-') || !value.starts_with('-');
        if is_wanted && value.starts_with(current) && !value.starts_with(':') {
            let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            let description = help.lines().next().unwrap_or_default();
            answer.words.push((escape(&value).into_owned(), escape(description).into_owned()));
        }
    }
    answer
}

/// Removes options that take a value only after an equals sign, and have none: the engine would take the next word for it.
fn drop_bare_options(line: &mut Vec<OsString>, command: &Command) {
    let options = |command: &Command| -> Vec<String> {
        let bare = command.get_arguments().filter(|argument| argument.is_require_equals_set());
        bare.filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect()
    };
    let mut bare = options(command);
    bare.extend(command.get_subcommands().flat_map(options));
    let end = line.iter().position(|word| word == SEPARATOR).unwrap_or(line.len());
    let rest = line.split_off(end);
    line.retain(|word| word.to_str().is_none_or(|word| !bare.iter().any(|option| option == word)));
    line.extend(rest);
}

/// Returns the position of another program that a command of topo runs, if that is on the line or completed next.
fn other_program(line: &[OsString], command: &Command) -> Option<usize> {
    let end = line[..line.len() - 1].iter().position(|word| word == SEPARATOR)?;
    let name = line[..end].iter().filter_map(|word| word.to_str()).find(|word| command.find_subcommand(word).is_some())?;
    let runs_another = command.find_subcommand(name)?.get_positionals().any(clap::Arg::is_last_set);
    runs_another.then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_line(line: &str) -> Answer {
        answer(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let answer = complete_line(line);
        let words = answer.words.iter().map(|(word, _)| word.as_str());
        let shown: Vec<_> = answer.instructions.iter().map(String::as_str).chain(words).collect();
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn commands_options_and_their_values() {
        check("topo app", &["apply"]);
        check("topo --color ne", &["never"]);
        check("topo --color=a", &["--color=auto", "--color=always"]);
        check("topo apply --no-r", &["--no-rollback"]);
        check("topo --sandbox=ci apply --lock", &["--lock-timeout"]);
        check("topo sandbox st", &["stop"]);
        check("topo schema na", &["namespaces"]);
        let (word, description) = complete_line("topo pla").words.remove(0);
        assert_eq!((word.as_str(), description.is_empty()), ("plan", false));
    }

    #[test]
    fn options_are_shown_to_those_who_begin_one() {
        assert!(complete_line("topo validate ").words.is_empty());
        check("topo validate --q", &["--quiet"]);
    }

    #[test]
    fn files_are_left_to_the_shell() {
        check("topo validate ", &[":files yaml yml"]);
        check("topo apply --wait ", &[":files", ":files yaml yml"]);
        check("topo apply --wait 3s ", &[":files", ":files yaml yml"]);
        check("topo plan --out ", &[":files"]);
        check("topo plan --out=a", &[":files"]);
        check("topo import ", &[":directories", ":files"]);
    }

    #[test]
    fn what_another_program_takes_is_left_to_its_own_completion() {
        check("topo exec a ", &[":command 3"]);
        check("topo exec a ls --a", &[":command 3"]);
        check("topo exec a -- ls -", &[":command 4"]);
        check("topo --sandbox ci exec a l", &[":command 5"]);
        check("topo exec --all -- ls x", &[":command 4"]);
        check("topo run lab.yaml -- car", &[":command 4"]);
        check("topo exec --al", &["--all"]);
    }
}
