//! Inserts the `--` that `topo exec NAMESPACE COMMAND` leaves out, before clap parses the arguments: what follows the namespace
//! belongs to the command, options included.

use std::ffi::OsString;

use clap::CommandFactory;

use super::Cli;

const EXEC: &str = "exec";
const SEPARATOR: &str = "--";

/// Inserts `--` before the command of `exec`. With `--all`, where a namespace need not follow, the user must write it.
pub fn insert(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut words = arguments.iter().enumerate().skip(1);
    let mut command = None;
    while let Some((position, word)) = words.next() {
        match word.to_str() {
            Some(SEPARATOR | "--all") => return arguments,
            Some(option) if option.starts_with('-') => {
                if takes_next_word(option) {
                    words.next();
                }
            }
            Some(EXEC) if command.is_none() => command = Some(position),
            Some(_) | None if command.is_none() => return arguments,
            // The namespace.
            Some(_) | None => {
                if words.next().is_some_and(|(_, next)| !next.as_encoded_bytes().starts_with(b"-")) {
                    arguments.insert(position + 1, SEPARATOR.into());
                }
                return arguments;
            }
        }
    }
    arguments
}

/// Whether the value of that option of topo or of `exec` is the next word.
fn takes_next_word(option: &str) -> bool {
    let command = Cli::command();
    let exec = command.find_subcommand(EXEC).into_iter().flat_map(clap::Command::get_arguments);
    let long = option.trim_start_matches('-');
    let mut named = command.get_arguments().chain(exec).filter(|argument| argument.get_long() == Some(long));
    named.any(|argument| argument.get_action().takes_values() && !argument.is_require_equals_set())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words = line.split(' ').map(OsString::from).collect();
        assert_eq!(insert(words).join(OsStr::new(" ")), expected);
    }

    #[test]
    fn the_command_follows_the_namespace() {
        check("topo exec a ip -br address", "topo exec a -- ip -br address");
        check("topo --sandbox=ci exec a ls", "topo --sandbox=ci exec a -- ls");
        check("topo --color never exec --color always a ls", "topo --color never exec --color always a -- ls");
        check("topo exec exec exec", "topo exec exec -- exec");
        check("topo exec a git log -- file", "topo exec a -- git log -- file");
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "topo",
            "topo exec",
            "topo exec a",
            "topo exec a -- ls",
            "topo exec a --sandbox=ci -- ls",
            "topo exec --all -- ls",
            "topo exec --all ring ls",
            "topo apply exec a ls",
            "topo --help exec a",
        ] {
            check(line, line);
        }
    }
}
