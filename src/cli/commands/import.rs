//! `topo import`: turns labs of other tools and shell scripts into lab files. It makes the network in a throw-away sandbox, and exports that.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

use crate::cli::environment::{self, Access};
use crate::cli::error::Failure;
use crate::cli::foreground::{Exit, Foreground};
use crate::cli::stages::Stages;
use crate::cli::{Context, Run, input};
use crate::import::{Action, Imported, Step, clab, commands, kathara, lab_name};
use crate::name::{HOST, LabName, escape};
use crate::projection::Omitted;
use crate::report::yaml;
use crate::sandbox::throw_away::ThrowAway;

/// Turn a lab of another tool, or a script, into a lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Makes the network in a throw-away sandbox, and prints what the kernel then
holds as a lab file. Commands of the source (`exec:` of containerlab, `.startup`
files of Kathara, a whole script) are run there by bash, as root of the sandbox.
The sandbox isolates the network; files are those of the machine.

What no lab file can say is a comment with its line, and a warning: images,
queueing disciplines, firewall rules, programs that were started.

Examples:
  topo import ring.clab.yml >lab.yaml   A topology of containerlab
  topo import ./ring >lab.yaml          A directory with a lab.conf (Kathara)
  topo import setup.sh >lab.yaml        A script with `ip netns` and `ip link`")]
pub struct ImportArgs {
    /// Topology of containerlab, directory of a Kathara lab, or shell script
    #[arg(value_name = "FILE|DIRECTORY")]
    source: PathBuf,
    /// What the source is; otherwise its name tells
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// Name of the lab; otherwise that of the source
    #[arg(long, value_name = "NAME")]
    name: Option<LabName>,
}

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A topology file of containerlab
    Clab,
    /// The lab.conf of a Kathara lab
    Kathara,
    /// A shell script
    Script,
}

/// The file in a Kathara lab's directory.
const LAB_CONF: &str = "lab.conf";
/// Where Kathara's scripts are.
const STARTUP: &str = ".startup";

impl Run for ImportArgs {
    /// The command creates an environment itself.
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if let Some(name) = context.sandbox {
            let failure = Failure::new("`topo import` creates a sandbox of its own");
            return Err(failure.hint(format!("leave out `--sandbox`; `topo apply --sandbox={name}` applies the result there")));
        }
        let (name, imported) = self.read(context)?;
        let foreground = Foreground::new().map_err(|error| Failure::with_cause("cannot handle signals", error))?;
        let workspace = Workspace::create().map_err(|error| Failure::with_cause("cannot create a temporary directory", error))?;
        let sandbox = ThrowAway::create().map_err(environment::explain)?;
        let made = sandbox.enter().map_err(environment::explain).and_then(|()| {
            let stages = Stages { sandbox: &sandbox, foreground: &foreground };
            Import { stages: &stages, workspace: &workspace, name: &name, beside: self.directory() }.run(imported)
        });
        sandbox.end();
        let Made { text, omitted, is_exact } = made?;
        for omitted in &omitted {
            context.output.warning(&omitted.to_string());
        }
        let comments: String = omitted.iter().map(|omitted| format!("# {omitted}\n")).collect();
        if !is_exact {
            context.output.warning("the lab file does not describe the network exactly: applied to it, it makes changes");
        }
        context.output.print(&(comments + &text))?;
        Ok(0)
    }
}

/// What an import results in.
struct Made {
    /// The lab file.
    text: String,
    /// What it leaves out.
    omitted: Vec<Omitted>,
    /// Whether the lab file plans to no change where it was made.
    is_exact: bool,
}

impl ImportArgs {
    /// The directory of what the source refers to.
    fn directory(&self) -> PathBuf {
        match self.source.is_dir() {
            true => self.source.clone(),
            false => self.source.parent().unwrap_or(Path::new("")).to_owned(),
        }
    }

    fn format(&self) -> Result<Format, Failure> {
        let name = self.source.file_name().unwrap_or_default().to_string_lossy();
        let is_yaml = |suffix: &str| name.ends_with(suffix);
        if let Some(format) = self.from {
            return Ok(format);
        }
        if self.source.is_dir() || name == LAB_CONF {
            return Ok(Format::Kathara);
        }
        if is_yaml(".yml") || is_yaml(".yaml") {
            return Ok(Format::Clab);
        }
        let begins = |text: String| text.starts_with("#!");
        if is_yaml(".sh") || is_yaml(".bash") || input::read(&self.source).is_ok_and(begins) {
            return Ok(Format::Script);
        }
        Err(Failure::new(format!("cannot tell what `{}` is", input::display(&self.source)))
            .hint("`--from clab`, `--from kathara` or `--from script` says it"))
    }

    /// Returns the name of the lab, and what is to be made.
    fn read(&self, context: &mut Context<'_>) -> Result<(LabName, Imported), Failure> {
        let format = self.format()?;
        let path = match self.source.is_dir() {
            true => self.source.join(LAB_CONF),
            false => self.source.clone(),
        };
        let text = input::read(&path)?;
        let shown = input::display(&path);
        let base_name = |path: &Path| {
            let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            name.unwrap_or_default().split('.').next().unwrap_or_default().to_owned()
        };
        let name = self.name.clone();
        let failed = |error: crate::import::ImportError| Failure::new(format!("`{shown}`: {error}"));
        let imported = match format {
            Format::Clab => {
                let mut diagnostics = Vec::new();
                let document = crate::yaml::parse::parse(&text, &mut diagnostics);
                if !diagnostics.is_empty() {
                    let colour = context.output.diagnostic_colour();
                    context.output.message(crate::spec::render(&diagnostics, &shown, &text, colour).trim_end());
                }
                let document = document.ok_or_else(Failure::reported)?;
                clab::read(&document.root, &text, name, &base_name(&path)).map_err(failed)?
            }
            Format::Kathara => {
                let directory = self.directory();
                let startups = startups(&directory).map_err(|error| Failure::with_cause("cannot read the directory", error))?;
                kathara::read(&text, &startups, name, &base_name(&directory)).map_err(failed)?
            }
            Format::Script => {
                let name = name.unwrap_or_else(|| lab_name(&base_name(&path)));
                let lab = serde_json::from_value(serde_json::json!({ "name": name })).map_err(Failure::new)?;
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let namespace = HOST.parse().map_err(Failure::new)?;
                let step = Step { place: file.clone(), namespace, action: Action::Script(file) };
                Imported { lab, steps: vec![step], omitted: Vec::new() }
            }
        };
        Ok((imported.lab.name.clone(), imported))
    }
}

/// Returns the names of the devices that have a script.
fn startups(directory: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.strip_suffix(STARTUP)).map(str::to_owned));
    }
    Ok(found)
}

/// A temporary directory, which goes with this value.
struct Workspace(PathBuf);

impl Workspace {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("topo-import-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An import in a sandbox.
struct Import<'a> {
    stages: &'a Stages<'a>,
    workspace: &'a Workspace,
    name: &'a LabName,
    /// The directory of scripts.
    beside: PathBuf,
}

impl Import<'_> {
    /// Makes the network, and returns the lab file with what it leaves out.
    fn run(&self, imported: Imported) -> Result<Made, Failure> {
        let Imported { lab, steps, mut omitted } = imported;
        let written = |error| Failure::with_cause("cannot write a temporary file", error);
        if !lab.namespaces.is_empty() {
            let nodes = self.workspace.path("nodes.yaml");
            fs::write(&nodes, yaml::lab(&lab)).map_err(written)?;
            self.must_succeed(["apply", "--quiet", "--"].map(OsStr::new).into_iter().chain([nodes.as_os_str()]), Stdio::null())?;
        }
        for step in &steps {
            omitted.extend(self.step(step)?);
        }
        let file = self.workspace.path("lab.yaml");
        let stdout = File::create(&file).map_err(written)?.into();
        self.must_succeed(["export", "--of-lab", "--name", self.name.as_str()].map(OsStr::new), stdout)?;
        let text = fs::read_to_string(&file).map_err(|error| Failure::with_cause("cannot read a temporary file", error))?;
        Ok(Made { text, omitted, is_exact: self.is_exact(&file)? })
    }

    /// Returns whether the lab file plans to no change once the lab owns what is there.
    fn is_exact(&self, file: &Path) -> Result<bool, Failure> {
        let succeeds = |arguments: &[&str]| -> Result<bool, Failure> {
            let arguments = arguments.iter().map(OsStr::new).chain([OsStr::new("--"), file.as_os_str()]);
            let quiet = |command: &mut Command| {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            };
            Ok(self.stages.run_with(arguments, quiet)? == Exit::Status(0))
        };
        Ok(succeeds(&["apply", "--quiet", "--allow-side-effects", "--adopt", "all"])?
            && succeeds(&["plan", "--detailed-exitcode"])?)
    }

    /// Runs topo in the sandbox.
    fn must_succeed<'t>(&self, arguments: impl IntoIterator<Item = &'t OsStr>, stdout: Stdio) -> Result<(), Failure> {
        let exit = self.stages.run_with(arguments, |command| {
            command.stdout(stdout);
        })?;
        match exit {
            Exit::Status(0) => Ok(()),
            exit => Err(Failure { status: exit.status(), ..Failure::reported() }),
        }
    }

    /// Runs a step. Returns what it does that no lab file can say.
    fn step(&self, step: &Step) -> Result<Vec<Omitted>, Failure> {
        let (settings, trace) = (self.workspace.path("bashrc"), self.workspace.path("trace"));
        let prepared = fs::write(&settings, bash_settings(&trace)).and_then(|()| fs::write(&trace, ""));
        prepared.map_err(|error| Failure::with_cause("cannot write a temporary file", error))?;
        let mut arguments: Vec<OsString> = ["exec", step.namespace.as_str(), "--", "bash"].map(OsString::from).into();
        match &step.action {
            Action::Command(line) => arguments.extend(["-c".into(), line.into()]),
            Action::Script(file) => arguments.push(self.beside.join(file).into()),
        }
        let exit = self.stages.run_with(arguments.iter().map(OsString::as_os_str), |command| {
            command.env("BASH_ENV", &settings).stdin(Stdio::null());
            // Standard output is for the lab file.
            if let Ok(stderr) = nix::unistd::dup(io::stderr()) {
                command.stdout(stderr);
            }
        })?;
        let failure = match exit {
            Exit::Status(0) => None,
            Exit::Status(status) => Some(format!("it failed with status {status}")),
            Exit::Signal(_) => return Err(Failure { status: exit.status(), ..Failure::reported() }),
        };
        let script = match &step.action {
            Action::Command(line) => line.clone(),
            Action::Script(file) => fs::read_to_string(self.beside.join(file)).unwrap_or_default(),
        };
        let traced = commands::traced(&fs::read_to_string(&trace).unwrap_or_default(), &commands::functions(&script));
        let unsaid = |place: String, what: &str| Omitted {
            what: format!("{place}: {}", escape(what)),
            reason: "no lab file can say what it does".to_owned(),
        };
        let mut omitted: Vec<Omitted> = match &step.action {
            Action::Command(_) => traced.iter().map(|(_, command)| unsaid(step.place.clone(), command)).collect(),
            Action::Script(file) => traced.iter().map(|(line, command)| unsaid(format!("{file} line {line}"), command)).collect(),
        };
        match (failure, &step.action) {
            (None, _) => {}
            (Some(failure), Action::Script(file)) if step.namespace.is_host() => {
                return Err(Failure::new(format!("`{file}`: {failure}")).hint("its own messages are above"));
            }
            (Some(failure), Action::Script(file)) => omitted.push(Omitted { what: file.clone(), reason: failure }),
            (Some(failure), Action::Command(line)) => {
                omitted.push(Omitted { what: format!("{}: {}", step.place, escape(line)), reason: failure });
            }
        }
        Ok(omitted)
    }
}

/// What bash reads first: it writes each command to the trace, and needs no sudo(8), which does not work in a sandbox.
fn bash_settings(trace: &Path) -> String {
    let trace = trace.display().to_string().replace('\'', "'\\''");
    format!(
        "unset BASH_ENV\n\
         sudo() {{ while [ $# -gt 0 ]; do case $1 in -*|*=*) shift;; *) break;; esac; done; \"$@\"; }}\n\
         exec {{BASH_XTRACEFD}}>>'{trace}'\n\
         PS4='{}'\n\
         set -x\n",
        commands::PROMPT
    )
}
