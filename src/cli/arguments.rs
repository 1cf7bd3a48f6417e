//! Arguments before clap(3) sees them: `--sandbox NAME` becomes `--sandbox=NAME` where NAME can be nothing else.
//!
//! The name may be left out, so that in `--sandbox lab.yaml` and `--sandbox apply` what follows must not be taken for one.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::CommandFactory;

use super::Cli;
use crate::name::SandboxName;

const OPTION: &str = "--sandbox";

/// The arguments with each name of a sandbox joined to its option.
pub(super) fn with_sandbox_joined(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let is_free = |name: &str| command.find_subcommand(name).is_none() && name != "help" && !Path::new(name).exists();
    join(arguments, is_free)
}

/// `is_free` says whether a word is neither a command nor a file.
fn join(arguments: impl IntoIterator<Item = OsString>, is_free: impl Fn(&str) -> bool) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        if argument == "--" {
            joined.push(argument);
            break;
        }
        let follows = joined.last().is_some_and(|last| last == OPTION);
        match name(&argument).filter(|name| follows && is_free(name)) {
            Some(name) => {
                joined.pop();
                joined.push(format!("{OPTION}={name}").into());
            }
            None => joined.push(argument),
        }
    }
    joined.extend(arguments);
    joined
}

/// A sandbox's name. One with a dot looks like a file's, and wants the equals sign.
fn name(argument: &OsStr) -> Option<&str> {
    argument.to_str().filter(|text| !text.contains('.') && text.parse::<SandboxName>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words = line.split(' ').map(OsString::from);
        let joined = join(words, |word| !["apply", "exec", "file"].contains(&word));
        assert_eq!(joined.join(OsStr::new(" ")), expected);
    }

    #[test]
    fn a_name_belongs_to_the_option_before_it() {
        check("topo apply --sandbox ci lab.yaml", "topo apply --sandbox=ci lab.yaml");
        check("topo --sandbox ci apply", "topo --sandbox=ci apply");
        check("topo apply --sandbox=ci other", "topo apply --sandbox=ci other");
    }

    #[test]
    fn files_commands_and_options_are_no_names() {
        for line in [
            "topo apply --sandbox lab.yaml",
            "topo --sandbox apply lab.yaml",
            "topo apply --sandbox file",
            "topo apply --sandbox -",
            "topo list --sandbox --json",
            "topo apply --sandbox",
            "topo exec a -- topo --sandbox ci apply",
        ] {
            check(line, line);
        }
    }
}
