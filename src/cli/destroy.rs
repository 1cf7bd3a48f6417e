//! `topo destroy`: removes what a lab owns, by its file or by its name alone.

use super::DestroyArguments;
use super::apply::{Manner, change};
use super::error::Failure;
use super::input;
use super::output::Output;
use super::turn::{Intent, Turn};
use crate::apply::Goal;
use crate::kernel::linux::privilege::{self, Capability};
use crate::name::LabName;
use crate::state::State;

pub fn run(arguments: &DestroyArguments, output: &mut Output) -> Result<u8, Failure> {
    // Processes in the lab's namespaces may be other users'.
    let capabilities: &[Capability] =
        if arguments.kill { &[Capability::Trace, Capability::Signal] } else { &[Capability::Trace] };
    let (turn, goal) = match by_name(&arguments.lab) {
        Some(name) => {
            privilege::keep(capabilities)?;
            let turn = Turn::take(&name, &arguments.change)?;
            (turn, Goal::destroy(name, State::default()))
        }
        None => {
            let text = input::read(&arguments.lab)?;
            privilege::keep(capabilities)?;
            let guess = Turn::at_a_glance(&text, Intent::Remove);
            let lab = input::lab_from_text(text, &input::display(&arguments.lab), output)?;
            (Turn::confirmed(guess, &lab.name, &arguments.change)?, Goal::destroy(lab.name, lab.desired))
        }
    };
    change(turn, goal, &arguments.change, Manner { kill: arguments.kill, ..Manner::default() }, output)
}

/// The lab's name, when the argument is one and no file of that name is there.
fn by_name(argument: &std::path::Path) -> Option<LabName> {
    let text = argument.to_str()?;
    let looks_like_file = text == "-"
        || argument.is_file()
        || argument.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if looks_like_file { None } else { text.parse().ok() }
}
