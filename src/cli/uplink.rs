//! The option `--uplink`: starts the uplink of a sandbox, and explains what it lacks.

use clap::Args;

use super::error::Failure;
use super::output::Output;
use crate::kernel::linux::privilege;
use crate::kernel::linux::process::Process;
use crate::sandbox;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::throw_away::ThrowAway;
use crate::sandbox::uplink::{self, Opened, Program, UplinkError};

/// Which program connects a sandbox to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Uplink {
    /// The first one that is installed and works
    Any,
    /// pasta(1)
    Pasta,
    /// slirp4netns(1)
    Slirp4netns,
}

/// Whether a sandbox is connected to the outside.
#[derive(Debug, Clone, Copy, Args)]
pub struct UplinkArgs {
    /// Connect the sandbox to the outside with `pasta` or `slirp4netns`; without PROGRAM, with one that is
    /// installed and works
    #[arg(
        long = "uplink",
        value_name = "PROGRAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "any",
        hide_possible_values = true
    )]
    pub program: Option<Uplink>,
}

impl Uplink {
    fn program(self) -> Option<Program> {
        match self {
            Self::Any => None,
            Self::Pasta => Some(Program::Pasta),
            Self::Slirp4netns => Some(Program::Slirp4netns),
        }
    }
}

/// Starts the uplink. If that fails, stops a sandbox that was created just now.
pub fn start(
    lock: &SandboxLock,
    holder: &Process,
    wanted: Uplink,
    created: bool,
    output: &mut Output,
) -> Result<Opened, Failure> {
    let opened = uplink::open(lock, holder, wanted.program()).map_err(|error| {
        if created {
            let _ = sandbox::stop(lock, holder);
        }
        explain(error)
    })?;
    if opened.is_new {
        warn(opened, wanted, output);
    }
    Ok(opened)
}

/// Starts the uplink of a throw-away sandbox.
pub fn connect(sandbox: &mut ThrowAway, wanted: Uplink, output: &mut Output) -> Result<Opened, Failure> {
    let opened = sandbox.connect(wanted.program()).map_err(explain)?;
    warn(opened, wanted, output);
    Ok(opened)
}

/// Warns about what does not work over the uplink.
fn warn(Opened { program, .. }: Opened, wanted: Uplink, output: &mut Output) {
    if wanted != Uplink::Any && program.is_outdated() {
        output
            .warning(&format!("this {program} is too old: it breaks TCP connections, above all those of masqueraded namespaces"));
    }
    if !privilege::may_ping().unwrap_or(true) {
        output.warning("ping does not work over the uplink, because net.ipv4.ping_group_range of the machine does not allow it");
        output.hint("sudo sysctl net.ipv4.ping_group_range='0 2147483647'");
    }
}

fn explain(error: UplinkError) -> Failure {
    let hint = match &error {
        UplinkError::Missing => Some("install passt (which includes pasta) or slirp4netns"),
        UplinkError::Outdated => {
            Some("install slirp4netns, or passt 2024_11_21 or later; `--uplink=pasta` uses the one that is installed")
        }
        UplinkError::Device(source) if source.kind() == std::io::ErrorKind::NotFound => Some("sudo modprobe tun"),
        UplinkError::Device(_) => Some("sudo chmod 666 /dev/net/tun, which is the default on most systems"),
        UplinkError::Failed { .. } | UplinkError::Start { .. } | UplinkError::Directory(_) => None,
    };
    Failure { hint: hint.map(str::to_owned), ..Failure::new(error) }
}
