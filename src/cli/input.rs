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
use crate::kernel::linux::privilege::{self, Capability};
use crate::lower;
use crate::name::LabName;
use crate::spec::{self, Colour, Diagnostic, Severity};
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
    /// An error about resources, shown with the places that declare them; empty when there are none.
    pub fn point(&self, error: &str, ids: &[&ResourceId], colour: Colour) -> String {
        let loaded = spec::load(&self.text);
        let (Some(lab), Some(document)) = (&loaded.lab, &loaded.document) else { return String::new() };
        let origins = lower::origins(lab, &tables(), ids);
        let mut places = origins.iter().flatten().map(|path| document.find(path).span);
        let Some(first) = places.next() else { return String::new() };
        let diagnostic = places.fold(Diagnostic::error(error).at(first), |diagnostic, place| diagnostic.also(place, ""));
        spec::render(&[diagnostic], &self.shown, &self.text, colour)
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

/// Reads a lab file, gives up all privileges but what the kernel's network needs and `more`, and only then looks into the text.
/// Prints its warnings, or all its errors.
pub fn lab(path: &Path, more: &[Capability], output: &mut Output) -> Result<Lab, Failure> {
    let text = read(path)?;
    privilege::keep(more)?;
    lab_from_text(text, &display(path), output)
}

/// The same for a text that has been read.
pub fn lab_from_text(text: String, shown: &str, output: &mut Output) -> Result<Lab, Failure> {
    let (desired, diagnostics) = {
        let mut loaded = spec::load(&text);
        let lowered = loaded.lab.as_ref().map(|lab| (lab.name.clone(), lower::lower(lab, &tables())));
        let problems = lowered.as_ref().map_or(&[][..], |(_, lowered)| &lowered.problems);
        let mut diagnostics = lower::diagnostics(problems, &loaded);
        diagnostics.append(&mut loaded.diagnostics);
        // To give back a large tree piece by piece takes a tenth of the time that reading it took, and the process soon ends.
        std::mem::forget(loaded);
        (lowered.map(|(name, lowered)| (name, lowered.state)), diagnostics)
    };
    if !diagnostics.is_empty() {
        output.tell(spec::render(&diagnostics, shown, &text, output.diagnostic_colour()).trim_end());
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    match desired {
        Some((name, desired)) if errors == 0 => Ok(Lab { name, desired, source: Source { shown: shown.to_owned(), text } }),
        _ => {
            output.tell(&format!("\n`{shown}`: {errors} error{}", if errors == 1 { "" } else { "s" }));
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
