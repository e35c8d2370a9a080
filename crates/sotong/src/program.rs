//! What this program is called by whoever wants to run it again.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Its name where the shell finds it by that, else its file: a command that was printed is there to be copied.
pub(crate) fn called() -> String {
    let own = env::current_exe().unwrap_or_else(|_| PathBuf::from("sotong"));
    let name = own.file_name().unwrap_or(OsStr::new("sotong"));
    let is_own = |found: &Path| fs::canonicalize(found).ok() == fs::canonicalize(&own).ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    match found {
        Some(found) if is_own(&found) => name.to_string_lossy().into_owned(),
        _ => quoted(&own.to_string_lossy()),
    }
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_path_is_called_by_its_file() {
        let called = called();
        assert!(Path::new(called.trim_matches('\'')).is_file(), "{called}: tests are on no PATH");
        assert_eq!(quoted("/opt/sotong"), "/opt/sotong");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
