//! The lab file: text into [`LabFile`], with every problem and its place.
//!
//! [`yaml`] reads the text into a [`document`], [`decode`] turns that into [`mod@file`](mod@file), and [`diagnostic`] shows what is wrong.
//! What names mean, and whether things fit together, is left to [`crate::lower`].

pub mod decode;
pub mod diagnostic;
pub mod document;
pub mod file;
pub mod glance;
pub mod path;
pub mod schema;
pub mod suggest;
pub mod yaml;

pub use diagnostic::{Colour, Diagnostic, Severity, render};
pub use document::Document;
pub use file::LabFile;
pub use path::Path;

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
    let mut document = yaml::parse(text, &mut diagnostics);
    let lab = document.as_mut().and_then(|document| decode::lab(document, &mut diagnostics));
    Loaded { lab, document, diagnostics }
}

impl Loaded<'_> {
    /// Whether anything keeps the lab from being made.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
