//! `topo validate`: all problems of a file, without touching the kernel.

use super::ValidateArguments;
use super::error::Failure;
use super::input;
use super::output::Output;

pub fn run(arguments: &ValidateArguments, output: &mut Output) -> Result<u8, Failure> {
    let name = input::check(&arguments.file.lab, output)?;
    output.tell(&format!("`{}`: lab `{name}` is valid", input::display(&arguments.file.lab)));
    Ok(0)
}
