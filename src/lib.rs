//! topo: declarative network topologies for Linux.

pub mod apply;
pub mod cli;
pub mod diff;
pub mod graph;
pub mod kernel;
pub mod lower;
pub mod name;
pub mod operation;
pub mod ownership;
pub mod plan;
pub mod record;
pub mod report;
pub mod resource;
pub mod runtime;
pub mod spec;
pub mod state;
pub mod value;
