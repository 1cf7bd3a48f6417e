//! The `topo` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    topo::internals::main()
}
