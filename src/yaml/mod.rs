//! The YAML parser: text into a tree with positions, and problems rendered with an excerpt of the text.
//!
//! [`parse`] parses a text into a [`document`]; a [`path`] leads to a value in it. A [`problem`] has a path, a
//! [`diagnostic`] a position in the text. The meaning of keys and values is defined by [`crate::spec`] and [`crate::resource`].

pub mod diagnostic;
pub mod document;
pub mod parse;
pub mod path;
pub mod problem;
pub mod scalar;
pub mod suggest;
pub mod words;

pub use diagnostic::{Colour, Diagnostic, Locator, Severity, render, sorted};
pub use document::Document;
pub use path::Path;
pub use problem::{Problem, Problems};
