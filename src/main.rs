//! The `topo` program: parse, run, print what went wrong, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    topo::cli::main()
}
