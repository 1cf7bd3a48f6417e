//! Rules, each shown by operations.
