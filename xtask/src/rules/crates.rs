//! Which crate may know which. Pure crates depend on no I/O; services know no driver, drivers know no service.

use toml::Table;

use super::Finding;
use crate::tree::Tree;

/// Crates without sockets, files, clocks and threads.
const PURE: [&str; 9] = [
    "sotong-session",
    "sotong-shard",
    "sotong-layers",
    "sotong-classics",
    "sotong-tls",
    "sotong-http",
    "sotong-irc",
    "sotong-chat",
    "sotong-sim",
];
/// What is said and how it is wrapped.
const SERVICES: [&str; 5] = ["sotong-layers", "sotong-classics", "sotong-http", "sotong-irc", "sotong-chat"];
/// How it is run. (sotong-desks and sotong-load are impure too, but serve particular services.)
const DRIVERS: [&str; 2] = ["sotong-net", "sotong-drivers"];
const IMPURE: [&str; 5] = ["sotong-net", "sotong-drivers", "sotong-certs", "sotong-desks", "sotong-load"];
/// Crates of others that bring I/O, clocks or threads.
const IO: [&str; 12] = [
    "async-std",
    "crossbeam-channel",
    "io-uring",
    "libc",
    "mio",
    "nix",
    "polling",
    "rayon",
    "rustix",
    "signal-hook",
    "socket2",
    "tokio",
];

/// The dependency rules, by the manifests.
pub(crate) fn dependencies(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let manifest: Table = match text.parse() {
            Ok(manifest) => manifest,
            Err(fault) => {
                findings.push(Finding::new(path, 1, format!("is no manifest: {}", fault.message())));
                continue;
            }
        };
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else { continue };
        for (kind, dependency) in named(&manifest) {
            let Some(why) = forbidden(name, kind, &dependency) else { continue };
            let line = text.lines().position(|line| line.starts_with(&dependency)).map_or(1, |at| at + 1);
            findings.push(Finding::new(path, line, format!("{name} must not depend on {dependency}: {why}")));
        }
    }
}

/// Which table of the manifest names a dependency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// Every dependency of a manifest, those for particular targets too, by the name of the package.
fn named(manifest: &Table) -> Vec<(Kind, String)> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let tables = targets.into_iter().flat_map(|targets| targets.values().filter_map(|target| target.as_table()));
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(tables) {
        for (key, kind) in
            [("dependencies", Kind::Normal), ("build-dependencies", Kind::Build), ("dev-dependencies", Kind::Dev)]
        {
            let Some(entries) = table.get(key).and_then(|entries| entries.as_table()) else { continue };
            for (name, value) in entries {
                let package = value.get("package").and_then(|package| package.as_str());
                found.push((kind, package.unwrap_or(name).to_owned()));
            }
        }
    }
    found
}

fn forbidden(name: &str, kind: Kind, dependency: &str) -> Option<&'static str> {
    if PURE.contains(&name) && (IMPURE.contains(&dependency) || dependency == "sotong") {
        return Some("a pure crate knows no I/O, not in its tests either");
    }
    if PURE.contains(&name) && IO.contains(&dependency) {
        return Some("a pure crate has no sockets, files, clocks or threads");
    }
    // The tests of a driver may serve something.
    if DRIVERS.contains(&name) && SERVICES.contains(&dependency) && kind != Kind::Dev {
        return Some("drivers know no service");
    }
    (dependency == "sotong" && !matches!(name, "tests" | "examples" | "bench" | "fuzz"))
        .then_some("only tests, examples and benches stand before the front door")
}

/// What a pure crate's clippy.toml has to ban; clippy does the rest.
const BANS: [&str; 14] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net::UnixStream",
    "std::fs::File",
    "std::fs::read",
    "std::fs::write",
    "std::process::Command",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// Each pure crate carries the bans.
pub(crate) fn bans_of_pure_crates(tree: &Tree, findings: &mut Vec<Finding>) {
    for name in PURE.iter().filter(|name| tree.get(&format!("crates/{name}/Cargo.toml")).is_some()) {
        let path = format!("crates/{name}/clippy.toml");
        let text = tree.get(&path).unwrap_or_default();
        for ban in BANS.iter().filter(|ban| !text.contains(&format!("path = \"{ban}\""))) {
            findings.push(Finding::new(&path, 1, format!("does not ban {ban}")));
        }
    }
}

/// No source of a pure crate lifts the bans for itself.
pub(crate) fn lifted_bans(tree: &Tree, findings: &mut Vec<Finding>) {
    let is_pure = |path: &str| PURE.iter().any(|name| path.starts_with(&format!("crates/{name}/")));
    for (path, text) in tree.rust().filter(|(path, _)| is_pure(path)) {
        for (at, line) in text.lines().enumerate() {
            if line.contains("clippy::disallowed_") {
                findings.push(Finding::new(path, at + 1, "a pure crate lifts a ban of its clippy.toml"));
            }
        }
    }
}

/// Crates that come in by somebody else's default features: slow to build, and a second provider of TLS.
const UNWANTED: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];

/// What the lock file must not hold.
pub(crate) fn locked(tree: &Tree, findings: &mut Vec<Finding>) {
    for (at, line) in tree.get("Cargo.lock").unwrap_or_default().lines().enumerate() {
        let name = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| UNWANTED.contains(name)) {
            findings.push(Finding::new("Cargo.lock", at + 1, format!("{name} came in: see `cargo tree -i {name}`")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::found;
    use super::*;

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    #[track_caller]
    fn check(name: &str, rest: &str, expect: &[&str]) {
        let tree = Tree::one("crates/x/Cargo.toml", &manifest(name, rest));
        assert_eq!(found(dependencies, &tree), expect);
    }

    #[test]
    fn pure_crates_know_no_io() {
        check("sotong-layers", "[dependencies]\nbytes.workspace = true\nsotong-session.workspace = true\n", &[]);
        check(
            "sotong-layers",
            "[dependencies]\nmio.workspace = true\n",
            &[
                "crates/x/Cargo.toml:4: sotong-layers must not depend on mio: a pure crate has no sockets, files, clocks or threads",
            ],
        );
        check(
            "sotong-sim",
            "[dev-dependencies]\nsotong-drivers.workspace = true\n",
            &[
                "crates/x/Cargo.toml:4: sotong-sim must not depend on sotong-drivers: a pure crate knows no I/O, not in its tests either",
            ],
        );
        check(
            "sotong-session",
            "[target.'cfg(unix)'.dependencies]\nsys = { package = \"libc\", version = \"0.2\" }\n",
            &[
                "crates/x/Cargo.toml:1: sotong-session must not depend on libc: a pure crate has no sockets, files, clocks or threads",
            ],
        );
    }

    #[test]
    fn drivers_know_no_service() {
        check(
            "sotong-drivers",
            "[dependencies]\nsotong-classics.workspace = true\n",
            &["crates/x/Cargo.toml:4: sotong-drivers must not depend on sotong-classics: drivers know no service"],
        );
        check("sotong-drivers", "[dev-dependencies]\nsotong-classics.workspace = true\n", &[]);
        check("sotong", "[dependencies]\nsotong-classics.workspace = true\nsotong-drivers.workspace = true\n", &[]);
    }

    #[test]
    fn nobody_goes_through_the_front_door_from_inside() {
        check(
            "sotong-desks",
            "[dependencies]\nsotong.workspace = true\n",
            &[
                "crates/x/Cargo.toml:4: sotong-desks must not depend on sotong: only tests, examples and benches stand before the front door",
            ],
        );
    }

    #[test]
    fn a_pure_crate_without_bans_is_found() {
        let bans: String = BANS.iter().map(|ban| format!("{{ path = \"{ban}\" }},\n")).collect();
        let cargo = ("crates/sotong-irc/Cargo.toml", "");
        let whole = Tree::some(&[cargo, ("crates/sotong-irc/clippy.toml", &bans)]);
        assert_eq!(found(bans_of_pure_crates, &whole), [""; 0]);
        let holed = bans.replace("std::thread::sleep", "std::thread::park");
        let holed = Tree::some(&[cargo, ("crates/sotong-irc/clippy.toml", &holed)]);
        assert_eq!(
            found(bans_of_pure_crates, &holed),
            ["crates/sotong-irc/clippy.toml:1: does not ban std::thread::sleep"]
        );
        assert_eq!(found(bans_of_pure_crates, &Tree::some(&[cargo])).len(), BANS.len());
    }

    #[test]
    fn a_lifted_ban_is_found() {
        let text = "#[allow(clippy::disallowed_methods)]\nfn f() {}\n";
        assert_eq!(
            found(lifted_bans, &Tree::one("crates/sotong-sim/src/a.rs", text)),
            ["crates/sotong-sim/src/a.rs:1: a pure crate lifts a ban of its clippy.toml"]
        );
        assert_eq!(found(lifted_bans, &Tree::one("crates/sotong-net/src/a.rs", text)), [""; 0]);
    }

    #[test]
    fn an_unwanted_crate_in_the_lock_is_found() {
        let tree = Tree::one("Cargo.lock", "[[package]]\nname = \"aws-lc-sys\"\nversion = \"0.1.0\"\n");
        assert_eq!(found(locked, &tree), ["Cargo.lock:2: aws-lc-sys came in: see `cargo tree -i aws-lc-sys`"]);
    }
}
