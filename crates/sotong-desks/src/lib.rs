//! Slow work for services, on threads of its own: looking up and reading files beneath one folder, taking
//! files, checking passwords, keeping the books of a chat, looking up who comes to it.
#![forbid(unsafe_code)]

mod beneath;
mod files;
mod lookups;
mod passwords;
mod store;
mod uploads;

pub use beneath::{Beneath, RootError};
pub use files::{Files, FilesOptions};
pub use lookups::{IDENT_PORT, IDENT_TIME_MAX, Idents, Names};
pub use passwords::{ChatPasswords, PasswordTable, Passwords, TableError, hash_password, is_password_hash};
pub use store::{DataFolder, Store, StoreError};
pub use uploads::Uploads;
