//! Prepares states for lab files that people read: `show` and `diff`. [`crate::raise`] turns the results into lab files.

mod live;
mod sides;

pub use live::{Chosen, Described, Omitted, describe, referenced, to_observe};
pub use sides::{Sides, sides};
