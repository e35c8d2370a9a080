//! Chores of this repository: `cargo run -p xtask -- tidy`.
//!
//! `tidy` holds what compilers and clippy cannot: which crate may know which, where `unsafe` may stand, how long a file
//! may grow, that both READMEs say the same. It reads the tree and needs no network.

mod rules;
mod tree;

use std::process::ExitCode;

use crate::tree::Tree;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => tidy(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy");
            ExitCode::from(2)
        }
    }
}

fn tidy() -> ExitCode {
    let tree = match Tree::of_repository() {
        Ok(tree) => tree,
        Err(fault) => {
            eprintln!("tidy: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let findings = rules::all(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", tree.len());
        return ExitCode::SUCCESS;
    }
    println!("tidy: {} findings", findings.len());
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let tree = Tree::of_repository().expect("the tests run in a repository");
        let findings: Vec<_> = rules::all(&tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
