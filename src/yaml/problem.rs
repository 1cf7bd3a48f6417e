//! Problems that show once the whole lab is known, by the path of what they are about.

use crate::yaml::document::Subtree;
use crate::yaml::parse::PROBLEM_LIMIT;
use crate::yaml::suggest::closest;
use crate::yaml::{Path, Severity};

/// Something about the lab that cannot be, or that can hardly be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// What it is about.
    pub path: Path,
    /// The message: a lowercase phrase.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
    /// What else has to do with it, and how.
    pub related: Vec<(Path, String)>,
    /// The parts of the file that it counts on: it may show only because one of them could not be read.
    pub needs: Vec<Subtree>,
}

/// All that stands there.
pub fn whole(path: Path) -> Subtree {
    Subtree { path, levels: usize::MAX, only: &[], at: 0 }
}

/// The keys that stand there, whatever their values hold.
pub fn keys(path: Path) -> Subtree {
    Subtree { path, levels: 1, only: &[], at: 0 }
}

/// Those keys that stand there, with all below.
pub fn options(path: Path, only: &'static [&'static str]) -> Subtree {
    Subtree { path, levels: usize::MAX, only, at: 0 }
}

/// The keys that stand there, and for each of them those keys of its map, with all below.
pub fn options_of_each(path: Path, only: &'static [&'static str]) -> Subtree {
    Subtree { path, levels: usize::MAX, only, at: 1 }
}

/// Which interfaces are ends of links: the links, and the items of their `endpoints`.
pub fn link_ends() -> Subtree {
    Subtree { path: Path::root().then("links"), levels: 3, only: &["endpoints"], at: 1 }
}

/// The same for one link.
pub fn ends_of(link: Path) -> Subtree {
    Subtree { path: link, levels: 2, only: &["endpoints"], at: 0 }
}

impl Problem {
    /// Sets the hint.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// With something else that has to do with it.
    pub fn also(&mut self, path: Path, label: impl Into<String>) -> &mut Self {
        self.related.push((path, label.into()));
        self
    }

    /// It may show only because something of that part could not be read.
    pub fn needs(&mut self, part: Subtree) -> &mut Self {
        self.needs_all([part])
    }

    /// It may show only because something of those parts could not be read.
    pub fn needs_all(&mut self, parts: impl IntoIterator<Item = Subtree>) -> &mut Self {
        self.needs.extend(parts);
        self
    }
}

/// Collects problems: [`PROBLEM_LIMIT`] errors at most, and warnings as long as there are fewer than that in all.
#[derive(Debug, Default)]
pub struct Problems {
    /// The problems, in the order in which they were found.
    pub collected: Vec<Problem>,
    errors: usize,
    /// How many there have been, collected or not.
    pub count: usize,
    /// The latest of those that are not collected.
    surplus: Option<Problem>,
}

impl Problems {
    /// Adds an error.
    pub fn error(&mut self, path: Path, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Error, path, message.into())
    }

    /// Adds a warning.
    pub fn warning(&mut self, path: Path, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Warning, path, message.into())
    }

    /// An error about a name that nothing has, with the one that may be meant.
    pub fn unknown<'k>(
        &mut self,
        path: Path,
        message: impl Into<String>,
        name: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> &mut Problem {
        // A file with a great many problems needs no suggestion for each, which would each look through all names.
        let meant = if self.collected.len() < 200 { closest(name, known) } else { None };
        let problem = self.error(path, message);
        if let Some(meant) = meant {
            problem.hint(format!("did you mean `{meant}`?"));
        }
        problem
    }

    fn add(&mut self, severity: Severity, path: Path, message: String) -> &mut Problem {
        let problem = Problem { severity, path, message, hint: None, related: Vec::new(), needs: Vec::new() };
        self.count += 1;
        let room = match severity {
            // However many warnings there are, an error is never lost among them.
            Severity::Error => self.errors < PROBLEM_LIMIT,
            Severity::Warning => self.collected.len() < PROBLEM_LIMIT,
        };
        if !room {
            return self.surplus.insert(problem);
        }
        self.errors += usize::from(severity == Severity::Error);
        self.collected.push(problem);
        self.collected.last_mut().expect("one was pushed just now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_not_lost_among_warnings() {
        let mut problems = Problems::default();
        for _ in 0..2 * PROBLEM_LIMIT {
            problems.warning(Path::root(), "a warning");
        }
        assert_eq!(problems.collected.len(), PROBLEM_LIMIT);
        for _ in 0..2 * PROBLEM_LIMIT {
            problems.error(Path::root(), "an error").hint("a hint");
        }
        let errors = problems.collected.iter().filter(|problem| problem.severity == Severity::Error).count();
        assert_eq!((errors, problems.count), (PROBLEM_LIMIT, 4 * PROBLEM_LIMIT));
    }
}
