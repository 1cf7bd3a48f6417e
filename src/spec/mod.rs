//! The lab file: text into [`LabFile`], with every problem and its place.

pub mod file;

pub use file::LabFile;
