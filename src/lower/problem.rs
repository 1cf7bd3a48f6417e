//! Problems that show once the whole lab is known, by the path of what they are about.

use crate::spec::Path;
use crate::spec::Severity;
use crate::spec::suggest::closest;

/// Something about the lab that cannot be, or that can hardly be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub path: Path,
    /// What is wrong: a lowercase phrase.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What else has to do with it, and how.
    pub related: Vec<(Path, String)>,
    /// Whether it may show only because a part of the file could not be read, so that it counts for a whole file alone.
    pub needs_whole_file: bool,
}

impl Problem {
    /// With what to do about it.
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// With something else that has to do with it.
    pub(super) fn also(&mut self, path: Path, label: impl Into<String>) -> &mut Self {
        self.related.push((path, label.into()));
        self
    }

    /// It may show only because something else could not be read.
    pub(super) fn needs_whole_file(&mut self) -> &mut Self {
        self.needs_whole_file = true;
        self
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn error(&mut self, path: Path, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Error, path, message.into())
    }

    pub(super) fn warning(&mut self, path: Path, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Warning, path, message.into())
    }

    /// An error about a name that nothing has.
    pub(super) fn unknown<'k>(
        &mut self,
        path: Path,
        message: impl Into<String>,
        name: &str,
        known: impl Iterator<Item = &'k str>,
    ) {
        // A file with a great many problems needs no suggestion for each, which would each look through all names.
        let meant = if self.0.len() < 200 { closest(name, known) } else { None };
        let problem = self.error(path, message).needs_whole_file();
        if let Some(meant) = meant {
            problem.hint(format!("did you mean `{meant}`?"));
        }
    }

    fn add(&mut self, severity: Severity, path: Path, message: String) -> &mut Problem {
        self.0.push(Problem { severity, path, message, hint: None, related: Vec::new(), needs_whole_file: false });
        self.0.last_mut().expect("one was pushed just now")
    }
}
