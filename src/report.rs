//! Formats plans as text, whole or brief, as JSON, and as commands of iproute2.

pub mod brief;
pub mod ip;
pub mod json;
pub mod text;
