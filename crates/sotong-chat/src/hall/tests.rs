use super::*;
use crate::books::{Account, Answer, Ask, Change, Records, RoomRecord, Settings, StoreFault, Ticket};
use crate::news::Letter;
use sotong_session::Desk;

/// What the hall has told: to whom, through which room but to whom, and what it was.
#[derive(Default)]
struct Told {
    posts: Vec<(Address, String)>,
    published: Vec<(Topic, Option<Address>, String)>,
    members: BTreeSet<(Topic, Address)>,
    /// Questions for the store.
    asked: Vec<Ticket>,
    /// Who is to ask it something for another.
    heirs: Vec<Address>,
}

impl Host<Mail> for Told {
    fn post(&mut self, to: Address, mail: Mail) {
        match mail.0 {
            Letter::Heed => self.heirs.push(to),
            Letter::Time => {}
            _ => self.posts.push((to, line(&mail))),
        }
    }
    fn publish(&mut self, topic: Topic, except: Option<Address>, mail: Mail) {
        self.published.push((topic, except, line(&mail)));
    }
    fn join(&mut self, topic: Topic, who: Address) {
        self.members.insert((topic, who));
    }
    fn leave(&mut self, topic: Topic, who: Address) {
        self.members.remove(&(topic, who));
    }
    fn ask(&mut self, _: Desk, mail: Mail) -> Result<(), Mail> {
        if let Some(Ask::Store(ticket, _)) = mail.asked() {
            self.asked.push(*ticket);
        }
        Ok(())
    }
    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn line(mail: &Mail) -> String {
    let Letter::Told(told) = &mail.0 else { panic!("news") };
    String::from_utf8_lossy(told.news.line(crate::caps::Caps::default())).trim_end().to_owned()
}
fn at(slot: u32) -> Address {
    Address { shard: 0, slot, turn: 0 }
}
fn account(name: &str, settings: Settings) -> Account {
    Account { settings, ..Account::new(name, 1) }
}
fn hall(accounts: Vec<Account>) -> Hall {
    let mut hall = Hall::new(&ChatOptions::default());
    hall.books = Books::new(Records { accounts, ..Records::default() });
    hall
}
fn come(hall: &mut Hall, slot: u32, nick: &str, account: Option<&str>, host: &mut Told) -> Result<Entered, Taken> {
    let mut user = User::new(nick, "~u", "h", "r", (Moment::START, Wall(0)));
    user.account = account.map(Into::into);
    let tell = &mut Teller { me: Who::NOBODY, from: at(slot), at: Wall(0), host };
    hall.come_in(user, Attention::Here, tell)
}
fn new(entered: Result<Entered, Taken>) -> Who {
    match entered {
        Ok(Entered::New(who)) => who,
        other => panic!("somebody new, not {other:?}"),
    }
}
fn tell(me: Who, slot: u32, host: &mut Told) -> Teller<'_> {
    Teller { me, from: at(slot), at: Wall(9), host }
}

#[test]
fn two_clients_of_one_account_share_a_nick() {
    let (mut hall, mut host) = (hall(vec![account("minsu", Settings::default())]), Told::default());
    let minsu = new(come(&mut hall, 1, "ms", Some("minsu"), &mut host));
    let (room, stay) = hall.join("#a", "", &mut tell(minsu, 1, &mut host)).expect("in").expect("it is new");
    assert_eq!(come(&mut hall, 2, "ms", None, &mut host).err(), Some(Taken), "who has not logged in");
    let again = come(&mut hall, 2, "MS", Some("minsu"), &mut host).expect("in");
    assert!(matches!(again, Entered::Again(again) if again.who == minsu && again.stays == [(room, stay)]));
    assert!(host.members.contains(&(room, at(2))), "hears the room");
    // The client that says something is not told of it; the other is.
    let words = Words { verb: crate::news::Verb::Privmsg, text: "hi", lines: &[], tags: &[], echo: false };
    hall.say_in_room("#a", words, &mut tell(minsu, 2, &mut host)).expect("said");
    assert_eq!(host.published.last(), Some(&(room, Some(at(2)), ":ms!~u@h PRIVMSG #a :hi".to_owned())));
    // He leaves with his last client.
    host.published.clear();
    hall.quit("one", &mut tell(minsu, 1, &mut host));
    assert!(host.published.is_empty() && hall.user(minsu).is_some());
    hall.quit("two", &mut tell(minsu, 2, &mut host));
    assert_eq!(host.published.last().map(|(.., line)| line.as_str()), Some(":ms!~u@h QUIT :two"));
    assert!(hall.user(minsu).is_none() && hall.rooms_len() == 0 && hall.clients.is_empty());
}

#[test]
fn who_is_here_at_one_client_is_not_away() {
    let (mut hall, mut host) = (hall(vec![account("minsu", Settings::default())]), Told::default());
    let minsu = new(come(&mut hall, 1, "ms", Some("minsu"), &mut host));
    assert!(come(&mut hall, 2, "ms", Some("minsu"), &mut host).is_ok());
    hall.set_attention(Attention::Away("lunch".into()), &mut tell(minsu, 1, &mut host));
    assert_eq!(hall.user(minsu).and_then(|user| user.away.as_deref()), None);
    hall.set_attention(Attention::Unattended, &mut tell(minsu, 2, &mut host));
    assert_eq!(hall.user(minsu).and_then(|user| user.away.as_deref()), Some("lunch"), "the reason that was given");
    hall.quit("one", &mut tell(minsu, 1, &mut host));
    assert_eq!(hall.user(minsu).and_then(|user| user.away.as_deref()), Some("No client is attended"));
    hall.set_attention(Attention::Here, &mut tell(minsu, 2, &mut host));
    assert_eq!(hall.user(minsu).and_then(|user| user.away.as_deref()), None);
}

#[test]
fn one_client_alone_where_the_account_says_so() {
    let settings = Settings { multiclient: Some(false), ..Settings::default() };
    let (mut hall, mut host) = (hall(vec![account("minsu", settings)]), Told::default());
    new(come(&mut hall, 1, "ms", Some("minsu"), &mut host));
    assert_eq!(come(&mut hall, 2, "ms", Some("minsu"), &mut host).err(), Some(Taken));
}

#[test]
fn an_accounts_name_is_nobody_elses_nick() {
    let accounts = vec![account("minsu", Settings::default()), account("other", Settings::default())];
    let (mut hall, mut host) = (hall(accounts), Told::default());
    assert_eq!(come(&mut hall, 1, "Minsu", None, &mut host).err(), Some(Taken));
    assert_eq!(come(&mut hall, 1, "minѕu", None, &mut host).err(), Some(Taken), "a Cyrillic letter");
    assert_eq!(come(&mut hall, 1, "minsu", Some("other"), &mut host).err(), Some(Taken));
    let minsu = new(come(&mut hall, 1, "Minsu", Some("minsu"), &mut host));
    // Without the account he has no right to it.
    assert_eq!(hall.log_in(None, &mut tell(minsu, 1, &mut host)), 2);
    let told: Vec<&str> = host.posts.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(told, [":Minsu!~u@h ACCOUNT *", ":Minsu!~u@h NICK Guest-07070707"]);
    hall.accounts.nick_is_account = false;
    assert!(hall.rename("minsu", &mut tell(minsu, 1, &mut host)).is_ok());
}

#[test]
fn who_is_always_on_keeps_nick_and_seats() {
    let settings = Settings { always_on: Some(true), ..Settings::default() };
    let (mut hall, mut host) = (hall(vec![account("minsu", settings)]), Told::default());
    let minsu = new(come(&mut hall, 1, "minsu", Some("minsu"), &mut host));
    hall.join("#a", "", &mut tell(minsu, 1, &mut host)).expect("in");
    host.published.clear();
    hall.quit("gone", &mut tell(minsu, 1, &mut host));
    let told: Vec<&str> = host.published.iter().map(|(.., line)| line.as_str()).collect();
    assert_eq!(told, [":minsu!~u@h AWAY :No client is attended"]);
    // He sits there again after a restart.
    let record = Account::clone(hall.books.account("minsu").expect("it is there"));
    let presence = record.presence.clone().expect("it is kept");
    assert_eq!((&*presence.nick, &*presence.host), ("minsu", "h"));
    assert_eq!(presence.rooms, [("#a".into(), "o".into())]);
    let rooms = hall.books.occupied_rooms().map(|room| RoomRecord::clone(room)).collect();
    let mut hall = Hall::new(&ChatOptions::default());
    hall.books = Books::new(Records { accounts: vec![record], rooms, ..Records::default() });
    hall.wake(Wall(0));
    let (who, user) = hall.find("minsu").expect("he is here");
    assert_eq!((user.away.as_deref(), user.clients.len()), (Some("No client is attended"), 0));
    assert_eq!(hall.room("#a").and_then(|room| room.rank(who)), Some(Rank::OP));
    // He comes back whatever nick he asks for, and is not away any more.
    let again = come(&mut hall, 2, "guest", Some("minsu"), &mut host).expect("in");
    assert!(matches!(again, Entered::Again(again) if again.who == who && again.stays.len() == 1));
    assert_eq!(hall.user(who).and_then(|user| user.away.as_deref()), None);
    // Once he does not want it any more, he leaves with his last client.
    let record = account("minsu", Settings { always_on: Some(false), ..Settings::default() });
    hall.books.note(&[Change::Account(Arc::new(record))], &mut host);
    hall.settle(&mut tell(who, 2, &mut host));
    hall.quit("gone", &mut tell(who, 2, &mut host));
    assert!(hall.find("minsu").is_none());
    assert!(hall.books.account("minsu").is_some_and(|account| account.presence.is_none()));
}

#[test]
fn who_comes_back_reads_what_was_said_meanwhile() {
    let settings = Settings { always_on: Some(true), ..Settings::default() };
    let (mut hall, mut host) = (hall(vec![account("minsu", settings)]), Told::default());
    let minsu = new(come(&mut hall, 1, "minsu", Some("minsu"), &mut host));
    let other = new(come(&mut hall, 2, "other", None, &mut host));
    for (who, slot) in [(minsu, 1), (other, 2)] {
        hall.join("#a", "", &mut tell(who, slot, &mut host)).expect("in");
    }
    let mut say = |hall: &mut Hall, to: &str, text: &str| {
        let words = Words { verb: crate::news::Verb::Privmsg, text, lines: &[], tags: &[], echo: false };
        match to {
            "#a" => assert!(hall.say_in_room(to, words, &mut tell(other, 2, &mut host)).is_ok()),
            to => assert!(hall.say_to(to, words, &mut tell(other, 2, &mut host)).is_ok()),
        }
    };
    say(&mut hall, "#a", "before");
    let mut gone = Told::default();
    hall.quit("gone", &mut tell(minsu, 1, &mut gone));
    say(&mut hall, "#a", "meanwhile");
    say(&mut hall, "minsu", "to you");
    let Ok(Entered::Again(again)) = come(&mut hall, 3, "minsu", Some("minsu"), &mut gone) else { panic!("back") };
    say(&mut hall, "#a", "later");
    let missed = again.missed.iter().flat_map(|(shelf, from)| hall.tail(*shelf, *from));
    let missed = missed.filter(|news| news.place <= again.until);
    let lines: Vec<_> = missed.map(|news| news.line(crate::caps::Caps::default())).collect();
    let [room, own] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(&room[..], b":other!~u@h PRIVMSG #a :meanwhile\r\n");
    assert_eq!(&own[..], b":other!~u@h PRIVMSG minsu :to you\r\n");
    // Another client of one who is here has missed nothing.
    let Ok(Entered::Again(again)) = come(&mut hall, 4, "minsu", Some("minsu"), &mut gone) else { panic!("back") };
    assert!(again.missed.is_empty());
}

#[test]
fn an_account_alone_makes_nobody_an_operator() {
    let settings = Settings { always_on: Some(true), ..Settings::default() };
    let (mut hall, mut host) = (hall(vec![account("minsu", settings)]), Told::default());
    let minsu = new(come(&mut hall, 1, "minsu", Some("minsu"), &mut host));
    let oper = crate::opers::Oper {
        name: "root".to_owned(),
        password: String::new(),
        certificate: String::new(),
        class: crate::opers::OperClass::Admin,
        vhost: String::new(),
    };
    hall.set_oper(Some(Arc::new(oper)), &mut tell(minsu, 1, &mut host));
    assert!(come(&mut hall, 2, "minsu", Some("minsu"), &mut host).is_ok());
    hall.quit("one", &mut tell(minsu, 1, &mut host));
    assert_eq!(hall.tally().opers, 1);
    hall.quit("two", &mut tell(minsu, 2, &mut host));
    assert!(come(&mut hall, 3, "minsu", Some("minsu"), &mut host).is_ok());
    assert_eq!(hall.tally().opers, 0);
}

/// A registered room, whose founder is in it.
fn registered(host: &mut Told) -> (Hall, Who, Topic) {
    let mut hall = Hall::new(&ChatOptions::default());
    let rooms = vec![RoomRecord::new("#a", "minsu", 1)];
    let accounts = vec![account("minsu", Settings::default())];
    hall.books = Books::new(Records { accounts, rooms, ..Records::default() });
    let minsu = new(come(&mut hall, 1, "minsu", Some("minsu"), host));
    let (room, _) = hall.join("#a", "", &mut tell(minsu, 1, host)).expect("in").expect("it is new");
    host.published.clear();
    (hall, minsu, room)
}
/// Takes a plan into the books.
fn take<R: 'static>(hall: &mut Hall, plan: Plan<R>, (who, slot): (Who, u32), host: &mut Told) -> Ticket {
    let limits = hall.limits;
    let ticket = hall.books.change(&plan.changes, &limits, host).expect("it is taken");
    hall.once_stored(ticket, (who, at(slot)), |hall, tell| _ = (plan.effect)(hall, tell));
    ticket
}
fn mode(hall: &mut Hall, who: Who, (sets, letter, param): (bool, char, &str), host: &mut Told) -> Plan<Moded> {
    let change = sotong_irc::modes::Change { sets, letter, param: Some(param) };
    hall.change_modes("#a", &[change], &By::Rank, &mut tell(who, 1, host)).expect("he may")
}
fn bans(hall: &Hall, room: Topic) -> Vec<&str> {
    let room = hall.room_by(room).expect("it is there");
    room.list(List::Ban, Wall(9)).map(|entry| &*entry.mask).collect()
}

#[test]
fn changes_of_a_registered_room_are_told_in_their_order_once_they_are_on_disk() {
    let mut host = Told::default();
    let (mut hall, minsu, room) = registered(&mut host);
    let plan = mode(&mut hall, minsu, (true, 'b', "a!*@*"), &mut host);
    let first = take(&mut hall, plan, (minsu, 1), &mut host);
    let plan = mode(&mut hall, minsu, (false, 'b', "a!*@*"), &mut host);
    assert_eq!(plan.changes.len(), 1, "judged by what is under way");
    let second = take(&mut hall, plan, (minsu, 2), &mut host);
    let plan = hall.set_topic("#a", "new", &tell(minsu, 1, &mut host)).expect("he may");
    let third = take(&mut hall, plan, (minsu, 3), &mut host);
    let topic = |hall: &Hall| hall.room("#a").and_then(|room| Some(room.topic.clone()?.text.to_string()));
    assert!(host.published.is_empty() && bans(&hall, room).is_empty() && topic(&hall).is_none());
    // Who has asked for the second hears of it first.
    hall.answered(&Answer::Stored(second, Ok(())), Wall(9), &mut host);
    let told = |host: &Told| host.published.iter().map(|(.., line)| line.clone()).collect::<Vec<_>>();
    let both = [":minsu!~u@h MODE #a +b a!*@*", ":minsu!~u@h MODE #a -b a!*@*"];
    assert_eq!(told(&host), both);
    hall.answered(&Answer::Stored(first, Ok(())), Wall(9), &mut host);
    assert_eq!(told(&host), both);
    // What is not on disk has not happened.
    let fault = StoreFault { why: "no disk".into(), since: third };
    hall.answered(&Answer::Stored(third, Err(fault)), Wall(9), &mut host);
    assert!(told(&host) == both && topic(&hall).is_none());
    assert_eq!(hall.record("#a").and_then(|record| record.topic.clone()), None);
}

#[test]
fn what_somebody_has_asked_for_who_has_gone_is_heard_of_by_another() {
    let mut host = Told::default();
    let (mut hall, minsu, room) = registered(&mut host);
    let other = new(come(&mut hall, 2, "other", None, &mut host));
    hall.join("#a", "", &mut tell(other, 2, &mut host)).expect("in");
    let plan = mode(&mut hall, minsu, (true, 'b', "a!*@*"), &mut host);
    let ticket = take(&mut hall, plan, (minsu, 1), &mut host);
    host.heirs.clear();
    hall.quit("gone", &mut tell(minsu, 1, &mut host));
    assert_eq!(host.heirs, [at(2)]);
    hall.heed(&mut host);
    let asked = host.asked.pop().expect("it asks");
    assert!(asked > ticket);
    hall.answered(&Answer::Stored(asked, Ok(())), Wall(9), &mut host);
    assert_eq!(bans(&hall, room), ["a!*@*"]);
    // Where nobody is left, whoever comes next does.
    hall.under_way = Default::default();
    hall.once_stored(Ticket(u64::MAX), (other, at(2)), |_, _| ());
    host.heirs.clear();
    hall.quit("gone", &mut tell(other, 2, &mut host));
    assert!(host.heirs.is_empty());
    new(come(&mut hall, 3, "third", None, &mut host));
    assert_eq!(host.heirs, [at(3)]);
}

#[test]
fn a_room_where_somebody_is_always_on_is_there_again_as_it_was() {
    let settings = Settings { always_on: Some(true), ..Settings::default() };
    let (mut hall, mut host) = (hall(vec![account("minsu", settings)]), Told::default());
    let minsu = new(come(&mut hall, 1, "minsu", Some("minsu"), &mut host));
    let change = |hall: &mut Hall, host: &mut Told, steps: &[(char, Option<&str>)]| {
        let changes: Vec<_> = steps
            .iter()
            .map(|(letter, param)| sotong_irc::modes::Change { sets: true, letter: *letter, param: *param })
            .collect();
        let plan = hall.change_modes("#a", &changes, &By::Rank, &mut tell(minsu, 1, host)).expect("he may");
        assert!(plan.changes.is_empty(), "at once");
        (plan.effect)(hall, &mut tell(minsu, 1, host));
        hall.save(&mut tell(minsu, 1, host));
    };
    hall.join("#a", "", &mut tell(minsu, 1, &mut host)).expect("in");
    let steps = [('s', None), ('k', Some("key")), ('l', Some("5")), ('b', Some("x!*@*")), ('e', Some("y!*@*"))];
    change(&mut hall, &mut host, &steps);
    change(&mut hall, &mut host, &[('I', Some("z!*@*")), ('b', Some("t:1:w!*@*"))]);
    let plan = hall.set_topic("#a", "about", &tell(minsu, 1, &mut host)).expect("he may");
    (plan.effect)(&mut hall, &mut tell(minsu, 1, &mut host));
    hall.set_key(&Owner::Room(hall.room("#a").expect("there").id), ("url", Some("u")), &mut tell(minsu, 1, &mut host));
    hall.quit("gone", &mut tell(minsu, 1, &mut host));
    let restart = |hall: &Hall, at: Wall| {
        let mut again = Hall::new(&ChatOptions::default());
        let accounts = hall.books.accounts().map(|account| Account::clone(account)).collect();
        let rooms = hall.books.rooms().chain(hall.books.occupied_rooms()).map(|room| RoomRecord::clone(room)).collect();
        again.books = Books::new(Records { accounts, rooms, ..Records::default() });
        again.wake(at);
        again
    };
    let mut again = restart(&hall, Wall(100_000));
    let room = again.room("#a").expect("it is there");
    assert_eq!(room.modes(true), "+nstkl key 5");
    assert_eq!(bans(&again, room.id), ["x!*@*"], "one has ended");
    let kept = |list| room.list(list, Wall(9)).map(|entry| &*entry.mask).collect::<Vec<_>>();
    assert_eq!((kept(List::Except), kept(List::Invite)), (vec!["y!*@*"], vec!["z!*@*"]));
    let topic = room.topic.as_ref().expect("it has one");
    assert_eq!((&*topic.text, &*topic.by, topic.at), ("about", "minsu!~u@h", Wall(9)));
    assert_eq!((room.created, room.keys.get("url")), (Wall(9), Some("u")));
    assert!(again.books.room("#a").is_none(), "nobody has registered it");
    // Nobody comes in who may not, though it was there before anybody came.
    let other = new(come(&mut again, 1, "other", None, &mut host));
    assert_eq!(again.join("#a", "", &mut tell(other, 1, &mut host)).err(), Some(Refusal::BadKey));
    // It goes with the last of those.
    assert!(again.room_for(other, "#a").is_none());
    let Ok(Entered::Again(_)) = come(&mut again, 2, "minsu", Some("minsu"), &mut host) else { panic!("back") };
    let minsu = again.find("minsu").expect("he is here").0;
    again.leave("#a", &Left::Parts(None), &mut tell(minsu, 2, &mut host)).expect("out");
    again.save(&mut tell(minsu, 2, &mut host));
    assert!(again.books.occupied_room("#a").is_none());
    // A room of which it is not known how it was is not opened for all.
    let mut hall = restart(&hall, Wall(9));
    hall.books.note(&[Change::NoRoom("#a".into())], &mut host);
    assert!(restart(&hall, Wall(9)).room("#a").is_none());
}

#[test]
fn a_dropped_account_leaves_nothing_to_who_takes_its_name() {
    let mut host = Told::default();
    let (mut hall, minsu, room) = registered(&mut host);
    hall.books.note(&[Change::Account(Arc::new(account("bob", Settings::default())))], &mut host);
    let mut record = RoomRecord::clone(hall.record("#a").expect("there"));
    record.ranks = [("bob".into(), 'a'), ("minsu2".into(), 'o')].into();
    record.settings = [(crate::books::OFFERED.into(), "bob".into()), ("url".into(), "u".into())].into();
    hall.books.note(&[Change::Room(Arc::new(record))], &mut host);
    for entry in ["a:bob", "account:BOB", "a:bo*", "a:other"] {
        for letter in ['b', 'e', 'I'] {
            let plan = mode(&mut hall, minsu, (true, letter, entry), &mut host);
            let ticket = take(&mut hall, plan, (minsu, 1), &mut host);
            hall.answered(&Answer::Stored(ticket, Ok(())), Wall(9), &mut host);
        }
    }
    let bob = new(come(&mut hall, 2, "bob", Some("bob"), &mut host));
    host.published.clear();
    let plan = Plan::new(vec![Change::NoAccount("bob".into())], |hall, tell| hall.drop_account("bob", tell));
    let ticket = take(&mut hall, plan, (minsu, 1), &mut host);
    let record = hall.record("#a").expect("there");
    assert_eq!(record.ranks.keys().map(|key| &**key).collect::<Vec<_>>(), ["minsu2"]);
    assert_eq!(record.settings.keys().map(|key| &**key).collect::<Vec<_>>(), ["url"]);
    hall.answered(&Answer::Stored(ticket, Ok(())), Wall(9), &mut host);
    assert_eq!(hall.user(bob).map(|user| user.account.clone()), Some(None));
    // What keeps people out stays, by names and by masks; so does what lets others in.
    assert_eq!(bans(&hall, room).len(), 3);
    for list in [List::Except, List::Invite] {
        let kept: Vec<_> =
            hall.room("#a").expect("there").list(list, Wall(9)).map(|entry| entry.mask.to_string()).collect();
        assert_eq!(kept, ["a:bo*", "a:other"]);
        let record = hall.record("#a").expect("there").clone();
        let letter = if list == List::Except { 'e' } else { 'I' };
        assert_eq!(record.lists.iter().filter(|entry| entry.list == letter).count(), 2);
    }
    let told: Vec<_> = host.published.iter().map(|(.., line)| line.as_str()).collect();
    assert!(told.iter().any(|line| line.starts_with(":ChanServ!ChanServ@localhost MODE #a -e")), "{told:?}");
}
