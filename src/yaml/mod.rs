//! YAML text into a tree that knows its places, and problems shown at those places.
//!
//! [`parse`] reads a text into a [`document`]; a [`path`] leads to a value in it; a [`problem`] is about a path, a
//! [`diagnostic`] about a place in the text. What keys and values mean is left to [`crate::spec`] and [`crate::resource`].

pub mod diagnostic;
pub mod document;
pub mod parse;
pub mod path;
pub mod problem;
pub mod scalar;
pub mod suggest;

pub use diagnostic::{Colour, Diagnostic, Severity, render};
pub use document::Document;
pub use path::Path;
pub use problem::{Problem, Problems};
