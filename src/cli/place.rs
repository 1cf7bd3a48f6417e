//! Where a command works: on the machine, for those who may change its network; else in a sandbox of theirs.

use super::error::Failure;
use super::output::Output;
use crate::kernel::linux::{isolate, labs, privilege};
use crate::name::SandboxName;
use crate::runtime::records;
use crate::sandbox::directory::{DirectoryError, Held};
use crate::sandbox::start::{self, StartError};
use crate::sandbox::uplink::{self, Program, UplinkError};
use crate::sandbox::{self, Found, Sandbox, SandboxError};

/// Which sandbox to use when none is named.
const VARIABLE: &str = "TOPO_SANDBOX";

/// What a command needs of the place where it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It does not look at any network.
    Nothing,
    /// It looks; where there is no sandbox yet, it sees a new one that ends with it.
    Look,
    /// It changes what is there.
    Change,
    /// It makes something. The sandbox is made if there is none.
    Make {
        /// Whether the sandbox gets a way out.
        uplink: Option<Uplink>,
    },
    /// It wants to be inside of what is there.
    Inside,
}

/// Which program gives a sandbox a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Uplink {
    /// Whichever is installed
    Any,
    /// pasta(1)
    Pasta,
    /// slirp4netns(1)
    Slirp4netns,
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

/// Where this process works from now on.
pub enum Place {
    /// The network that it was started in.
    Machine,
    /// A sandbox.
    Sandbox {
        /// Which.
        sandbox: Sandbox,
        /// What to say of it at the end, if it lasts.
        news: Option<String>,
    },
}

/// The sandbox that the user chose: on the command line, or by the environment.
pub fn chosen(option: Option<&SandboxName>) -> Result<Option<SandboxName>, Failure> {
    if let Some(name) = option {
        return Ok(Some(name.clone()));
    }
    match std::env::var(VARIABLE) {
        Ok(name) if !name.is_empty() => {
            name.parse().map(Some).map_err(|error| Failure::new(format!("{VARIABLE} names no sandbox: {error}")))
        }
        _ => Ok(None),
    }
}

/// The sandbox to work in; `None` for the machine, which is the place of those who may change its network.
pub fn sandbox_for(choice: Option<&SandboxName>) -> Result<Option<SandboxName>, Failure> {
    if let Some(name) = chosen(choice)? {
        return Ok(Some(name));
    }
    Ok((!may_change_the_machine()?).then(|| sandbox::DEFAULT.parse().expect("it is a name")))
}

/// Whether the machine's own network is this process's to change.
///
/// # Errors
/// When that cannot be found out: taking it for "no" would put the lab into another place.
pub fn may_change_the_machine() -> Result<bool, Failure> {
    privilege::is_ours_to_change().map_err(|error| {
        let reason = crate::kernel::plain(&error);
        Failure::new(format!("cannot find out whether this process may change the machine's network: {reason}"))
            .hint("`--sandbox` works in a sandbox in any case")
    })
}

/// Goes where the command is to work. Must be called before the first thread is started.
pub fn enter(choice: Option<&SandboxName>, need: Need, output: &mut Output) -> Result<Place, Failure> {
    if need == Need::Nothing {
        return Ok(Place::Machine);
    }
    let Some(name) = sandbox_for(choice)? else {
        return match need {
            Need::Make { uplink: Some(_) } => {
                Err(Failure::new("`--uplink` is for sandboxes; the machine has the way out that it has")
                    .hint("`--sandbox` makes a sandbox for root, too"))
            }
            Need::Nothing | Need::Look | Need::Change | Need::Make { uplink: None } | Need::Inside => Ok(Place::Machine),
        };
    };
    match need {
        Need::Make { uplink } => until_it_stays(|| make(&name, uplink, output)),
        Need::Look | Need::Change | Need::Inside | Need::Nothing => until_it_stays(|| look(&name, need, output)),
    }
}

/// Tries again while the sandbox that was found ends before it is joined.
fn until_it_stays(mut join: impl FnMut() -> Result<Joined, Failure>) -> Result<Place, Failure> {
    loop {
        match join()? {
            (Err(SandboxError::Ended(_)), _) => {}
            (sandbox, news) => return Ok(Place::Sandbox { sandbox: sandbox.map_err(explain)?, news }),
        }
    }
}

/// A sandbox, or why it could not be joined; and what to say of it at the end.
type Joined = (Result<Sandbox, SandboxError>, Option<String>);

fn gone(name: &SandboxName) -> String {
    format!("The sandbox `{name}` has gone, with all that was in it: its keeper was ended.")
}

fn look(name: &SandboxName, need: Need, output: &mut Output) -> Result<Joined, Failure> {
    let held = Held::take(name).map_err(untrusted)?;
    let found = held.as_ref().map(sandbox::find_or_clear).transpose().map_err(untrusted)?.flatten();
    match found {
        Some(Found::Alive(keeper, record)) => {
            return Ok((Sandbox::join(name.clone(), keeper, record, need == Need::Change), None));
        }
        Some(Found::Gone) => output.tell(&gone(name)),
        None => {}
    }
    if need == Need::Inside {
        let hint = format!("`topo apply{} LAB` makes it", argument(name));
        return Err(Failure::new(format!("there is no sandbox `{name}`")).hint(hint));
    }
    Ok((Sandbox::passing(name.clone()), None))
}

/// How a sandbox is chosen on the command line.
fn argument(name: &SandboxName) -> String {
    if name.as_str() == sandbox::DEFAULT { String::new() } else { format!(" --sandbox={name}") }
}

fn make(name: &SandboxName, uplink: Option<Uplink>, output: &mut Output) -> Result<Joined, Failure> {
    let held = Held::take_or_create(name).map_err(untrusted)?;
    let found = sandbox::find_or_clear(&held).map_err(untrusted)?;
    if matches!(found, Some(Found::Gone)) {
        output.tell(&gone(name));
    }
    let (keeper, record, made) = match found {
        Some(Found::Alive(keeper, record)) => (keeper, record, false),
        Some(Found::Gone) | None => {
            let started = start::start(Some(&held)).map_err(|error| explain(error.into()))?;
            match sandbox::find(&held).map_err(untrusted)? {
                Some(Found::Alive(keeper, record)) if keeper.number() == started.process.number() => (keeper, record, true),
                _ => return Err(explain(StartError::Ended.into())),
            }
        }
    };
    let opened = uplink.map_or(Ok(None), |wanted| uplink::open(&held, &keeper, wanted.program()));
    if opened.is_err() && made {
        let _ = sandbox::stop(&held, &keeper);
    }
    let program = opened.map_err(no_uplink)?;
    let sandbox = Sandbox::join(name.clone(), keeper, record, true);
    if let (Ok(_), Some(program)) = (&sandbox, program) {
        isolate::use_name_server(program.name_server()).map_err(|error| {
            Failure::new(format!("cannot make {program} the name server of the sandbox: {}", crate::kernel::plain(&error)))
        })?;
    }
    let news = match (made, program) {
        (_, Some(program)) => Some(format!("The sandbox `{name}` has an uplink by {program}.")),
        (true, None) => Some(format!(
            "Made the sandbox `{name}`. It has no uplink: nothing outside can be reached from it (`--uplink` gives it one)."
        )),
        (false, None) => None,
    };
    Ok((sandbox, news))
}

fn untrusted(error: DirectoryError) -> Failure {
    let hint = "set XDG_RUNTIME_DIR to a directory that only you can write to";
    let is_unsafe = matches!(error, DirectoryError::Unsafe { .. });
    let failure = Failure::new(error);
    if is_unsafe { failure.hint(hint) } else { failure }
}

fn no_uplink(error: UplinkError) -> Failure {
    let hint = match &error {
        UplinkError::Missing => Some("install passt (it has pasta) or slirp4netns"),
        UplinkError::Device(source) if source.kind() == std::io::ErrorKind::NotFound => Some("sudo modprobe tun"),
        UplinkError::Device(_) => Some("sudo chmod 666 /dev/net/tun, as it is on most systems"),
        UplinkError::Failed { .. } | UplinkError::Start { .. } | UplinkError::Directory(_) => None,
    };
    let failure = Failure::new(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What stands in the way of a sandbox, and what to do about it.
pub fn explain(error: SandboxError) -> Failure {
    let obstacle = match &error {
        SandboxError::Start(StartError::Refused { obstacle, .. }) => obstacle.clone(),
        SandboxError::Start(_)
        | SandboxError::Directory(_)
        | SandboxError::Join { .. }
        | SandboxError::Ended(_)
        | SandboxError::End { .. } => None,
    };
    let mut failure = Failure::new(error);
    if let Some(obstacle) = obstacle {
        let what = obstacle.what;
        failure.notes.push(format!("Without privileges topo works in a sandbox, which this system forbids: {what}."));
        failure = failure.hint(obstacle.remedy);
    }
    failure
}

impl Place {
    /// The sandbox's name.
    pub fn sandbox(&self) -> Option<&SandboxName> {
        match self {
            Self::Machine => None,
            Self::Sandbox { sandbox, .. } => Some(sandbox.name()),
        }
    }

    /// Leaves it: a sandbox in which there is no lab any more ends, unless it is to be kept.
    pub fn leave(self, keep: bool, output: &mut Output) -> Result<(), Failure> {
        let Self::Sandbox { sandbox, news } = self else { return Ok(()) };
        let name = sandbox.name().clone();
        if sandbox.has_ended() {
            let lost = format!("the sandbox `{name}` was ended meanwhile, with all that was in it");
            return Err(Failure::new(lost).hint("run the command again"));
        }
        if keep || !sandbox.is_changing() {
            sandbox.leave();
            return Ok(());
        }
        let Some(held) = Held::take(&name).map_err(untrusted)? else { return Ok(()) };
        // What cannot be looked at is not known to be empty.
        let is_empty = || records::labs().is_empty() && !labs::any().unwrap_or(true);
        let ended = sandbox.end_if(&held, is_empty).map_err(explain)?;
        match news {
            // One that came to nothing is not worth a word.
            Some(news) if !ended => output.tell(&news),
            None if ended => output.tell(&format!("The sandbox `{name}` has ended with its last lab.")),
            Some(_) | None => {}
        }
        Ok(())
    }
}
