//! `topo import`: turns labs of other tools and shell scripts into lab files. It makes the network in a throw-away sandbox, and exports that.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::{Args, ValueEnum};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::environment::{self, Access};
use crate::cli::error::Failure;
use crate::cli::foreground::{Exit, Foreground};
use crate::cli::stages::Stages;
use crate::cli::{Context, Run, input};
use crate::import::commands::{self, Traced};
use crate::import::{self, Action, ImportError, Imported, Step, clab, kathara, lab_name};
use crate::name::{LabName, NamespaceName, escape};
use crate::projection::Omitted;
use crate::report::yaml;
use crate::sandbox::throw_away::ThrowAway;
use crate::spec::{LabFile, Severity};

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
        let imported = self.read(context)?;
        let name = imported.lab.name.clone();
        let foreground = Foreground::new().map_err(|error| Failure::with_cause("cannot handle signals", error))?;
        let workspace = Workspace::create().map_err(|error| Failure::with_cause("cannot create a temporary directory", error))?;
        let sandbox = ThrowAway::create().map_err(environment::explain)?;
        let made = sandbox.enter().map_err(environment::explain).and_then(|()| {
            let stages = Stages { sandbox: &sandbox, foreground: &foreground };
            let colour = context.output.color_option();
            Execution { stages: &stages, workspace: &workspace, name: &name, beside: self.directory(), colour }.run(imported)
        });
        sandbox.end();
        let Made { lab, omitted, changed } = made?;
        for omitted in &omitted {
            context.output.warning(&omitted.to_string());
        }
        for what in &changed {
            context.output.warning(&format!(
                "the lab file does not describe `{}` exactly: applied there, it would change it",
                escape(what)
            ));
        }
        context.output.print(&yaml::commented(&lab, &omitted))?;
        Ok(0)
    }
}

/// What an import results in.
struct Made {
    /// The lab file.
    lab: LabFile,
    /// What it leaves out.
    omitted: Vec<Omitted>,
    /// What it would change where it was made.
    changed: Vec<String>,
}

impl ImportArgs {
    /// The directory of what the source refers to.
    fn directory(&self) -> PathBuf {
        match self.source.is_dir() {
            true => self.source.clone(),
            false => self.source.parent().unwrap_or(Path::new("")).to_owned(),
        }
    }

    /// Returns what the source is. `text` is what it contains.
    fn format(&self, text: &str) -> Result<Format, Failure> {
        let name = self.source.file_name().unwrap_or_default().to_string_lossy();
        let ends_with = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        match self.from {
            Some(format) => Ok(format),
            None if self.source.is_dir() || name == LAB_CONF => Ok(Format::Kathara),
            None if ends_with(&[".yml", ".yaml"]) => Ok(Format::Clab),
            None if ends_with(&[".sh", ".bash"]) || text.starts_with("#!") => Ok(Format::Script),
            None => Err(Failure::new(format!("cannot tell what `{}` is", input::display(&self.source)))
                .hint("name the format: `--from clab`, `--from kathara` or `--from script`")),
        }
    }

    /// Returns what is imported.
    fn read(&self, context: &mut Context<'_>) -> Result<Imported, Failure> {
        let path = if self.source.is_dir() { self.source.join(LAB_CONF) } else { self.source.clone() };
        let text = input::read(&path)?;
        let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned);
        match self.format(&text)? {
            Format::Clab => self.clab(&path, &text, context),
            Format::Kathara => self.kathara(&path, &text),
            Format::Script => self.script(&path, &text),
        }
    }

    fn clab(&self, path: &Path, text: &str, context: &mut Context<'_>) -> Result<Imported, Failure> {
        let mut diagnostics = Vec::new();
        let document = crate::yaml::parse::parse(text, &mut diagnostics);
        if !diagnostics.is_empty() {
            let colour = context.output.diagnostic_colour();
            context.output.message(crate::spec::render(&diagnostics, &input::display(path), text, colour).trim_end());
        }
        let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let document = document.filter(|_| !has_errors).ok_or_else(Failure::reported)?;
        clab::read(&document.root, text, self.name.clone(), &base_name(path)).map_err(|error| refused(path, error))
    }

    fn kathara(&self, path: &Path, text: &str) -> Result<Imported, Failure> {
        let directory = self.directory();
        let beside = || -> io::Result<Vec<String>> {
            let place = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            let mut names = Vec::new();
            for entry in fs::read_dir(place)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        };
        let beside = beside().map_err(|error| Failure::with_cause("cannot read the directory of the lab", error))?;
        let directory = base_name(path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        kathara::read(text, &beside, self.name.clone(), &directory).map_err(|error| refused(path, error))
    }

    fn script(&self, path: &Path, text: &str) -> Result<Imported, Failure> {
        if path.as_os_str() == "-" {
            return Err(Failure::new("a script cannot be read from standard input").hint("name its file"));
        }
        if let Some(program) = commands::foreign_interpreter(text) {
            let failure = Failure::new(format!("`{}` is a script for {program}, not for a shell", input::display(path)));
            return Err(failure.hint("run it where its network may be made, and then `topo export`"));
        }
        let name = self.name.clone().unwrap_or_else(|| lab_name(&base_name(path)));
        let lab = serde_json::from_value(serde_json::json!({ "name": name })).map_err(Failure::new)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step = Step { place: file.clone(), namespace: NamespaceName::host(), action: Action::Script(file) };
        Ok(Imported { lab, steps: vec![step], omitted: Vec::new() })
    }
}

fn refused(path: &Path, error: ImportError) -> Failure {
    Failure::with_cause(format!("cannot import `{}`", input::display(path)), error)
}

/// Returns the name of a file or directory without what follows the first dot.
fn base_name(path: &Path) -> String {
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_default().split('.').next().unwrap_or_default().to_owned()
}

/// A temporary directory, which goes with this value.
struct Workspace(PathBuf);

impl Workspace {
    fn create() -> io::Result<Self> {
        Ok(Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("topo-import-XXXXXX"))?))
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
struct Execution<'a> {
    stages: &'a Stages<'a>,
    workspace: &'a Workspace,
    name: &'a LabName,
    /// The directory of scripts.
    beside: PathBuf,
    /// The global option of colour.
    colour: String,
}

impl Execution<'_> {
    /// Makes the network, and returns the lab file with what it leaves out.
    fn run(&self, imported: Imported) -> Result<Made, Failure> {
        let Imported { lab, steps, mut omitted } = imported;
        let before = self.export()?;
        if !lab.namespaces.is_empty() {
            let nodes = self.workspace.path("nodes.yaml");
            fs::write(&nodes, yaml::lab(&lab)).map_err(|error| Failure::with_cause("cannot write a temporary file", error))?;
            let nodes = nodes.display().to_string();
            self.must_succeed(&["apply", "--quiet", &self.colour, "--", &nodes])?;
        }
        for step in &steps {
            omitted.extend(self.step(step)?);
        }
        let Exported { file, omitted: left_out, changed } = self.export()?;
        omitted.extend(left_out);
        Ok(Made { lab: import::without(file, &before.file), omitted, changed })
    }

    /// Exports the sandbox with its `host`.
    fn export(&self) -> Result<Exported, Failure> {
        let path = self.workspace.path("export.json");
        let stdout = File::create(&path).map_err(|error| Failure::with_cause("cannot write a temporary file", error))?;
        let arguments = ["export", "--json", "--host-as", HOST_NAME, "--name", self.name.as_str()].map(OsStr::new);
        let exit = self.stages.run_with(arguments, |command| {
            // What it warns of is in the JSON, too.
            command.stdout(stdout).stderr(Stdio::null());
        })?;
        let report: Value = serde_json::from_str(&read_temporary(&path)?).map_err(Failure::new)?;
        if exit != Exit::Status(0) {
            let message = report["error"]["message"].as_str().unwrap_or("it was ended").to_owned();
            return Err(Failure { status: exit.status(), ..Failure::with_cause("cannot export what was made", message) });
        }
        serde_json::from_value(import::renamed(report, HOST_NAME)).map_err(Failure::new)
    }

    /// Runs topo in the sandbox.
    fn must_succeed(&self, arguments: &[&str]) -> Result<(), Failure> {
        match self.stages.run(arguments.iter().map(OsStr::new))? {
            Exit::Status(0) => Ok(()),
            exit => Err(Failure { status: exit.status(), ..Failure::reported() }),
        }
    }

    /// Runs a step. Returns what it does that no lab file can say.
    fn step(&self, step: &Step) -> Result<Vec<Omitted>, Failure> {
        let trace = self.workspace.path("trace");
        let exit = self.trace(step, &trace)?;
        let mut omitted = self.unsupported(step, &trace)?;
        let failure = match exit {
            Exit::Status(0) => return Ok(omitted),
            Exit::Status(status) => format!("it failed with status {status}"),
            // The user has interrupted it.
            Exit::Signal(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)) => {
                let failure = Failure::new(format!("`{}` was ended by {signal}", step.place));
                return Err(Failure { status: exit.status(), ..failure });
            }
            Exit::Signal(signal) => format!("it was ended by {signal}"),
        };
        let what = match &step.action {
            Action::Script(file) if step.namespace.is_host() => {
                return Err(Failure::new(format!("`{file}`: {failure}")).hint("its own messages are above"));
            }
            Action::Script(file) => format!("{file} of {}", step.namespace),
            Action::Command(line) => format!("{}: {line}", step.place),
        };
        omitted.push(Omitted { what, reason: failure });
        Ok(omitted)
    }

    /// Runs a step by bash, which writes its commands to the trace.
    fn trace(&self, step: &Step, trace: &Path) -> Result<Exit, Failure> {
        let settings = self.workspace.path(SETTINGS);
        let prepared = fs::write(&settings, bash_settings(trace)).and_then(|()| fs::write(trace, ""));
        // Standard output is for the lab file.
        let stdout = prepared.and_then(|()| io::stderr().as_fd().try_clone_to_owned());
        let stdout = stdout.map_err(|error| Failure::with_cause("cannot write a temporary file", error))?;
        let mut arguments: Vec<OsString> = ["exec", step.namespace.as_str(), "--", "bash"].map(OsString::from).into();
        match &step.action {
            Action::Command(line) => arguments.extend(["-c".into(), line.into()]),
            Action::Script(file) => arguments.push(Path::new(".").join(self.beside.join(file)).into()),
        }
        self.stages.run_with(arguments.iter().map(OsString::as_os_str), |command| {
            command.env("BASH_ENV", &settings).stdin(Stdio::null()).stdout(stdout);
        })
    }

    /// Returns the commands of a step that no lab file can say.
    fn unsupported(&self, step: &Step, trace: &Path) -> Result<Vec<Omitted>, Failure> {
        let script = match &step.action {
            Action::Command(line) => line.clone(),
            Action::Script(file) => String::from_utf8_lossy(&fs::read(self.beside.join(file)).unwrap_or_default()).into_owned(),
        };
        let traced = commands::traced(&read_temporary(trace)?, SETTINGS, &commands::functions(&script));
        let omitted = traced.into_iter().map(|Traced { file, line, command }| {
            let place = if file.is_empty() { step.place.clone() } else { format!("{file} line {line}") };
            Omitted { what: format!("{place}: {command}"), reason: "no lab file can say what it does".to_owned() }
        });
        Ok(omitted.collect())
    }
}

/// The name of the sandbox's `host` while it is exported.
const HOST_NAME: &str = "host-of-the-sandbox";

/// What `topo export --json` prints.
#[derive(Deserialize)]
struct Exported {
    file: LabFile,
    omitted: Vec<Omitted>,
    changed: Vec<String>,
}

fn read_temporary(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::with_cause("cannot read a temporary file", error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of the file that bash reads first.
const SETTINGS: &str = "topo-import-settings";

/// What bash reads first: it writes each command to the trace, and needs no sudo(8), which does not work in a sandbox.
fn bash_settings(trace: &Path) -> String {
    let trace = trace.display().to_string().replace('\'', "'\\''");
    let with_argument = commands::SUDO_ARGUMENTS.join("|");
    format!(
        "sudo() {{\n\
         \x20 local -; set +x\n\
         \x20 while [ $# -gt 0 ]; do case $1 in {with_argument}) shift 2;; -*|*=*) shift;; *) break;; esac; done\n\
         \x20 \"$@\"\n\
         }}\n\
         exec {{BASH_XTRACEFD}}>>'{trace}'\n\
         PS4='{}'\n\
         set -x\n",
        commands::prompt()
    )
}
