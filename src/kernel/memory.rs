//! A network in memory that follows the kernel's rules.
