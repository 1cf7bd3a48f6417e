//! Parses the text of a lab file into a [`LabFile`] and reports every problem with its position.
//!
//! [`yaml`] parses the text into a [`document`], [`decode`] decodes that into the types of [`mod@file`](mod@file), and [`diagnostic`]
//! renders problems. Resolving references and checking values against each other is the task of [`crate::lower`].

pub mod decode;
pub mod diagnostic;
pub mod document;
pub mod file;
pub mod path;
pub mod prescan;
pub mod schema;
pub mod suggest;
pub mod yaml;

pub use diagnostic::{Colour, Diagnostic, Severity, render};
pub use document::Document;
pub use file::LabFile;
pub use path::Path;

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
    let mut document = yaml::parse(text, &mut diagnostics);
    let lab = document.as_mut().and_then(|document| decode::lab(document, &mut diagnostics));
    Loaded { lab, document, diagnostics }
}

impl Loaded<'_> {
    /// Returns whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
