//! End-to-end tests, one binary: everything here links the whole program, and linking it once is enough.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod check;
mod checkout;
mod checkout_live;
mod commands;
mod dead_letters;
mod demo;
mod deployment;
mod example_config;
mod extremes;
mod fail_points;
mod hostile;
mod http_clients;
mod isolation;
mod kafka_away;
mod kafka_changes;
mod kafka_faults;
mod kafka_gaps;
mod kafka_keys;
mod kafka_login;
mod kafka_new_lake;
mod kafka_plan;
mod kafka_rekey;
mod kafka_secured;
mod kafka_smoke;
mod kafka_worker;
mod kafka_workers;
mod layers;
mod licences;
mod mcp;
mod metrics_documented;
mod openapi;
mod prompt;
mod pull_request;
mod s3;
mod serve;
mod snapshots;
mod status;
mod storms;
mod support;
mod trainticket;
mod verify;
mod versions;
mod worked_example;
