//! Formats plans as text, whole or brief, as JSON, and as commands of iproute2; states as lab files and as tables, and their differences.

pub mod brief;
pub mod difference;
pub mod ip;
pub mod json;
pub mod links;
pub mod text;
pub mod yaml;
