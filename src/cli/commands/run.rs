//! `topo run`: runs a command in a sandbox of its own with the lab in it. Both end with the command.
//!
//! This process stays outside and starts `topo apply` and `topo exec` in the sandbox, see [`throw_away`](crate::sandbox::throw_away).

use std::ffi::{OsStr, OsString};

use clap::Args;

use super::exec::FAILURE_STATUS;
use crate::cli::args::LabFileArgs;
use crate::cli::environment::{self, Access};
use crate::cli::error::Failure;
use crate::cli::foreground::{Exit, Foreground};
use crate::cli::output::Output;
use crate::cli::signals::SIGNALLED;
use crate::cli::stages::Stages;
use crate::cli::uplink::{self, UplinkArgs};
use crate::cli::{Context, Run};
use crate::name::{HOST, NamespaceName};
use crate::sandbox::throw_away::ThrowAway;
use crate::sandbox::uplink::Opened;
use crate::value::Duration;

/// Run a command with the lab in a throw-away sandbox
#[derive(Debug, Args)]
#[command(after_help = "\
Creates a sandbox, applies the lab, waits until it is usable, and runs the
command. When the command exits, the sandbox, the lab and all processes in it
are gone, even if topo or the command was killed. Any number of runs can work
at the same time. Commands such as `topo exec` that the command starts use the
sandbox, too.

Examples:
  topo run -- cargo test                     Test with lab.yaml
  topo run ring.yaml -- pytest -x            Test with another lab
  topo run --in r1 -- ping -c 1 10.0.0.2     Run the command in namespace r1
  topo run -- sh -c 'topo exec r1 ip route'  Use the lab in a script
  topo run --uplink -- ./fetch.sh            Connect the sandbox to the outside

Exit status:
  that of the command; 128+n if signal n terminated it
  125  topo itself failed
  126  the command cannot be executed
  127  the command does not exist")]
pub struct RunArgs {
    #[command(flatten)]
    file: LabFileArgs,
    /// Run the command in this namespace instead of `host`, the sandbox itself
    #[arg(long = "in", value_name = "NAMESPACE", default_value = HOST, hide_default_value = true)]
    namespace: NamespaceName,
    /// How long to wait until the lab is usable, as with `apply --wait`
    #[arg(long, value_name = "TIME")]
    wait: Option<Duration>,
    #[command(flatten)]
    uplink: UplinkArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run for RunArgs {
    /// The command creates an environment itself.
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if let Some(name) = context.sandbox {
            let failure = Failure::new("`topo run` creates a sandbox of its own");
            return Err(failure.hint(format!("leave out `--sandbox`; or use `topo exec --sandbox={name} NAMESPACE -- COMMAND`")));
        }
        let foreground = Foreground::new().map_err(|error| Failure::with_cause("cannot handle signals", error))?;
        let mut sandbox = ThrowAway::create().map_err(environment::explain)?;
        let exit = self.run_in(&mut sandbox, &foreground, context.output);
        sandbox.end();
        let exit = exit?;
        foreground.end_if_interrupted(exit);
        Ok(exit.status())
    }

    fn failure_status(&self) -> u8 {
        FAILURE_STATUS
    }
}

impl RunArgs {
    fn run_in(&self, sandbox: &mut ThrowAway, foreground: &Foreground, output: &mut Output) -> Result<Exit, Failure> {
        let connected = self.uplink.program.map(|wanted| uplink::connect(sandbox, wanted, output)).transpose()?;
        sandbox.enter().map_err(environment::explain)?;
        let stages = Stages { sandbox, foreground };
        if let Some(opened) = connected {
            set_up(&stages, opened)?;
        }
        apply(&stages, self, output)?;
        execute(&stages, self)
    }
}

fn set_up(stages: &Stages<'_>, uplink: Opened) -> Result<(), Failure> {
    match stages.run(uplink.arguments().map(OsStr::new))? {
        Exit::Status(0) => Ok(()),
        _ => Err(Failure::new(format!("cannot set up the uplink that {} provides", uplink.program))),
    }
}

fn apply(stages: &Stages<'_>, arguments: &RunArgs, output: &Output) -> Result<(), Failure> {
    let wait = arguments.wait.map_or_else(|| "--wait".to_owned(), |limit| format!("--wait={limit}"));
    let options = ["apply", "--quiet", &wait, &output.color_option(), "--"].map(OsString::from);
    let exit = stages.run(options.iter().map(OsString::as_os_str).chain([arguments.file.path.as_os_str()]))?;
    match exit {
        Exit::Status(0) => Ok(()),
        // It has said why; if it was interrupted, the status says that.
        Exit::Status(status) if status < SIGNALLED => Err(Failure::reported()),
        Exit::Status(_) | Exit::Signal(_) => Err(Failure { status: exit.status(), ..Failure::reported() }),
    }
}

fn execute(stages: &Stages<'_>, arguments: &RunArgs) -> Result<Exit, Failure> {
    let before = ["exec", arguments.namespace.as_str(), "--"].map(OsStr::new);
    stages.run(before.into_iter().chain(arguments.command.iter().map(OsString::as_os_str)))
}
