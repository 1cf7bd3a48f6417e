//! What exists where the command would work. Nothing is created, locked or removed; what cannot be read is left out.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::net::if_::if_nameindex;

use super::SEPARATOR;
use crate::cli::environment;
use crate::cli::input;
use crate::kernel::linux::node::Nodes;
use crate::kernel::linux::node::client::Client;
use crate::kernel::linux::{inside, labs as marked, privilege};
use crate::name::{HOST, SandboxName};
use crate::runtime::records;
use crate::sandbox::{self, Sandbox, list};
use crate::spec::{self, prescan};

/// What the words before say.
pub struct Surroundings {
    /// The sandbox that the option names.
    sandbox: Option<SandboxName>,
    /// The lab file.
    file: PathBuf,
    /// Whether the option `--all` is among them.
    pub all: bool,
    /// Whether this process is where the command would work, once that has been tried.
    entered: Mutex<OnceCell<bool>>,
}

impl Surroundings {
    /// Reads them from the words, as they are after [`join_names`](crate::cli::sandbox_option::join_names).
    pub fn of(words: &[OsString]) -> Self {
        let words = || words.iter().take_while(|word| *word != SEPARATOR).filter_map(|word| word.to_str());
        let is_lab = |word: &&str| {
            let extension = Path::new(word).extension();
            extension.is_some_and(|extension| extension == "yaml" || extension == "yml") && Path::new(word).is_file()
        };
        let named = words().filter_map(|word| match word {
            "--sandbox" => Some(sandbox::DEFAULT),
            _ => word.strip_prefix("--sandbox="),
        });
        Self {
            sandbox: named.last().and_then(|name| name.parse().ok()),
            file: words().find(is_lab).unwrap_or(input::default_file()).into(),
            all: words().any(|word| word == "--all"),
            entered: Mutex::default(),
        }
    }

    /// Enters the environment in which the command would work. Returns whether that exists.
    pub fn enter(&self) -> bool {
        self.entered.lock().is_ok_and(|entered| *entered.get_or_init(|| self.try_to_enter().unwrap_or(false)))
    }

    fn try_to_enter(&self) -> Option<bool> {
        let name = match environment::chosen_sandbox(self.sandbox.as_ref()).ok()? {
            Some(name) => name,
            None if environment::may_change_machine().ok()? => return Some(true),
            None => sandbox::DEFAULT.parse().ok()?,
        };
        let (holder, pid_file) = list::glance(&name)?;
        Some(Sandbox::join(name, holder, pid_file, false).is_ok())
    }
}

/// Labs.
pub fn labs(surroundings: &Surroundings) -> Vec<String> {
    if !surroundings.enter() {
        return Vec::new();
    }
    let mut found = marked::find().unwrap_or_default();
    for lab in records::labs().unwrap_or_default() {
        found.entry(lab).or_default();
    }
    found.into_keys().map(|lab| lab.to_string()).collect()
}

/// Namespaces.
pub fn namespaces(surroundings: &Surroundings) -> Vec<String> {
    if !surroundings.enter() {
        return Vec::new();
    }
    inside::names().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The namespaces that the lab file declares, and `host`.
pub fn declared_namespaces(surroundings: &Surroundings) -> Vec<String> {
    let text = input::read(&surroundings.file).unwrap_or_default();
    // The text is not trusted.
    if privilege::keep(&[]).is_err() {
        return Vec::new();
    }
    // A file that is being written may be no lab yet.
    let declared: Vec<_> = match spec::load(&text).lab {
        Some(lab) => lab.namespaces.keys().map(ToString::to_string).collect(),
        None => prescan::namespaces(&text).map(|name| name.to_string()).collect(),
    };
    [HOST.to_owned()].into_iter().chain(declared.into_iter().filter(|name| name != HOST)).collect()
}

/// The links of `host` but `lo`.
pub fn host_links(surroundings: &Surroundings) -> Vec<String> {
    if !surroundings.enter() {
        return Vec::new();
    }
    let Ok(links) = if_nameindex() else { return Vec::new() };
    let names = links.iter().filter_map(|link| link.name().to_str().ok());
    names.filter(|name| *name != "lo").map(|name| format!("{HOST}:{name}")).collect()
}

/// The processes of nodes. Asks only the nodes that the beginning of the word leaves.
pub fn processes(surroundings: &Surroundings, current: &str) -> Vec<String> {
    if !surroundings.enter() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for nodes in Nodes::all().unwrap_or_default() {
        for node in nodes.names().unwrap_or_default() {
            let prefix = format!("{node}/");
            if !prefix.starts_with(current) && !current.starts_with(&prefix) {
                continue;
            }
            let statuses = Client::connect(&nodes, &node).ok().flatten().and_then(|client| client.processes().ok());
            found.extend(statuses.unwrap_or_default().into_iter().map(|status| format!("{prefix}{}", status.name)));
        }
    }
    found.sort();
    found
}

/// The user's sandboxes that have not been stopped.
pub fn sandboxes() -> Vec<SandboxName> {
    list::names().unwrap_or_default()
}
