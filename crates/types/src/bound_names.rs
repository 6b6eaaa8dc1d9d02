//! What bounds are called where one is reached.

/// Hosts.
pub const HOSTS: &str = "hosts";
/// What one requester holds.
pub const LEASES: &str = "leases per requester";
/// Nodes.
pub const NODES: &str = "nodes";
/// Buses.
pub const BUSES: &str = "buses";
/// Validators that report on one node.
pub const VALIDATORS: &str = "validators of one contract";
/// Tools of one node.
pub const TOOLS: &str = "tools of one node";
/// Regular expressions in the tools of one node.
pub const PATTERNS: &str = "regular expressions of one node";
/// Ports of one lease.
pub const LEASE_PORTS: &str = "ports per lease";
/// Executions that have begun and not ended.
pub const EXECUTIONS: &str = "executions under way";
