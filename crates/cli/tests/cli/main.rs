//! The command line, end to end: the real program, real files, real processes.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod babysit;
mod by_hand;
mod changes;
mod command;
mod commands;
mod constrained;
mod continued;
mod converged;
mod data;
mod interrupts;
mod messages;
mod models;
mod nested;
mod populations;
mod processes;
mod quality;
mod racing;
mod units;
