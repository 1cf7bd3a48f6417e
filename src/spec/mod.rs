//! Parses the text of a lab file into a [`LabFile`] and reports every problem with its position.
//!
//! [`crate::yaml`] parses the text into a tree, [`decode`] decodes that into the types of [`mod@file`](mod@file). Resolving
//! references and checking values against each other is the task of [`crate::lower`].

pub mod decode;
pub mod file;
pub mod prescan;
pub mod schema;
pub mod single;

pub use file::LabFile;

use crate::yaml::parse;
pub use crate::yaml::{Colour, Diagnostic, Document, Severity, render};

/// The result of loading a lab file.
pub struct Loaded<'t> {
    /// The lab. With errors among the diagnostics, only the valid parts, or `None`.
    pub lab: Option<LabFile>,
    /// The parsed YAML, for looking up positions; `None` when the text is not valid YAML.
    pub document: Option<Document<'t>>,
    /// The problems found.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses and decodes the text of a lab file.
pub fn load(text: &str) -> Loaded<'_> {
    let mut diagnostics = Vec::new();
    let mut document = parse::parse(text, &mut diagnostics);
    let lab = document.as_mut().and_then(|document| decode::lab(document, &mut diagnostics));
    Loaded { lab, document, diagnostics }
}

impl Loaded<'_> {
    /// Returns whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
