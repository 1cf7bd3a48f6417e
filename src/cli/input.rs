//! Reads and checks lab files, and prints their problems.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::LazyLock;

use nix::sys::statfs::{FsType, statfs};

use super::error::{Failure, Reported};
use super::output::Output;
use super::saved_plan;
use crate::kernel::linux::privilege;
use crate::lower::{self, Problem};
use crate::name::LabName;
use crate::report::json::{Validation, problems};
use crate::runtime::sources;
use crate::spec::{self, Colour, Diagnostic, LabFile, Severity};
use crate::state::{ResourceId, State};

/// The file system of pipes without a name (linux/magic.h).
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);
/// The largest file that is accepted, in bytes: far more than any lab needs.
const SIZE_LIMIT: u64 = 16 << 20;

/// The file that commands work on when none is named.
const DEFAULT_FILE: &str = "lab.yaml";
/// The same with the other usual extension; taken where there is no [`DEFAULT_FILE`].
const OTHER_DEFAULT_FILE: &str = "lab.yml";

/// Returns the file that commands work on when none is named. It is looked for once, although every command asks for it.
pub fn default_file() -> &'static str {
    static FOUND: LazyLock<&str> = LazyLock::new(|| {
        let exists = |file: &str| Path::new(file).exists();
        if !exists(DEFAULT_FILE) && exists(OTHER_DEFAULT_FILE) { OTHER_DEFAULT_FILE } else { DEFAULT_FILE }
    });
    *FOUND
}

/// A lab, read and checked.
pub struct Lab {
    /// Its name.
    pub name: LabName,
    /// The desired state.
    pub desired: State,
    /// The text.
    pub source: Source,
}

/// The text of a lab file.
pub struct Source {
    /// The file's name in messages.
    pub shown: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Renders errors with the lines that declare the resources that each error is about. Empty if an error has no such line.
    pub fn excerpt(&self, errors: &[(String, Vec<&ResourceId>)], colour: Colour) -> String {
        let loaded = spec::load(&self.text);
        let (Some(lab), Some(document)) = (&loaded.lab, &loaded.document) else { return String::new() };
        let tables = crate::runtime::tables::read();
        let diagnostics = errors.iter().map(|(error, ids)| {
            let origins = lower::origins(lab, &tables, ids);
            let mut spans = origins.iter().flatten().map(|path| document.find(path).span);
            let diagnostic = Diagnostic::error(error).at(spans.next()?);
            Some(spans.fold(diagnostic, |diagnostic, span| diagnostic.also(span, "")))
        });
        let diagnostics: Option<Vec<_>> = diagnostics.collect();
        diagnostics.map(|all| spec::render(&all, &self.shown, &self.text, colour)).unwrap_or_default()
    }
}

/// Reads a file, or standard input for `-`.
pub fn read(path: &Path) -> Result<String, Failure> {
    let shown = display(path);
    if is_named_fifo(path) {
        return Err(Failure::new(format!("`{shown}` is a FIFO")).hint("to read from a program, use `-`"));
    }
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(SIZE_LIMIT + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)),
    };
    if let Err(error) = read {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let failure = Failure::with_cause(format!("cannot read `{shown}`"), error);
        return Err(match lab_name(path).filter(|_| is_missing) {
            _ if is_missing && path.as_os_str() == DEFAULT_FILE => {
                failure.hint("name a lab file, or write a first one with `topo init`")
            }
            Some(lab) => failure.hint(format!(
                "this command wants the file of a lab, not its name; `topo show {lab}` writes one for a lab that exists"
            )),
            None => failure,
        });
    }
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(Failure::new(format!("`{shown}` is larger than {} MiB", SIZE_LIMIT >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&b| b == b'\n').count();
        Failure::new(format!("`{shown}` is not UTF-8 text: invalid byte in line {line}"))
    })
}

/// Returns whether the path is a FIFO in a directory, fifo(7). Opening it would wait for a writer. A shell's `<(command)` is a pipe.
fn is_named_fifo(path: &Path) -> bool {
    let is_fifo = std::fs::metadata(path).is_ok_and(|status| status.file_type().is_fifo());
    is_fifo && statfs(path).is_ok_and(|filesystem| filesystem.filesystem_type() != PIPEFS_MAGIC)
}

/// The argument as a lab's name, unless it is or looks like a file.
pub fn lab_name(argument: &Path) -> Option<LabName> {
    let text = argument.to_str()?;
    let is_file = text == "-"
        || argument.exists() && !argument.is_dir()
        || argument.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_file { None } else { text.parse().ok() }
}

/// A path as messages show it.
pub fn display(path: &Path) -> String {
    if path.as_os_str() == "-" { "<stdin>".into() } else { path.display().to_string() }
}

/// Parses a lab file and computes the desired state. Prints warnings, or all errors. `shown` is the file's name.
///
/// Call it only after giving up privileges: the text is not trusted.
pub fn parse(text: String, shown: &str, output: &mut Output) -> Result<Lab, Failure> {
    let (name, desired) = load(&text, shown, output, |lab| {
        let lowered = lower::lower(lab, &crate::runtime::tables::read());
        (lowered.state, lowered.problems)
    })?;
    Ok(Lab { name, desired, source: Source { shown: shown.to_owned(), text } })
}

/// Checks a lab file without computing the desired state. Prints all problems. Returns the lab's name.
pub fn validate(path: &Path, output: &mut Output) -> Result<LabName, Failure> {
    let text = read(path)?;
    privilege::keep(&[])?;
    let (name, ()) = load(&text, &display(path), output, check)?;
    Ok(name)
}

/// Checks a lab file for programs: prints nothing.
pub fn validation(path: &Path) -> Result<Validation, Failure> {
    let text = read(path)?;
    privilege::keep(&[])?;
    let shown = display(path);
    let (result, diagnostics) = diagnose(&text, &shown, check)?;
    Ok(Validation::new(&shown, result.map(|(name, ())| name), problems(&diagnostics, &text)))
}

fn check(lab: &LabFile) -> ((), Vec<Problem>) {
    ((), lower::check(lab, &crate::runtime::tables::read()))
}

/// Loads a lab file, processes it, and prints all problems that either step finds.
fn load<T>(
    text: &str,
    shown: &str,
    output: &mut Output,
    process: impl FnOnce(&LabFile) -> (T, Vec<Problem>),
) -> Result<(LabName, T), Failure> {
    let (result, diagnostics) = diagnose(text, shown, process)?;
    if !diagnostics.is_empty() {
        output.message(spec::render(&diagnostics, shown, text, output.diagnostic_colour()).trim_end());
    }
    result.ok_or_else(|| {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        let message = format!("`{shown}`: {}", count(errors));
        output.message(&format!("\n{message}"));
        let problems = problems(&diagnostics, text);
        Failure { reported: Some(Box::new(Reported { message, problems })), ..Failure::reported() }
    })
}

/// Loads a lab file and processes it. Returns the result unless there are errors, and all problems.
#[allow(clippy::type_complexity, reason = "a pair of which the first part may be missing")]
fn diagnose<T>(
    text: &str,
    shown: &str,
    process: impl FnOnce(&LabFile) -> (T, Vec<Problem>),
) -> Result<(Option<(LabName, T)>, Vec<Diagnostic>), Failure> {
    if saved_plan::is_saved_plan(text) {
        let failure = Failure::new(format!("`{shown}` is a saved plan, not a lab file"));
        return Err(failure.hint("only `topo apply` and `topo show` accept a saved plan"));
    }
    let mut loaded = spec::load(text);
    if let Some(lab) = &mut loaded.lab {
        sources::load(lab, Path::new(shown).parent().unwrap_or(Path::new("")));
    }
    let (result, found) = match &loaded.lab {
        Some(lab) => {
            let (result, found) = process(lab);
            (Some((lab.name.clone(), result)), found)
        }
        None => (None, Vec::new()),
    };
    let diagnostics = lower::diagnostics(&found, &loaded);
    let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Ok((result.filter(|_| !has_errors), diagnostics))
}

fn count(errors: usize) -> String {
    match errors {
        1 => "1 error".to_owned(),
        crate::yaml::parse::PROBLEM_LIMIT.. => format!("{errors} errors or more"),
        _ => format!("{errors} errors"),
    }
}
