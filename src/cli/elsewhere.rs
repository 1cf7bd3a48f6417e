//! Looks for a lab or a namespace that is missing here in the user's other environments: sandboxes, and the machine itself.
//!
//! A process that has joined a sandbox cannot look outside. So, if there is another environment, a child process stays there; it does
//! nothing unless something is missing.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, fstatat};

use super::environment::VARIABLE;
use super::inventory::Inventory;
use crate::kernel::linux::NAMESPACE_DIRECTORY;
use crate::kernel::linux::deferred::Deferred;
use crate::name::{LabName, NamespaceName, SandboxName};
use crate::sandbox;
use crate::sandbox::lock::SandboxLock;
use crate::yaml::suggest;

/// What a command did not find.
#[derive(Debug, Clone)]
pub enum Sought {
    /// A lab, with the namespaces that its file declares.
    Lab(LabName, Vec<NamespaceName>),
    /// A namespace.
    Namespace(NamespaceName),
}

/// The environments in which this process does not work.
pub struct Elsewhere {
    source: Cell<Source>,
    /// The sandbox in which this process works.
    here: Option<SandboxName>,
    /// The machine's directory of namespaces, if this process works in a sandbox.
    machine: Option<OwnedFd>,
}

/// Where to ask.
#[derive(Default)]
enum Source {
    /// There is nothing to look for, or it has been asked.
    #[default]
    Nowhere,
    /// Outside of all sandboxes, where this process still is.
    Here,
    /// A process outside.
    Outside(Deferred),
}

/// The arguments with which this program lists all labs.
const LIST: [&str; 2] = ["list", "--json"];

impl Elsewhere {
    /// For commands that need no hints.
    pub fn nowhere() -> Self {
        Self { source: Cell::default(), here: None, machine: None }
    }

    /// The environments other than the one in which this process is, which is no sandbox.
    pub fn outside() -> Self {
        Self { source: Cell::new(Source::Here), ..Self::nowhere() }
    }

    /// The environments other than a sandbox that this process is about to join. `lock` is that sandbox's, if there is any sandbox.
    pub fn than(here: &SandboxName, lock: Option<&SandboxLock>) -> Self {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let machine = open(NAMESPACE_DIRECTORY, flags, Mode::empty()).ok();
        let other_sandboxes = lock.is_some_and(|lock| lock.others().is_ok_and(|others| !others.is_empty()));
        let source = match other_sandboxes || machine.is_some() && nix::unistd::geteuid().is_root() {
            true => Deferred::prepare(&LIST, VARIABLE).map_or(Source::Nowhere, Source::Outside),
            false => Source::Nowhere,
        };
        Self { source: Cell::new(source), here: Some(here.clone()), machine }
    }

    /// The same, while this process has not joined that sandbox.
    pub fn before_joining(self) -> Self {
        Self { source: Cell::new(Source::Here), ..self }
    }

    /// Gives up the process outside. Call it before executing another program.
    pub fn dismiss(&self) {
        self.source.take();
    }

    /// Says where something is that is missing here, and how to work there. Answers only once.
    pub fn hint(&self, sought: &Sought) -> Option<String> {
        let inventory = match self.source.take() {
            Source::Nowhere => None,
            Source::Here => list(),
            Source::Outside(process) => process.output().ok().and_then(|text| Inventory::parse(&text)),
        };
        let places = inventory.map(|inventory| inventory.places(sought)).unwrap_or_default();
        let places: Vec<_> = places.into_iter().filter(|(_, sandbox)| *sandbox != self.here).collect();
        match places.as_slice() {
            [] => self.on_the_machine(sought),
            [(lab, None), ..] => {
                Some(format!("{} is on the machine itself: leave out `--sandbox` and {VARIABLE}", describe(sought, lab)))
            }
            [(lab, Some(sandbox))] => {
                Some(format!("{} is in sandbox `{sandbox}`: use `--sandbox={sandbox}`", describe(sought, lab)))
            }
            [(lab, _), ..] => {
                let names = suggest::list(places.iter().flat_map(|(_, sandbox)| sandbox).map(SandboxName::as_str));
                Some(format!("{} is in several sandboxes: name one with `--sandbox=NAME`: {names}", describe(sought, lab)))
            }
        }
    }

    /// The machine's labs can be listed by root alone, but everybody sees the names of namespaces.
    fn on_the_machine(&self, sought: &Sought) -> Option<String> {
        let directory = self.machine.as_ref()?;
        let entry = |name: &NamespaceName| -> nix::Result<FileStat> {
            fstatat(directory, name.as_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
        };
        match sought {
            Sought::Namespace(name) => entry(name).ok().map(|_| {
                format!("a namespace `{name}` is on the machine itself: only root can enter it (`sudo`)")
            }),
            Sought::Lab(lab, namespaces) => (!namespaces.is_empty() && namespaces.iter().all(|name| entry(name).is_ok())).then(|| {
                format!("namespaces with the names of those of lab `{lab}` are on the machine itself: only root can change them (`sudo`)")
            }),
        }
    }
}

fn describe(sought: &Sought, lab: &LabName) -> String {
    match sought {
        Sought::Lab(lab, _) => format!("lab `{lab}`"),
        Sought::Namespace(name) => format!("namespace `{name}` of lab `{lab}`"),
    }
}

/// Lists all labs, if there is any sandbox.
fn list() -> Option<Inventory> {
    if sandbox::list::names().ok()?.is_empty() {
        return None;
    }
    let mut command = Command::new("/proc/self/exe");
    let output = command.args(LIST).env_remove(VARIABLE).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Inventory::parse(&output.stdout)
}
