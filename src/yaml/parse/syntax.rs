//! What the YAML parser says of a text that it cannot read, in words that a user can act on.

use granit_parser::{ErrorKind, ScanError};

use super::{offset, too_deep};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::Span;

/// The parser's error with its place.
pub(super) fn explained(text: &str, error: &ScanError) -> Box<Diagnostic> {
    let start = offset(error.marker());
    let length = text.get(start as usize..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span { start, end: start + u32::try_from(length).unwrap_or_default() };
    let (message, hint) = explain(error);
    let diagnostic = Diagnostic::error(message).at(span);
    Box::new(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) })
}

/// The usual mistakes in words that a user can act on.
fn explain(error: &ScanError) -> (String, &'static str) {
    let text = |message: &str, hint: &'static str| (message.to_owned(), hint);
    match error.kind() {
        ErrorKind::UnknownAnchor => text(
            "this alias refers to an anchor that does not stand before it",
            "an alias `*name` needs an anchor `&name` before it; put quotes around a text that begins with `*`",
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => text("YAML does not allow a tab here", "indent with blanks"),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => text(
            "a `:` cannot stand here",
            "put what belongs to a key on lines of its own or between `{` and `}`, and put quotes around a text with `: `",
        ),
        ErrorKind::ExpectedBlockMappingKey => {
            text("a key is expected here", "check the indentation: the keys of a map stand below one another")
        }
        ErrorKind::SimpleKeyExpected => text("a `:` is missing after this key", "check the line, and its indentation"),
        ErrorKind::UnclosedQuotedScalar => text("this quote is not closed", ""),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("a `{open}` is closed by a `{close}`"), "check that every `[` and `{` is closed")
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("this `{open}` is not closed"), ""),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            text("a comma or the end of the list or map is expected here", "check that every `[` and `{` is closed")
        }
        ErrorKind::RecursionLimitExceeded => (too_deep(), ""),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("the character `{}` cannot stand here", escape(&character.to_string())), "")
        }
        _ => (format!("this is not valid YAML: {}", error.info()), ""),
    }
}
