//! Documents: both languages tell the same, and the architecture can be read in one sitting.

use super::Finding;
use crate::tree::Tree;

const ARCHITECTURE_LINES_MAX: usize = 200;

/// The rules for documents.
pub(crate) fn readable(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut text = |path: &str| {
        let text = tree.get(path);
        if text.is_none() {
            findings.push(Finding::new(path, 1, "is missing"));
        }
        text.unwrap_or_default()
    };
    let architecture = text("ARCHITECTURE.md");
    let (english, korean) = (text("README.md"), text("README.ko.md"));
    let lines = architecture.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        let what = format!("{lines} lines; it should be read in one sitting ({ARCHITECTURE_LINES_MAX})");
        findings.push(Finding::new("ARCHITECTURE.md", lines, what));
    }
    say_the_same(("README.md", english), ("README.ko.md", korean), findings);
}

/// The pages under `docs/en` and `docs/ko` are the same pages.
pub(crate) fn in_both_languages(tree: &Tree, findings: &mut Vec<Finding>) {
    const FOLDERS: [&str; 2] = ["docs/en/", "docs/ko/"];
    for (path, text) in tree.files() {
        for (mine, other) in [(FOLDERS[0], FOLDERS[1]), (FOLDERS[1], FOLDERS[0])] {
            let Some(page) = path.strip_prefix(mine).filter(|page| page.ends_with(".md")) else { continue };
            let twin = format!("{other}{page}");
            match tree.get(&twin) {
                None => findings.push(Finding::new(path, 1, format!("has no twin {twin}"))),
                // Each pair once, from the English side.
                Some(korean) if mine == FOLDERS[0] => say_the_same((path, text), (&twin, korean), findings),
                Some(_) => {}
            }
        }
    }
}

/// Whether two texts have the same headings, tables and commands.
fn say_the_same((path, english): (&str, &str), (twin, korean): (&str, &str), findings: &mut Vec<Finding>) {
    for (what, start) in [("headings", "#"), ("rows of tables", "|")] {
        let count = |text: &str| outside_fences(text).filter(|line| line.starts_with(start)).count();
        let (here, there) = (count(korean), count(english));
        if here != there {
            findings.push(Finding::new(twin, 1, format!("{here} {what}, {path} has {there}")));
        }
    }
    let (english, korean) = (fences(english), fences(korean));
    if english.len() != korean.len() {
        let what = format!("{} code fences, {path} has {}", korean.len(), english.len());
        findings.push(Finding::new(twin, 1, what));
        return;
    }
    for (en, ko) in english.iter().zip(&korean) {
        if en.language != ko.language {
            let what = format!("a fence of '{}', where {path} has one of '{}'", ko.language, en.language);
            findings.push(Finding::new(twin, ko.line, what));
        }
        if en.commands != ko.commands {
            let what = format!("other commands than {path}:{}", en.line);
            findings.push(Finding::new(twin, ko.line, what));
        }
    }
}

fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut open = false;
    text.lines().filter(move |line| {
        open ^= line.trim_start().starts_with("```");
        !open
    })
}

struct Fence {
    line: usize,
    language: String,
    /// For shells: the lines without their comments. What a fence of output or prose holds is the translator's.
    commands: Vec<String>,
}

fn fences(text: &str) -> Vec<Fence> {
    let mut fences: Vec<Fence> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            open = !open;
            if open {
                fences.push(Fence { line: at + 1, language: language.trim().to_owned(), commands: Vec::new() });
            }
        } else if let Some(fence) = fences.last_mut().filter(|_| open) {
            let shell = matches!(fence.language.as_str(), "sh" | "bash" | "console" | "shell");
            let command = line.split("# ").next().unwrap_or_default().trim_end();
            if shell && !command.is_empty() {
                fence.commands.push(command.to_owned());
            }
        }
    }
    fences
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    fn check(english: &str, korean: &str, architecture: &str) -> Vec<String> {
        found(
            readable,
            &Tree::some(&[("README.md", english), ("README.ko.md", korean), ("ARCHITECTURE.md", architecture)]),
        )
    }

    const ENGLISH: &str = "# S\n```sh\nsotong echo # an echo server\n```\n```rust\nfn main() {}\n```\n";

    #[test]
    fn readmes_that_say_the_same_pass() {
        let korean = "# S\n```sh\nsotong echo # 에코 서버\n```\n```rust\nfn main() { /* 예 */ }\n```\n";
        assert_eq!(check(ENGLISH, korean, ""), [""; 0]);
    }

    #[test]
    fn another_command_is_found() {
        let korean = "# S\n```sh\nsotong room # 방\n```\n```rust\n```\n";
        assert_eq!(check(ENGLISH, korean, ""), ["README.ko.md:2: other commands than README.md:2"]);
    }

    #[test]
    fn a_fence_too_few_and_one_of_another_kind_are_found() {
        assert_eq!(check(ENGLISH, "# S\n", ""), ["README.ko.md:1: 0 code fences, README.md has 2"]);
        let two = ENGLISH.replace("# S\n", "# S\n## T\n| a |\n");
        assert_eq!(
            check(&two, ENGLISH, ""),
            ["README.ko.md:1: 1 headings, README.md has 2", "README.ko.md:1: 0 rows of tables, README.md has 1"]
        );
        let korean = "# S\n```sh\nsotong echo\n```\n```text\n```\n";
        assert_eq!(
            check(ENGLISH, korean, ""),
            ["README.ko.md:5: a fence of 'text', where README.md has one of 'rust'"]
        );
    }

    #[test]
    fn a_long_architecture_and_a_missing_readme_are_found() {
        let long = "line\n".repeat(201);
        assert_eq!(check("", "", &long), ["ARCHITECTURE.md:201: 201 lines; it should be read in one sitting (200)"]);
        assert_eq!(found(readable, &Tree::default()).len(), 3);
    }
    #[test]
    fn a_page_without_a_twin_or_with_another_one_is_found() {
        let pages = [("docs/en/a.md", "# A\n"), ("docs/ko/a.md", "text\n"), ("docs/en/b.md", ""), ("docs/ko/c.md", "")];
        assert_eq!(
            found(in_both_languages, &Tree::some(&pages)),
            [
                "docs/ko/a.md:1: 0 headings, docs/en/a.md has 1",
                "docs/en/b.md:1: has no twin docs/ko/b.md",
                "docs/ko/c.md:1: has no twin docs/en/c.md"
            ]
        );
        assert_eq!(
            found(in_both_languages, &Tree::some(&[("docs/en/a.md", "# A\n"), ("docs/ko/a.md", "# 가\n")])),
            [""; 0]
        );
    }
}
