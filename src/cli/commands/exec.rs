//! `topo exec`: runs a command inside a namespace. The command replaces this process, so terminal, signals and exit status are
//! its own.

mod all;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use crate::cli::elsewhere::{Elsewhere, Sought};
use crate::cli::environment::{self, Access};
use crate::cli::error::{Failure, did_you_mean};
use crate::cli::foreground::Foreground;
use crate::cli::{Context, Run};
use crate::kernel::linux::inside::{self, EnterError, Entered};
use crate::kernel::linux::node::enter::NodeEntry;
use crate::kernel::plain;
use crate::name::{HOST, NamespaceName};
use crate::yaml::suggest;

/// Run a command in a namespace
#[derive(Debug, Args)]
#[command(after_help = "\
The command sees the interfaces of the namespace, its /sys, and the files of
/etc/netns/NAMESPACE over those of /etc, as with `ip netns exec`.

Examples:
  topo exec r1 ping -c 1 10.0.0.2         Run a command in namespace r1
  topo exec r1 -- ls --sandbox            `--` ends topo's own options
  topo exec host -- ip address            Run it in the sandbox's own namespace
  topo exec --all -- ip -br address       Run it in every namespace of the lab
  topo exec --all ring -- ip route        The same, if there are several labs

Exit status:
  that of the command; with --all, of the first namespace by name that failed
  125  topo itself failed
  126  the command cannot be executed
  127  the command does not exist")]
pub struct ExecArgs {
    /// Namespace as in /run/netns, or `host` for the sandbox or machine itself; with --all, the lab's name
    #[arg(value_name = "NAMESPACE|LAB")]
    target: Option<String>,
    /// Run the command in all namespaces of a lab in parallel; prefix each line of output with the namespace
    #[arg(long)]
    all: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// topo itself failed, as for env(1).
pub const FAILURE_STATUS: u8 = 125;
/// The command exists but cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command does not exist.
const NOT_FOUND: u8 = 127;

impl Run for ExecArgs {
    fn access(&self) -> Access {
        Access::Enter
    }

    fn sought(&self) -> Option<Sought> {
        let target = self.target.as_deref()?;
        match self.all {
            true => target.parse().ok().map(|lab| Sought::Lab(lab, Vec::new())),
            false => sought(target),
        }
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if self.all {
            return all::run(self.target.as_deref(), &self.command, context);
        }
        let Some(target) = &self.target else {
            return Err(Failure::new("no namespace given").hint("use `topo exec NAMESPACE -- COMMAND`, or `--all`"));
        };
        let (program, arguments) = self.command.split_first().expect("clap requires a command");
        let place = enter(target, context)?;
        let mut command = Command::new(program);
        command.args(arguments);
        run_there(command, place, context)
    }

    fn failure_status(&self) -> u8 {
        FAILURE_STATUS
    }
}

/// The namespace that must exist.
pub(super) fn sought(name: &str) -> Option<Sought> {
    name.parse().ok().filter(|name: &NamespaceName| !name.is_host()).map(Sought::Namespace)
}

/// A namespace in which to run a command.
pub(super) struct There {
    /// Its name.
    pub(super) name: NamespaceName,
    /// The node, if only a child can be in it.
    pub(super) node: Option<NodeEntry>,
}

/// Enters a namespace by its name.
pub(super) fn enter(name: &str, context: &mut Context<'_>) -> Result<There, Failure> {
    let name: NamespaceName = name.parse().map_err(Failure::new)?;
    if name.is_host() {
        return Ok(There { name, node: None });
    }
    let failed = match inside::enter(&name).map_err(|error| explain(&name, error, context.elsewhere))? {
        Entered::Child(node) => return Ok(There { name, node: Some(node) }),
        Entered::Here(failed) => failed,
    };
    for failed in failed {
        context.output.warning(&format!("cannot mount over `{}`: {}", failed.path.display(), plain(&failed.error)));
    }
    Ok(There { name, node: None })
}

fn explain(name: &NamespaceName, error: EnterError, elsewhere: &Elsewhere) -> Failure {
    let hint = match &error {
        EnterError::Missing { known, .. } => {
            let known = known.iter().map(NamespaceName::as_str).chain([HOST]);
            let found = elsewhere.hint(&Sought::Namespace(name.clone()));
            let closest = || suggest::closest(name.as_str(), known.clone()).map(did_you_mean);
            Some(found.or_else(closest).unwrap_or_else(|| format!("existing namespaces: {}", suggest::list(known))))
        }
        EnterError::NoNamespace { .. } | EnterError::Refused { .. } => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Executes the command in place of this process, or, in a node with a PID namespace, as a child that stands for this process.
pub(super) fn run_there(mut command: Command, there: There, context: &Context<'_>) -> Result<u8, Failure> {
    context.elsewhere.dismiss();
    command.env("TOPO_NAMESPACE", there.name.as_str());
    if let Some(sandbox) = context.environment.sandbox() {
        // A topo that the command starts then works in the same sandbox.
        command.env(environment::VARIABLE, sandbox.as_str());
    }
    let error = match there.node {
        None => command.exec(),
        Some(node) => match run_child(&mut command, node) {
            Ok(status) => return Ok(status),
            Err(error) => error,
        },
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let message = format!("cannot run `{program}`");
    if error.kind() == ErrorKind::NotFound || is_not_in_path(command.get_program()) {
        let failure = match program.contains('/') {
            true => Failure::with_cause(message, error),
            false => Failure::new(format!("{message}: command not found in PATH")),
        };
        return Err(Failure { status: NOT_FOUND, ..failure });
    }
    Err(Failure { status: NOT_EXECUTABLE, ..Failure::with_cause(message, error) })
}

/// Runs the command in a node, and waits for it.
fn run_child(command: &mut Command, node: NodeEntry) -> std::io::Result<u8> {
    let foreground = Foreground::new()?;
    node.start_inside(command)?;
    let exit = foreground.run(command)?;
    foreground.end_if_interrupted(exit);
    Ok(exit.status())
}

/// Whether no directory in PATH has the command. execvp(3) reports `permission denied` in that case if it cannot search one of
/// the directories.
fn is_not_in_path(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    !program.as_bytes().contains(&b'/') && !std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}
