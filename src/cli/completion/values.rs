//! Which values an argument takes, by the name that its help shows for the value.

use std::ffi::OsStr;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::INSTRUCTION;
use super::live::{self, Surroundings};
use crate::name::HOST;

/// What can be written as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Lab files.
    LabFiles,
    /// Any files.
    Files,
    /// Directories.
    Directories,
    /// This word.
    Word(&'static str),
    /// Labs.
    Labs,
    /// Namespaces.
    Namespaces,
    /// Namespaces, and `host`.
    NamespacesAndHost,
    /// Namespaces, and `host`; with `--all`, labs.
    NamespacesOrLabs,
    /// The namespaces that the lab file declares, and `host`.
    DeclaredNamespaces,
    /// Links of `host`, written `host:INTERFACE`.
    HostLinks,
    /// Processes, written NODE/PROCESS.
    Processes,
    /// Sandboxes.
    Sandboxes,
}

/// Lets the engine ask for the values of all arguments.
pub fn with_values(command: Command, surroundings: &Arc<Surroundings>) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|argument| {
        let values = match argument.get_possible_values().is_empty() {
            true => of_argument(&name, &argument).unwrap_or_default(),
            false => Vec::new(),
        };
        if values.is_empty() {
            return argument;
        }
        let surroundings = Arc::clone(surroundings);
        argument.add(ArgValueCompleter::new(move |current: &OsStr| {
            let current = current.to_string_lossy();
            values.iter().flat_map(|values| candidates(*values, &current, &surroundings)).collect()
        }))
    });
    command.mut_subcommands(|subcommand| with_values(subcommand, surroundings))
}

/// Returns what an argument of a command takes; `None` if the name of its value is not known.
fn of_argument(command: &str, argument: &Arg) -> Option<Vec<Values>> {
    let id = argument.get_id().as_str();
    let names = match argument.get_value_names() {
        Some(names) => names.iter().map(ToString::to_string).collect(),
        None => vec![id.to_uppercase()],
    };
    let has_links = names.iter().any(|name| name.contains("host:INTERFACE"));
    let is_file_or_name = names.iter().any(|name| name.starts_with("LAB|"));
    let mut all = Vec::new();
    for name in names.iter().flat_map(|name| name.split('|')) {
        all.extend(match name {
            "LAB" if command == "exec" => None,
            "LAB" => Some(Values::LabFiles),
            "FILE" | "PLAN" => Some(Values::Files),
            "DIRECTORY" => Some(Values::Directories),
            "NAME" if id == "sandbox" => Some(Values::Sandboxes),
            "NAME" if is_file_or_name => Some(Values::Labs),
            "SANDBOX" => Some(Values::Sandboxes),
            "NAMESPACE" if command == "exec" => Some(Values::NamespacesOrLabs),
            "NAMESPACE" if id == "only" || command == "run" => Some(Values::DeclaredNamespaces),
            "NAMESPACE" if has_links => Some(Values::Namespaces),
            "NAMESPACE" => Some(Values::NamespacesAndHost),
            "host:INTERFACE" => Some(Values::HostLinks),
            "NODE/PROCESS" => Some(Values::Processes),
            "all" => Some(Values::Word("all")),
            // New names, and what has no list.
            "NAME" | "COMMAND" | "FORMAT" | "NUMBER" | "PROGRAM" | "SHELL" | "TIME" | "WHEN" | "WORD" => None,
            _ => return None,
        });
    }
    Some(all)
}

fn candidates(values: Values, current: &str, surroundings: &Surroundings) -> Vec<CompletionCandidate> {
    let words = match values {
        Values::LabFiles => return instruction(":files yaml yml"),
        Values::Files => return instruction(":files"),
        Values::Directories => return instruction(":directories"),
        Values::Word(word) => vec![word.to_owned()],
        Values::NamespacesOrLabs if surroundings.all => live::labs(surroundings),
        Values::Labs => live::labs(surroundings),
        Values::Namespaces => live::namespaces(surroundings),
        Values::NamespacesAndHost | Values::NamespacesOrLabs => {
            let names = live::namespaces(surroundings);
            [HOST.to_owned()].into_iter().filter(|_| surroundings.enter()).chain(names).collect()
        }
        Values::DeclaredNamespaces => live::declared_namespaces(surroundings),
        Values::HostLinks => live::host_links(surroundings),
        Values::Processes => live::processes(surroundings, current),
        Values::Sandboxes => live::sandboxes().into_iter().map(|name| name.to_string()).collect(),
    };
    words.into_iter().filter(|word| word.starts_with(current)).map(CompletionCandidate::new).collect()
}

fn instruction(text: &str) -> Vec<CompletionCandidate> {
    vec![CompletionCandidate::new(text).tag(Some(INSTRUCTION.into()))]
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn check_all(command: &Command) {
        let with_value = command.get_arguments().filter(|argument| argument.get_action().takes_values());
        for argument in with_value.filter(|argument| argument.get_possible_values().is_empty()) {
            let known = of_argument(command.get_name(), argument);
            assert!(known.is_some(), "{}: the value name of {argument} is not known to `of_argument`", command.get_name());
        }
        command.get_subcommands().for_each(check_all);
    }

    #[test]
    fn the_values_of_all_arguments_are_known() {
        let mut command = Cli::command();
        command.build();
        check_all(&command);
        let target = |name: &str, id: &str| {
            let command = command.find_subcommand(name).unwrap();
            of_argument(name, command.get_arguments().find(|argument| argument.get_id() == id).unwrap()).unwrap()
        };
        assert_eq!(target("destroy", "lab"), [Values::LabFiles, Values::Labs]);
        assert_eq!(target("shell", "namespace"), [Values::NamespacesAndHost]);
        assert_eq!(target("apply", "only"), [Values::DeclaredNamespaces]);
        assert_eq!(target("apply", "sandbox"), [Values::Sandboxes]);
        assert_eq!(target("apply", "adoptions"), [Values::Namespaces, Values::HostLinks, Values::Word("all")]);
        assert_eq!(target("export", "name"), []);
    }
}
