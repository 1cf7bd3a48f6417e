//! Formats plans as text, as JSON, and as commands of iproute2.

pub mod ip;
pub mod json;
pub mod text;
