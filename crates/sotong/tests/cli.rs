//! The command as people and scripts meet it: its output, its errors in both languages, its exit codes.

use std::io::Read;
use std::process::{Command, Output, Stdio};

/// Runs `sotong` in an environment without a language or colours of its own.
fn sotong(line: &[&str]) -> Output {
    command(line).output().expect("sotong runs")
}

fn command(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotong"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.args(line).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A mistake: its exit code, the first line on standard error, and nothing on standard output.
#[track_caller]
fn check_mistake(line: &[&str], code: i32, expect: &str) {
    let output = sotong(line);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().next(), Some(expect), "{line:?}");
    assert_eq!(output.status.code(), Some(code), "{line:?}");
    assert!(output.stdout.is_empty(), "standard output is for data only");
}

#[test]
fn mistakes_are_told_in_english() {
    check_mistake(&["ech"], 2, "error: there is no command 'ech'. Did you mean 'echo'?");
    check_mistake(&["echo", "--modle", "epoll"], 2, "error: there is no flag '--modle'. Did you mean '--model'?");
    check_mistake(&["echo", "--drain"], 2, "error: '--drain' needs a value.");
    check_mistake(
        &["echo", "--drain", "soon"],
        2,
        "error: 'soon' is no value of '--drain': a time is a number of seconds, or one with ms, s, m, h or d",
    );
    check_mistake(
        &["echo", "--workers", "0"],
        2,
        "error: '0' is no value of '--workers': it takes a whole number from 1 to 1024",
    );
    check_mistake(
        &["echo", "--model", "thread"],
        2,
        "error: 'thread' is no value of '--model', which takes one of: auto, sequential, threads, processes, epoll, async, uring. Did you mean 'threads'?",
    );
    check_mistake(
        &["chat", "ws://127.0.0.1:0/irc"],
        2,
        "error: the chat speaks WebSocket at every address, beside the rest, so ws://127.0.0.1:0/irc is not written as one. Write tcp://127.0.0.1:0.",
    );
    check_mistake(
        &["chat", "--ws-deflate", "wss://*:0"],
        2,
        "error: '--ws-deflate' is not for the chat, which speaks WebSocket at every address; what it allows there stands in its configuration file (--config).",
    );
    check_mistake(&["connect"], 2, "error: this must be given: <ADDR>");
    check_mistake(&["-q", "-v", "echo"], 2, "error: '--quiet' cannot be used with '--verbose'.");
    check_mistake(&["connect", "a:1", "b:2"], 2, "error: 'b:2' is one argument too many.");
    check_mistake(&["echo", "--ipv4"], 2, "error: there is no flag '--ipv4'.");
    check_mistake(&["help", "nobody"], 2, "error: there is no command 'nobody'.");
    check_mistake(&["help", "ech"], 2, "error: there is no command 'ech'. Did you mean 'echo'?");
    for line in [&["echo", "--idle", "0"][..], &["connect", ":1", "-w", "0"], &["listen", ":1", "--keepalive", "0ms"]] {
        let flag = match line[line.len() - 2] {
            "-w" => "--timeout",
            flag => flag,
        };
        let value = line[line.len() - 1];
        check_mistake(line, 2, &format!("error: '{value}' is no value of '{flag}': it must be longer than 0"));
    }
    check_mistake(
        &["echo", "80000"],
        2,
        "error: '80000' is no address: '80000' is no port; a port is a number from 1 to 65535, or 0 to listen on a free one.",
    );
}

#[test]
fn mistakes_are_told_in_korean() {
    check_mistake(&["--lang", "ko", "ech"], 2, "오류: 'ech' 명령은 없습니다. 혹시 'echo'를 쓰려고 했습니까?");
    check_mistake(
        &["--lang=ko", "echo", "--modle"],
        2,
        "오류: '--modle' 옵션은 없습니다. 혹시 '--model'을 쓰려고 했습니까?",
    );
    check_mistake(&["echo", "--drain", "--lang", "ko"], 2, "오류: '--drain' 옵션에는 값이 필요합니다.");
    check_mistake(
        &["echo", "--workers", "2000", "--lang", "ko"],
        2,
        "오류: '2000'은 '--workers'에 쓸 수 없는 값입니다: 1 이상 1024 이하의 정수를 써야 합니다",
    );
    check_mistake(
        &["--lang", "ko", "-q", "-v", "echo"],
        2,
        "오류: '--quiet' 옵션은 '--verbose' 옵션과 함께 쓸 수 없습니다.",
    );
}

#[test]
fn the_environment_chooses_the_language_and_the_flag_overrules_it() {
    let first = |variables: &[(&str, &str)], line: &[&str]| {
        let output = command(line).envs(variables.iter().copied()).output().expect("sotong runs");
        text(&output.stdout).lines().next().unwrap_or_default().to_owned()
    };
    let korean = "받은 데이터를 그대로 돌려보냅니다 (RFC 862)";
    let english = "Send back what comes in (RFC 862)";
    assert_eq!(first(&[("LANG", "ko_KR.UTF-8")], &["echo", "-h"]), korean);
    assert_eq!(first(&[("LANG", "ko_KR.UTF-8"), ("LC_ALL", "C")], &["echo", "-h"]), english);
    assert_eq!(first(&[("LANG", "ko_KR.UTF-8")], &["echo", "-h", "--lang", "en"]), english);
}

#[test]
fn a_mistake_points_to_the_help_of_its_command() {
    let output = sotong(&["echo", "--nope"]);
    assert_eq!(text(&output.stderr).lines().nth(1), Some("See: sotong echo --help"));
    let output = sotong(&["--nope"]);
    assert_eq!(text(&output.stderr).lines().nth(1), Some("See: sotong --help"));
    let output = sotong(&["help", "nobody"]);
    assert_eq!(text(&output.stderr).lines().nth(1), Some("See: sotong --help"));
}

#[test]
fn help_tells_how_sizes_and_times_are_written_where_there_are_any() {
    for (command, is_told) in [("", true), ("echo", true), ("connect", true), ("completions", false)] {
        let help = sotong(&["help", command][..1 + usize::from(!command.is_empty())]);
        assert_eq!(text(&help.stdout).contains("KiB, MiB, GiB. Times (TIME) are seconds"), is_told, "{command}");
    }
}

/// A shell asked for what it would complete behind `line`; `None` where there is no such shell.
fn completed(shell: &str, ask: impl Fn(&str, &str) -> String, line: &str) -> Option<Vec<String>> {
    let script = std::env::temp_dir().join(format!("sotong-{shell}-{}-{}", std::process::id(), line.len()));
    std::fs::write(&script, sotong(&["completions", shell]).stdout).expect("written");
    let output = Command::new(shell).arg("-c").arg(ask(script.to_str().expect("UTF-8"), line)).output();
    std::fs::remove_file(&script).expect("removed");
    let Ok(output) = output else { return None };
    let words = text(&output.stdout).lines().filter_map(|line| line.split('\t').next().map(str::to_owned));
    Some(words.collect())
}

#[test]
fn shells_complete_commands_flags_and_values() {
    let bash = |script: &str, line: &str| {
        format!(
            "compopt() {{ :; }}; source {script}; COMP_WORDS=({line} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _sotong sotong '' \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
    };
    let fish = |script: &str, line: &str| format!("source {script}; complete -C '{line} '");
    for (line, expect) in [
        ("sotong", &["echo", "room", "connect"][..]),
        ("sotong help", &["echo", "room", "connect"]),
        ("sotong completions", &["bash", "zsh", "fish"]),
        ("sotong cert", &["new", "check"]),
        ("sotong echo --model", &["threads", "epoll"]),
    ] {
        let answers = [completed("bash", bash, line), completed("fish", fish, line)];
        for words in answers.into_iter().flatten() {
            for word in expect {
                assert!(words.iter().any(|found| found == word), "{line}: {word} is not among {words:?}");
            }
        }
    }
}

#[test]
fn a_program_is_told_what_a_person_is_warned_of() {
    let mut child = command(&["listen", "*:0", "--exec", "cat", "--log-format", "json", "--lang", "ko", "-w", "100ms"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("sotong runs");
    let mut events = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut events).expect("UTF-8");
    child.wait().expect("it ends");
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{name}"));
    let address = of("listening")["address"].as_str().expect("a text");
    let warning = of("program open to anybody")["detail"].as_str().expect("a text");
    assert!(warning.is_ascii() && warning.contains(address), "{warning}");
}

#[test]
fn what_is_said_to_people_is_not_logged_to_them_too() {
    let output = sotong(&["listen", "127.0.0.1:0", "-v", "-w", "100ms"]);
    assert_eq!(text(&output.stderr).matches("tcp://").count(), 1, "{}", text(&output.stderr));
    let output = sotong(&["connect", "-v", "-z", "127.0.0.1:1"]);
    assert_eq!(text(&output.stderr), "tcp://127.0.0.1:1: closed\n");
}

#[test]
fn one_family_alone_is_shown_by_its_own_address() {
    for (flag, shown) in [("-4", "tcp://0.0.0.0:"), ("-6", "tcp://[::]:")] {
        let output = sotong(&["listen", flag, "*:0", "-w", "100ms"]);
        assert!(text(&output.stderr).contains(shown), "{}", text(&output.stderr));
    }
}

/// Runs `sotong` with room for `descriptors`, and none beyond.
fn cramped(descriptors: u32, line: &str) -> Output {
    let script = format!("ulimit -n {descriptors}; exec {} {line}", env!("CARGO_BIN_EXE_sotong"));
    Command::new("sh").args(["-c", &script]).env_remove("LC_ALL").env("LANG", "C").output().expect("sh runs")
}

#[test]
fn without_descriptors_it_says_what_to_raise() {
    for line in ["echo 127.0.0.1:0", "connect 127.0.0.1:1", "listen 127.0.0.1:0"] {
        let output = cramped(5, line);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{line}: {stderr}");
        assert!(stderr.contains("no descriptor or memory is left; raise the limit (ulimit -n)"), "{line}: {stderr}");
    }
    for descriptors in 4..=8 {
        let output = cramped(descriptors, "listen 127.0.0.1:0 -w 0.1");
        assert!(!text(&output.stderr).contains("uncategorized"), "{descriptors}: {}", text(&output.stderr));
    }
    let output = cramped(64, "listen 127.0.0.1:0 -w 0.1");
    assert!(text(&output.stderr).starts_with("warning: at most 1 connection at once"), "{}", text(&output.stderr));
}

#[test]
fn a_unix_socket_has_no_port_to_check() {
    check_mistake(
        &["connect", "unix:@sotong-nobody-is-here"],
        69,
        "error: cannot connect to unix:@sotong-nobody-is-here: nobody listens there; start the server, or check the path or \
         name.",
    );
}

#[test]
fn a_program_reads_mistakes_as_events() {
    let output = sotong(&["--log-format", "json", "--lang", "ko", "echo", "--drain", "soon"]);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let event: serde_json::Value = serde_json::from_str(stderr).expect("JSON");
    assert_eq!((&event["event"], &event["exit_code"]), (&"failed".into(), &2.into()));
    assert!(
        event["reason"].as_str().is_some_and(|reason| reason.starts_with("'soon' is no value")),
        "logs are English"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn both_ways_to_ask_for_help_tell_the_same() {
    for command in ["echo", "room", "connect", "listen", "cert", "models", "completions", "man", "help"] {
        let (long, asked) = (sotong(&[command, "--help"]), sotong(&["help", command]));
        assert_eq!(text(&long.stdout), text(&asked.stdout), "{command}");
        assert_ne!(text(&long.stdout), text(&sotong(&[command, "-h"]).stdout), "-h is shorter");
    }
}

#[test]
fn help_shows_limits_with_their_defaults_and_examples() {
    for (lang, default, examples) in [("en", "[default: 64KiB]", "Examples:"), ("ko", "[기본값: 64KiB]", "예:")] {
        let output = sotong(&["room", "--help", "--lang", lang]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for part in ["--output-high <BYTES>", default, "--drain <TIME>", "10s]", examples, "nc 127.0.0.1 8888"] {
            assert!(help.contains(part), "{lang}: {part}\n{help}");
        }
        assert_eq!(help, text(&sotong(&["help", "room", "--lang", lang]).stdout), "both ways to ask");
    }
}

#[test]
fn korean_help_has_no_english_headings() {
    for command in ["", "echo", "room", "connect", "listen", "completions", "man", "help"] {
        let line: Vec<_> = [command, "--help", "--lang", "ko"].into_iter().filter(|word| !word.is_empty()).collect();
        let output = sotong(&line);
        let help = text(&output.stdout);
        for english in ["Usage", "Options", "Commands", "Arguments", "default", "possible", "OPTIONS", "Print"] {
            assert!(!help.contains(english), "{line:?}: {english}");
        }
    }
}

#[test]
fn no_command_prints_help_as_a_mistake() {
    let output = sotong(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("Usage: sotong [OPTIONS] <COMMAND>"));
}

#[test]
fn the_version_is_the_packages() {
    let output = sotong(&["--version"]);
    assert_eq!(text(&output.stdout), concat!("sotong ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn colour_comes_only_when_it_is_wanted() {
    let coloured = |line: &[&str], variables: &[(&str, &str)]| {
        let output = command(line).envs(variables.iter().copied()).output().expect("sotong runs");
        output.stdout.contains(&0x1b)
    };
    assert!(!coloured(&["-h"], &[]), "a pipe");
    assert!(coloured(&["-h", "--color", "always"], &[]));
    assert!(coloured(&["-h", "--color", "always"], &[("NO_COLOR", "1")]), "the flag is the last word");
    assert!(coloured(&["-h"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&["-h"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&["-h", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_reader_who_leaves_is_no_fault() {
    let mut child =
        command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sotong runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a first byte");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = command(&["man"]).stdout(full).output().expect("sotong runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: cannot write stdout: the disk is full.\n");
}

#[test]
fn every_command_has_a_page_and_every_shell_its_completions() {
    let folder = std::env::temp_dir().join(format!("sotong-man-{}", std::process::id()));
    let output = sotong(&["man", folder.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut pages: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    pages.sort();
    let page = std::fs::read_to_string(folder.join("sotong-echo.1")).expect("a page");
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(pages.contains(&"sotong.1".to_owned()) && pages.contains(&"sotong-room.1".to_owned()), "{pages:?}");
    assert!(
        page.contains(".TH \"sotong-echo\" 1 \"\" \"sotong "),
        "the version stands where a version belongs\n{page}"
    );
    for part in [".SH \"NAME\"", "sotong\\-echo", "\\-\\-output\\-high", ".SH \"EXAMPLES\"", "tcp://*:7007"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = sotong(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("mail-per-mail-max"), "{shell}");
    }
}

/// What a new user reads first: each of these sentences was untrue once.
#[test]
fn the_help_of_the_chat_is_true_of_the_chat() {
    for (lang, kept, gone) in [
        ("en_US.UTF-8", "Accounts and registered rooms are kept in a folder (--data-dir)", "no accounts"),
        ("ko_KR.UTF-8", "계정과 등록된 방은 디렉터리(--data-dir)에 보관하고", "계정과 서버 운영자는 아직 없으며"),
    ] {
        let output = command(&["chat", "--help"]).env("LC_ALL", lang).output().expect("sotong runs");
        let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(kept) && !help.contains(gone), "{lang}: {help}");
        assert!(!help.contains("udp://") && !help.contains("ws://…"), "{lang}: what it refuses");
    }
}
