//! Documents: both READMEs show the same commands, and the architecture can be read in one sitting.

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
    let (english, korean, architecture) = (text("README.md"), text("README.ko.md"), text("ARCHITECTURE.md"));
    let lines = architecture.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        let what = format!("{lines} lines; it should be read in one sitting ({ARCHITECTURE_LINES_MAX})");
        findings.push(Finding::new("ARCHITECTURE.md", lines, what));
    }
    let (english, korean) = (fences(english), fences(korean));
    if english.len() != korean.len() {
        let what = format!("{} code fences, README.md has {}", korean.len(), english.len());
        findings.push(Finding::new("README.ko.md", 1, what));
        return;
    }
    for (en, ko) in english.iter().zip(&korean) {
        if en.language != ko.language {
            let what = format!("a fence of '{}', where README.md has one of '{}'", ko.language, en.language);
            findings.push(Finding::new("README.ko.md", ko.line, what));
        }
        if en.commands != ko.commands {
            let what = format!("other commands than README.md:{}", en.line);
            findings.push(Finding::new("README.ko.md", ko.line, what));
        }
    }
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
        let korean = "```sh\nsotong echo\n```\n```text\n```\n";
        assert_eq!(
            check(ENGLISH, korean, ""),
            ["README.ko.md:4: a fence of 'text', where README.md has one of 'rust'"]
        );
    }

    #[test]
    fn a_long_architecture_and_a_missing_readme_are_found() {
        let long = "line\n".repeat(201);
        assert_eq!(check("", "", &long), ["ARCHITECTURE.md:201: 201 lines; it should be read in one sitting (200)"]);
        assert_eq!(found(readable, &Tree::default()).len(), 3);
    }
}
