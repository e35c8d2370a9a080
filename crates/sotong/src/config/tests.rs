//! What files say, and what is wrong with them.
use std::path::Path;

use sotong_http::{HttpLimits, ws::WsLimits};

use super::fault::Faults;
use super::*;
use crate::catalogue::{Catalogue, Lang};

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, Path::new("/etc/sotong"))
}

/// The first fault, as `LINE:COLUMN cause`.
fn fault(text: &str) -> String {
    let Err(all) = parse(text) else { panic!("{text}: it is well") };
    let faults = Faults { file: "F".to_owned(), text: text.to_owned(), all };
    let message = faults.message(&Catalogue::new(Lang::En));
    let mut lines = message.lines().skip(2);
    let cause = lines.next().unwrap_or_default().to_owned();
    let place = lines.next().unwrap_or_default().trim().trim_start_matches("--> F:").to_owned();
    format!("{place} {cause}")
}

#[test]
fn the_example_says_what_is_so_anyway() {
    for lang in [Lang::En, Lang::Ko] {
        let text = example(&Catalogue::new(lang));
        let config = parse(&text).expect("the example is well");
        let nothing = parse("").expect("nothing is well");
        assert_eq!(config.listen.len(), 1);
        let expect = Config { listen: config.listen.clone(), says_history: true, ..nothing };
        assert_eq!(config, expect, "{lang:?}");
        assert_eq!(config.listen[0].address.0, "127.0.0.1:8888".parse().ok());
    }
}

#[test]
fn what_is_set_to_its_default_is_the_default_of_the_chat() {
    use sotong_chat::ChatOptions;
    let base = ChatOptions::default();
    let options = parse("").expect("nothing is well").chat_options(base.clone());
    assert_eq!(format!("{options:?}"), format!("{base:?}"));
}

/// Each limit with another value than its default.
const EACH_LIMIT: &str =
    "[limits]\nnick_len = 9\nchannel_len = 10\ntopic_len = 11\nkick_len = 12\naway_len = 13\nrealname_len = 14
key_len = 15\nlist_modes = 0\nmodes = 17\ntargets = 18\nchannels = 0\nmonitor = 20\nflood_control = false
commands_at_once = 22\ncommand_time = \"23ms\"\nconnections_per_address = 24\nnew_connections_per_address = 25
new_accounts_per_address = 26
registration_time = 26\nregistration_lines = 27\nping_after = \"28s\"\ncut_after = 29.5\nheld_answers = 30
name_time = \"1m\"\nname_tries = 32\nreceive_queue_bytes = 5000\naccounts_max = 33\nregistered_rooms_max = 34
rooms_per_account_max = 35\ncerts_per_account_max = 36\npassword_bytes = 37\nlog_bytes = 70000\nproxy_time = \"38ms\"
http_head_time = \"39ms\"\nhttp_idle_time = \"40ms\"\nhttp_head_bytes = 4100\nhttp_target_bytes = 4099\nhttp_fields = 43
websocket_upgrade_time = \"44ms\"\nwebsocket_message_bytes = 4700\nwebsocket_fragments = 46\nwebsocket_deflate = true
multiline_bytes = 600\nmultiline_lines = 48\nwhowas = 0\nlookup_time = \"49ms\"\n";

#[test]
fn each_limit_is_set_by_its_name() {
    let limits = parse(EACH_LIMIT).expect("well").chat_options(sotong_chat::ChatOptions::default()).limits;
    let millis = std::time::Duration::from_millis;
    let expect = sotong_chat::ChatLimits {
        nick_chars_max: 9,
        room_chars_max: 10,
        topic_bytes_max: 11,
        reason_bytes_max: 12,
        away_bytes_max: 13,
        real_bytes_max: 14,
        key_bytes_max: 15,
        list_modes_max: usize::MAX,
        modes_max: 17,
        targets_max: 18,
        rooms_max: usize::MAX,
        monitor_max: 20,
        whowas_max: 0,
        flood_control: false,
        burst: 22,
        command_time: millis(23),
        connections_per_address: 24,
        new_connections_per_address: 25,
        new_accounts_per_address: 26,
        registration: millis(26_000),
        registration_lines_max: 27,
        ping_after: millis(28_000),
        cut_after: millis(29_500),
        held_answers_max: 30,
        name_time: millis(60_000),
        name_tries_max: 32,
        receive_queue_bytes_max: 5000,
        accounts_max: 33,
        registered_rooms_max: 34,
        rooms_per_account_max: 35,
        certs_per_account_max: 36,
        password_bytes_max: 37,
        log_bytes_max: 70_000,
        log_messages_max: 10_000,
        multiline_bytes_max: 600,
        multiline_lines_max: 48,
        proxy_time: millis(38),
        websocket: WsLimits {
            upgrade: millis(44),
            message_bytes_max: 4700,
            fragments_max: 46,
            head: HttpLimits {
                head_time: millis(39),
                idle: millis(40),
                head_bytes_max: 4100,
                target_bytes_max: 4099,
                fields_max: 43,
                ..HttpLimits::default()
            },
            ..WsLimits::default()
        },
        websocket_deflate: true,
        lookup: millis(49),
    };
    assert_eq!(limits, expect);
}

#[test]
fn limits_that_contradict_each_other_and_those_that_0_does_not_turn_off() {
    for (text, expect) in [
        (
            "[limits]\nnick_len = 0\n",
            "2:12 this limit cannot be turned off, for it bounds what is held in memory or has to fit into a line: it takes a whole number from 1 to 64.",
        ),
        (
            "[limits]\nhttp_head_bytes = '0B'\n",
            "2:19 this limit cannot be turned off, for it bounds what is held in memory or has to fit into a line: it takes a whole number from 1024 to 65535.",
        ),
        ("[sts]\nport = 0\n", "2:8 it takes a whole number from 1 to 65535."),
        (
            "[limits]\ndrain_time = 0\n",
            "2:14 this limit cannot be turned off, for whoever is waited for holds what others need: it must be longer than 0.",
        ),
        ("[limits]\ncut_after = 90\n", "2:1 it must be more than 'ping_after'."),
        ("[limits]\nsend_queue_high_bytes = 16384\n", "2:1 it must be more than 'send_queue_low_bytes'."),
        ("[limits]\nsend_queue_high_bytes = '1MiB'\n", "2:1 it must be less than 'send_queue_bytes'."),
        ("[limits]\nhttp_target_bytes = 16384\n", "2:1 it must be less than 'http_head_bytes'."),
        ("[limits]\nmemory_bytes = 1048576\n", "2:1 it must be more than 'send_queue_bytes'."),
        ("[limits]\nping_after = 150\n", "2:1 it must be less than 'cut_after'."),
    ] {
        let told = fault(text);
        assert!(told.starts_with(expect), "{text}\ntold: {told}\nnot:  {expect}");
    }
}

/// Those that 0 turns off; the others say why it cannot.
#[test]
fn what_0_turns_off() {
    let off = "list_modes modes targets channels monitor multiline_lines commands_at_once command_time connections
        connections_per_address new_connections_per_address new_accounts_per_address accounts_max registered_rooms_max
        rooms_per_account_max certs_per_account_max registration_time registration_lines ping_after cut_after name_time
        name_tries proxy_time http_head_time http_idle_time websocket_upgrade_time websocket_fragments";
    let text: String = off.split_whitespace().map(|key| format!("{key} = 0\n")).collect();
    let limits = parse(&format!("[limits]\n{text}")).expect("well");
    let limits = limits.chat_options(sotong_chat::ChatOptions::default()).limits;
    let (none, ever) = (usize::MAX, std::time::Duration::MAX);
    let usual = sotong_chat::ChatLimits::default();
    let head = HttpLimits { head_time: ever, idle: ever, ..usual.websocket.head };
    let expect = sotong_chat::ChatLimits {
        list_modes_max: none,
        modes_max: none,
        targets_max: none,
        rooms_max: none,
        monitor_max: none,
        multiline_lines_max: none,
        burst: u32::MAX,
        command_time: std::time::Duration::ZERO,
        connections_per_address: 0,
        new_connections_per_address: 0,
        new_accounts_per_address: 0,
        accounts_max: none,
        registered_rooms_max: none,
        rooms_per_account_max: none,
        certs_per_account_max: none,
        registration: ever,
        registration_lines_max: u32::MAX,
        ping_after: ever,
        cut_after: ever,
        name_time: ever,
        name_tries_max: u32::MAX,
        proxy_time: ever,
        websocket: WsLimits { upgrade: ever, fragments_max: none, head, ..usual.websocket },
        ..usual
    };
    assert_eq!(limits, expect);
    let memory = parse("[limits]\nmemory_bytes = 0\n").expect("well").driver_limits().memory_max;
    assert_eq!(memory, 0, "as the driver has no limit");
    let is_off = |key: &&str| off.split_whitespace().any(|off| off == *key);
    let others = <Limits as section::Section>::KEYS.iter().filter(|key| !is_off(key));
    for key in others.filter(|key| !matches!(**key, "whowas" | "flood_control" | "memory_bytes" | "websocket_deflate"))
    {
        let told = fault(&format!("[limits]\n{key} = 0\n"));
        assert!(told.contains("this limit cannot be turned off, for "), "{key}: {told}");
    }
}

#[test]
fn limits_of_the_driver_are_those_of_the_file_unless_a_flag_says_otherwise() {
    use clap::Parser as _;
    use sotong_session::Marks;
    let text = "[limits]\nsend_queue_low_bytes = 2048\nsend_queue_high_bytes = 20000\nsend_queue_bytes = 200000
stall_time = 3\ndrain_time = 4\nmemory_bytes = 5000000\n";
    let file = parse(text).expect("well").driver_limits();
    let of = |flags: &[&str]| {
        let line = ["sotong", "chat"].iter().chain(flags);
        let crate::cli::Command::Chat(chat) = crate::cli::Cli::try_parse_from(line).expect("legal").command else {
            panic!("it is the chat")
        };
        let mut limits = chat.serve.limits;
        limits.set_beside_flags(&file);
        limits.limits()
    };
    let (marks, seconds) = (Marks { low: 2048, high: 20_000, hard: 200_000 }, std::time::Duration::from_secs);
    let usual = sotong_session::Limits::default();
    let expect = sotong_session::Limits { marks, stall: seconds(3), drain: seconds(4), memory_max: 5_000_000, ..usual };
    assert_eq!(of(&[]), expect);
    let expect = sotong_session::Limits { marks: Marks { hard: 300_000, ..marks }, drain: seconds(5), ..expect };
    assert_eq!(of(&["--output-hard", "300000", "--drain", "5"]), expect);
}

#[test]
fn limits_that_wait_for_the_next_start() {
    let now = "[limits]\nsend_queue_low_bytes = 2048\nstall_time = 3\ndrain_time = 4\nhttp_fields = 9\n";
    let (now, then) = (parse(now).expect("well"), parse("").expect("well"));
    assert_eq!(now.needs_start(&then), ["send_queue_low_bytes", "stall_time", "drain_time"]);
    let since = now.clone().since(&then);
    assert_eq!((since.driver_limits(), since.limits.http_fields), (then.driver_limits(), now.limits.http_fields));
}

#[test]
fn no_limit_at_once_is_none_on_new_connections() {
    let config = parse("[limits]\nconnections_per_address = 0\n").expect("well");
    let limits = config.chat_options(sotong_chat::ChatOptions::default()).limits;
    assert_eq!((limits.connections_per_address, limits.new_connections_per_address), (0, 0));
}

#[test]
fn paths_are_meant_from_where_the_file_is() {
    let config =
        parse("data_dir = \"d\"\n[[listen]]\naddress = \"unix:chat.sock\"\ntls_cert = \"/c.pem\"\n").expect("well");
    assert_eq!(config.top.data_dir.path, Path::new("/etc/sotong/d"));
    assert_eq!(config.listen[0].address.0, "unix:/etc/sotong/chat.sock".parse().ok());
    assert_eq!(config.listen[0].tls_cert.path, Path::new("/c.pem"));
    assert_eq!(parse("").expect("well").top.data_dir.path, Path::new("/etc/sotong/data"));
}

#[test]
fn each_mistake_is_told_where_it_is() {
    for (text, expect) in [
        ("[server\n", "1:8 this is no TOML: "),
        ("data-dir = 'x'\n", "1:1 there is no setting 'data-dir' before the first section. Did you mean 'data_dir'?"),
        ("[limits]\nnick_lenght = 3\n", "2:1 there is no setting 'nick_lenght' in [limits]. Did you mean 'nick_len'?"),
        ("[limits]\nxyzzy = 3\n", "2:1 there is no setting 'xyzzy' in [limits]."),
        ("[limit]\n", "1:2 there is no section [limit]. Did you mean 'limits'?"),
        ("limits = 3\n", "1:1 it is a section, and written [limits]."),
        ("[listen]\naddress = ':1'\n", "1:2 it is a section, and written [[listen]]."),
        ("listen = [3]\n", "1:11 it is a section, and written [[listen]]."),
        ("[[listen]]\nkind = 'irc'\n", "1:1 [[listen]] needs 'address'."),
        ("[[listen]]\naddress = '8888'\n", "2:11 '8888' is no address: "),
        ("[[listen]]\naddress = 'udp://:1'\n", "2:11 a chat needs connections; "),
        ("[[listen]]\naddress = 'ws://:1/'\n", "2:11 write the address without ws://"),
        (
            "[[listen]]\naddress = ':1'\nkind = 'ircs'\n",
            "3:8 'ircs' is none of: auto, irc, websocket, text, web. Did you mean 'irc'?",
        ),
        ("[[listen]]\naddress = ':1'\n[[listen]]\naddress = ':1'\n", "4:1 \"localhost:1\" stands there twice."),
        ("[[listen]]\naddress = ':1'\ntls_key = 'k'\n", "3:1 it means nothing without 'tls_cert'."),
        ("[limits]\nnick_len = -1\n", "2:12 it takes a whole number from 1 to 64."),
        ("[limits]\nnick_len = '32'\n", "2:12 it takes a whole number, without quotation marks."),
        ("[limits]\nnick_len = 99999999999999999999\n", "2:12 it takes a whole number from 1 to 64."),
        ("[limits]\nflood_control = 'no'\n", "2:17 it takes true or false, without quotation marks."),
        ("[limits]\nping_after = '90 sec'\n", "2:14 a time is a number of seconds"),
        ("[limits]\nsend_queue_bytes = '1MB/s'\n", "2:20 a size is a number of bytes"),
        ("[server]\nname = 'local'\n", "2:8 a server's name is letters"),
        ("[server]\nnetwork = 'two words'\n", "2:11 a network's name is one word"),
        ("[server]\nlobby = 'lobby'\n", "2:9 a room's name begins with #"),
        ("[server]\ncasemapping = 'rfc1459'\n", "2:15 'rfc1459' is none of: ascii."),
        ("[server]\nmotd = 'a'\nmotd_file = 'b'\n", "3:1 'motd' is set, too, and only one of them can be."),
        ("[server]\nmotd_file = 'no/such/file'\n", "2:1 /etc/sotong/no/such/file cannot be used: no such file"),
        ("[server]\nmotd = \"a\\u0007\"\n", "2:8 there is a control character in it."),
        ("[server]\nproxy_allowed_from = ['10.0.0.1/8']\n", "2:23 write 10.0.0.0/8 for the network"),
        ("[server]\nproxy_allowed_from = '::1'\n", "2:22 it takes a list between brackets."),
        ("[server]\nallowed_origins = ['example.org']\n", "2:20 it takes an origin"),
        ("[server]\ndefault_user_modes = 'io'\n", "2:22 nobody can have the mode 'o' from the beginning."),
        ("[server]\npassword = '$argon2id$x'\n", "2:12 this hash is damaged"),
        (
            "[accounts]\nalways_on = 'opt_in'\n",
            "2:13 'opt_in' is none of: off, opt-in, opt-out, mandatory. Did you mean 'opt-in'?",
        ),
        ("[[webirc]]\npassword = 'x'\n", "1:1 [[webirc]] needs 'allowed_from'."),
        ("[[webirc]]\nallowed_from = ['::1']\n", "1:1 [[webirc]] needs 'password'."),
        ("[[webirc]]\nallowed_from = ['x']\npassword = 'x'\n", "2:17 "),
        ("[webirc]\n", "1:2 it is a section, and written [[webirc]]."),
        ("[[oper]]\nname = 'a b'\npassword = 'x'\n", "2:8 it takes one word without blanks."),
        ("[[oper]]\nname = 'a'\n", "1:1 [[oper]] needs 'password'."),
        ("[[oper]]\nname = 'a'\npassword = 'x'\nclass = 'boss'\n", "4:9 'boss' is none of: admin, moderator, helper."),
    ] {
        let told = fault(text);
        assert!(told.starts_with(expect), "{text}\ntold: {told}\nnot:  {expect}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_the_rest_counted() {
    let text: String = (0..15).map(|number| format!("wrong{number} = 1\n")).collect();
    let all = parse(&text).expect_err("it is wrong");
    let faults = Faults { file: "F".to_owned(), text, all };
    let message = faults.message(&Catalogue::new(Lang::En));
    assert!(message.starts_with("F cannot be used: it has 15 mistakes."), "{message}");
    assert_eq!(message.matches("--> F:").count(), 10);
    assert!(message.ends_with("There are 5 more."), "{message}");
}

#[test]
fn files_that_cannot_be_read_are_told_with_their_lines() {
    let folder = std::env::temp_dir().join(format!("sotong-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("chat.toml");
    let text =
        "[[listen]]\naddress = ':0'\ntls_cert = 'own.toml'\n\n[[listen]]\naddress = ':0'\ntls_cert = 'nope.pem'\n";
    std::fs::write(folder.join("own.toml"), "").expect("it can be written");
    std::fs::write(&file, text).expect("it can be written");
    let read = Config::read(&file);
    std::fs::remove_dir_all(&folder).expect("it was there");
    let Err(Failure::Config(faults)) = read else { panic!("{read:?}") };
    assert_eq!(faults.all.len(), 1);
    assert_eq!(faults.all[0].span.start, text.rfind("tls_cert").expect("there"));
}
