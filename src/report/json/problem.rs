//! Problems of lab files, and errors, as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::FORMAT_VERSION;
use crate::name::LabName;
use crate::yaml::document::Span;
use crate::yaml::{Diagnostic, Locator, Severity, sorted};

/// The result of a check, as `topo validate --json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Validation of a lab file by topo")]
pub struct Validation {
    /// The version of the format.
    format_version: u32,
    /// The file.
    file: String,
    /// The lab; null if the file is not valid.
    lab: Option<LabName>,
    /// Whether the lab can be applied: no problem is an error.
    valid: bool,
    /// All problems, in the order of their positions.
    problems: Vec<ProblemReport>,
}

impl Validation {
    /// Returns the result for a file.
    pub fn new(file: &str, lab: Option<LabName>, problems: Vec<ProblemReport>) -> Self {
        Self { format_version: FORMAT_VERSION, file: file.to_owned(), valid: lab.is_some(), lab, problems }
    }

    /// Returns whether the lab can be applied.
    pub fn is_valid(&self) -> bool {
        self.valid
    }
}

/// A problem of a lab file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProblemReport {
    severity: SeverityReport,
    /// The message, as a phrase.
    message: String,
    /// Where it is; null for the whole file.
    range: Option<Range>,
    /// More about that place.
    label: Option<String>,
    /// Other places that have to do with it.
    related: Vec<Related>,
    /// How to fix it.
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SeverityReport {
    /// The lab cannot be applied.
    Error,
    /// The lab can be applied, but is probably not what the user wants.
    Warning,
}

/// A range of the file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Range {
    /// The first character.
    start: Place,
    /// The character after the last one.
    end: Place,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Place {
    line: usize,
    column: usize,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Related {
    range: Range,
    label: Option<String>,
}

/// Returns the problems of a text, sorted by position.
pub fn problems(diagnostics: &[Diagnostic], text: &str) -> Vec<ProblemReport> {
    let locator = Locator::new(text);
    let range = |span: Span| {
        let [start, end] = locator.locate(span).map(|position| Place { line: position.line, column: position.column });
        Range { start, end }
    };
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let problem = |diagnostic: &Diagnostic| ProblemReport {
        severity: match diagnostic.severity {
            Severity::Error => SeverityReport::Error,
            Severity::Warning => SeverityReport::Warning,
        },
        message: diagnostic.message.clone(),
        range: diagnostic.span.map(range),
        label: said(&diagnostic.label),
        related: diagnostic.related.iter().map(|(span, label)| Related { range: range(*span), label: said(label) }).collect(),
        hint: diagnostic.hint.clone(),
    };
    sorted(diagnostics).into_iter().map(problem).collect()
}

/// What a command with `--json` prints when it fails.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Error of topo")]
pub struct ErrorReport {
    /// The version of the format.
    format_version: u32,
    /// The error.
    error: ErrorBody,
}

/// An error.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// What failed, and why, in one line.
    pub message: String,
    /// The state in which the network is, and other explanations.
    pub notes: Vec<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub status: u8,
    /// The problems of the lab file, if these are the error.
    pub problems: Vec<ProblemReport>,
}

impl ErrorReport {
    /// Returns the report of an error.
    pub fn new(error: ErrorBody) -> Self {
        Self { format_version: FORMAT_VERSION, error }
    }
}

/// Returns a report as a line of text.
pub fn line(report: &impl Serialize) -> String {
    let value: Value = serde_json::to_value(report).expect("a report is JSON");
    value.to_string() + "\n"
}
