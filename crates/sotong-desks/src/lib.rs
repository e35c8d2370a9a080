//! Slow work for services, on threads of its own: looking up and reading files beneath one folder.
#![forbid(unsafe_code)]

mod beneath;
mod files;

pub use beneath::{Beneath, RootError};
pub use files::{Files, FilesOptions};
