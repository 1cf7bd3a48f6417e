//! Rewrites `--sandbox NAME` as `--sandbox=NAME` before clap parses the arguments, unless NAME is a file or a command.
//!
//! The name is optional, so in `--sandbox lab.yaml` and `--sandbox apply` the next word is not the sandbox's name.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::CommandFactory;

use super::Cli;
use crate::name::SandboxName;

const OPTION: &str = "--sandbox";

/// Joins the name of a sandbox to its option.
pub fn join_names(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let is_unused = |name: &str| command.find_subcommand(name).is_none() && name != "help" && !Path::new(name).exists();
    join(arguments, is_unused)
}

/// `is_unused` tells whether a word is neither a command nor a file.
fn join(arguments: impl IntoIterator<Item = OsString>, is_unused: impl Fn(&str) -> bool) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        if argument == "--" {
            joined.push(argument);
            break;
        }
        let follows = joined.last().is_some_and(|last| last == OPTION);
        match name(&argument).filter(|name| follows && is_unused(name)) {
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

/// The argument as a sandbox's name. One that looks like a lab file needs the equals sign.
fn name(argument: &OsStr) -> Option<&str> {
    let is_file = Path::new(argument).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    argument.to_str().filter(|text| !is_file && text.parse::<SandboxName>().is_ok())
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
    fn a_name_is_joined_to_the_option_before_it() {
        check("topo apply --sandbox ci lab.yaml", "topo apply --sandbox=ci lab.yaml");
        check("topo --sandbox ci apply", "topo --sandbox=ci apply");
        check("topo --sandbox ci.2 apply", "topo --sandbox=ci.2 apply");
        check("topo apply --sandbox=ci other", "topo apply --sandbox=ci other");
    }

    #[test]
    fn files_commands_and_options_are_not_names() {
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
