//! Slow work for services, on threads of its own: looking up and reading files beneath one folder, taking
//! files, checking passwords.
#![forbid(unsafe_code)]

mod beneath;
mod files;
mod passwords;
mod uploads;

pub use beneath::{Beneath, RootError};
pub use files::{Files, FilesOptions};
pub use passwords::{PasswordTable, Passwords, TableError, hash_password};
pub use uploads::Uploads;
