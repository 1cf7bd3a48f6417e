//! Formats plans as text and as JSON, states as lab files and as tables, and their differences.

pub mod difference;
pub mod json;
pub mod links;
pub mod text;
pub mod yaml;
