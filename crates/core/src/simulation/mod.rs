//! Several engines, a store that loses, delays and repeats, clocks that run apart, holders that retry, sleep and die:
//! one run is decided by its seed, and its promises are checked at every step.
//!
//! `SEEDS=20000 cargo test -p onex-core random` runs as many; `SEED=17 cargo test -p onex-core random` runs that one and
//! prints what happens.

mod administrator;
mod call_truth;
mod callers;
mod calls;
mod chance;
mod checks;
mod contention;
mod executing;
mod faults;
mod holder;
mod instance;
mod network;
mod node_stage;
mod people;
mod process;
mod publishing;
mod random;
mod schedules;
mod schedules_admin;
mod schedules_calls;
mod schedules_foreign;
mod schedules_hosts;
mod schedules_lag;
mod schedules_log;
mod schedules_nodes;
mod schedules_owners;
mod schedules_rebind;
mod schedules_restore;
mod schedules_runs;
mod schedules_sets;
mod schedules_settings;
mod schedules_start;
mod schedules_store;
mod schedules_trust;
mod schedules_waiting;
mod stage;
mod stage_calls;
mod store;
mod truth;
mod truth_nodes;
mod world;
