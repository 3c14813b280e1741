//! The one integration-test binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests make files and read the machine that they run on"
)]
mod architecture;
mod archive;
mod authors;
mod bad_input;
mod build;
mod build_apps;
mod cache;
mod catalog;
mod check;
mod ci;
mod ci_cache;
mod classic;
mod cli;
mod contract;
mod contract_audit;
mod contract_launch;
mod contract_layers;
mod contract_sbom;
mod detect;
mod exec;
mod explain;
mod export;
mod faults;
mod formation;
mod isolation;
mod killed_build;
mod lifecycle;
mod lifecycle_launch;
mod lifecycle_restore;
mod logs;
mod logs_sinks;
mod notify;
mod one_offs;
mod one_offs_detached;
mod one_offs_terminal;
mod project;
mod readonly;
mod release_run;
mod reproducible;
mod router;
mod router_faults;
mod router_process;
mod router_rfc9112;
mod router_switch;
mod router_upgrades;
mod sandbox;
mod secrets;
mod spec;
mod start;
mod start_faults;
mod stop;
mod store;
mod strangers;
mod support;
mod switch;
mod upgrade;
mod watch;
