//! What the end-to-end tests have, too: a real S3 server.

#![allow(dead_code)]

#[path = "../../../tests/support/parts.rs"]
mod parts;
#[path = "../../../tests/support/process.rs"]
mod process;
#[path = "../../../tests/support/s3.rs"]
pub mod s3;

use parts::{free_port, part, wait_for};
