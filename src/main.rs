//! onex
fn main() {}
