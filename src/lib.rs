//! topo: declarative network topologies for Linux.

pub mod apply;
pub mod diff;
pub mod graph;
pub mod kernel;
pub mod name;
pub mod operation;
pub mod ownership;
pub mod plan;
pub mod report;
pub mod resource;
pub mod spec;
pub mod state;
pub mod value;
