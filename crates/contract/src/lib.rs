//! Contracts of tools: what a tool may say of itself, the form by which its contract is known, and the checks of arguments and
//! results. Schemas come from strangers: everything here ends within its bounds, whatever it is given.

mod admits;
pub mod canonical;
mod canonical_form;
mod contract;
mod cost;
mod dialect;
mod ecma;
mod exact;
mod keyword;
mod measure;
mod pattern;
mod relied_on;
mod report;
mod schema_graph;
mod unique;
pub mod validator;

pub use contract::{
    CONTRACTS_LIGHT_PATTERNS_MAX, CONTRACTS_LIGHT_VALUES_MAX, Contract, ToolRules, below,
    check_tool, check_tools, compile, subject_of, weight,
};
