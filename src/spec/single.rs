//! [`Single`]: a list of at most one item.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A list of at most one item, which the lab file writes without a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Single<T>(Option<T>);

impl<T> Default for Single<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Single<T> {
    /// Sets the item.
    pub fn push(&mut self, item: T) {
        self.0 = Some(item);
    }
}

impl<T> Deref for Single<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.0.as_slice()
    }
}
