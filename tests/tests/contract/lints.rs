//! Sources that break a rule, and the lints that find it.
use crate::hand::Does;
use sotong_session::Rule;
use std::{fs, path::Path};
use tests::tool::tool;
use xtask::tidy_texts;

/// The rule that `tidy` names in what it finds at `path`.
fn tidied(path: &str, text: &str, more: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(&str, &str)> = more.iter().copied().chain([(path, text)]).collect();
    tidy_texts(&files).into_iter().filter(|finding| finding.starts_with(path)).collect()
}

const LAYER: &str = "crates/sotong-layers/src/loud.rs";
const LOUD: &str = "
//! A layer.
fn handle(event: Event) {
    match event {
        Event::Open(way) => open(way),
        Event::Input(_) | Event::Again | Event::End | Event::Mail(_) | Event::Deadline => pass(event),
        ARM => pass(event),
    }
}
";

fn layer_with(does: Does, wildcard: &str) -> Option<Rule> {
    let arm = if does.it_break() { wildcard } else { "Event::Drained | Event::Stop | Event::Gone(_)" };
    named_l1(&tidied(LAYER, &LOUD.replace("ARM", arm), &[]))
}
fn named_l1(found: &[String]) -> Option<Rule> {
    found.iter().any(|finding| finding.contains("(rule L1)")).then_some(Rule::L1)
}
pub(crate) fn arm_for_the_rest(does: Does) -> Option<Rule> {
    layer_with(does, "_")
}
pub(crate) fn arm_for_the_rest_beside_something(does: Does) -> Option<Rule> {
    let arm = if does.it_break() { "(_, _) => {}" } else { "(Event::Open(_), _) => {}" };
    let text =
        format!("fn handle(event: Event, open: bool) {{\n    match (event, open) {{\n        {arm}\n    }}\n}}\n");
    named_l1(&tidied(LAYER, &text, &[]))
}
pub(crate) fn arm_with_a_name_for_the_rest(does: Does) -> Option<Rule> {
    layer_with(does, "rest")
}

const MANIFEST: &str = "[package]\nname = \"sotong-classics\"\n\n[dependencies]\nbytes.workspace = true\n";

pub(crate) fn dependency_that_brings_io(does: Does) -> Option<Rule> {
    let more = if does.it_break() { "mio.workspace = true\n" } else { "" };
    let found = tidied("crates/sotong-classics/Cargo.toml", &format!("{MANIFEST}{more}"), &[]);
    (!found.is_empty()).then_some(Rule::S3)
}
pub(crate) fn ban_lifted(does: Does) -> Option<Rule> {
    let lift = if does.it_break() { "#[allow(clippy::disallowed_methods)]\n" } else { "" };
    let text = format!("//! A service.\n{lift}fn now() -> Instant {{\n    Instant::now()\n}}\n");
    let found = tidied("crates/sotong-classics/src/now.rs", &text, &[]);
    (!found.is_empty()).then_some(Rule::S3)
}
pub(crate) fn crate_without_its_bans(does: Does) -> Option<Rule> {
    let bans = include_str!("../../../crates/sotong-classics/clippy.toml");
    let holed: String =
        bans.lines().filter(|line| !line.contains("::HashMap\"")).map(|line| format!("{line}\n")).collect();
    let text = if does.it_break() { &holed } else { bans };
    let found = tidied("crates/sotong-classics/clippy.toml", text, &[("crates/sotong-classics/Cargo.toml", MANIFEST)]);
    (!found.is_empty()).then_some(Rule::S3)
}

/// The crates that are pure today.
const PURE: [&str; 5] = ["sotong-session", "sotong-shard", "sotong-layers", "sotong-classics", "sotong-sim"];

/// What a pure crate must not touch, a line each.
const IMPURE_LINES: [&str; 12] = [
    "std::time::Instant::now();",
    "std::time::SystemTime::now();",
    "std::thread::spawn(|| ());",
    "std::thread::sleep(std::time::Duration::ZERO);",
    "std::net::TcpStream::connect(\"localhost:7\");",
    "std::net::UdpSocket::bind(\"localhost:7\");",
    "std::os::unix::net::UnixStream::pair();",
    "std::fs::File::open(\"x\");",
    "std::fs::read(\"x\");",
    "std::process::Command::new(\"x\");",
    "std::collections::HashMap::<u8, u8>::new();",
    "std::collections::HashSet::<u8>::new();",
];
const PURE_LINES: [&str; 2] =
    ["std::collections::BTreeMap::<u8, u8>::new();", "std::time::Duration::from_secs(1).as_nanos();"];

/// Clippy as CI runs it, with the bans of each pure crate: every line in a function of its own, so that each must be found.
#[test]
fn clippy_holds_the_bans_of_every_pure_crate() {
    let Some(clippy) = tool("clippy-driver") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the root");
    for (kind, lines) in [("impure", &IMPURE_LINES[..]), ("pure", &PURE_LINES)] {
        let functions = lines.iter().enumerate().map(|(at, line)| format!("pub fn f{at}() {{ let _ = {line} }}\n"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind);
        fs::create_dir_all(&folder).expect("a folder of the test's own");
        let source = folder.join("lib.rs");
        fs::write(&source, functions.collect::<String>()).expect("a file of the test's own");
        for name in PURE {
            let mut command = clippy.command(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-Dwarnings"]);
            command.arg(&source).arg("--out-dir").arg(&folder);
            let done = command.env("CLIPPY_CONF_DIR", root.join("crates").join(name)).output();
            let done = done.expect("clippy-driver starts");
            let text = String::from_utf8_lossy(&done.stderr);
            let found = |line: &usize| text.contains(&format!("lib.rs:{line}:"));
            let missed: Vec<usize> = (1..=lines.len()).filter(|line| found(line) != (kind == "impure")).collect();
            assert!(missed.is_empty(), "{name}, {kind}, lines {missed:?} of {lines:#?}:\n{text}");
            assert_eq!(done.status.success(), kind == "pure", "{name}, {kind}:\n{text}");
        }
    }
}
