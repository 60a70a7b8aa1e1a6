//! Behaviour over HTTP, against the real engine and the embedded store. Tests that break nothing share one system; each
//! that takes a provider or a process down has a system to itself.

#![allow(clippy::similar_names, reason = "a receiver and what it received")]
#![allow(clippy::duplicate_mod, reason = "every scenario runs in one process and in seven")]

mod access;
mod apart;
mod backup;
mod bad_input;
mod cancel;
mod cards;
mod cluster;
mod commands;
mod compatibility;
mod contract;
mod couriers;
mod crash;
mod demo;
mod disk;
mod faults;
mod hands;
mod idempotency;
mod identity;
mod journals;
mod killed_providers;
mod lifecycles;
mod listings;
mod merchants;
mod monitoring;
mod one_process;
mod pressure;
mod proof;
mod races;
mod rebuild;
mod seven_processes;
mod start;
mod streams;
mod structure;
mod sweep;
mod templates;
mod traces;
mod versions;
mod watching;
mod webhooks;

use one_process::shared;
