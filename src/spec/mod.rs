//! The lab file: text into [`LabFile`], with every problem and its place.
//!
//! [`crate::yaml`] reads the text into a tree, [`decode`] turns that into [`mod@file`](mod@file), and shows what is wrong.
//! What names mean, and whether things fit together, is left to [`crate::lower`].

pub mod decode;
pub mod file;
pub mod glance;
pub mod schema;

pub use file::LabFile;

use crate::yaml::parse;
pub use crate::yaml::{Colour, Diagnostic, Document, Path, Severity, render};

/// What was read of a lab file.
pub struct Loaded<'t> {
    /// The lab; with errors among the diagnostics, as much of it as could be read, if anything.
    pub lab: Option<LabFile>,
    /// The text's structure, to find places in; `None` when the text is no YAML.
    pub document: Option<Document<'t>>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a lab file's text.
pub fn load(text: &str) -> Loaded<'_> {
    let mut diagnostics = Vec::new();
    let mut document = parse::parse(text, &mut diagnostics);
    let lab = document.as_mut().and_then(|document| decode::lab(document, &mut diagnostics));
    Loaded { lab, document, diagnostics }
}

impl Loaded<'_> {
    /// Whether anything keeps the lab from being made.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
