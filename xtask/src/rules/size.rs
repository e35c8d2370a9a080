//! How long a file and a function may be before they owe a reason: a line `// tidy: <reason>`.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use crate::tree::Tree;

const FILE_LINES_MAX: usize = 800;
/// A plain server of the bench is plain: it can be read beside the model that it is compared with.
const PLAIN_SERVER_LINES_MAX: usize = 200;
const FUNCTION_LINES_MAX: usize = 70;
/// An arm of a match that counts as flat.
const FLAT_ARM_LINES_MAX: usize = 12;

/// Files past 800 lines and functions past 70, but for one flat match, without a reason.
pub(crate) fn lengths(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.rust() {
        let lines: Vec<_> = text.lines().collect();
        // The reason of a file stands above its first item; a reason of a function excuses no file.
        let head = lines.iter().take_while(|line| line.is_empty() || line.starts_with("//"));
        if path.starts_with("bench/peers/") && lines.len() > PLAIN_SERVER_LINES_MAX {
            findings.push(Finding::new(path, 1, format!("{} lines: a plain server has at most 200", lines.len())));
        }
        if lines.len() > FILE_LINES_MAX && !head.clone().any(|line| is_reason(line)) {
            findings.push(Finding::new(path, 1, format!("{} lines: split it, or give a reason", lines.len())));
        }
        let Ok(file) = syn::parse_file(text) else { continue };
        let mut functions = Functions(Vec::new());
        functions.visit_file(&file);
        for Function { name, from, to, flat } in functions.0 {
            let count = to - from + 1;
            let near = &lines[from.saturating_sub(2)..to];
            if count > FUNCTION_LINES_MAX && !flat && !near.iter().any(|line| is_reason(line)) {
                findings.push(Finding::new(
                    path,
                    from,
                    format!("{name} has {count} lines: split it, or give a reason"),
                ));
            }
        }
    }
}

fn is_reason(line: &str) -> bool {
    line.trim_start().strip_prefix("// tidy: ").is_some_and(|reason| !reason.trim().is_empty())
}

struct Function {
    name: String,
    from: usize,
    to: usize,
    flat: bool,
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        self.0.push(Function {
            name: signature.ident.to_string(),
            from: signature.span().start().line,
            to: block.span().end().line,
            flat: is_flat_match(block),
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.add(&node.sig, &node.block);
        visit::visit_item_fn(self, node);
    }
    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.add(&node.sig, &node.block);
        visit::visit_impl_item_fn(self, node);
    }
    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.add(&node.sig, block);
        }
        visit::visit_trait_item_fn(self, node);
    }
}

/// One match and nothing else, none of its arms long.
fn is_flat_match(block: &syn::Block) -> bool {
    let [syn::Stmt::Expr(syn::Expr::Match(only), _)] = block.stmts.as_slice() else { return false };
    only.arms.iter().all(|arm| {
        let span = arm.span();
        span.end().line - span.start().line < FLAT_ARM_LINES_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    fn check(text: &str) -> Vec<String> {
        found(lengths, &Tree::one("a.rs", text))
    }

    #[test]
    fn a_long_file_owes_a_reason() {
        let long = "const A: u8 = 0;\n".repeat(801);
        assert_eq!(check(&long), ["a.rs:1: 801 lines: split it, or give a reason"]);
        assert_eq!(check(&format!("//! A table.\n// tidy: one table, generated\n{long}")), [""; 0]);
        assert_eq!(check(&format!("{long}// tidy: too late\n")).len(), 1);
        assert_eq!(check(&format!("// tidy:  \n{long}")).len(), 1, "a reason says something");
    }

    #[test]
    fn a_plain_server_of_the_bench_is_short() {
        let at = |path: &str, lines: usize| found(lengths, &Tree::one(path, &"const A: u8 = 0;\n".repeat(lines)));
        assert_eq!(at("bench/peers/a.rs", 201), ["bench/peers/a.rs:1: 201 lines: a plain server has at most 200"]);
        assert_eq!(at("bench/peers/a.rs", 200), [""; 0]);
        assert_eq!(at("bench/src/a.rs", 201), [""; 0]);
    }

    #[test]
    fn a_long_function_owes_a_reason() {
        let body = "    g();\n".repeat(70);
        assert_eq!(check(&format!("\nfn f() {{\n{body}}}\n")), ["a.rs:2: f has 72 lines: split it, or give a reason"]);
        assert_eq!(check(&format!("impl A {{\n    fn f() {{\n{body}}}\n}}\n")).len(), 1);
        assert_eq!(check(&format!("// tidy: one script\nfn f() {{\n{body}}}\n")), [""; 0]);
        assert_eq!(check(&format!("fn f() {{\n    // tidy: one script\n{body}}}\n")), [""; 0]);
    }

    #[test]
    fn one_flat_match_may_be_long() {
        let arms = "        1 => 2,\n".repeat(80);
        assert_eq!(check(&format!("fn f(a: u8) -> u8 {{\n    match a {{\n{arms}    }}\n}}\n")), [""; 0]);
        let more = format!("fn f(a: u8) -> u8 {{\n    let b = a;\n    match b {{\n{arms}    }}\n}}\n");
        assert_eq!(check(&more).len(), 1, "more than one match");
        let deep = format!("        1 => {{\n{}        }}\n", "            g();\n".repeat(20));
        assert_eq!(check(&format!("fn f(a: u8) {{\n    match a {{\n{arms}{deep}    }}\n}}\n")).len(), 1, "not flat");
    }
}
