//! topo: declarative network topologies for Linux.

pub mod kernel;
pub mod lower;
pub mod name;
pub mod operation;
pub mod ownership;
pub mod resource;
pub mod spec;
pub mod state;
pub mod value;
