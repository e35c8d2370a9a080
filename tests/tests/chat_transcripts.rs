//! What clients and people of the chat see, word for word: script in, transcript out.
//!
//! A file in `transcripts/chat` is both. A line `name> words` says them, `name< words` is what is heard then, by all in the
//! order of their names. `+ name` comes with a client and registers, `+ name caps` asks for these capabilities before; `t name`
//! comes with a terminal; `s name` comes by TLS with a certificate; `~ 5` lets so many seconds pass, `^ 5`
//! and `^ -5` let the clock jump; `- name` ends its direction; `! name` resets it; `name#` tells why a
//! connection ended. `. name` reads nothing until `.. name`. `* held` makes the desks take their time, and so `* busy`, `* failing`, `* ready`; `* held store`
//! that of the store alone, `* held passwords` that of passwords. `* reload relaymsg=on` reads the options anew, with these changed since the start; `i name` is a connection over TLS without
//! a certificate, `c name 203.0.113.1:4000` one from there, `t name 203.0.113.1:4000` the same with a terminal. `SOTONG_BLESS=1` writes down what is said by now.
//!
//! Each runs whole, and again with every line cut into bytes.
use sotong_chat::{ChatLimits, ChatOptions, ChatService, Gateway, Herald, MetadataOptions, Oper, OperClass, Sts};
use sotong_session::{Close, End, Kind, Limits, Marks, Moment, TlsFacts, Wall, Way, Wire};
use sotong_shard::{DeskQueue, Exchange, Shard, Silent, Step, Wake};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, sync::Arc, time::Duration};
use tests::chat_desk::{ChatDesk, Mood, Queue};

struct Nobody;
impl Wake for Nobody {
    fn wake(&self) {}
}

/// One shard with a chat, and people on it.
struct World {
    service: ChatService,
    options: ChatOptions,
    shard: Shard<ChatService, ()>,
    exchange: Arc<Exchange<sotong_chat::Mail>>,
    /// Those of the store, of passwords, of names and of users.
    desks: [Arc<ChatDesk>; 4],
    people: BTreeMap<String, Person>,
    now: Moment,
    wall: i64,
    by_bytes: bool,
}

struct Person {
    slot: u32,
    heard: Vec<u8>,
    closed: Option<Close>,
    /// Reads nothing now.
    is_busy: bool,
}

/// 2026-11-26T00:00:00Z.
const BEGIN: i64 = 1_795_651_200_000;

impl World {
    fn new(options: &ChatOptions, marks: Marks, by_bytes: bool) -> Self {
        let exchange = Exchange::new(1);
        exchange.enter(0, Arc::new(Nobody));
        let desks: [Arc<ChatDesk>; 4] = Default::default();
        exchange
            .set_desks(desks.iter().map(|desk| Arc::new(Queue(Arc::clone(desk))) as Arc<dyn DeskQueue<_>>).collect());
        let service = ChatService::new(options.clone());
        let limits = Limits { marks, ..Limits::default() };
        let way = Arc::clone(&exchange);
        service.told_by(Herald::new(move |to, mail| {
            way.post(to, mail);
        }));
        let shard = Shard::new(0, service.clone(), Arc::clone(&exchange), limits, Arc::new(Silent), 1);
        Self {
            service,
            options: options.clone(),
            shard,
            exchange,
            desks,
            people: BTreeMap::new(),
            now: Moment::START + Duration::from_secs(1000),
            wall: BEGIN,
            by_bytes,
        }
    }
    fn come(&mut self, name: &str) {
        self.come_with(name, None);
    }
    fn come_with_a_certificate(&mut self, name: &str, address: Option<&str>) {
        // What it is made of does not matter here.
        let peer_chain = vec![name.as_bytes().into()];
        let facts = TlsFacts { peer_chain, version: "TLSv1.3", ..TlsFacts::default() };
        let Some(address) = address else { return self.come_with(name, Some(facts)) };
        let mut way = Self::way_from(address);
        way.tls = Some(Arc::new(facts));
        self.come_by(name, &way);
    }
    /// Reads the options anew: as they were at the start, but for these.
    fn reload<'w>(&mut self, changes: impl Iterator<Item = &'w str>) {
        let mut options = self.options.clone();
        for change in changes {
            let (key, value) = change.split_once('=').expect("a key and a value");
            let is_on = value == "on";
            match key {
                "relaymsg" => options.relaymsg = is_on,
                "roleplay" => options.roleplay = is_on,
                "cloak" => options.cloak_addresses = is_on,
                "register" => options.accounts.register = is_on,
                "before_connect" => options.accounts.register_before_connect = is_on,
                "metadata" => options.metadata.enabled = is_on,
                "password" => options.password = Some(value.to_owned()).filter(|value| !value.is_empty()),
                "oper" => options.opers.retain(|oper| oper.name != value),
                "nick_len" => options.limits.nick_chars_max = value.parse().expect("a number"),
                "sts" => {
                    let duration = Duration::from_secs(86_400);
                    options.sts = value.parse().ok().map(|port| Sts { port, duration, preload: false });
                }
                key => panic!("what is {key:?}?"),
            }
        }
        self.service.reload(options);
        self.turn();
    }
    fn desks_are(&mut self, mood: &str, only: Option<&str>) {
        let mood = match mood {
            "ready" => Mood::Ready,
            "held" => Mood::Held,
            "busy" => Mood::Busy,
            "failing" => Mood::Failing,
            mood => panic!("what is {mood:?}?"),
        };
        let which = match only {
            None => 0..self.desks.len(),
            Some("store") => 0..1,
            Some("passwords") => 1..2,
            Some(which) => panic!("what is {which:?}?"),
        };
        for desk in &self.desks[which] {
            desk.set(mood);
        }
        self.turn();
    }
    fn come_with(&mut self, name: &str, tls: Option<TlsFacts>) {
        let number = self.people.len() as u32 + 1;
        let mut way = Way::new(End::Simulated(0), End::Simulated(number), Wire::Stream);
        way.tls = tls.map(Arc::new);
        self.come_by(name, &way);
    }
    fn come_from(&mut self, name: &str, address: Option<&str>) {
        let Some(address) = address else { return self.come(name) };
        self.come_by(name, &Self::way_from(address));
    }
    fn way_from(address: &str) -> Way {
        let end = |address: &str| End::Net(address.parse().expect("an address"));
        Way::new(end("192.0.2.1:6667"), end(address), Wire::Stream)
    }
    fn come_by(&mut self, name: &str, way: &Way) {
        self.shard.begin_turn(self.now, Wall(self.wall));
        let slot = self.shard.open(way, (), Kind::Socket).map_err(|(why, ())| why).expect("it is let in");
        self.people.insert(name.to_owned(), Person { slot, heard: Vec::new(), closed: None, is_busy: false });
        self.turn();
    }
    fn say(&mut self, name: &str, bytes: &[u8]) {
        let slot = self.people[name].slot;
        let size = if self.by_bytes { 1 } else { bytes.len() };
        for piece in bytes.chunks(size) {
            self.shard.input(slot, &mut piece.to_vec());
            self.turn();
        }
    }
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= until) {
            self.go_to(at.max(self.now));
        }
        self.go_to(until);
    }
    fn go_to(&mut self, at: Moment) {
        self.wall += at.since(self.now).as_millis() as i64;
        self.now = at;
        self.shard.begin_turn(self.now, Wall(self.wall));
        self.shard.expire();
        self.turn();
    }
    /// Somebody reads nothing for now, or reads on.
    fn stall(&mut self, name: &str, is_busy: bool) {
        let Some(person) = self.people.get_mut(name) else { panic!("who is {name}?") };
        person.is_busy = is_busy;
        let slot = person.slot;
        self.act(slot);
        self.turn();
    }
    fn reset(&mut self, name: &str) {
        self.shard.fail(self.people[name].slot, Close::Reset);
        self.turn();
    }
    /// The clock of civil time jumps.
    fn jump(&mut self, seconds: i64) {
        self.wall += seconds * 1000;
        self.shard.begin_turn(self.now, Wall(self.wall));
    }
    /// Until nothing is left to do.
    fn turn(&mut self) {
        loop {
            let mut moved = self.shard.deliver();
            for desk in &self.desks {
                moved |= desk.work(&self.exchange);
            }
            while let Some(slot) = self.shard.touched() {
                moved |= self.act(slot);
            }
            if !moved {
                return;
            }
            self.shard.begin_turn(self.now, Wall(self.wall));
        }
    }
    fn act(&mut self, slot: u32) -> bool {
        let mut moved = false;
        loop {
            match self.shard.next(slot) {
                Step::Send if self.people.values().any(|person| person.slot == slot && person.is_busy) => return moved,
                Step::Send => {
                    let Some((out, ())) = self.shard.output(slot) else { return moved };
                    let mut slices = Vec::new();
                    out.gather(&mut slices, usize::MAX);
                    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                    self.shard.sent(slot, bytes.len());
                    if let Some(person) =
                        self.people.values_mut().find(|person| person.slot == slot && person.closed.is_none())
                    {
                        person.heard.extend_from_slice(&bytes);
                    }
                    moved = true;
                }
                Step::HalfClose => {
                    self.shard.half_closed(slot);
                    moved = true;
                }
                Step::Close => {
                    let person = self.people.values_mut().find(|person| person.slot == slot && person.closed.is_none());
                    if let Some(person) = person {
                        person.closed = Some(Close::Done);
                    }
                    self.shard.remove(slot);
                    return true;
                }
                Step::SendFile | Step::SendRecord | Step::Wait => return moved,
            }
        }
    }
    /// What everybody has heard since, and who is no longer there.
    fn heard(&mut self, transcript: &mut String) {
        let mut gone = Vec::new();
        for (name, person) in &mut self.people {
            let heard = std::mem::take(&mut person.heard);
            for line in heard.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let _ = writeln!(transcript, "{name}< {}", String::from_utf8_lossy(line));
            }
            if person.closed.is_some() {
                gone.push(name.clone());
            }
        }
        for name in gone {
            let _ = writeln!(transcript, "{name}#");
            self.people.remove(&name);
        }
    }
}

fn run(script: &str, options: &ChatOptions, marks: Marks, by_bytes: bool) -> String {
    let mut world = World::new(options, marks, by_bytes);
    let mut transcript = String::new();
    for line in script.lines() {
        let is_heard =
            line.split_once(' ').map_or(line, |(word, _)| word).ends_with(['<', '#']) && !line.starts_with('#');
        if is_heard {
            continue;
        }
        let _ = writeln!(transcript, "{line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let first = words.next().unwrap_or("");
        match word {
            "+" => {
                world.come(first);
                let caps: Vec<&str> = words.collect();
                if !caps.is_empty() {
                    world.say(first, format!("CAP LS 302\r\nCAP REQ :{}\r\n", caps.join(" ")).as_bytes());
                }
                world.say(first, format!("NICK {first}\r\nUSER {first} 0 * :{first}'s name\r\n").as_bytes());
                if !caps.is_empty() {
                    world.say(first, b"CAP END\r\n");
                }
                // What everybody is told at first has a transcript of its own.
                if let Some(person) = world.people.get_mut(first) {
                    person.heard.clear();
                }
            }
            "c" => world.come_from(first, words.next()),
            "s" => world.come_with_a_certificate(first, words.next()),
            "*" if first == "reload" => world.reload(words),
            "i" => world.come_with(first, Some(TlsFacts { version: "TLSv1.3", ..TlsFacts::default() })),
            "*" => world.desks_are(first, words.next()),
            "t" => {
                world.come_from(first, words.next());
                world.pass(Duration::from_secs(1));
            }
            "~" => world.pass(Duration::from_secs_f64(first.parse().expect("seconds"))),
            "." => world.stall(first, true),
            ".." => world.stall(first, false),
            "^" => world.jump(first.parse().expect("seconds")),
            "-" => {
                let slot = world.people[first].slot;
                world.shard.end(slot);
                world.turn();
            }
            "!" => world.reset(first),
            said => {
                let name = said.strip_suffix('>').unwrap_or_else(|| panic!("what is {line:?}?"));
                let end = if rest.ends_with('\\') { "" } else { "\r\n" };
                let text = rest.strip_suffix('\\').unwrap_or(rest);
                world.say(
                    name,
                    format!("{text}{end}")
                        .replace("\\n", "\r\n")
                        .replace("\\0", "\0")
                        .replace("\\1", "\u{1}")
                        .as_bytes(),
                );
            }
        }
        world.heard(&mut transcript);
    }
    transcript
}

fn check(name: &str, options: &ChatOptions) {
    check_with(name, options, Limits::default().marks);
}
/// The same with outputs that are full sooner.
fn check_with(name: &str, options: &ChatOptions, marks: Marks) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts/chat").join(name).with_extension("txt");
    let script = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let heard = run(&script, options, marks, false);
    if std::env::var_os("SOTONG_BLESS").is_some() {
        fs::write(&path, &heard).expect("it can be written");
    } else {
        for (number, (is, was)) in (1..).zip(heard.lines().zip(script.lines())) {
            assert_eq!(is, was, "{name}, line {number}");
        }
        assert_eq!(heard.lines().count(), script.lines().count(), "{name}");
    }
    assert_eq!(run(&script, options, marks, true), heard, "{name}, byte by byte");
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), &options());
        })*
        /// A transcript nobody runs would prove nothing.
        #[test]
        fn every_transcript_is_run() {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts/chat");
            let names = fs::read_dir(folder).expect("the folder is there").map(|file| file.expect("a file").path());
            let names: std::collections::BTreeSet<String> = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
            let run = [$(stringify!($name)),*, "flood", "limits", "password", "password_hashed", "opers", "hosts", "server_bans", "user_modes", "chanserv", "nickserv_opers", "registered_rooms", "relaymsg", "roleplay", "multiline", "read_back", "metadata", "lookups", "lookups_shown", "lookups_password", "webirc", "webirc_limits"].map(str::to_owned).into_iter().collect();
            assert_eq!(names, run);
        }
    };
}

transcripts! {
    registration capabilities join_part kick invite topic names list modes_of_rooms modes_of_people privmsg notice_tagmsg
    statusmsg echo labels ranks extended_bans bans_that_end auditorium speaking filters rename who whox whois whowas away_setname ask server monitor quit text bad_lines times secrets nicks extended
    several_clients always_on nicks_of_accounts account_tags
    account_registration sasl_plain sasl_external nickserv log_in_limits desks durable dropped
    extended_monitor pre_away cap_notify
    silenced rooms_alike
}

/// What transcripts run with, if nothing else is said.
fn options() -> ChatOptions {
    let limits = ChatLimits { flood_control: false, ..ChatLimits::default() };
    ChatOptions { limits, created: Wall(BEGIN), motd: vec!["안녕".to_owned()], ..ChatOptions::default() }
}

#[test]
fn lookups() {
    check("lookups", &ChatOptions { resolve_hostnames: true, check_ident: true, ..with_opers() });
}

#[test]
fn lookups_shown() {
    let options = ChatOptions { cloak_addresses: false, resolve_hostnames: true, ..with_opers() };
    check("lookups_shown", &options);
}

#[test]
fn lookups_password() {
    let password = Some("$argon2test$sesame".to_owned());
    check("lookups_password", &ChatOptions { resolve_hostnames: true, password, motd: Vec::new(), ..options() });
}

/// A gateway with a hash, one from this machine with a password, and one with a certificate alone, which is called `gate`.
fn with_gateways() -> ChatOptions {
    let gateway = |from: &str, password: &str, certificate: &str| Gateway {
        allowed_from: vec![from.parse().expect("a network")],
        password: password.to_owned(),
        certificate: certificate.to_owned(),
    };
    let gate = "c974e17b8e7321ce8c12983de3d0ed4a289821f579bbe0925b0181a4bc8e8d80";
    let gateways = vec![
        gateway("203.0.113.0/24", "$argon2test$other", ""),
        gateway("203.0.113.0/24", "$argon2test$sesame", ""),
        gateway("127.0.0.1", "plain", ""),
        gateway("203.0.113.0/24", "", gate),
    ];
    ChatOptions { gateways, motd: Vec::new(), ..with_opers() }
}

#[test]
fn webirc() {
    check("webirc", &with_gateways());
}

#[test]
fn webirc_limits() {
    let limits = ChatLimits { connections_per_address: 2, new_connections_per_address: 3, ..ChatLimits::default() };
    check("webirc_limits", &ChatOptions { limits, ..with_gateways() });
}

#[test]
fn multiline() {
    let limits = ChatLimits { multiline_lines_max: 5, multiline_bytes_max: 100, ..options().limits };
    check("multiline", &ChatOptions { limits, ..options() });
}

#[test]
fn read_back() {
    check_with("read_back", &options(), Marks { low: 100, high: 300, hard: 4000 });
}

#[test]
fn metadata() {
    let metadata = MetadataOptions { max_subs: 3, max_keys: 2, ..MetadataOptions::default() };
    check("metadata", &ChatOptions { metadata, ..options() });
}

#[test]
fn flood() {
    check("flood", &ChatOptions { limits: ChatLimits::default(), ..options() });
}

#[test]
fn limits() {
    let limits = ChatLimits {
        flood_control: false,
        rooms_max: 2,
        list_modes_max: 1,
        modes_max: 3,
        monitor_max: 1,
        targets_max: 2,
        whowas_max: 1,
        topic_bytes_max: 7,
        away_bytes_max: 7,
        reason_bytes_max: 7,
        key_bytes_max: 3,
        nick_chars_max: 5,
        room_chars_max: 5,
        registration_lines_max: 5,
        name_tries_max: 2,
        ..ChatLimits::default()
    };
    check("limits", &ChatOptions { limits, motd: Vec::new(), ..options() });
}

/// Operators of each class; the password of the one with a hash is behind its sign.
fn with_opers() -> ChatOptions {
    let oper = |name: &str, class| Oper {
        name: name.to_owned(),
        password: format!("{name}-password"),
        certificate: String::new(),
        class,
        vhost: String::new(),
    };
    let boss = Oper { vhost: "staff/boss".to_owned(), ..oper("boss", OperClass::Admin) };
    let cert = Oper { password: String::new(), certificate: "AB:CD".to_owned(), ..oper("cert", OperClass::Admin) };
    let hash = Oper { password: "$argon2test$hash-password".to_owned(), ..oper("hash", OperClass::Helper) };
    let opers = vec![boss, hash, oper("mod", OperClass::Moderator), oper("help", OperClass::Helper), cert];
    ChatOptions { opers, ..options() }
}

#[test]
fn opers() {
    check("opers", &with_opers());
}

#[test]
fn hosts() {
    check("hosts", &with_opers());
}

#[test]
fn nickserv_opers() {
    check("nickserv_opers", &with_opers());
}

#[test]
fn chanserv() {
    check("chanserv", &with_opers());
}

#[test]
fn registered_rooms() {
    check("registered_rooms", &with_opers());
}

#[test]
fn relaymsg() {
    check("relaymsg", &ChatOptions { relaymsg: true, ..with_opers() });
}

#[test]
fn roleplay() {
    check("roleplay", &ChatOptions { roleplay: true, ..options() });
}

#[test]
fn server_bans() {
    check("server_bans", &with_opers());
}

#[test]
fn user_modes() {
    check("user_modes", &ChatOptions { default_user_modes: "+iw".to_owned(), ..with_opers() });
}

#[test]
fn password_hashed() {
    // As the desk of these tests has it: the password is behind the sign.
    check("password_hashed", &ChatOptions { password: Some("$argon2test$sesame".to_owned()), ..options() });
}

#[test]
fn password() {
    check("password", &ChatOptions { password: Some("sesame".to_owned()), ..options() });
}
