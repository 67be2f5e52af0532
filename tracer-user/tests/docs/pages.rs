//! The pages themselves.

use std::fs;

use crate::common::go::workspace;

/// The text of a page.
pub fn read(page: &str) -> String {
    fs::read_to_string(workspace().join(page)).unwrap()
}
