//! What files say, and what is wrong with them.
use std::path::Path;

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

#[test]
fn each_limit_is_set_by_its_name() {
    let text =
        "[limits]\nnick_len = 9\nchannel_len = 10\ntopic_len = 11\nkick_len = 12\naway_len = 13\nrealname_len = 14
key_len = 15\nlist_modes = 0\nmodes = 17\ntargets = 18\nchannels = 0\nmonitor = 20\nwhowas = 0\nflood_control = false
commands_at_once = 22\ncommand_time = \"23ms\"\nconnections_per_address = 24\nnew_connections_per_address = 25
new_accounts_per_address = 26
registration_time = 26\nregistration_lines = 27\nping_after = \"28s\"\ncut_after = 29.5\nheld_answers = 30
name_time = \"1m\"\nname_tries = 32\n";
    let limits = parse(text).expect("well").chat_options(sotong_chat::ChatOptions::default()).limits;
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
        ..sotong_chat::ChatLimits::default()
    };
    assert_eq!(limits, expect);
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
        ("[limits]\nnick_len = 0\n", "2:12 it takes a whole number from 1 to 64."),
        ("[limits]\nnick_len = -1\n", "2:12 it takes a whole number from 1 to 64."),
        ("[limits]\nnick_len = '32'\n", "2:12 it takes a whole number, without quotation marks."),
        ("[limits]\nnick_len = 99999999999999999999\n", "2:12 it takes a whole number from 1 to 64."),
        ("[limits]\nflood_control = 'no'\n", "2:17 it takes true or false, without quotation marks."),
        ("[limits]\nping_after = '90 sec'\n", "2:14 a time is a number of seconds"),
        ("[limits]\nping_after = 0\n", "2:14 it must be longer than 0."),
        ("[limits]\nping_after = 150\n", "2:1 it must be less than 'cut_after'."),
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
