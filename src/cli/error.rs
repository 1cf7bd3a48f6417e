//! What went wrong, for a person: the chain of causes, and the remedy.

use std::error::Error;

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong; its sources say why. `None` when everything has been said.
    pub error: Option<Box<dyn Error>>,
    /// The same with the places in the lab file that it is about, as it is to be printed; empty when there are none.
    pub with_places: String,
    /// What more there is to say, a line each.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub code: u8,
}

impl Failure {
    /// A failure for which the text has been printed.
    pub fn silent() -> Self {
        Self { error: None, with_places: String::new(), notes: Vec::new(), hint: None, code: 1 }
    }

    /// An error without further words.
    pub fn new(error: impl Into<Box<dyn Error>>) -> Self {
        Self { error: Some(error.into()), with_places: String::new(), notes: Vec::new(), hint: None, code: 1 }
    }

    /// With a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error and its causes, joined.
    pub fn chain(&self) -> Option<String> {
        self.error.as_deref().map(chain)
    }
}

/// An error and its causes, joined.
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

/// What the error says itself; the system's errors without their numbers.
fn phrase(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<std::io::Error>().map_or_else(|| error.to_string(), crate::kernel::plain)
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let privilege = lacks_privilege(&error);
        let failure = Self::new(error);
        match privilege {
            true => failure
                .hint("only root of the whole machine may do that (`sudo`), not that of a sandbox or another user namespace"),
            false => failure,
        }
    }
}

fn lacks_privilege(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(here) = error {
        let denied = |number: i32| number == nix::libc::EPERM || number == nix::libc::EACCES;
        if here.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).is_some_and(denied)
            || here.downcast_ref::<crate::kernel::Errno>().is_some_and(|errno| denied(errno.number))
        {
            return true;
        }
        error = here.source();
    }
    false
}
