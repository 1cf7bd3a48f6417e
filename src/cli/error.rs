//! Errors as users see them: the chain of causes, notes and a hint.

use std::error::Error;
use std::io::{self, ErrorKind};

use nix::unistd::{AccessFlags, access};

use crate::kernel::linux::{privilege, procfs};
use crate::report::json::{ErrorBody, ProblemReport};
use crate::yaml::suggest;

/// The usual exit status of a failure.
pub const STATUS: u8 = 1;

/// An error that ends the command.
#[derive(Debug)]
pub struct Failure {
    /// What failed; its sources say why. `None` if everything has been printed.
    pub error: Option<Box<dyn Error>>,
    /// The error with the lines of the lab file that it is about, ready to print; empty if there are none.
    pub excerpt: String,
    /// Additional lines.
    pub notes: Vec<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub status: u8,
    /// What has been printed, for JSON.
    pub reported: Option<Box<Reported>>,
}

/// An error that has been printed.
#[derive(Debug)]
pub struct Reported {
    /// The message.
    pub message: String,
    /// The problems of the lab file.
    pub problems: Vec<ProblemReport>,
}

/// A message with its cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Caused {
    message: String,
    source: Box<dyn Error>,
}

impl Failure {
    /// A failure that has already been reported.
    pub fn reported() -> Self {
        Self { error: None, excerpt: String::new(), notes: Vec::new(), hint: None, status: STATUS, reported: None }
    }

    /// A failure with only an error.
    pub fn new(error: impl Into<Box<dyn Error>>) -> Self {
        Self { error: Some(error.into()), ..Self::reported() }
    }

    /// A failure with a message and the error that caused it.
    pub fn with_cause(message: impl Into<String>, cause: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Caused { message: message.into(), source: cause.into() })
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Suggests the known word that is most similar to a misspelt one, if any is.
    #[must_use]
    pub fn suggest<'k>(self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        match suggest::closest(word, known) {
            Some(closest) => self.hint(did_you_mean(closest)),
            None => self,
        }
    }

    /// Adds what is wrong with /proc and the remedy, if that explains an error of this kind.
    #[must_use]
    pub fn blame_proc(mut self, kind: ErrorKind) -> Self {
        let Some(procfs::Problem { cause, remedy }) = procfs::problem(kind) else { return self };
        self.notes.push(format!("The cause is that {cause}."));
        self.hint(remedy)
    }

    /// The error for programs.
    pub fn to_json(&self) -> ErrorBody {
        let reported = self.reported.as_ref();
        let message = self.chain().or_else(|| Some(reported?.message.clone()));
        ErrorBody {
            message: message.unwrap_or_else(|| "the command failed".to_owned()),
            notes: self.notes.iter().map(|note| note.trim_start().to_owned()).collect(),
            hint: self.hint.clone(),
            status: self.status,
            problems: reported.map(|reported| reported.problems.clone()).unwrap_or_default(),
        }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> Option<String> {
        self.error.as_deref().map(chain)
    }
}

/// Proposes another word.
pub fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// An error and its causes in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let (mut error, mut text) = (error, phrase(error));
    while let Some(source) = error.source() {
        let cause = phrase(source);
        // Transparent errors repeat their source.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        error = source;
    }
    text
}

/// The error's own message; for the system's errors, without the number.
fn phrase(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<std::io::Error>().map_or_else(|| error.to_string(), crate::kernel::plain)
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let kind = kind(&error);
        let failure = Self::new(error);
        match kind {
            Some(ErrorKind::PermissionDenied) => failure.hint(match lacks_own_run() {
                true => {
                    "root of this user namespace may not do that; a /run of its own lets it create namespaces \
                     (`mount -t tmpfs tmpfs /run`), and so does a sandbox (`--sandbox`)"
                }
                false => "this needs root on the machine itself (`sudo`); root in a sandbox or user namespace is not enough",
            }),
            Some(kind) => {
                let failure = failure.blame_proc(kind);
                match kind {
                    ErrorKind::ReadOnlyFilesystem if failure.hint.is_none() => {
                        failure.hint("/run must be writable: `mount -t tmpfs tmpfs /run`; or run in a sandbox with `--sandbox`")
                    }
                    _ => failure,
                }
            }
            None => failure,
        }
    }
}

/// Whether this process is root of a user namespace with a network and mounts of its own, in which /run still belongs to outer root.
fn lacks_own_run() -> bool {
    let is_writable = access("/run", AccessFlags::W_OK).is_ok();
    !is_writable && privilege::is_ours_to_change().unwrap_or(false)
}

/// The kind of the system's error in a chain.
pub fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        let system = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let kernel = error.downcast_ref::<crate::kernel::Errno>().map(|errno| io::Error::from_raw_os_error(errno.number).kind());
        if let Some(kind) = system.or(kernel) {
            return Some(kind);
        }
        next = error.source();
    }
    None
}
