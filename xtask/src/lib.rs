//! Chores of this repository: `cargo run -p xtask -- tidy`.
//!
//! `tidy` holds what compilers and clippy cannot: which crate may know which, where `unsafe` may stand, how long a file
//! may grow, that both READMEs say the same. It reads the tree and needs no network.

mod rules;
mod tree;

use crate::tree::Tree;

/// How many files this repository has, and what is found in them, a line each.
///
/// # Errors
/// If git or a file cannot be read.
pub fn tidy() -> std::io::Result<(usize, Vec<String>)> {
    let tree = Tree::of_repository()?;
    Ok((tree.len(), found(&tree)))
}

/// What is found in files that need not exist, each with its path from the root: for tests that break a rule on purpose.
pub fn tidy_texts(files: &[(&str, &str)]) -> Vec<String> {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.add(path, *text);
    }
    found(&tree)
}

fn found(tree: &Tree) -> Vec<String> {
    rules::all(tree).iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let (_, findings) = super::tidy().expect("the tests run in a repository");
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
