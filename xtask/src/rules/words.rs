//! Words that must not stand in any file.

use super::Finding;
use crate::tree::Tree;

/// Words for work left undone, put together so that this file does not break its own rule.
fn unfinished_words() -> [String; 3] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat())
}

/// Marks of unfinished work: what is not done is not there, and what is wrong is an issue.
pub(crate) fn unfinished(tree: &Tree, findings: &mut Vec<Finding>) {
    let words = unfinished_words();
    each_line(tree, |path, at, line| {
        let mut parts = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(word) = parts.find(|part| words.iter().any(|word| word == part)) {
            findings.push(Finding::new(path, at, format!("{word}: do it, or file an issue")));
        }
    });
}

/// Folders that exist on somebody's machine only.
fn machine_folders() -> [String; 4] {
    [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|parts| parts.concat())
}

/// Paths of one machine: they mean nothing to anybody else.
pub(crate) fn machine_paths(tree: &Tree, findings: &mut Vec<Finding>) {
    let folders = machine_folders();
    each_line(tree, |path, at, line| {
        for folder in &folders {
            let absolute = line.match_indices(folder.as_str()).any(|(start, _)| {
                // Inside a longer path, below a home or in a URL it is no folder of the root.
                !line[..start].ends_with(|c: char| c.is_alphanumeric() || "._-~*$}".contains(c))
            });
            if absolute {
                findings.push(Finding::new(path, at, format!("{folder} is a path of one machine")));
            }
        }
    });
}

fn each_line(tree: &Tree, mut run: impl FnMut(&str, usize, &str)) {
    for (path, text) in tree.files().filter(|(path, _)| *path != "Cargo.lock") {
        for (at, line) in text.lines().enumerate() {
            run(path, at + 1, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    #[test]
    fn work_left_undone_is_found_in_any_file() {
        let word = &unfinished_words()[0];
        let tree = Tree::some(&[
            ("docs/a.md", &format!("fine\n{word}: the rest\n")),
            ("b.rs", &format!("// {word}S are another word, {word}_LIST too\n")),
        ]);
        assert_eq!(found(unfinished, &tree), [format!("docs/a.md:2: {word}: do it, or file an issue")]);
    }

    #[test]
    fn machine_paths_are_found_and_others_are_left_alone() {
        let folder = &machine_folders()[0];
        let tree = Tree::some(&[
            ("a.md", &format!("cd {folder}main\n")),
            ("b.md", &format!("cd ~{folder}main; ls docs{folder}x; curl http://host{folder}x\n")),
        ]);
        assert_eq!(found(machine_paths, &tree), [format!("a.md:1: {folder} is a path of one machine")]);
    }
}
