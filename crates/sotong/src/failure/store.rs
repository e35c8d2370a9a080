//! The words for what a chat keeps on disk and cannot.

use sotong_desks::StoreError;

use super::{code, io_words};
use crate::catalogue::{Catalogue, text};

/// The exit code: a folder that another server has is like an address in use.
pub(super) fn code(why: &StoreError) -> u8 {
    if matches!(why, StoreError::InUse { .. }) { code::FAILED } else { code::CONFIG }
}

/// What is wrong, and the way out of it.
pub(super) fn message(catalogue: &Catalogue, why: &StoreError) -> String {
    match why {
        StoreError::Folder { path, fault } => {
            let (path, why) = (path.display().to_string(), io_words(catalogue, fault.kind()));
            text!(catalogue, "store-folder", path = path, why = why)
        }
        StoreError::InUse { path } => text!(catalogue, "store-in-use", path = path.display().to_string()),
        StoreError::Later { path, .. } => text!(catalogue, "store-later", path = path.display().to_string()),
        StoreError::Bad { path, fault } => {
            let (path, why) = (path.display().to_string(), fault.to_string());
            text!(catalogue, "store-bad", path = path, why = why)
        }
        other => other.to_string(),
    }
}
