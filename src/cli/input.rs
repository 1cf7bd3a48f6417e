//! Lab files from disk or standard input, with everything that is wrong with them said.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::error::Failure;
use super::output::Output;
use super::saved;
use crate::kernel::linux::privilege;
use crate::lower::{self, Problem};
use crate::name::LabName;
use crate::spec::{self, Colour, Diagnostic, LabFile, Severity};
use crate::state::{ResourceId, State};

/// The longest file that is read: far more than any lab needs.
const LENGTH: u64 = 16 << 20;
/// Where iproute2 keeps names of routing tables.
const TABLES: [&str; 2] = ["/usr/share/iproute2/rt_tables", "/etc/iproute2/rt_tables"];

/// A lab, read and checked.
pub struct Lab {
    /// Its name.
    pub name: LabName,
    /// What it desires.
    pub desired: State,
    /// Where that was read.
    pub source: Source,
}

/// A lab file's text, to point into.
pub struct Source {
    /// Its path as messages show it.
    pub shown: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Errors, each about resources, shown with the places that declare them; empty when one of the errors has no place.
    pub fn point(&self, errors: &[(String, Vec<&ResourceId>)], colour: Colour) -> String {
        let loaded = spec::load(&self.text);
        let (Some(lab), Some(document)) = (&loaded.lab, &loaded.document) else { return String::new() };
        let tables = tables();
        let diagnostics = errors.iter().map(|(error, ids)| {
            let origins = lower::origins(lab, &tables, ids);
            let mut places = origins.iter().flatten().map(|path| document.find(path).span);
            let diagnostic = Diagnostic::error(error).at(places.next()?);
            Some(places.fold(diagnostic, |diagnostic, place| diagnostic.also(place, "")))
        });
        let diagnostics: Option<Vec<_>> = diagnostics.collect();
        diagnostics.map(|all| spec::render(&all, &self.shown, &self.text, colour)).unwrap_or_default()
    }
}

/// Reads a text of bounded size.
pub fn read(path: &Path) -> Result<String, Failure> {
    let shown = display(path);
    let failed = |error: io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let failure = Failure::new(format!("cannot read `{shown}`: {}", crate::kernel::plain(&error)));
        match missing && path.as_os_str() == "lab.yaml" {
            true => failure.hint("name a lab file, or make `lab.yaml`"),
            false => failure,
        }
    };
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(LENGTH + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(LENGTH + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > LENGTH {
        return Err(Failure::new(format!("`{shown}` is larger than {} MiB", LENGTH >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&b| b == b'\n').count();
        Failure::new(format!("`{shown}` is not UTF-8 text: line {line} holds a byte that belongs to no character"))
    })
}

/// A path as messages show it.
pub fn display(path: &Path) -> String {
    if path.as_os_str() == "-" { "<stdin>".into() } else { path.display().to_string() }
}

/// Looks into a lab file's text, which is to be done with no more privileges than what the kernel's network needs. Prints its
/// warnings, or all its errors.
pub fn lab_from_text(text: String, shown: &str, output: &mut Output) -> Result<Lab, Failure> {
    let (name, desired) = checked(&text, shown, output, |lab| {
        let lowered = lower::lower(lab, &tables());
        (lowered.state, lowered.problems)
    })?;
    Ok(Lab { name, desired, source: Source { shown: shown.to_owned(), text } })
}

/// Reads a lab file and looks for problems alone. Returns the lab's name.
pub fn check(path: &Path, output: &mut Output) -> Result<LabName, Failure> {
    let text = read(path)?;
    privilege::keep(&[])?;
    let (name, ()) = checked(&text, &display(path), output, |lab| ((), lower::check(lab, &tables())))?;
    Ok(name)
}

/// Has `work_out` work on the lab that a text is, and says all that is wrong with it.
fn checked<T>(
    text: &str,
    shown: &str,
    output: &mut Output,
    work_out: impl FnOnce(&LabFile) -> (T, Vec<Problem>),
) -> Result<(LabName, T), Failure> {
    if saved::is_meant(text) {
        let failure = Failure::new(format!("`{shown}` is a saved plan, not a lab file"));
        return Err(failure.hint("only `topo apply` takes a saved plan"));
    }
    let mut loaded = spec::load(text);
    let (result, problems) = match &loaded.lab {
        Some(lab) => {
            let (result, problems) = work_out(lab);
            (Some((lab.name.clone(), result)), problems)
        }
        None => (None, Vec::new()),
    };
    let mut diagnostics = lower::diagnostics(&problems, &loaded);
    diagnostics.append(&mut loaded.diagnostics);
    // To give back a large tree piece by piece takes a tenth of the time that reading it took, and the process soon ends.
    std::mem::forget(loaded);
    if !diagnostics.is_empty() {
        output.tell(spec::render(&diagnostics, shown, text, output.diagnostic_colour()).trim_end());
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    match result {
        Some(result) if errors == 0 => Ok(result),
        _ => {
            let ending = match errors {
                1 => "",
                crate::yaml::parse::PROBLEM_LIMIT.. => "s or more",
                _ => "s",
            };
            output.tell(&format!("\n`{shown}`: {errors} error{ending}"));
            Err(Failure::silent())
        }
    }
}

/// The names of routing tables on this machine, as ip-route(8) reads them.
fn tables() -> BTreeMap<String, u32> {
    let mut files: Vec<_> = TABLES.iter().map(PathBuf::from).collect();
    files.extend(further_tables());
    let mut tables = BTreeMap::new();
    for text in files.iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            if let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse), words.next()) {
                tables.insert(name.to_owned(), number);
            }
        }
    }
    tables
}

/// The files in /etc/iproute2/rt_tables.d. Read without the standard library's iterator, which panics when closing fails.
fn further_tables() -> Vec<PathBuf> {
    let directory = Path::new("/etc/iproute2/rt_tables.d");
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(mut entries) = Dir::open(directory, flags, Mode::empty()) else { return Vec::new() };
    let names = entries.iter().flatten().map(|entry| directory.join(OsStr::from_bytes(entry.file_name().to_bytes())));
    let mut files: Vec<_> = names.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).collect();
    files.sort();
    files
}
